//! A node with one more actor. `pangea init` makes its home, `pangea actor ask presence who` asks it.

use pangea::{cli, config::Layers, home::Home, node::Node};
use presence::Presence;
use std::{error::Error, process::ExitCode};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // A node starts its own program again, for the guests of others.
    if let Some(code) = cli::sandbox_worker() {
        return Ok(code);
    }
    let home = Home::resolve(std::env::args_os().nth(1).map(Into::into))?;
    let config = Layers::from_file(home.config_file())?.environment(std::env::vars())?.config()?;
    Node::builder(home, config).actor("presence", Presence::new).run()?;
    Ok(ExitCode::SUCCESS)
}
