//! Skeleton.
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {}
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Done {}
