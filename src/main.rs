<<<<<<< HEAD
//! The `pangea` command: see `pangea::cli`.

fn main() {}
=======
//! The `pangea` program: see [`pangea::cli`].

fn main() -> std::process::ExitCode {
    pangea::cli::main()
}
>>>>>>> 8aff138 (WIP cli)
