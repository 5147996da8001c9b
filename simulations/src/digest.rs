//! The digest of a run: a hash over everything that every node did to the outside and heard from it, in order, with its
//! time. Two runs of one plan have the same, in any process and on any machine; if they have not, the hash of every
//! event, written to a file, tells where they part ([`crate::bisect`]).

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::NodeId,
};
use pangea_protocols::{codec, codec::Limit, time::Time};
use std::{
    fs::File,
    io::{BufWriter, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// The running hash. Clones are the same one.
#[derive(Clone, Default)]
pub struct Digest(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hasher: blake3::Hasher,
    events: u64,
    log: Option<BufWriter<File>>,
}

impl Digest {
    /// As the default, and every event becomes a line in `log`: its hash, when, where and what.
    pub fn logged(log: File) -> Self {
        Self(Arc::new(Mutex::new(State { log: Some(BufWriter::new(log)), ..State::default() })))
    }

    /// Over all events so far.
    pub fn value(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).events
    }
}

impl Watch for Digest {
    fn name(&self) -> &'static str {
        "digest"
    }

    fn see(&mut self, at: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, _: &mut Findings) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = encoded(sight);
        let hasher = &mut state.hasher;
        hasher.update(&at.0.to_le_bytes()).update(&node.map_or(u64::MAX, u64::from).to_le_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        state.events += 1;
        if let Some(log) = &mut state.log {
            let hash = blake3::hash(&bytes).to_hex();
            let node = node.map_or_else(|| "-".to_owned(), |node| node.to_string());
            // A full disk ends the log, not the run.
            let _ = writeln!(log, "{} {at} {node} {}", &hash[..16], crate::chronicle::label(sight));
        }
    }

    fn end(&mut self, _: Time, _: &mut Findings) {
        if let Some(log) = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).log {
            let _ = log.flush();
        }
    }
}

/// Bytes that tell two sights apart. Bodies count by their hash, as they are long and often the same.
fn encoded(sight: Sight<'_>) -> Vec<u8> {
    fn with<T: serde::Serialize + std::fmt::Debug>(kind: u8, value: &T) -> Vec<u8> {
        let mut bytes = vec![kind];
        // What cannot be encoded, or is too large, still shows: by how it prints.
        bytes.extend(codec::encode(value, Limit::Local).unwrap_or_else(|_| format!("{value:?}").into_bytes()));
        bytes
    }
    match sight {
        Sight::Send { to, frame } => with(1, &(to, &frame.message, blake3::hash(&frame.body).as_bytes())),
        Sight::Receive { from, frame } => with(2, &(from, &frame.message, blake3::hash(&frame.body).as_bytes())),
        Sight::Network(command) => with(3, command),
        Sight::Heard(event) => with(4, event),
        Sight::Disk(command) => with(5, command),
        Sight::DiskSaid(event) => with(6, event),
        Sight::Hub(message) => [&[7][..], format!("{message:?}").as_bytes()].concat(),
        Sight::Plugins(out) => [&[10][..], format!("{out:?}").as_bytes()].concat(),
        Sight::Jobs(out) => [&[9][..], format!("{out:?}").as_bytes()].concat(),
        Sight::Run(what) => [&[8][..], format!("{what:?}").as_bytes()].concat(),
    }
}
