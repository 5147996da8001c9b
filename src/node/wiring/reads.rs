//! Reading for computations: what a worker or a coordinator wants of a stored object is fetched by the downloader and
//! opened by CES, with keys of just those frames, like what a user gets. What CES would write to a file goes to whoever
//! asked.

use super::{Routes, delivery::counted};
use crate::node::hub::HubIn;
use pangea_ces::api as ces;
use pangea_compute::{
    api::{ReadNews, coordinator, worker},
    reading::{is_coordinators, is_read},
};
use pangea_protocols::{
    JobId,
    files::{Command, Event, Sink},
    job::JobEvent,
    stored::StoredInput,
};
use pangea_transfer::api::download;
use std::time::Duration;

/// What does not move for this long is given up: others may be nearer to who holds it.
const TIMEOUT: Duration = Duration::from_secs(20);

impl Routes {
    pub(super) fn read(&self, job: JobId, input: StoredInput) {
        let range = input.range();
        let only = ces::Selection::Range { offset: range.start, len: Some(range.end - range.start) };
        let StoredInput { cid, hints, first, keys, .. } = input;
        let decode = ces::In::Decode { job, key: ces::Key::Frames { first, keys }, only, sink: Sink::Stream };
        let open = download::In::OpenPart { job, cid, hints, timeout: TIMEOUT };
        if self.actors.ces.send(decode).is_err() || self.actors.downloads.send(open).is_err() {
            self.stop_reading(job);
            self.tell_reader(job, ReadNews::Failed("the node is overloaded".to_owned()));
        }
    }

    pub(super) fn stop_reading(&self, job: JobId) {
        counted("ces", self.actors.ces.send(ces::In::Cancel { job }));
        counted("downloads", self.actors.downloads.send(download::In::Close { job }));
    }

    /// Plays the sink. It takes everything at once: an input is bounded.
    pub(super) fn on_read_files(&self, command: Command) {
        let event = match command {
            Command::OpenSink { job, .. } => Event::SinkOpened { job, path: None },
            Command::Write { job, offset, bytes } => {
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.tell_reader(job, ReadNews::Bytes(bytes));
                Event::Written { job, offset, len }
            }
            Command::Finish { job } => Event::Finished { job },
            Command::Close { .. } | Command::OpenSource { .. } | Command::Read { .. } => return,
        };
        counted("ces", self.actors.ces.send(ces::In::Files(event)));
    }

    /// News of a job go to the hub, unless it is none of a user.
    pub(super) fn job_news(&self, event: JobEvent) {
        let job = event.job();
        match event {
            event if !is_read(job) => self.hub(HubIn::Job(event)),
            JobEvent::Done { .. } => self.tell_reader(job, ReadNews::Done),
            JobEvent::Failed { error, .. } => self.tell_reader(job, ReadNews::Failed(error.message)),
            JobEvent::Placed { .. } | JobEvent::Opened { .. } | JobEvent::Progress { .. } => {}
        }
    }

    pub(super) fn tell_reader(&self, read: JobId, news: ReadNews) {
        if is_coordinators(read) {
            counted("coordinator", self.actors.coordinator.send(coordinator::In::Reading { read, news }));
        } else {
            counted("worker", self.actors.worker.send(worker::In::Reading { read, news }));
        }
    }
}
