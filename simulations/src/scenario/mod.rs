//! Scenarios: stories about a network, as files. A scenario and a seed make a [`crate::plan::Plan`].
//!
//! | file | its job |
//! |---|---|
//! | `file.rs` | what stands in a scenario file |
//! | `units.rs` | times, sizes and ranges as people write them |
//! | `draw.rs` | from scenario and seed to plan: nodes, lines, operations |
//! | `faults.rs` | the same for what goes wrong |
//! | `library.rs` | the scenarios that come with the program |
//! | `explain.rs` | a plan as a timeline that a person reads |

pub mod draw;
pub mod explain;
mod faults;
pub mod file;
pub mod library;
pub mod units;

pub use draw::draw;
pub use file::Scenario;

use crate::plan::Plan;
use std::path::{Path, PathBuf};

/// Why a scenario or plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a name nor a file.
    #[error("no scenario is called `{0}`, and there is no such file; `pangea-sim list` names those there are")]
    Unknown(String),
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    /// It is not a scenario, or not a plan.
    #[error("{}: {message}", path.display())]
    Parse { path: PathBuf, message: String },
    /// It makes no sense.
    #[error("scenario `{name}`: {message}")]
    Sense { name: String, message: String },
}

/// Finds a scenario: the path of a file, or the name of one that comes with the program.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn find(name: &str) -> Result<Scenario, ScenarioError> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") {
        return parse(path, &read(path)?);
    }
    let text = library::text(name).ok_or_else(|| ScenarioError::Unknown(name.to_owned()))?;
    parse(Path::new(name), text)
}

/// Reads a plan that a failure or a corpus file holds.
///
/// # Errors
/// It cannot be read, or is no plan.
pub fn read_plan(path: &Path) -> Result<Plan, ScenarioError> {
    let text = read(path)?;
    toml::from_str(&text).map_err(|error| ScenarioError::Parse { path: path.to_owned(), message: error.to_string() })
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|error| ScenarioError::Read { path: path.to_owned(), error })
}

fn parse(path: &Path, text: &str) -> Result<Scenario, ScenarioError> {
    toml::from_str(text).map_err(|error| ScenarioError::Parse { path: path.to_owned(), message: error.to_string() })
}
