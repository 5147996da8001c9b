//! The `pangea` command: see `pangea::cli`.

fn main() {}
