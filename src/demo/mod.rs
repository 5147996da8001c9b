//! `pangea demo`: a small real network on this machine stores something, loses nodes and gives it back.
//!
//! Every node is a process with a directory and a port of its own ([`cluster`]); the demo asks them through the control
//! API, as any client does. It leaves nothing behind. [`corpus`] makes the default file, [`picture`] draws.

pub mod cluster;
mod corpus;
mod picture;
mod trees;

use crate::{
    control::client::{Client, RemoteJob},
    node::handle::{Get, News, Put},
};
use anyhow::{Context, bail};
use cluster::Cluster;
use pangea_ces::api::{Profile, Selection};
use pangea_protocols::{
    PeerId,
    files::{Sink, Source},
    job::{ErrorKind, JobError, JobEvent, Outcome, Progress, Stored},
    ticket::Ticket,
};
use pangea_transfer::api::Redundancy;
use picture::{Picture, Row};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

/// Bytes of the file that is generated when the user names none.
const FILE_BYTES: u64 = 64 << 20;
/// Fewest nodes that make a network worth showing: one puts, one gets, two hold, one of them dies.
pub const NODES_MIN: usize = 4;
/// Most nodes: each is a process.
pub const NODES_MAX: usize = 40;
/// Nodes are killed when this part of the download is done.
const KILL_AT_PERCENT: u64 = 20;
/// How long anything may stand still.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the user chose.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Files and directories to store; empty: a generated file and, if there is one, this program's source tree.
    pub paths: Vec<PathBuf>,
    /// Nodes, [`NODES_MIN`] to [`NODES_MAX`].
    pub nodes: usize,
    /// Print one JSON object at the end and nothing else.
    pub json: bool,
    /// Colours in the picture.
    pub colour: bool,
}

/// What happened to one path.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Story {
    /// What was stored.
    pub name: String,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Bytes at holders, parity included.
    pub stored_bytes: u64,
    /// Data and parity shards of a stripe.
    pub k: u8,
    /// See `k`.
    pub m: u8,
    /// Time of the put.
    pub put_ms: u64,
    /// Time of the get.
    pub get_ms: u64,
    /// Nodes that were killed while it was read; dead ones stay dead.
    pub killed: Vec<usize>,
    /// Shards that had to come from elsewhere.
    pub healed: u64,
    /// BLAKE3 of what was stored.
    pub hash: String,
    /// True if what came back is byte for byte what was stored.
    pub intact: bool,
}

/// What the demo did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Nodes that were started.
    pub nodes: usize,
    /// Until all nodes knew each other.
    pub start_ms: u64,
    /// One per path.
    pub stories: Vec<Story>,
    /// All of it.
    pub total_ms: u64,
}

/// A directory that disappears with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("pangea-demo-{}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(dir = %self.0.display(), %error, "the demo's directory could not be removed");
        }
    }
}

/// Runs the demo.
///
/// # Errors
/// Nodes did not start, a transfer failed, or what came back is not what was stored.
pub fn run(demo: &Demo) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scratch = Scratch::new().context("cannot make a directory for the demo")?;
    let report = runtime.block_on(LocalSet::new().run_until(async {
        // Before the first node starts: from here on no signal ends this process without its cleaning up.
        let interrupted = interruption()?;
        tokio::select! {
            biased;
            () = interrupted => Err(JobError::new(ErrorKind::Interrupted, "interrupted").into()),
            report = act(demo, &scratch.0) => report,
        }
    }))?;
    drop(scratch);
    let picture = Picture::new(demo.colour);
    if demo.json {
        picture::line(&serde_json::to_string(&report)?);
    } else {
        picture::line(&picture.summary(&report));
    }
    match report.stories.iter().find(|story| !story.intact) {
        Some(story) => bail!("{} came back changed", story.name),
        None => Ok(()),
    }
}

/// Ends when the user, the system or a closed terminal wants this process to end.
fn interruption() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

async fn act(demo: &Demo, dir: &Path) -> anyhow::Result<Report> {
    let started = Instant::now();
    let stage = Stage { talk: !demo.json, picture: Picture::new(demo.colour), nodes: demo.nodes };
    let paths = if demo.paths.is_empty() { default_paths(dir)? } else { demo.paths.clone() };
    stage.say(&format!("Starting {} nodes, each a process with its own directory and port …", demo.nodes));
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut cluster = Cluster::new(&program, dir);
    cluster.start(demo.nodes)?;
    let clients = connect(&cluster).await?;
    let start_ms = millis(started);
    stage.say(&format!("{} nodes found each other after {:.1} s.", demo.nodes, start_ms as f64 / 1e3));
    let mut objects = Vec::new();
    for path in &paths {
        let object = stage.store(&cluster, &clients, path, objects.is_empty()).await;
        objects.push(object.with_context(|| format!("{}", path.display()))?);
    }
    let mut stories = Vec::new();
    for object in objects {
        let name = object.stored.name.clone();
        stories.push(stage.read_back(&mut cluster, &clients, object, dir).await.context(name)?);
    }
    for client in clients {
        client.disconnect().await;
    }
    Ok(Report { nodes: demo.nodes, start_ms, stories, total_ms: millis(started) })
}

/// A generated file, and the sources that this program was built from if they are still there.
fn default_paths(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let file = dir.join("mixed.bin");
    corpus::write_mixed(&file, FILE_BYTES).context("cannot write the demo's file")?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    Ok(std::iter::once(file).chain(sources.is_dir().then_some(sources)).collect())
}

/// Connects to every node and waits until each is connected to all others.
async fn connect(cluster: &Cluster) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for member in cluster.members() {
        clients.push(Client::connect(&member.home).await?);
    }
    let others = u32::try_from(clients.len() - 1).unwrap_or(u32::MAX);
    let deadline = Instant::now() + PATIENCE;
    for client in &clients {
        while client.status().await?.peers_connected < others {
            if Instant::now() > deadline {
                bail!("the nodes did not find each other within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(clients)
}

/// What was stored, and how.
struct Object {
    stored: Stored,
    ticket: Ticket,
    hash: blake3::Hash,
    put_ms: u64,
}

/// Where the story is told.
struct Stage {
    talk: bool,
    picture: Picture,
    nodes: usize,
}

impl Stage {
    fn say(&self, text: &str) {
        if self.talk {
            picture::line(text);
        }
    }

    /// Puts `path` at the first node. Where the shards of the first object went is told node by node.
    async fn store(&self, cluster: &Cluster, clients: &[Client], path: &Path, first: bool) -> anyhow::Result<Object> {
        let path = fs::canonicalize(path).context("cannot be read")?;
        let hash = trees::hash(&path)?;
        self.say(&format!("\nnode 0 stores {} …", path.display()));
        let started = Instant::now();
        let stored = put(&clients[0], &path).await?;
        let put_ms = millis(started);
        self.say(&self.picture.stored(&stored, put_ms));
        if first {
            self.say(&self.picture.table(&self.rows(cluster, clients, &stored).await?));
        }
        Ok(Object { ticket: clients[0].ticket(stored.cid).await?, stored, hash, put_ms })
    }

    /// Gets an object at the last node and, the first time, kills as many holders as its code tolerates meanwhile.
    async fn read_back(
        &self,
        cluster: &mut Cluster,
        clients: &[Client],
        object: Object,
        dir: &Path,
    ) -> anyhow::Result<Story> {
        let Object { ticket, stored, hash, put_ms } = object;
        let reader = self.nodes - 1;
        let rows = self.rows(cluster, clients, &stored).await?;
        let victims = victims(&rows, &stored, reader);
        self.say(&match victims.len() {
            0 => format!("\nnode {reader} reads {} from those that are left …", stored.name),
            count => format!("\nnode {reader} reads {}, and {count} nodes are killed meanwhile …", stored.name),
        });
        let to = dir.join(format!("back-{}", hash.to_hex()));
        let sink = Sink::Path { path: to.clone(), overwrite: false };
        let started = Instant::now();
        let job = clients[reader].get(&Get { ticket, only: Selection::All, sink, timeout: PATIENCE }, false).await?;
        let progress = watch(job, |progress| {
            let total = progress.total_bytes.unwrap_or(stored.raw_bytes).max(1);
            if progress.done_bytes * 100 / total >= KILL_AT_PERCENT {
                victims.iter().for_each(|victim| cluster.kill(*victim));
            }
        })
        .await?;
        let get_ms = millis(started);
        if !victims.is_empty() {
            victims.iter().for_each(|victim| cluster.kill(*victim));
            self.say(&self.picture.table(&self.rows(cluster, clients, &stored).await?));
        }
        let intact = trees::hash(&to)? == hash;
        trees::remove(&to)?;
        Ok(Story {
            name: stored.name.clone(),
            bytes: stored.raw_bytes,
            stored_bytes: stored.stored_bytes,
            k: stored.k,
            m: stored.m,
            put_ms,
            get_ms,
            killed: victims,
            healed: progress.healed,
            hash: hash.to_hex().to_string(),
            intact,
        })
    }

    /// What every node holds now.
    async fn rows(&self, cluster: &Cluster, clients: &[Client], stored: &Stored) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (member, client) in cluster.members().iter().zip(clients) {
            let peer: PeerId = member.ready.peer.parse()?;
            let alive = cluster.pid(member.number).is_some();
            let usage = if alive { client.status().await?.chunks.usage } else { Default::default() };
            let holds = stored.holders.contains(&peer);
            rows.push(Row { number: member.number, peer, alive, holds, shards: usage.shards, bytes: usage.disk_bytes });
        }
        Ok(rows)
    }
}

async fn put(client: &Client, path: &Path) -> anyhow::Result<Stored> {
    let put = Put {
        source: Source::Path(path.to_owned()),
        redundancy: Redundancy::Auto,
        profile: Profile::Balanced,
        lease: Duration::from_secs(24 * 3600),
    };
    let (job, _) = client.put(&put, false).await?;
    while let Some(news) = job.next().await? {
        match news {
            News::Event(JobEvent::Done { outcome: Outcome::Put(stored), .. }) => return Ok(stored),
            News::Event(JobEvent::Failed { error, .. }) => return Err(error.into()),
            _ => {}
        }
    }
    bail!("the put ended without a word")
}

/// Follows a get to its end; `on_progress` hears how far it is.
async fn watch(job: RemoteJob, mut on_progress: impl FnMut(&Progress)) -> anyhow::Result<Progress> {
    while let Some(news) = job.next().await? {
        match news {
            News::Event(JobEvent::Progress { progress, .. }) => on_progress(&progress),
            News::Event(JobEvent::Done { outcome: Outcome::Got { progress, .. }, .. }) => return Ok(progress),
            News::Event(JobEvent::Failed { error, .. }) => return Err(error.into()),
            _ => {}
        }
    }
    bail!("the get ended without a word")
}

/// As many holders as the code tolerates, less those that are dead already; never the reader.
fn victims(rows: &[Row], stored: &Stored, reader: usize) -> Vec<usize> {
    let holders = rows.iter().filter(|row| row.holds);
    let shards = usize::from(stored.k) + usize::from(stored.m);
    let shards_each = shards.div_ceil(holders.clone().count().max(1)).max(1);
    let dead = holders.clone().filter(|row| !row.alive).count();
    let tolerated = (usize::from(stored.m) / shards_each).saturating_sub(dead);
    holders.filter(|row| row.alive && row.number != reader).map(|row| row.number).take(tolerated).collect()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
