//! The `pangea` command: see [`pangea::cli`].

fn main() -> std::process::ExitCode {
    pangea::cli::main()
}
