//! [`Wasmi`]: the engine that is always there, an interpreter of about a hundredth of the code of a compiler.
//!
//! A slice ends in the import [`pass::OUT_OF_GAS`], which returns an error that the interpreter can resume from; its own
//! fuel metering is off, since the module meters itself.
//!
//! In an optimised build wasmi goes from one instruction to the next by a tail call, three times as fast as by its
//! portable loop. Where LLVM makes a call of it (`memory.grow` and `memory.copy`, with rustc 1.95 on x86-64; wasmi's pull
//! request 1946 tells of the former), every execution takes stack of the host until the guest pauses, and a loop of them would end the process. So a guest
//! pauses often ([`Machine::BREATH`]), whichever instructions those are: it takes 2 to 5% of the time.

use super::{Engine, Export, Halt, Machine, STACK_SLOTS_MAX, Step, host::Host};
use crate::pass::{self, Instrumented, abi::HOST_MODULE, limits::FRAME_BASE_SLOTS};
use pangea_protocols::task::{Refusal, Trap};
use std::fmt;
use wasmi::{
    Caller, CompilationMode, Config, Error, Func, Global, Linker, Memory, Module, ResourceLimiter, ResumableCall,
    ResumableCallHostTrap, Store, TrapCode, Val,
    errors::{ErrorKind, HostError, InstantiationError, MemoryError, TableError},
};
use wasmi_core::LimiterError;

/// The engine.
pub struct Wasmi {
    engine: wasmi::Engine,
    linker: Linker<State>,
}

/// What the store holds: the host, and how to reach the guest from it.
struct State {
    host: Host,
    gas: Option<Global>,
    memory: Option<Memory>,
}

/// Why a host function does not return to the guest.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Pause,
    Trap(Trap),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl HostError for Stop {}

impl Wasmi {
    /// An engine with the host functions of the ABI.
    ///
    /// # Errors
    /// Two host functions of the same name.
    pub fn new() -> Result<Self, Error> {
        let mut config = Config::default();
        // Every frame takes more slots of our count than cells of the interpreter: ours is exhausted first.
        config.set_max_stack_height(2 * 8 * STACK_SLOTS_MAX as usize);
        config.set_max_recursion_depth(STACK_SLOTS_MAX as usize / FRAME_BASE_SLOTS as usize + 16);
        config.compilation_mode(CompilationMode::Eager).consume_fuel(false).ignore_custom_sections(true);
        config.wasm_tail_call(false).wasm_multi_memory(false).wasm_extended_const(false);
        let engine = wasmi::Engine::new(&config);
        let linker = linker(&engine)?;
        Ok(Self { engine, linker })
    }
}

impl Engine for Wasmi {
    type Module = Module;
    type Machine = WasmiMachine;

    fn compile(&self, module: &Instrumented) -> Result<Module, Refusal> {
        Module::new(&self.engine, &module.bytes).map_err(|error| Refusal::Node { message: error.to_string() })
    }

    fn instantiate(&self, module: &Module, host: Host) -> Result<WasmiMachine, Halt> {
        let mut store = Store::new(&self.engine, State { host, gas: None, memory: None });
        store.limiter(|state| state);
        let instance = match self.linker.instantiate_and_start(&mut store, module) {
            Ok(instance) => instance,
            Err(error) => return Err(not_instantiated(&error, &store.data().host)),
        };
        let global = |name| instance.get_global(&store, name);
        let parts = (global(pass::GAS), global(pass::STACK), instance.get_memory(&store, pass::abi::MEMORY));
        let (Some(gas), Some(stack), Some(memory)) = parts else {
            return Err(Halt::Node("an instance lacks what the pass added".to_owned()));
        };
        let exports = Export::ALL.map(|export| instance.get_func(&store, export.name()));
        (store.data_mut().gas, store.data_mut().memory) = (Some(gas), Some(memory));
        Ok(WasmiMachine { store, gas, stack, memory, exports, paused: None })
    }
}

/// An instance in the interpreter.
pub struct WasmiMachine {
    store: Store<State>,
    gas: Global,
    stack: Global,
    memory: Memory,
    /// As in [`Export::ALL`].
    exports: [Option<Func>; 5],
    paused: Option<(Export, ResumableCallHostTrap)>,
}

impl WasmiMachine {
    fn step(&mut self, export: Export, called: Result<ResumableCall, Error>, result: &Val) -> Step {
        let error = match called {
            Ok(ResumableCall::Finished) => {
                return Step::Returned(match result {
                    Val::I32(value) => u64::from(value.cast_unsigned()),
                    Val::I64(value) => value.cast_unsigned(),
                    _ => 0,
                });
            }
            Ok(ResumableCall::HostTrap(paused)) => {
                if let Some(Stop::Pause) = paused.host_error().downcast_ref::<Stop>() {
                    self.paused = Some((export, paused));
                    return Step::Paused;
                }
                paused.into_host_error()
            }
            Ok(ResumableCall::OutOfFuel(_)) => Error::new("out of fuel, which is not used"),
            Err(error) => error,
        };
        let stack = self.stack.get(&self.store).i32().unwrap_or(0);
        Step::Halted(halt(&error, &self.store.data().host, stack))
    }
}

/// Whether an export returns a value.
fn results(export: Export) -> usize {
    usize::from(!matches!(export, Export::Start | Export::Init))
}

impl Machine for WasmiMachine {
    /// With up to 200 bytes for an instruction that costs one or two gas, this stays below 2 MiB, the least stack that a
    /// thread has here.
    const BREATH: u64 = 10_000;

    fn call(&mut self, export: Export, arguments: &[u32]) -> Option<Step> {
        let function = self.exports[export as usize]?;
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(argument.cast_signed())).collect();
        let mut result = [Val::I64(0)];
        let called = function.call_resumable(&mut self.store, &arguments, &mut result[..results(export)]);
        Some(self.step(export, called, &result[0]))
    }

    fn resume(&mut self) -> Step {
        let Some((export, paused)) = self.paused.take() else {
            return Step::Halted(Halt::Node("nothing is paused".to_owned()));
        };
        let mut result = [Val::I64(0)];
        let resumed = paused.resume(&mut self.store, &[], &mut result[..results(export)]);
        self.step(export, resumed, &result[0])
    }

    fn set(&mut self, gas: i64, stack: Option<u32>) {
        // Both are mutable globals of these types, in every instrumented module.
        let _ = self.gas.set(&mut self.store, Val::I64(gas));
        if let Some(stack) = stack {
            let _ = self.stack.set(&mut self.store, Val::I32(stack.cast_signed()));
        }
    }

    fn gas(&mut self) -> i64 {
        self.gas.get(&self.store).i64().unwrap_or(0)
    }

    fn parts(&mut self) -> (&mut [u8], &mut Host) {
        let (memory, state) = self.memory.data_and_store_mut(&mut self.store);
        (memory, &mut state.host)
    }
}

/// What an error of the interpreter means.
fn halt(error: &Error, host: &Host, stack: i32) -> Halt {
    if let Some(failure) = host.node_failure {
        return Halt::Node(failure.to_owned());
    }
    if let Some(Stop::Trap(trap)) = error.downcast_ref::<Stop>() {
        return (*trap).into();
    }
    let trap = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) if stack < 0 => Trap::Stack,
        Some(TrapCode::UnreachableCodeReached) => host.unreachable(),
        Some(TrapCode::MemoryOutOfBounds | TrapCode::TableOutOfBounds) => Trap::OutOfBounds,
        Some(TrapCode::IndirectCallToNull | TrapCode::BadSignature) => Trap::IndirectCall,
        Some(TrapCode::IntegerDivisionByZero | TrapCode::IntegerOverflow | TrapCode::BadConversionToInteger) => {
            Trap::Arithmetic
        }
        _ => return Halt::Node(error.to_string()),
    };
    trap.into()
}

/// What it means that no instance could be made: the only traps are segments and sizes.
fn not_instantiated(error: &Error, host: &Host) -> Halt {
    if let Some(failure) = host.node_failure {
        return Halt::Node(failure.to_owned());
    }
    match error.kind() {
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => Trap::OutOfBounds.into(),
        ErrorKind::Memory(MemoryError::ResourceLimiterDeniedAllocation)
        | ErrorKind::Table(TableError::ResourceLimiterDeniedAllocation) => Trap::Memory.into(),
        ErrorKind::Instantiation(
            InstantiationError::FailedToInstantiateMemory(_) | InstantiationError::FailedToInstantiateTable(_),
        ) => Trap::Memory.into(),
        ErrorKind::Memory(_) | ErrorKind::Table(_) => Trap::OutOfBounds.into(),
        _ => halt(error, host, 0),
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool, LimiterError> {
        Ok(self.host.grow_memory(desired, maximum))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, LimiterError> {
        Ok(self.host.grow_table(current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, _: &MemoryError) -> Result<(), LimiterError> {
        self.fail()
    }

    fn table_grow_failed(&mut self, _: &TableError) -> Result<(), LimiterError> {
        self.fail()
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

impl State {
    /// What the limits grant could not be allocated: another result than elsewhere would follow.
    fn fail(&mut self) -> Result<(), LimiterError> {
        self.host.node_failure = Some("out of memory");
        Err(LimiterError::ResourceLimiterDeniedAllocation)
    }
}

/// Runs a host function on the guest's memory and gas.
fn enter<R>(
    mut caller: Caller<'_, State>,
    function: impl FnOnce(&mut Host, &mut [u8], &mut i64) -> Result<R, Trap>,
) -> Result<R, Error> {
    let (Some(global), Some(memory)) = (caller.data().gas, caller.data().memory) else {
        return Err(Error::new("a host function was called before the instance was made"));
    };
    let mut gas = global.get(&caller).i64().unwrap_or(0);
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let result = function(&mut state.host, bytes, &mut gas);
    global.set(&mut caller, Val::I64(gas))?;
    result.map_err(|trap| Error::host(Stop::Trap(trap)))
}

fn linker(engine: &wasmi::Engine) -> Result<Linker<State>, Error> {
    type C<'a> = Caller<'a, State>;
    let mut linker = Linker::new(engine);
    linker.func_wrap(pass::PASS_MODULE, pass::OUT_OF_GAS, |caller: C<'_>| -> Result<(), Error> {
        let gas = caller.data().gas.and_then(|global| global.get(&caller).i64()).unwrap_or(0);
        let stop = if caller.data().host.tank.is_empty(gas) { Stop::Trap(Trap::Gas) } else { Stop::Pause };
        Err(Error::host(stop))
    })?;
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
