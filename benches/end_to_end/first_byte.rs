//! How long a reader waits for the first byte of a large object: a `pangea cat` process, and inside of a client that
//! is connected already.

use crate::{
    measure::{millis, quantile},
    ours::Net,
};
use pangea::{
    control::Client,
    node::handle::{Get, News},
};
use pangea_ces::api::Selection;
use pangea_protocols::{files::Sink, job::JobEvent, ticket::Ticket};
use std::{
    io::Read,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::LocalSet};

/// The node that reads; it holds a part of the object, as all but the one that stored it do.
const READER: usize = 2;

/// What was measured, in milliseconds.
#[derive(Default)]
pub struct Waits {
    /// From the start of the process to the first byte on its standard output.
    pub process: Vec<f64>,
    /// From the request of a connected client to the manifest.
    pub opened: Vec<f64>,
    /// From the request of a connected client to the first byte.
    pub client: Vec<f64>,
    /// A process that does nothing: `pangea --version`.
    pub nothing: Vec<f64>,
}

impl Waits {
    /// Prints a row per measurement.
    pub fn print(&self) {
        println!("\nfirst byte of {} cats             p50 ms    p90 ms    max ms", self.process.len());
        for (name, values) in [
            ("pangea cat", &self.process),
            ("connected client, manifest", &self.opened),
            ("connected client, first byte", &self.client),
            ("pangea --version", &self.nothing),
        ] {
            let of = |part| quantile(values.iter().copied(), part);
            println!("{name:<30} {:>9.1} {:>9.1} {:>9.1}", of(0.5), of(0.9), of(1.0));
        }
    }
}

/// Measures `count` times each, and adds to `waits`.
pub fn run(net: &Net, ticket: &str, count: u64, waits: &mut Waits) {
    // The first read of a node may have to dial.
    cat(net, ticket);
    for _ in 0..count {
        waits.process.push(cat(net, ticket));
        let started = Instant::now();
        let nothing = Command::new(env!("CARGO_BIN_EXE_pangea")).arg("--version").output().unwrap();
        assert!(nothing.status.success());
        waits.nothing.push(millis(started.elapsed()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let client = Client::connect(&net.cluster.members()[READER].home).await.unwrap();
        for _ in 0..count {
            let (opened, first) = read(&client, ticket.parse().unwrap()).await;
            waits.opened.push(opened);
            waits.client.push(first);
        }
        client.disconnect().await;
    });
}

fn cat(net: &Net, ticket: &str) -> f64 {
    let mut command = net.cluster.command_at(READER, &["cat", ticket]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    let wait = millis(started.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
    net.until(READER, |status| status["jobs"] == 0);
    wait
}

/// Milliseconds to the manifest and to the first byte.
async fn read(client: &Client, ticket: Ticket) -> (f64, f64) {
    let (sender, mut bytes) = mpsc::channel(4);
    let get = Get { ticket, only: Selection::All, sink: Sink::Stream, timeout: Duration::from_secs(60) };
    let started = Instant::now();
    let job = client.get_stream(&get, sender).await.unwrap();
    let opened = async {
        loop {
            if let News::Event(JobEvent::Opened { .. }) = job.next().await.unwrap().unwrap() {
                return millis(started.elapsed());
            }
        }
    };
    let first = async {
        assert!(!bytes.recv().await.unwrap().is_empty());
        millis(started.elapsed())
    };
    let waits = tokio::join!(opened, first);
    drop((job, bytes));
    while client.status().await.unwrap().jobs > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waits
}
