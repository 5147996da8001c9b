//! The control API from end to end: a client, the socket, the server, and a hub of which nothing is real but the
//! messages. See `hub.rs` for what the fake hub answers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod commands;
mod hub;
mod jobs;
mod questions;

use hub::Hub;
use pangea::{
    control::{Client, ControlServer, address, serve},
    drivers::jobs::{JobsDriver, JobsHandle},
};
use pangea_kernel::Port;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::LocalSet;

/// A served fake hub in a directory of its own.
struct World {
    hub: Hub,
    server: Option<ControlServer>,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (hub, node) = Hub::start();
        let jobs = jobs_in(dir.path());
        let server = serve(&address::to_serve(dir.path()).unwrap(), node, jobs).unwrap();
        Self { hub, server: Some(server), dir }
    }

    fn home(&self) -> &Path {
        self.dir.path()
    }

    fn socket(&self) -> PathBuf {
        self.home().join("control.sock")
    }

    async fn client(&self) -> Client {
        Client::connect(self.home()).await.unwrap()
    }
}

/// The jobs driver without a coordinator.
fn jobs_in(dir: &Path) -> JobsHandle {
    JobsDriver::start(&dir.join("jobs"), true, Port::new(|_| Ok(()))).unwrap().1
}

/// No test takes a tenth of this.
const HANGS: Duration = Duration::from_secs(30);

/// Runs a test on one thread, as clients need it; the server has its own.
fn run<T>(test: impl AsyncFnOnce(World) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        // No test waits for time; this only turns one that hangs into one that fails.
        tokio::time::timeout(HANGS, test(World::new())).await.expect("the test hangs")
    })
}
