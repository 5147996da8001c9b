//! What happened where, and what tasks logged: lines of JSON that are appended to two files, up to a length. For the
//! user's eyes; nothing depends on them.

use pangea_compute::{api::Happened, api::Trace};
use pangea_protocols::{
    PeerId,
    receipt_job::{Place, Stage},
    task::Line,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Most bytes of a trace; later events are left out.
const TRACE_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of a log; later lines are left out.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Names of hosts that are kept.
const NAMES_MAX: usize = 1024;

/// An event of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// joined, left, banned, leased, claimed, lost, accepted or restored.
    pub what: String,
    /// The host.
    pub host: String,
    /// split, execute or merge, if a task is meant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stage: Option<String>,
    /// Which chunk.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub index: Option<u32>,
    /// Slots, gas or hosts that vouch for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<u64>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// split, execute or merge.
    pub stage: String,
    /// Which chunk.
    pub index: u32,
    /// Where it ran.
    pub host: String,
    /// 0 error, 1 warning, 2 information, 3 and more for debugging.
    pub level: u8,
    /// What it said.
    pub text: String,
}

/// Both files of a job.
#[derive(Debug)]
pub struct Notes {
    trace: Bounded,
    log: Bounded,
    /// Of hosts: to spell one takes longer than to write the line.
    names: BTreeMap<PeerId, String>,
}

#[derive(Debug)]
struct Bounded {
    file: BufWriter<File>,
    bytes: u64,
    max: u64,
}

impl Bounded {
    fn open(path: &Path, max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file: BufWriter::new(file), bytes, max })
    }

    /// What cannot be written is left out, as what is too much.
    fn line(&mut self, value: &impl Serialize) {
        let Ok(mut line) = serde_json::to_string(value) else { return };
        line.push('\n');
        self.bytes += line.len() as u64;
        if self.bytes <= self.max
            && let Err(error) = self.file.write_all(line.as_bytes())
        {
            tracing::warn!(%error, "a note of a job could not be written");
        }
    }
}

impl Notes {
    /// Opens both in the directory of a job.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            trace: Bounded::open(&dir.join("trace"), TRACE_BYTES_MAX)?,
            log: Bounded::open(&dir.join("log"), LOG_BYTES_MAX)?,
            names: BTreeMap::new(),
        })
    }

    /// Something happened now.
    pub fn trace(&mut self, trace: Trace) {
        let (what, count) = match trace.what {
            Happened::Joined { slots } => ("joined", Some(slots.into())),
            Happened::Left => ("left", None),
            Happened::Banned => ("banned", None),
            Happened::Leased => ("leased", None),
            Happened::Claimed { gas } => ("claimed", Some(gas)),
            Happened::Lost => ("lost", None),
            Happened::Accepted { voters } => ("accepted", Some(voters.into())),
            Happened::Restored => ("restored", None),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let host = self.name(trace.host);
        self.trace.line(&Event {
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            what: what.to_owned(),
            host,
            stage: trace.place.map(|place| stage(place.stage).to_owned()),
            index: trace.place.map(|place| place.index),
            count,
        });
    }

    fn name(&mut self, host: PeerId) -> String {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names.entry(host).or_insert_with(|| host.to_string()).clone()
    }

    /// A task has logged this.
    pub fn log(&mut self, place: Place, host: PeerId, lines: Vec<Line>) {
        for Line { level, text } in lines {
            let (stage, host) = (stage(place.stage).to_owned(), self.name(host));
            self.log.line(&LogLine { stage, index: place.index, host, level, text });
        }
    }

    /// Readers see all that was written.
    pub fn flush(&mut self) {
        let _ = self.trace.file.flush();
        let _ = self.log.file.flush();
    }
}

/// The name of a stage.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Split => "split",
        Stage::Execute => "execute",
        Stage::Merge => "merge",
    }
}
