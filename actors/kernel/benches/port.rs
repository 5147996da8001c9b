//! What a message costs: port → mailbox → core → effect → outlet, on the production thread with the recorder on.
//!
//! Run with `cargo bench -p pangea-kernel`. CPU time is that of the whole process, senders included; latency is wall
//! time from `Port::send` on one thread to the outlet on the other, which was asleep; lateness is the mean over 50 ticks
//! of a 10 ms timer whose actor's mailbox never empties. Medians of five runs.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use pangea_kernel::{ActorThread, Core, Cx, Host, HostConfig, Options, Port, Seed, Slot};
use pangea_protocols::time::Time;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::{
    process::ExitCode,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

const RUNS: usize = 5;
const BURST: u64 = 2048;
const BURSTS: u64 = 500;
const LONE_MESSAGES: usize = 2000;
const TICKS: u64 = 50;
const INTERVAL: Duration = Duration::from_millis(10);
const CPU_MAX: Duration = Duration::from_nanos(1500);
const LATENCY_MAX: Duration = Duration::from_micros(20);
/// tokio rounds timers up to a millisecond; the rest is for a busy machine.
const LATENESS_MAX: Duration = Duration::from_millis(3);

/// Emits what it receives.
struct Echo;

impl Core for Echo {
    type In = u64;
    type Out = u64;

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: u64) {
        cx.emit(event);
    }
}

/// An echo whose outlet says when the last message of a burst has come through.
fn echo() -> (ActorThread, Port<u64>, Receiver<Instant>) {
    let (done, bursts): (Sender<Instant>, _) = channel();
    let (actors, port) = ActorThread::start(HostConfig::new(Seed::new([0; 32])), move |host| {
        let slot = host.slot::<Echo>("echo", Options::default());
        let port = slot.port();
        host.start(
            slot,
            || Echo,
            move |out| {
                if out == 0 {
                    _ = done.send(Instant::now());
                }
            },
        );
        port
    })
    .unwrap();
    (actors, port, bursts)
}

/// Sends itself a message for every message, and measures by how much its 10 ms timer is late.
struct Flooded {
    due: Time,
    ticks: u64,
    late: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum FloodEvent {
    Message,
    Tick,
}

impl Flooded {
    fn again(&mut self, cx: &mut Cx<'_, Self>) {
        self.due = cx.now() + INTERVAL;
        cx.after(INTERVAL, FloodEvent::Tick);
    }
}

impl Core for Flooded {
    type In = FloodEvent;
    /// One message more, or, at the end, the mean lateness.
    type Out = Option<Duration>;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        self.again(cx);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: FloodEvent) {
        match event {
            FloodEvent::Message => cx.emit(None),
            FloodEvent::Tick => {
                self.ticks += 1;
                self.late += cx.now().since(self.due);
                if self.ticks == TICKS {
                    cx.emit(Some(self.late / u32::try_from(TICKS).unwrap()));
                }
                self.again(cx);
            }
        }
    }
}

fn lateness_in_a_flood() -> Duration {
    let (done, lateness) = channel();
    let (_actors, ()) = ActorThread::start(HostConfig::new(Seed::new([0; 32])), move |host| {
        let slot = host.slot::<Flooded>("flooded", Options::default());
        let myself = slot.port();
        for _ in 0..1000 {
            myself.send(FloodEvent::Message).unwrap();
        }
        let build = || Flooded { due: Time(0), ticks: 0, late: Duration::ZERO };
        host.start(slot, build, move |out| match out {
            None => myself.send(FloodEvent::Message).unwrap(),
            Some(late) => _ = done.send(late),
        });
    })
    .unwrap();
    lateness.recv().unwrap()
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

fn cpu_per_message() -> Duration {
    let (_actors, port, bursts) = echo();
    let before = process_cpu();
    for _ in 0..BURSTS {
        for left in (0..BURST).rev() {
            port.send(left).unwrap();
        }
        bursts.recv().unwrap();
    }
    (process_cpu() - before) / u32::try_from(BURST * BURSTS).unwrap()
}

fn idle_latency() -> Duration {
    let (_actors, port, arrivals) = echo();
    let mut latencies: Vec<Duration> = (0..LONE_MESSAGES)
        .map(|_| {
            thread::sleep(Duration::from_micros(200));
            let sent = Instant::now();
            port.send(0).unwrap();
            arrivals.recv().unwrap() - sent
        })
        .collect();
    latencies.sort_unstable();
    latencies[LONE_MESSAGES / 2]
}

fn median(measure: impl Fn() -> Duration) -> Duration {
    let mut runs: Vec<Duration> = (0..RUNS).map(|_| measure()).collect();
    runs.sort_unstable();
    runs[RUNS / 2]
}

fn main() -> ExitCode {
    let rows = [
        ("CPU per message at saturation", median(cpu_per_message), CPU_MAX),
        ("p50 latency to an idle actor", median(idle_latency), LATENCY_MAX),
        ("lateness of timers in a flood", median(lateness_in_a_flood), LATENESS_MAX),
    ];
    println!("{:<32} {:>10} {:>10}", "", "measured", "bar");
    for (what, measured, bar) in rows {
        println!("{what:<32} {measured:>10.2?} {bar:>10.2?}");
    }
    if rows.iter().all(|(_, measured, bar)| measured <= bar) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
