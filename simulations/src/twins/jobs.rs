//! The jobs driver: inputs in memory or in stored objects, and what the coordinator has committed, which outlives the process.

use crate::timeline::Timeline;
use bytes::Bytes;
use pangea::drivers::jobs::stored::Stored;
use pangea_compute::api::{News, Saved, Spec, coordinator};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::JobId;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a chunk takes to be read.
const READ: Duration = Duration::from_micros(500);
/// Until a message is offered again to a full mailbox, as the driver does.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);

/// The jobs of one node, in all its lives. Clones are the same.
#[derive(Clone)]
pub struct Jobs {
    timeline: Timeline,
    kept: Arc<Mutex<BTreeMap<JobId, Kept>>>,
}

/// What a job computes on.
pub enum Input {
    /// Chunks that are here.
    Chunks(Vec<Bytes>),
    /// An object of which only the manifest was read.
    Stored(Box<Stored>),
}

impl Input {
    fn count(&self) -> u32 {
        match self {
            Self::Chunks(chunks) => u32::try_from(chunks.len()).unwrap_or(u32::MAX),
            Self::Stored(stored) => stored.chunks(),
        }
    }

    fn answer(&self, job: JobId, index: u32) -> Option<coordinator::In> {
        match self {
            Self::Chunks(chunks) => {
                let bytes = chunks.get(index as usize)?.clone();
                Some(coordinator::In::Input { job, index, bytes })
            }
            Self::Stored(stored) => {
                let (input, local) = stored.chunk(index)?;
                Some(coordinator::In::Stored { job, index, input: Box::new(input), local })
            }
        }
    }
}

/// A job that has not ended.
struct Kept {
    spec: Spec,
    input: Input,
    saved: Vec<Saved>,
}

impl Jobs {
    /// None.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, kept: Arc::default() }
    }

    /// A user submits a job with its input; named as the user names it. False if the coordinator's mailbox is full.
    pub fn submit(&self, coordinator: &Port<coordinator::In>, job: JobId, mut spec: Spec, input: Input) -> bool {
        spec.chunks = input.count();
        self.kept().insert(job, Kept { spec: spec.clone(), input, saved: Vec::new() });
        let sent = coordinator.send(coordinator::In::Submit { job, spec: Box::new(spec) }).is_ok();
        if !sent {
            self.kept().remove(&job);
        }
        sent
    }

    /// The driver's port in one life of the node.
    pub fn open(&self, coordinator: Port<coordinator::In>) -> Port<coordinator::Out> {
        let (jobs, mouth) = (self.clone(), Mouth { coordinator, waiting: Arc::default() });
        Port::new(move |out| {
            if jobs.timeline.is_closed() {
                return Err(Rejected::Closed(out));
            }
            jobs.on(&mouth, out);
            Ok(())
        })
    }

    fn on(&self, mouth: &Mouth, out: coordinator::Out) {
        use coordinator::{In, Out};
        match out {
            Out::Began => {
                for (job, kept) in self.kept().iter() {
                    mouth.tell(&self.timeline, In::Submit { job: *job, spec: Box::new(kept.spec.clone()) });
                    for saved in kept.saved.iter().cloned() {
                        mouth.tell(&self.timeline, In::Restored { job: *job, saved });
                    }
                }
            }
            Out::Want { job, index } => {
                let found = self.kept().get(&job).and_then(|kept| kept.input.answer(job, index));
                let missing = || In::InputFailed { job, reason: format!("there is no chunk {index}") };
                let message = found.unwrap_or_else(missing);
                let (timeline, mouth) = (self.timeline.clone(), mouth.clone());
                self.timeline.after(READ, move || mouth.tell(&timeline, message));
            }
            Out::Save { job, saved } => {
                if let Some(kept) = self.kept().get_mut(&job) {
                    kept.saved.push(saved);
                }
            }
            Out::News { job, news: News::Done { .. } | News::Failed(_) } => _ = self.kept().remove(&job),
            _ => {}
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<JobId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Speaks to the coordinator of one life, in order, however full its mailbox is.
#[derive(Clone)]
struct Mouth {
    coordinator: Port<coordinator::In>,
    waiting: Arc<Mutex<VecDeque<coordinator::In>>>,
}

impl Mouth {
    fn tell(&self, timeline: &Timeline, message: coordinator::In) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(message);
        if waiting.len() == 1 {
            drop(waiting);
            self.flush(timeline);
        }
    }

    fn flush(&self, timeline: &Timeline) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(message) = waiting.pop_front() {
            if let Err(Rejected::Full(message)) = self.coordinator.send(message) {
                waiting.push_front(message);
                let (mouth, again) = (self.clone(), timeline.clone());
                timeline.after(MAILBOX_RETRY, move || mouth.flush(&again));
                return;
            }
        }
    }
}
