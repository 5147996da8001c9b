//! Inputs of stored objects that hosts could not read: this node reads them, and sends the bytes as it sends those of files.
//! So no job fails because a host cannot reach who holds its data. The task is then one of another input hash, and what
//! was claimed for the other is forgotten.

use super::{Env, claims::name, job::Job};
use crate::{
    api::{ReadNews, coordinator::Out},
    reading::{Came, Reading, of_coordinator},
};
use pangea_protocols::{JobId, PeerId, job::ErrorKind, receipt_job::Place, stored::StoredInput};
use std::time::Duration;

/// Times that hosts could not read an input before this node does it.
const UNREADABLE_MAX: u32 = 2;
/// Times that this node may fail at it.
const UNFED_MAX: u32 = 5;

impl Job {
    /// A host has read its input: so many bytes from its own disk.
    pub fn on_read(&mut self, peer: PeerId, place: Place, own_bytes: u32, took_ms: u32) {
        let lease = self.tasks.get(place).and_then(|task| task.running.get(&peer)).copied();
        if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            let took = Duration::from_millis(took_ms.into());
            lease.read = (lease.reads > 0).then_some((own_bytes.min(lease.reads), took));
        }
    }

    /// A host could not read its input, which is not its fault. This node's own worker is a host like others: they may be
    /// nearer to who holds it.
    pub fn on_unreadable(&mut self, peer: PeerId, place: Place, env: &mut Env<'_, '_>) {
        let count = self.tasks.change(place, self.me, |task| {
            *task.unreadable.entry(peer).or_default() += 1;
            task.unreadable.values().sum::<u32>()
        });
        self.retry(place, None, env);
        let is_open = self.tasks.get(place).is_some_and(|task| task.truth.is_none() && !task.fed);
        if is_open && count.unwrap_or(0) >= UNREADABLE_MAX {
            tracing::info!(job = self.id.0, "{} is read here: hosts could not read it", name(place));
            self.stop(place, env);
            self.forget_votes(place);
            self.tasks.change(place, self.me, |task| {
                task.fed = true;
                task.was = task.input.take();
            });
        }
    }

    /// Reads it for those who could not.
    pub fn feed(&mut self, place: Place, input: Box<StoredInput>, env: &mut Env<'_, '_>) {
        let read = of_coordinator(env.numbers.fresh());
        self.feeding.insert(read, (place, Reading::new(&input, env.cx.now())));
        env.numbers.reads.insert(read, self.id);
        env.cx.emit(Out::Read { read, input });
    }

    /// What comes of it.
    pub fn on_reading(&mut self, read: JobId, news: ReadNews, env: &mut Env<'_, '_>) {
        let Some((place, reading)) = self.feeding.get_mut(&read) else { return };
        let (place, Some(came)) = (*place, reading.hear(news, env.cx.now())) else { return };
        self.forget_feeding(read, env);
        match came {
            Ok(Came { whole, .. }) => self.take_whole(place, whole, env),
            Err(reason) => self.on_unfed(place, &reason, env),
        }
    }

    /// What was read and brings nothing any more is lost.
    pub fn look_after_feeding(&mut self, env: &mut Env<'_, '_>) {
        let now = env.cx.now();
        let silent: Vec<(JobId, Place)> = self
            .feeding
            .iter()
            .filter(|(_, (_, reading))| reading.is_silent(now))
            .map(|(read, (place, _))| (*read, *place))
            .collect();
        for (read, place) in silent {
            self.forget_feeding(read, env);
            self.on_unfed(place, "nothing came of it", env);
        }
    }

    /// Nothing of it is wanted any more.
    pub fn forget_feeding(&mut self, read: JobId, env: &mut Env<'_, '_>) {
        if self.feeding.remove(&read).is_some() {
            env.numbers.reads.remove(&read);
            env.cx.emit(Out::StopReading { read });
        }
    }

    fn on_unfed(&mut self, place: Place, reason: &str, env: &mut Env<'_, '_>) {
        let tried = self.tasks.change(place, self.me, |task| {
            task.unfed += 1;
            let hosts = std::mem::take(&mut task.unreadable).len();
            if task.input.is_none() {
                // Others are asked again: they may reach other holders.
                (task.fed, task.was) = (false, None);
            }
            (task.unfed, hosts)
        });
        let Some((unfed, hosts)) = tried else { return };
        // What was passed on goes back to whose job it is: that node may read it.
        let max = if self.spec.passed_on.is_some() { 1 } else { UNFED_MAX };
        if unfed >= max {
            let text = format!("{} could be read neither by {hosts} hosts nor by this node: {reason}", name(place));
            return self.fail(ErrorKind::Unreachable, text);
        }
        self.retry(place, None, env);
    }
}
