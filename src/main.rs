//! The `pangea` command: see [`pangea::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pangea::cli::main()
}
