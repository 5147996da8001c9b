//! `pangea-sim`: simulations in a process that repeats.

mod bench;
mod cli;
mod determinism;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: determinism::allocator::Chosen = determinism::allocator::Chosen::new();

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("fleet-bench") {
        return match bench::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        };
    }
    cli::main()
}

#[allow(clippy::print_stderr, reason = "this is where a program says why it failed")]
fn complain(error: &anyhow::Error) {
    eprintln!("pangea-sim: {error:#}");
}
