//! [`Instance`]: one guest, called by the ABI `pangea:1`, in slices.
//!
//! ```text
//! start function? ─▶ abi_version? ─▶ init? ─▶ alloc(len) ─▶ input copied ─▶ handle(ptr, len) ─▶ output copied
//!                                             ▲                                                      │
//!                                             └───────────────────── next input ─────────────────────┘
//! ```

use super::{
    Engine, Export, Halt, Machine, Step,
    host::{Host, Line, range},
};
use crate::pass::cost;
use bytes::Bytes;
use pangea_protocols::task::{Ending, Input, Limits, Outcome, Trap};

/// The version of the ABI that `abi_version` returns.
const ABI_VERSION: u64 = 1;
/// Position of `alloc` in [`Export::ALL`].
const FIRST_OF_A_CALL: usize = 3;

/// What a slice came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slice {
    /// There is more to do.
    Running,
    /// The call has ended.
    Done(Outcome),
    /// This node could not go on; no outcome, since another node might have one.
    Failed(String),
}

/// A guest that is being called, or waits for its next input.
pub struct Instance<M> {
    machine: M,
    /// Position in [`Export::ALL`] of the call that is under way or comes next.
    next: usize,
    paused: bool,
    /// Where the input is, for `handle`.
    place: (u32, u32),
    setup_gas: u64,
}

impl<M: Machine> Instance<M> {
    /// Makes an instance, and its first call ready.
    ///
    /// # Errors
    /// [`Slice::Done`] or [`Slice::Failed`]: it could not be made.
    pub fn new<E: Engine<Machine = M>>(
        engine: &E,
        module: &E::Module,
        setup_gas: u64,
        limits: Limits,
        input: Input,
    ) -> Result<Self, Slice> {
        let ended =
            |trap, gas| Slice::Done(Outcome { ending: Ending::Trapped(trap), sent: Vec::new(), gas, memory_bytes: 0 });
        if setup_gas > limits.gas {
            return Err(ended(Trap::Gas, limits.gas));
        }
        match engine.instantiate(module, Host::new(limits, input)) {
            Ok(machine) => Ok(Self { machine, next: 0, paused: false, place: (0, 0), setup_gas }),
            Err(Halt::Trap(trap)) => Err(ended(trap, setup_gas)),
            Err(Halt::Node(message)) => Err(Slice::Failed(message)),
        }
    }

    /// Makes the next call ready. Only after [`Slice::Done`] with an output.
    pub fn begin(&mut self, input: Input) {
        self.machine.parts().1.begin(input);
        self.machine.set(0, None);
        (self.next, self.setup_gas) = (FIRST_OF_A_CALL, 0);
    }

    /// What the guest logged since this was last asked.
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.machine.parts().1.lines)
    }

    /// The guest's memory; not while it is paused, when it may be out of reach.
    pub fn memory(&mut self) -> &[u8] {
        self.machine.parts().0
    }

    /// Runs for about `gas` gas.
    pub fn run_slice(&mut self, gas: u64) -> Slice {
        let mut left = gas;
        loop {
            let breath = left.min(M::BREATH);
            left -= breath;
            match self.breathe(breath) {
                Ok(None) if left > 0 => {}
                Ok(None) => return Slice::Running,
                Ok(Some(output)) => return self.done(Ending::Output(output)),
                Err(Halt::Trap(trap)) => {
                    // A guest that owes gas has run out of it, even if it trapped before it looked.
                    let trap = if self.owes_gas() { Trap::Gas } else { trap };
                    return self.done(Ending::Trapped(trap));
                }
                Err(Halt::Node(message)) => return Slice::Failed(message),
            }
        }
    }

    fn breathe(&mut self, gas: u64) -> Result<Option<Bytes>, Halt> {
        let (global, setup) = (self.machine.gas(), std::mem::take(&mut self.setup_gas).cast_signed());
        let global = self.machine.parts().1.tank.pour(global - setup, gas);
        self.machine.set(global, None);
        self.run()
    }

    /// Goes on until the guest pauses (`None`) or returns its output.
    fn run(&mut self) -> Result<Option<Bytes>, Halt> {
        loop {
            let export = Export::ALL[self.next];
            let step = if std::mem::take(&mut self.paused) { self.machine.resume() } else { self.call(export)? };
            match step {
                Step::Paused => {
                    self.paused = true;
                    return Ok(None);
                }
                Step::Halted(halt) => return Err(halt),
                Step::Returned(_) if self.owes_gas() => return Err(Trap::Gas.into()),
                Step::Returned(value) => {
                    self.next += 1;
                    if let Some(output) = self.returned(export, value)? {
                        return Ok(Some(output));
                    }
                }
            }
        }
    }

    fn owes_gas(&mut self) -> bool {
        let gas = self.machine.gas();
        self.machine.parts().1.tank.is_empty(gas)
    }

    fn call(&mut self, export: Export) -> Result<Step, Halt> {
        let (_, host) = self.machine.parts();
        let len = u32::try_from(host.input().len()).map_err(|_| Halt::Trap(Trap::Memory))?;
        let stack = host.limits().stack_slots.min(super::STACK_SLOTS_MAX);
        let gas = self.machine.gas();
        self.machine.set(gas, Some(stack));
        let (alloc, handle) = ([len], [self.place.0, self.place.1]);
        let arguments: &[u32] = match export {
            Export::Alloc => &alloc,
            Export::Handle => &handle,
            Export::Start | Export::AbiVersion | Export::Init => &[],
        };
        let absent = if export == Export::AbiVersion { ABI_VERSION } else { 0 };
        Ok(self.machine.call(export, arguments).unwrap_or(Step::Returned(absent)))
    }

    /// Handles what `export` returned: the output, if it was `handle`.
    fn returned(&mut self, export: Export, value: u64) -> Result<Option<Bytes>, Trap> {
        match export {
            Export::Start | Export::Init => Ok(None),
            Export::AbiVersion if value == ABI_VERSION => Ok(None),
            Export::AbiVersion => Err(Trap::AbiVersion),
            Export::Alloc => {
                let gas = self.machine.gas();
                let (memory, host) = self.machine.parts();
                let input = host.input().clone();
                // `call` has checked that both fit.
                self.place = (value as u32, input.len() as u32);
                let gas = host.tank.pay(gas, cost::bytes(input.len() as u64))?;
                let range = range(memory, self.place.0, self.place.1)?;
                memory[range].copy_from_slice(&input);
                self.machine.set(gas, None);
                Ok(None)
            }
            Export::Handle => {
                let gas = self.machine.gas();
                let (memory, host) = self.machine.parts();
                let (ptr, len) = ((value >> 32) as u32, value as u32);
                let range = range(memory, ptr, len)?;
                let gas = host.tank.pay(gas, cost::bytes(len.into()))?;
                let output = host.take_output(&memory[range])?;
                self.machine.set(gas, None);
                Ok(Some(output))
            }
        }
    }

    fn done(&mut self, ending: Ending) -> Slice {
        let global = self.machine.gas();
        let (memory, host) = self.machine.parts();
        // Memory never shrinks: what it is at the end is the most that it was.
        let memory_bytes = memory.len() as u64;
        let gas = if ending == Ending::Trapped(Trap::Gas) { host.limits().gas } else { host.tank.used(global) };
        Slice::Done(Outcome { ending, sent: std::mem::take(&mut host.sent), gas, memory_bytes })
    }
}
