//! The parts of a put, each alone: CES, the network driver, the shard disk. Every part runs in a process of its own,
//! which measures its own CPU time, so that no part inherits another's memory or threads.

use crate::{
    Cost,
    measure::{
        cpu_of_self, median,
        network::{Node, frame},
    },
};
use bytes::Bytes;
use pangea::drivers::disk::{Disk, Options};
use pangea_ces::{Place, Scratch, api::Profile, encode_frame};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Hash, PeerId, ShardId,
    disk::{self, Meta},
    manifest::FRAME_BYTES,
    merkle::StripeProof,
    net::{self, Class},
    ticket::ReadKey,
    wire::store::ShardKind,
};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Instant,
};

/// Bytes and records that are on their way at a time, to a peer and to the disk.
const WINDOW_BYTES: u64 = 32 << 20;
const WINDOW_RECORDS: u64 = 200;

/// What all shards of an object are together.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many.
    pub shards: u64,
    /// Bytes of one, the mean.
    pub bytes: u64,
}

/// What the parts cost.
pub struct Parts {
    pub ces: Cost,
    pub fabric: Cost,
    pub store: Cost,
}

impl Parts {
    /// CPU seconds of all.
    pub fn cpu(&self) -> f64 {
        self.ces.cpu + self.fabric.cpu + self.store.cpu
    }

    /// The part-wise median of several.
    pub fn median(all: &[Self]) -> Self {
        let of = |part: fn(&Self) -> Cost| Cost {
            seconds: median(all.iter().map(|parts| part(parts).seconds)),
            cpu: median(all.iter().map(|parts| part(parts).cpu)),
        };
        Self { ces: of(|parts| parts.ces), fabric: of(|parts| parts.fabric), store: of(|parts| parts.store) }
    }
}

/// Runs all parts, one after the other, for the shards of `file`.
pub fn run(dir: &Path, file: &Path, (k, m): (u8, u8), profile: &str) -> (Parts, Load) {
    let file = file.to_str().unwrap();
    let ces = ask(&["ces", file, &k.to_string(), &m.to_string(), profile]);
    let (shards, bytes) = (ces.shards, ces.bytes / ces.shards.max(1));
    let load = Load { shards, bytes };
    let (count, size) = (shards.to_string(), bytes.to_string());
    let fabric = over_the_network(&count, &size);
    let home = dir.join("store-alone");
    let store = ask(&["store", home.to_str().unwrap(), &count, &size]);
    std::fs::remove_dir_all(home).unwrap();
    (Parts { ces: ces.cost, fabric, store: store.cost }, load)
}

fn over_the_network(count: &str, size: &str) -> Cost {
    let mut receiver = spawn(&["receive", count]);
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines().map(Result::unwrap);
    let ready = lines.next().unwrap();
    let (address, peer) = ready.split_once(' ').unwrap();
    let sent = ask(&["send", address, peer, count, size]);
    let received = Answer::read(&lines.next().unwrap());
    assert!(receiver.wait().unwrap().success());
    Cost { seconds: sent.cost.seconds, cpu: sent.cost.cpu + received.cost.cpu }
}

fn spawn(arguments: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("part").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

fn ask(arguments: &[&str]) -> Answer {
    let output = spawn(arguments).wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    Answer::read(String::from_utf8(output.stdout).unwrap().trim())
}

/// What a part tells on its standard output.
struct Answer {
    cost: Cost,
    shards: u64,
    bytes: u64,
}

impl Answer {
    fn print(started: Instant, cpu: f64, shards: u64, bytes: u64) {
        println!("{} {} {shards} {bytes}", started.elapsed().as_secs_f64(), cpu_of_self() - cpu);
    }

    fn read(line: &str) -> Self {
        let fields: Vec<f64> = line.split(' ').map(|field| field.parse().unwrap()).collect();
        let cost = Cost { seconds: fields[0], cpu: fields[1] };
        Self { cost, shards: fields[2] as u64, bytes: fields[3] as u64 }
    }
}

/// The process of a part: `arguments` are those of [`ask`].
pub fn part(arguments: &[String]) {
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    match arguments[0].as_str() {
        "ces" => {
            let code = (arguments[2].parse().unwrap(), arguments[3].parse().unwrap());
            ces(Path::new(&arguments[1]), code, profile(&arguments[4]));
        }
        "store" => store(Path::new(&arguments[1]), number(2), number(3)),
        "receive" => on_runtime(receive(number(1))),
        "send" => on_runtime(send(&arguments[1], arguments[2].parse().unwrap(), number(3), number(4))),
        other => panic!("no part is called {other}"),
    }
}

/// The profile that a word on the command line means.
fn profile(name: &str) -> Profile {
    match name {
        "fast" => Profile::Fast,
        "small" => Profile::Small,
        "balanced" => Profile::Balanced,
        other => panic!("no profile is called {other}"),
    }
}

/// Every frame of `file` read, compressed, encrypted, coded and hashed, on as many threads as a node has for it.
fn ces(file: &Path, code: (u8, u8), profile: Profile) {
    let (cpu, started) = (cpu_of_self(), Instant::now());
    let input = Mutex::new((File::open(file).unwrap(), 0u64));
    let work = || {
        let (mut scratch, mut raw) = (Scratch::new(), vec![0; FRAME_BYTES]);
        let (mut shards, mut bytes) = (0, 0);
        loop {
            let (index, len) = next_frame(&mut input.lock().unwrap(), &mut raw);
            if len == 0 {
                return (shards, bytes);
            }
            let place = Place { key: &ReadKey([9; 32]), object: &[7; 16], index };
            let stripe = encode_frame(&mut scratch, place, &raw[..len], code, profile).unwrap();
            shards += stripe.shards.len() as u64;
            bytes += stripe.shards.iter().map(|(shard, _)| shard.len() as u64).sum::<u64>();
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (shards, bytes) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    Answer::print(started, cpu, shards, bytes);
}

/// Number and length of the next frame, 0 at the end.
fn next_frame((file, next): &mut (File, u64), raw: &mut [u8]) -> (u64, usize) {
    let mut len = 0;
    while len < raw.len() {
        match file.read(&mut raw[len..]).unwrap() {
            0 => break,
            read => len += read,
        }
    }
    *next += 1;
    (*next - 1, len)
}

fn window(bytes: u64) -> u64 {
    (WINDOW_BYTES / bytes.max(1)).clamp(1, WINDOW_RECORDS)
}

fn random(bytes: u64) -> Bytes {
    let mut body = vec![0; usize::try_from(bytes).unwrap()];
    blake3::Hasher::new().finalize_xof().fill(&mut body);
    body.into()
}

/// `count` records of `bytes` bytes, each durable before it counts, and the index.
fn store(home: &Path, count: u64, bytes: u64) {
    let (sender, events) = std::sync::mpsc::channel();
    let port = Port::new(move |event| sender.send(event).map_err(|error| Rejected::Closed(error.0)));
    let (disk, port) = Disk::open(home, Options::default(), port).unwrap();
    assert!(matches!(events.recv().unwrap(), disk::Event::Opened { .. }));
    let meta = Meta { owner: PeerId([1; 32]), kind: ShardKind::Data, expires_unix: 1, proof: StripeProof::block() };
    let body = random(bytes);
    let (cpu, started) = (cpu_of_self(), Instant::now());
    let (mut sent, mut stored) = (0, 0);
    while stored < count {
        while sent < count && sent - stored < window(bytes) {
            let shard = ShardId::block(Hash::of(&sent.to_le_bytes()));
            let command = disk::Command::Append { tag: sent, shard, meta: meta.clone(), body: body.clone() };
            assert!(port.send(command).is_ok());
            sent += 1;
        }
        match events.recv().unwrap() {
            disk::Event::Appended { tags, .. } => stored += tags.len() as u64,
            other => panic!("unexpected {other:?}"),
        }
    }
    // Closing commits the index.
    disk.close();
    Answer::print(started, cpu, count, count * bytes);
}

fn on_runtime(task: impl Future<Output = ()>) {
    // As many threads as a node has for its sockets.
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(task);
    std::process::exit(0);
}

async fn receive(count: u64) {
    let mut node = Node::start(1).await;
    println!("{} {}", node.handle.listening_on()[0], node.handle.local_peer());
    let peer = node.connected().await;
    let (cpu, started) = (cpu_of_self(), Instant::now());
    let (mut frames, mut bytes) = (0, 0);
    while frames < count {
        if let net::Event::Received { frame, .. } = node.events.recv().await.unwrap() {
            frames += 1;
            bytes += frame.body.len() as u64;
        }
    }
    node.send(peer, 1, Class::Control, frame(&Bytes::new()));
    node.disconnected().await;
    Answer::print(started, cpu, frames, bytes);
}

async fn send(address: &str, peer: PeerId, count: u64, bytes: u64) {
    let mut node = Node::start(2).await;
    node.connect(peer, address).await;
    let body = random(bytes);
    let (cpu, started) = (cpu_of_self(), Instant::now());
    let (mut sent, mut acknowledged) = (0, 0);
    loop {
        while sent < count && sent - acknowledged < window(bytes) {
            node.send(peer, sent, Class::Bulk, frame(&body));
            sent += 1;
        }
        match node.events.recv().await.unwrap() {
            net::Event::Sent { .. } => acknowledged += 1,
            // The receiver has all of it.
            net::Event::Received { .. } => break,
            net::Event::SendFailed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    Answer::print(started, cpu, count, count * bytes);
    node.handle.shutdown().await;
}
