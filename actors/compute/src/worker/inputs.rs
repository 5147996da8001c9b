//! Stored inputs: this node reads them itself, in the order in which they came, as many at once as it has room for.

use super::{Key, Worker, job::Step};
use crate::{
    api::{ReadNews, worker::Out},
    reading::{Came, Reading, of_worker},
};
use bytes::Bytes;
use pangea_kernel::Cx;
use pangea_protocols::{
    JobId,
    wire::compute::{Compute, Failure},
};
use std::cmp::Reverse;

impl Worker {
    /// Reads what is to be read: this node's own jobs first, then by priority.
    pub(super) fn read_waiting(&mut self, cx: &mut Cx<'_, Self>) {
        while self.reads.len() < self.limits.reads_max.max(1) {
            let open = self.jobs.iter().filter_map(|(key, job)| Some((key, job.priority, job.to_read()?)));
            let next = open.min_by_key(|(key, priority, (lease, _))| (key.0 != self.me, Reverse(*priority), *lease));
            let Some((key, _, (id, input))) = next else { return };
            let reading = Reading::new(input, cx.now());
            let bytes: usize = self.reads.values().map(|(_, _, reading)| reading.bytes()).sum();
            if !self.reads.is_empty() && bytes + reading.bytes() > self.limits.reading_bytes_max {
                return;
            }
            let (key, read) = (*key, of_worker(self.next_read));
            let Some(lease) = self.jobs.get_mut(&key).and_then(|job| job.leases.get_mut(&id)) else { return };
            let Step::ToRead(input) = std::mem::replace(&mut lease.step, Step::Reading) else { return };
            self.next_read += 1;
            self.reads.insert(read, (key, id, reading));
            cx.emit(Out::Read { read, input });
        }
    }

    /// What comes of it.
    pub(super) fn on_reading(&mut self, cx: &mut Cx<'_, Self>, read: JobId, news: ReadNews) {
        let Some((_, _, reading)) = self.reads.get_mut(&read) else { return };
        let Some(came) = reading.hear(news, cx.now()) else { return };
        match came {
            Ok(came) => self.on_came(cx, read, came),
            Err(reason) => self.fail_read(cx, read, &reason),
        }
    }

    fn on_came(&mut self, cx: &mut Cx<'_, Self>, read: JobId, came: Came) {
        let Some((key, id, _)) = self.reads.remove(&read) else { return };
        let Some(lease) = self.jobs.get_mut(&key).and_then(|job| job.leases.get_mut(&id)) else { return };
        let (place, (peer, job)) = (lease.place, key);
        lease.step = Step::Waiting(came.whole);
        let took_ms = u32::try_from(came.took.as_millis()).unwrap_or(u32::MAX);
        self.tell(cx, peer, Compute::Read { job, place, own_bytes: came.own_bytes, took_ms }, Bytes::new());
    }

    fn fail_read(&mut self, cx: &mut Cx<'_, Self>, read: JobId, reason: &str) {
        let Some((key, lease, _)) = self.reads.remove(&read) else { return };
        let (peer, job) = key;
        tracing::info!(%peer, reason, "the stored input of a task could not be read");
        cx.emit(Out::StopReading { read });
        if let Some(known) = self.jobs.get_mut(&key) {
            known.leases.remove(&lease);
            self.tell(cx, peer, Compute::Failed { job, lease, reason: Failure::Unreadable }, Bytes::new());
        }
    }

    /// What brings nothing any more is lost.
    pub(super) fn look_after_reads(&mut self, cx: &mut Cx<'_, Self>) {
        let now = cx.now();
        let silent = self.reads.iter().filter(|(_, (_, _, reading))| reading.is_silent(now));
        let silent: Vec<JobId> = silent.map(|(read, _)| *read).collect();
        silent.into_iter().for_each(|read| self.fail_read(cx, read, "nothing came of it"));
    }

    /// Leases are gone: what is read for them is wanted no longer.
    pub(super) fn stop_reads(&mut self, cx: &mut Cx<'_, Self>) {
        let wanted = |(key, lease, _): &(Key, u64, Reading)| {
            self.jobs.get(key).is_some_and(|job| job.leases.contains_key(lease))
        };
        let gone: Vec<JobId> = self.reads.iter().filter(|(_, of)| !wanted(of)).map(|(read, _)| *read).collect();
        for read in gone {
            self.reads.remove(&read);
            cx.emit(Out::StopReading { read });
        }
    }
}
