//! [`Registry`]: what every actor of a node is doing, in numbers.
//!
//! Counters are relaxed atomics; the registry's lock is taken when an actor is made and when someone looks. Every
//! event is timed, none is sampled. Not tracing: a number here never names a message.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// Buckets of the handle-time histogram: bucket `i` counts events of less than 1.024 µs × 2^i, the last all others.
pub const BUCKETS: usize = 16;

/// The actors of one node. A clone sees the same actors.
#[derive(Clone, Default)]
pub struct Registry {
    actors: Arc<Mutex<BTreeMap<&'static str, Arc<ActorMetrics>>>>,
}

impl Registry {
    /// Adds an actor; `None` if the name is taken.
    pub(crate) fn register(&self, name: &'static str) -> Option<Arc<ActorMetrics>> {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if actors.contains_key(name) {
            return None;
        }
        let metrics = Arc::new(ActorMetrics::default());
        actors.insert(name, Arc::clone(&metrics));
        Some(metrics)
    }

    /// Every actor's numbers, by name.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        actors.iter().map(|(name, metrics)| metrics.snapshot(name)).collect()
    }

    /// The same in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = render(&mut text, &self.snapshot());
        text
    }
}

/// One actor's numbers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The actor.
    pub name: &'static str,
    /// False once it was stopped or has escalated.
    pub up: bool,
    /// Messages waiting; approximate while others send.
    pub mailbox_depth: usize,
    /// Events handled, timers and poisonous ones included.
    pub handled: u64,
    /// Times its core was rebuilt.
    pub restarts: u64,
    /// Messages handed back to their senders.
    pub rejected: u64,
    /// Time spent in handlers, effects included.
    pub busy: Duration,
    /// Events by handle time, see [`BUCKETS`].
    pub handle_time: [u64; BUCKETS],
}

/// The counters behind a [`Snapshot`]. Shared by an actor's shell and its ports.
#[derive(Default)]
pub(crate) struct ActorMetrics {
    depth: AtomicUsize,
    rejected: AtomicU64,
    stopped: AtomicBool,
    restarts: AtomicU64,
    busy_nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl ActorMetrics {
    /// Takes a place in the mailbox; false, and counted, if all `places` are taken. This count is the bound that
    /// holds: actix lets every clone of an address, and every concurrent sender, exceed its own by one.
    pub(crate) fn enter(&self, places: usize) -> bool {
        if self.depth.fetch_add(1, Relaxed) < places {
            return true;
        }
        self.leave();
        self.rejected.fetch_add(1, Relaxed);
        false
    }

    /// Gives the place back.
    pub(crate) fn leave(&self) {
        self.depth.fetch_sub(1, Relaxed);
    }

    /// A message that had its place was handed back after all.
    pub(crate) fn turned_away(&self) {
        self.leave();
        self.rejected.fetch_add(1, Relaxed);
    }

    pub(crate) fn handled(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let log2 = (u64::BITS - (nanos >> 10).leading_zeros()) as usize;
        self.buckets[log2.min(BUCKETS - 1)].fetch_add(1, Relaxed);
        self.busy_nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    fn snapshot(&self, name: &'static str) -> Snapshot {
        let handle_time = std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed));
        let up = !self.is_stopped();
        Snapshot {
            name,
            up,
            mailbox_depth: if up { self.depth.load(Relaxed) } else { 0 },
            handled: handle_time.iter().sum(),
            restarts: self.restarts.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Relaxed)),
            handle_time,
        }
    }
}

/// A metric of one number per actor: its name, its Prometheus type, its help text and how to read it.
type Scalar = (&'static str, &'static str, &'static str, fn(&Snapshot) -> u64);

const SCALARS: [Scalar; 5] = [
    ("up", "gauge", "1 while the actor runs", |actor| u64::from(actor.up)),
    ("mailbox_depth", "gauge", "Messages waiting", |actor| actor.mailbox_depth as u64),
    ("handled_total", "counter", "Events handled", |actor| actor.handled),
    ("restarts_total", "counter", "Times the core was rebuilt", |actor| actor.restarts),
    ("rejected_total", "counter", "Messages handed back to their senders", |actor| actor.rejected),
];

fn render(text: &mut String, actors: &[Snapshot]) -> fmt::Result {
    for (name, kind, help, value) in SCALARS {
        writeln!(text, "# HELP pangea_actor_{name} {help}\n# TYPE pangea_actor_{name} {kind}")?;
        for actor in actors {
            writeln!(text, "pangea_actor_{name}{{actor=\"{}\"}} {}", actor.name, value(actor))?;
        }
    }
    let histogram = "pangea_actor_handle_seconds";
    writeln!(text, "# HELP {histogram} Time to handle one event\n# TYPE {histogram} histogram")?;
    for actor in actors {
        let mut below = 0;
        for (bucket, count) in actor.handle_time.iter().enumerate() {
            below += count;
            let bound = match bucket {
                last if last == BUCKETS - 1 => "+Inf".to_owned(),
                _ => Duration::from_nanos(1024 << bucket).as_secs_f64().to_string(),
            };
            writeln!(text, "{histogram}_bucket{{actor=\"{}\",le=\"{bound}\"}} {below}", actor.name)?;
        }
        writeln!(text, "{histogram}_sum{{actor=\"{}\"}} {}", actor.name, actor.busy.as_secs_f64())?;
        writeln!(text, "{histogram}_count{{actor=\"{}\"}} {below}", actor.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_times_fall_into_buckets_that_double() {
        let metrics = ActorMetrics::default();
        for nanos in [0, 1023, 1024, 2047, 2048, u64::MAX] {
            metrics.handled(Duration::from_nanos(nanos));
        }
        let buckets = metrics.snapshot("a").handle_time;
        assert_eq!(buckets[..3], [2, 2, 1]);
        assert_eq!(buckets[BUCKETS - 1], 1);
    }

    #[test]
    fn a_name_is_registered_once() {
        let registry = Registry::default();
        assert!(registry.register("peers").is_some());
        assert!(registry.register("peers").is_none());
    }

    #[test]
    fn prometheus_text_has_every_actor_under_every_metric() {
        let registry = Registry::default();
        let peers = registry.register("peers").unwrap();
        registry.register("chunks").unwrap();
        assert!(peers.enter(1));
        assert!(!peers.enter(1));
        peers.handled(Duration::from_nanos(1500));
        let text = registry.render();
        for line in [
            "# TYPE pangea_actor_handle_seconds histogram",
            "pangea_actor_mailbox_depth{actor=\"peers\"} 1",
            "pangea_actor_rejected_total{actor=\"peers\"} 1",
            "pangea_actor_handled_total{actor=\"chunks\"} 0",
            "pangea_actor_handle_seconds_bucket{actor=\"peers\",le=\"0.000001024\"} 0",
            "pangea_actor_handle_seconds_bucket{actor=\"peers\",le=\"0.000002048\"} 1",
            "pangea_actor_handle_seconds_bucket{actor=\"peers\",le=\"+Inf\"} 1",
            "pangea_actor_handle_seconds_sum{actor=\"peers\"} 0.0000015",
            "pangea_actor_handle_seconds_count{actor=\"peers\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
    }
}
