//! [`Probe`]: a core that does what its events say, and a runtime with a paused clock to run it in.

use pangea_kernel::{ActixHost, Core, Cx, Host, HostConfig, Options, Port, Seed, Slot, TimerId};
use serde::{Deserialize, Serialize};
use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Do {
    /// Emit the number, the life of the core and what it had said before.
    Say(u32),
    /// Emit a random number.
    Draw,
    /// Emit `Heard(0)`, then panic.
    Panic(String),
    /// Emit something that the outlet panics over.
    Choke,
    /// Say the number after so many milliseconds.
    SayAfter(u64, u32),
    /// Cancel the timer set as the n-th of this life.
    Cancel(u64),
    /// Set a timer of no delay, for ever.
    Spin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Said { number: u32, life: u32, before: u32 },
    Drawn(u64),
    Panicking,
    Choke,
}

pub struct Probe {
    pub life: u32,
    pub said: u32,
}

impl Core for Probe {
    type In = Do;
    type Out = Heard;

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: Do) {
        match event {
            Do::Say(number) => {
                cx.emit(Heard::Said { number, life: self.life, before: self.said });
                self.said += 1;
            }
            Do::Draw => {
                let drawn = cx.rng("probe").u64();
                cx.emit(Heard::Drawn(drawn));
            }
            Do::Panic(reason) => {
                cx.emit(Heard::Panicking);
                panic!("{reason}");
            }
            Do::Choke => cx.emit(Heard::Choke),
            Do::SayAfter(millis, number) => {
                cx.after(Duration::from_millis(millis), Do::Say(number));
            }
            Do::Cancel(timer) => cx.cancel(TimerId(timer)),
            Do::Spin => {
                cx.after(Duration::ZERO, Do::Spin);
            }
        }
    }
}

/// What a probe's outlet has carried.
#[derive(Clone, Default)]
pub struct Ear(Arc<Mutex<Vec<Heard>>>);

impl Ear {
    pub fn heard(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.0.lock().unwrap()
    }

    pub fn to_vec(&self) -> Vec<Heard> {
        self.heard().clone()
    }

    /// Only the numbers said, with the life that said them.
    pub fn said(&self) -> Vec<(u32, u32)> {
        self.heard()
            .iter()
            .filter_map(|heard| match heard {
                Heard::Said { number, life, .. } => Some((*number, *life)),
                _ => None,
            })
            .collect()
    }
}

/// Starts a probe.
pub fn probe(host: &ActixHost, name: &'static str, options: Options) -> (Port<Do>, Ear) {
    let slot = host.slot::<Probe>(name, options);
    let (port, ear) = (slot.port(), Ear::default());
    let heard = ear.clone();
    let mut life = 0;
    let build = move || {
        life += 1;
        Probe { life, said: 0 }
    };
    host.start(slot, build, move |out| {
        assert_ne!(out, Heard::Choke, "the outlet choked");
        heard.heard().push(out);
    });
    (port, ear)
}

pub fn config() -> HostConfig {
    HostConfig::new(Seed::new([7; 32]))
}

/// Runs `test` on a paused clock, without I/O, as a simulation does.
pub fn paused<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Virtual time passes; all that is ready is done first.
pub async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
