//! [`Jit`]: an engine that compiles to machine code, ten times as fast as the interpreter and a hundred times as much code.
//! Only for a process that is jailed: there have been compilers that let guests escape. Behind the feature `jit`.
//!
//! A call runs on a stack of its own (a fiber of wasmtime's): at the end of a slice the import [`pass::OUT_OF_GAS`] leaves
//! it, and the next slice returns to it. While it is away the store is out of reach, so what the host needs between slices,
//! gas and [`Host`], stands in a [`Slot`].
//!
//! What is compiled is compiled here: machine code is neither kept nor taken from anybody. Nothing that may differ between
//! machines is enabled; bits of a NaN are the pass' business. A result that needs more of this machine's stack than there
//! is, is no result.

use super::{Engine, Export, Halt, Machine, STACK_SLOTS_MAX, Step, host::Host};
use crate::pass::{self, Instrumented, abi::HOST_MODULE};
use pangea_protocols::task::{Refusal, Trap};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use wasmtime::{
    Caller, Config, Error, Func, Global, InstancePre, Linker, Memory, Module, OptLevel, ResourceLimiter, Result, Store,
    Strategy, Trap as Code, Val,
};

/// Stack of a call, in bytes: a slot of ours is 8 bytes, and machine code keeps at most about as much beside it.
const STACK_BYTES: usize = 2 * 8 * STACK_SLOTS_MAX as usize;
/// Stack of host functions on top of it.
const HOST_STACK_BYTES: usize = 1 << 20;

/// The engine.
pub struct Jit {
    engine: wasmtime::Engine,
    linker: Linker<State>,
}

/// What a store holds: how to reach the host and the guest from it.
pub struct State {
    slot: Arc<Mutex<Slot>>,
    gas: Option<Global>,
    memory: Option<Memory>,
}

/// What the machine and a call hand to each other.
#[derive(Default)]
struct Slot {
    /// With the call while it runs, else with the machine.
    host: Option<Box<Host>>,
    /// Of a call that is paused.
    gas: i64,
}

/// A host function traps the guest.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0}")]
struct Stop(Trap);

impl Jit {
    /// An engine with the host functions of the ABI.
    ///
    /// # Errors
    /// The compiler does not know this processor.
    pub fn new() -> Result<Self> {
        let mut config = Config::new();
        config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed);
        config.max_wasm_stack(STACK_BYTES).async_stack_size(STACK_BYTES + HOST_STACK_BYTES);
        config.wasm_simd(false).wasm_relaxed_simd(false).wasm_memory64(false).wasm_multi_memory(false);
        // The jail refuses the file in memory that it would map data segments from.
        config.memory_init_cow(false);
        config.wasm_tail_call(false).wasm_extended_const(false).wasm_backtrace_max_frames(None);
        let engine = wasmtime::Engine::new(&config)?;
        let linker = linker(&engine)?;
        Ok(Self { engine, linker })
    }
}

impl Engine for Jit {
    type Module = InstancePre<State>;
    type Machine = JitMachine;

    fn compile(&self, module: &Instrumented) -> Result<InstancePre<State>, Refusal> {
        let compiled = Module::from_binary(&self.engine, &module.bytes);
        let linked = compiled.and_then(|module| self.linker.instantiate_pre(&module));
        linked.map_err(|error| Refusal::Node { message: format!("{error:#}") })
    }

    fn instantiate(&self, module: &InstancePre<State>, host: Host) -> Result<JitMachine, Halt> {
        let slot = Arc::new(Mutex::new(Slot { host: Some(Box::new(host)), gas: 0 }));
        let state = State { slot: Arc::clone(&slot), gas: None, memory: None };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state);
        let instance = {
            let mut making = std::pin::pin!(module.instantiate_async(&mut store));
            // Nothing of the guest runs, so nothing pauses.
            let Poll::Ready(made) = poll(making.as_mut()) else {
                return Err(Halt::Node("an instance paused before it was made".to_owned()));
            };
            made
        };
        let host = lock(&slot).host.take();
        let instance = match (instance, &host) {
            (Ok(instance), _) => instance,
            (Err(error), Some(host)) => return Err(not_instantiated(&error, host)),
            (Err(error), None) => return Err(Halt::Node(format!("{error:#}"))),
        };
        let mut global = |name| instance.get_global(&mut store, name);
        let (gas, stack) = (global(pass::GAS), global(pass::STACK));
        let (Some(gas), Some(stack), Some(memory)) = (gas, stack, instance.get_memory(&mut store, pass::abi::MEMORY))
        else {
            return Err(Halt::Node("an instance lacks what the pass added".to_owned()));
        };
        let exports = Export::ALL.map(|export| instance.get_func(&mut store, export.name()));
        (store.data_mut().gas, store.data_mut().memory) = (Some(gas), Some(memory));
        Ok(JitMachine { store: Some(store), call: None, host, slot, gas, stack, memory, exports })
    }
}

/// A call with its store, which it gives back at its end.
type Call = Pin<Box<dyn Future<Output = (Store<State>, Result<Val>)> + Send>>;

/// An instance of compiled code.
pub struct JitMachine {
    /// None while a call is paused.
    store: Option<Store<State>>,
    /// A call that is paused.
    call: Option<Call>,
    /// None while a call runs.
    host: Option<Box<Host>>,
    slot: Arc<Mutex<Slot>>,
    gas: Global,
    stack: Global,
    memory: Memory,
    /// As in [`Export::ALL`].
    exports: [Option<Func>; 5],
}

impl JitMachine {
    fn step(&mut self, mut call: Call) -> Step {
        lock(&self.slot).host = self.host.take();
        let polled = poll(call.as_mut());
        self.host = lock(&self.slot).host.take();
        let (store, result) = match polled {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                self.call = Some(call);
                return Step::Paused;
            }
        };
        let store = self.store.insert(store);
        match result {
            Ok(Val::I32(value)) => Step::Returned(u64::from(value.cast_unsigned())),
            Ok(Val::I64(value)) => Step::Returned(value.cast_unsigned()),
            Ok(_) => Step::Returned(0),
            Err(error) => {
                let stack = self.stack.get(&mut *store).i32().unwrap_or(0);
                Step::Halted(self.host.as_deref().map_or_else(lost, |host| halt(&error, host, stack)))
            }
        }
    }
}

fn lost() -> Halt {
    Halt::Node("a call has lost its host".to_owned())
}

/// Whether an export returns a value.
fn results(export: Export) -> usize {
    usize::from(!matches!(export, Export::Start | Export::Init))
}

impl Machine for JitMachine {
    /// Machine code takes no stack between two pauses that it does not give back.
    const BREATH: u64 = u64::MAX;

    fn call(&mut self, export: Export, arguments: &[u32]) -> Option<Step> {
        let function = self.exports[export as usize]?;
        let Some(mut store) = self.store.take() else {
            return Some(Step::Halted(Halt::Node("a call before the one before it has ended".to_owned())));
        };
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(argument.cast_signed())).collect();
        Some(self.step(Box::pin(async move {
            let mut result = [Val::I64(0)];
            let called = function.call_async(&mut store, &arguments, &mut result[..results(export)]).await;
            let [result] = result;
            (store, called.map(|()| result))
        })))
    }

    fn resume(&mut self) -> Step {
        match self.call.take() {
            Some(call) => self.step(call),
            None => Step::Halted(Halt::Node("nothing is paused".to_owned())),
        }
    }

    fn set(&mut self, gas: i64, stack: Option<u32>) {
        let Some(store) = &mut self.store else {
            lock(&self.slot).gas = gas;
            return;
        };
        // Both are mutable globals of these types, in every instrumented module.
        let _ = self.gas.set(&mut *store, Val::I64(gas));
        if let Some(stack) = stack {
            let _ = self.stack.set(&mut *store, Val::I32(stack.cast_signed()));
        }
    }

    fn gas(&mut self) -> i64 {
        match &mut self.store {
            Some(store) => self.gas.get(store).i64().unwrap_or(0),
            None => lock(&self.slot).gas,
        }
    }

    fn parts(&mut self) -> (&mut [u8], &mut Host) {
        let memory = self.store.as_mut().map_or(&mut [][..], |store| self.memory.data_mut(store));
        // It is always here between two steps.
        let host = self.host.get_or_insert_with(|| Box::new(Host::new(Default::default(), Default::default())));
        (memory, host)
    }
}

/// Runs until the call pauses or ends; nobody has to be woken for it.
fn poll<F: Future + ?Sized>(call: Pin<&mut F>) -> Poll<F::Output> {
    call.poll(&mut Context::from_waker(Waker::noop()))
}

/// Whole between any two statements.
fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an error of the engine means.
fn halt(error: &Error, host: &Host, stack: i32) -> Halt {
    if let Some(failure) = host.node_failure {
        return Halt::Node(failure.to_owned());
    }
    if let Some(Stop(trap)) = error.downcast_ref() {
        return (*trap).into();
    }
    let trap = match error.downcast_ref::<Code>() {
        Some(Code::UnreachableCodeReached) if stack < 0 => Trap::Stack,
        Some(Code::UnreachableCodeReached) => host.unreachable(),
        Some(Code::MemoryOutOfBounds | Code::TableOutOfBounds) => Trap::OutOfBounds,
        Some(Code::IndirectCallToNull | Code::BadSignature) => Trap::IndirectCall,
        Some(Code::IntegerDivisionByZero | Code::IntegerOverflow | Code::BadConversionToInteger) => Trap::Arithmetic,
        _ => return Halt::Node(format!("{error:#}")),
    };
    trap.into()
}

/// What it means that no instance could be made: the only traps are segments and sizes.
fn not_instantiated(error: &Error, host: &Host) -> Halt {
    let refused = error.downcast_ref::<Code>().is_none() && host.unreachable() == Trap::Memory;
    if refused && host.node_failure.is_none() { Trap::Memory.into() } else { halt(error, host, 0) }
}

impl State {
    fn host<R>(&self, ask: impl FnOnce(&mut Host) -> R) -> Result<R> {
        let mut slot = lock(&self.slot);
        let host = slot.host.as_mut().ok_or_else(|| Error::msg("a call has lost its host"))?;
        Ok(ask(host))
    }

    /// What the limits grant could not be allocated: another result than elsewhere would follow.
    fn fail(&self, error: Error) -> Result<()> {
        self.host(|host| host.node_failure = Some("out of memory"))?;
        Err(error)
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.host(|host| host.grow_memory(desired, maximum))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.host(|host| host.grow_table(current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.fail(error)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.fail(error)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        pass::limits::TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        1
    }
}

/// Runs a host function on the guest's memory and gas.
fn enter<R>(
    mut caller: Caller<'_, State>,
    function: impl FnOnce(&mut Host, &mut [u8], &mut i64) -> Result<R, Trap>,
) -> Result<R> {
    let (global, memory) = reach(&caller)?;
    let mut gas = global.get(&mut caller).i64().unwrap_or(0);
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let result = state.host(|host| function(host, bytes, &mut gas))?;
    global.set(&mut caller, Val::I64(gas))?;
    result.map_err(|trap| Error::new(Stop(trap)))
}

fn reach(caller: &Caller<'_, State>) -> Result<(Global, Memory)> {
    let parts = caller.data().gas.zip(caller.data().memory);
    parts.ok_or_else(|| Error::msg("a host function was called before the instance was made"))
}

/// The end of a slice, or of all gas.
async fn out_of_gas(mut caller: Caller<'_, State>) -> Result<()> {
    let (global, _) = reach(&caller)?;
    let gas = global.get(&mut caller).i64().unwrap_or(0);
    if caller.data().host(|host| host.tank.is_empty(gas))? {
        return Err(Error::new(Stop(Trap::Gas)));
    }
    lock(&caller.data().slot).gas = gas;
    let mut left = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut left, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    let gas = lock(&caller.data().slot).gas;
    global.set(&mut caller, Val::I64(gas))
}

fn linker(engine: &wasmtime::Engine) -> Result<Linker<State>> {
    type C<'a> = Caller<'a, State>;
    let mut linker = Linker::new(engine);
    linker.func_wrap_async(pass::PASS_MODULE, pass::OUT_OF_GAS, |caller: C<'_>, ()| Box::new(out_of_gas(caller)))?;
    linker.func_wrap(HOST_MODULE, "send", |caller: C<'_>, ptr: u32, len: u32| {
        enter(caller, |host, memory, gas| host.send(memory, gas, ptr, len))
    })?;
    linker.func_wrap(HOST_MODULE, "log", |caller: C<'_>, level: u32, ptr: u32, len: u32| {
        enter(caller, |host, memory, gas| host.log(memory, gas, level, ptr, len))
    })?;
    linker.func_wrap(HOST_MODULE, "now", |caller: C<'_>| enter(caller, |host, _, gas| host.now(gas)))?;
    linker.func_wrap(HOST_MODULE, "random", |caller: C<'_>, ptr: u32, len: u32| {
        enter(caller, |host, memory, gas| host.random(memory, gas, ptr, len))
    })?;
    linker.func_wrap(HOST_MODULE, "chunk_read", |caller: C<'_>, chunk: u32, offset: u64, ptr: u32, len: u32| {
        enter(caller, |host, memory, gas| host.chunk_read(memory, gas, (chunk, offset), (ptr, len)))
    })?;
    Ok(linker)
}
