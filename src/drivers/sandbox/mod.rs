//! The sandbox driver: where WebAssembly of strangers runs.
//!
//! | module | what it defines |
//! |---|---|
//! | [`threads`] | [`SandboxThreads`]: worker threads of this process |

pub mod threads;

pub use threads::SandboxThreads;
