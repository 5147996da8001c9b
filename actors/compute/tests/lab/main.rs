//! Twenty nodes that compute for each other in the lab.
//!
//! | file | what it tests |
//! |---|---|
//! | `chaos` | whatever goes wrong, and whoever lies always: every job ends, with the right result |
//! | `odds` | how many wrong results get through, and what that costs |
//! | `stored` | inputs that workers read themselves, or cannot |
//! | `node`, `task` | the node, and the task that it runs |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod chaos;
mod node;
mod odds;
mod star;
mod stored;
mod task;
