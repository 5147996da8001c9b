//! `task`: WebAssembly modules on this machine, in the sandbox that they meet on others. No node has to run.

use super::{CliError, format, output::Output};
use bytes::Bytes;
use clap::Subcommand;
use pangea_protocols::{
    Hash,
    job::ErrorKind,
    task::{Capabilities, Capability, Ending, Input, Limits, Outcome, Receipt, Refusal, TaskId, Trap},
};
use pangea_sandbox::{
    Workshop,
    engine::{Wasmi, host::Line},
    pass,
    work::{Begin, Done, State, Work},
};
use serde_json::{Value, json};
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Gas of a slice: some tens of milliseconds, after which the lines that were logged are shown.
const SLICE_GAS: u64 = 20_000_000;

/// Check and try WebAssembly tasks on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct TaskArgs {
    #[command(subcommand)]
    action: TaskAction,
}

#[derive(Debug, Subcommand)]
enum TaskAction {
    Check(CheckArgs),
    Run(RunArgs),
}

/// Tell whether a module can run in the sandbox, and what it imports
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A module is WebAssembly that speaks the ABI pangea:1: it exports `memory`, `alloc(len) -> ptr` and
`handle(ptr, len) -> ptr << 32 | len`. A file that ends in `.wat` is WebAssembly's text format.

Examples:
  pangea task check count.wasm
  pangea task check count.wasm --json"
)]
struct CheckArgs {
    /// The module
    module: PathBuf,
}

/// Run a module on an input, with the result, gas and receipt that every other machine would get
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The module sees its input and what is granted, and nothing else of this machine. Its lines of log
come on standard error.

Examples:
  pangea task run count.wasm book.txt
  pangea task run count.wasm book.txt --output counts.bin --json
  pangea task run count.wasm - --gas 500000000 --grant log < book.txt"
)]
struct RunArgs {
    /// The module
    module: PathBuf,
    /// What it is called with; `-` is standard input [default: nothing]
    input: Option<PathBuf>,
    /// Write its output here, not to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What it may import: send, log, now, random or chunk_read; may be repeated
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    grant: Vec<Capability>,
    /// Data beside the input, for chunk_read; may be repeated
    #[arg(long, value_name = "FILE")]
    chunk: Vec<PathBuf>,
    /// Most gas: about one per instruction
    #[arg(long, default_value_t = Limits::default().gas)]
    gas: u64,
    /// Most memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = format::parse_size)]
    memory: u64,
    /// What `now` says, in milliseconds since 1970
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    now: u64,
    /// What `random` follows from, 64 hexadecimal digits [default: zeros]
    #[arg(long, value_name = "HEX", value_parser = parse_seed)]
    seed: Option<[u8; 32]>,
}

fn parse_capability(text: &str) -> Result<Capability, String> {
    let names = || Capability::ALL.map(Capability::name).join(", ");
    Capability::from_name(text).ok_or_else(|| format!("there are {}", names()))
}

fn parse_seed(text: &str) -> Result<[u8; 32], String> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| "64 hexadecimal digits are needed".to_owned())
}

/// Runs the command.
pub(crate) fn task(args: &TaskArgs, output: &Output) -> Result<(), CliError> {
    match &args.action {
        TaskAction::Check(args) => check(args, output),
        TaskAction::Run(args) => run(args, output),
    }
}

fn check(args: &CheckArgs, output: &Output) -> Result<(), CliError> {
    let bytes = read_module(&args.module)?;
    let (_, hash, imports) = prepare(&bytes)?;
    if output.json {
        return output.value(&json!({
            "module": hash.to_string(), "bytes": bytes.len(), "imports": names(imports), "pass_version": pass::VERSION,
        }));
    }
    output.line(&format!("{hash}  {}", format::size(bytes.len() as u64)))?;
    match imports == Capabilities::NONE {
        true => output.line("imports nothing: it sees its input only"),
        false => output.line(&format!("needs {imports}")),
    }
}

fn run(args: &RunArgs, output: &Output) -> Result<(), CliError> {
    let bytes = read_module(&args.module)?;
    let input = Input {
        bytes: match &args.input {
            None => Bytes::new(),
            Some(path) if path.as_os_str() == "-" => read_stdin()?,
            Some(path) => read(path)?,
        },
        chunks: args.chunk.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
        unix_ms: args.now,
        seed: args.seed.unwrap_or_default(),
    };
    let (workshop, module, _) = prepare(&bytes)?;
    let limits = Limits { gas: args.gas, memory_bytes: args.memory, ..Limits::default() };
    let (task, granted) = (TaskId(0), args.grant.iter().copied().collect());
    let begin = Begin { task, module, limits, granted, input, gas: SLICE_GAS };
    let (outcome, receipt) = finish(&workshop, begin, |line| log(line, output))?;
    tell(args, &outcome, &receipt, output)
}

/// Runs slice after slice to the end, with what is logged meanwhile.
pub(crate) fn finish(workshop: &Workshop, begin: Begin, log: impl Fn(&Line)) -> Result<(Outcome, Receipt), CliError> {
    let (task, gas, mut work) = (begin.task, begin.gas, Work::Begin(Box::new(begin)));
    loop {
        let Some(Done::Sliced { lines, state, .. }) = work.run(workshop) else {
            return Err(CliError::failed("the sandbox gave no answer"));
        };
        lines.iter().for_each(&log);
        match state {
            State::Running => work = Work::Continue { task, gas },
            State::Ended { outcome, receipt } => return Ok((outcome, receipt)),
            State::Refused(refusal) => return Err(refused(&refusal)),
        }
    }
}

fn tell(args: &RunArgs, outcome: &Outcome, receipt: &Receipt, output: &Output) -> Result<(), CliError> {
    let used = format!("{} gas, {} of memory", outcome.gas, format::size(outcome.memory_bytes));
    let bytes = match &outcome.ending {
        Ending::Output(bytes) => bytes,
        Ending::Trapped(trap) => {
            let error = CliError::failed(format!("the task {trap} after {used}"));
            return Err(match trap {
                Trap::Gas => error.help("give it more with --gas"),
                Trap::Memory => error.help("give it more with --memory"),
                _ => error,
            });
        }
    };
    if let Some(path) = &args.output {
        std::fs::write(path, bytes).map_err(|error| CliError::io(&path.display().to_string(), &error))?;
    }
    if output.json {
        return output.value(&described(outcome, receipt));
    }
    if args.output.is_none() {
        let written = io::stdout().lock().write_all(bytes);
        written.map_err(|error| CliError::io("standard output", &error))?;
    }
    output.say(&format!("{} of output, {used}", format::size(bytes.len() as u64)));
    Ok(())
}

fn described(outcome: &Outcome, receipt: &Receipt) -> Value {
    json!({
        "module": receipt.module.to_string(),
        "input": receipt.input.to_string(),
        "output": receipt.output.as_ref().ok().map(Hash::to_string),
        "output_bytes": match &outcome.ending { Ending::Output(bytes) => bytes.len(), Ending::Trapped(_) => 0 },
        "sent": outcome.sent.len(),
        "gas": receipt.gas,
        "memory_bytes": outcome.memory_bytes,
        "pass_version": receipt.pass_version,
    })
}

/// A workshop that has the module, its name there, and what it imports.
pub(crate) fn prepare(bytes: &Bytes) -> Result<(Workshop, Hash, Capabilities), CliError> {
    let engine = Wasmi::new().map_err(|error| CliError::failed(format!("the sandbox cannot be made: {error}")))?;
    let workshop = Workshop::new(engine, u64::MAX);
    match (Work::Prepare { module: Hash::of(bytes), bytes: bytes.clone() }).run(&workshop) {
        Some(Done::Prepared { module, result: Ok(imports) }) => Ok((workshop, module, imports)),
        Some(Done::Prepared { result: Err(refusal), .. }) => Err(refused(&refusal)),
        _ => Err(CliError::failed("the sandbox gave no answer")),
    }
}

/// What a job needs of a module: that it runs at all, and imports only what every task is granted.
pub(crate) fn check_for_job(module: &Bytes) -> Result<(), CliError> {
    let (_, _, imports) = prepare(module)?;
    let granted = pangea_compute::worker::granted();
    match imports.iter().find(|import| !granted.has(*import)) {
        None => Ok(()),
        Some(import) => {
            let text = format!("the module imports `{}`, which a task of a job is not granted", import.name());
            let help =
                format!("there are {} only: what is computed must follow from the input", names(granted).join(", "));
            Err(CliError::new(ErrorKind::Denied, text).help(help))
        }
    }
}

fn refused(refusal: &Refusal) -> CliError {
    match refusal {
        Refusal::NotGranted { needed, .. } => CliError::new(ErrorKind::Denied, refusal.to_string())
            .help(format!("grant it here with --grant {}", names(*needed).join(","))),
        Refusal::Node { .. } => CliError::failed(refusal.to_string()),
        _ => CliError::new(ErrorKind::Denied, refusal.to_string()),
    }
}

fn names(capabilities: Capabilities) -> Vec<&'static str> {
    capabilities.iter().map(Capability::name).collect()
}

fn log(line: &Line, output: &Output) {
    let level = match line.level {
        0 => "error",
        1 => "warning",
        2 => "info",
        _ => "debug",
    };
    if !output.quiet {
        output.warn(&format!("{level}: {}", format::printable(&line.text)));
    }
}

/// WebAssembly, or its text format in a file that ends in `.wat`.
pub(crate) fn read_module(path: &Path) -> Result<Bytes, CliError> {
    let bytes = read(path)?;
    if path.extension().is_none_or(|extension| extension != "wat") {
        return Ok(bytes);
    }
    let assembled = wat::Parser::new().parse_bytes(Some(path), &bytes).map(|module| module.into_owned());
    assembled.map(Bytes::from).map_err(|error| CliError::usage(error.to_string()))
}

fn read(path: &Path) -> Result<Bytes, CliError> {
    std::fs::read(path).map(Bytes::from).map_err(|error| CliError::io(&path.display().to_string(), &error))
}

fn read_stdin() -> Result<Bytes, CliError> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| CliError::io("standard input", &error))?;
    Ok(bytes.into())
}
