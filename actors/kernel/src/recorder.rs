//! The flight recorder: the last events of a core, written to a file when it panics, replayed in a test.
//!
//! **Flight files hold secrets.** They contain the events as they came, keys and file names included, and the seed of
//! the core's randomness. They are readable by their owner only (0600), are never sent anywhere by the node, and
//! should be shared with care. The seed is that of the life that ended; a restarted core has another one, which
//! cannot be computed from it.
//!
//! Recording clones every event into a ring; bodies in `Bytes` are shared with it, not copied, and stay in memory
//! until they leave the ring. Nothing is encoded or written before a panic.

use crate::{
    core::{Core, CxState, Effect, Event},
    draw::{Draws, Seed},
    shell::contain,
};
use bytes::Bytes;
use pangea_protocols::{
    codec::{self, CodecError, Limit},
    time::{Time, UnixTime},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// First bytes of a flight file; the last one is the version of the format.
pub const MAGIC: [u8; 8] = *b"PNGFLT\0\x01";
/// Most bytes of encoded events in a file; the oldest are left out, the one that panicked never.
pub const EVENT_BYTES_MAX: usize = 64 << 20;
/// Files kept of one actor, the newest.
pub const FILES_MAX: usize = 8;

/// Why a flight file could not be written, read or replayed.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The file system refused.
    #[error("flight file {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Not a flight file, or of another version of the program.
    #[error("{path} is not a flight file of this version", path = path.display())]
    Foreign { path: PathBuf },
    /// Damaged, or recorded by another type of actor.
    #[error("flight record of {actor}: {source}; replay it with the version and the actor that wrote it")]
    Codec { actor: String, source: CodecError },
}

/// One life of a core, from its start to its panic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// The actor's name.
    pub actor: String,
    /// The panic's message.
    pub reason: String,
    /// The seed of the core's randomness in this life.
    pub seed: [u8; 32],
    /// When the core was started.
    pub started: (Time, UnixTime),
    /// True if events between the start and the first kept one are missing: a replay may then go another way.
    pub truncated: bool,
    /// The events, oldest first.
    pub events: Vec<RecordedEvent>,
}

/// One event of a [`Flight`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// When it was handled.
    pub now: Time,
    /// The date then.
    pub unix: UnixTime,
    /// The event, encoded by [`codec`].
    pub bytes: Bytes,
}

/// How a replay ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Replayed<O> {
    /// Everything the core emitted before its last event.
    pub outs: Vec<O>,
    /// The panic's message, if the core panicked again.
    pub panic: Option<String>,
}

/// Reads a flight file.
///
/// # Errors
/// The file cannot be read, is of another version, or damaged.
pub fn read(path: &Path) -> Result<Flight, RecorderError> {
    let io_error = |source| RecorderError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let limit = MAGIC.len() + Limit::Local.bytes() + 1;
    fs::File::open(path).and_then(|file| file.take(limit as u64).read_to_end(&mut bytes)).map_err(io_error)?;
    let body = bytes.strip_prefix(&MAGIC).ok_or_else(|| RecorderError::Foreign { path: path.to_owned() })?;
    codec::decode(body, Limit::Local)
        .map_err(|source| RecorderError::Codec { actor: path.display().to_string(), source })
}

/// Drives a freshly built `core` through a flight. Timers are not run: those that fired are among the events.
///
/// # Errors
/// An event is not one of this type of core.
pub fn replay<C: Core>(flight: &Flight, core: C) -> Result<Replayed<C::Out>, RecorderError> {
    let mut core = core;
    let mut state = CxState::new(Draws::new(Seed::new(flight.seed)));
    let mut outs = Vec::new();
    let (now, unix) = flight.started;
    if let Err(reason) = contain(|| core.start(&mut state.cx(now, unix))) {
        return Ok(Replayed { outs, panic: Some(reason) });
    }
    collect(&mut state, &mut outs);
    for RecordedEvent { now, unix, bytes } in &flight.events {
        let event = codec::decode(bytes, Limit::Local)
            .map_err(|source| RecorderError::Codec { actor: flight.actor.clone(), source })?;
        if let Err(reason) = contain(|| core.on(&mut state.cx(*now, *unix), event)) {
            return Ok(Replayed { outs, panic: Some(reason) });
        }
        collect(&mut state, &mut outs);
    }
    Ok(Replayed { outs, panic: None })
}

fn collect<C: Core>(state: &mut CxState<C>, outs: &mut Vec<C::Out>) {
    outs.extend(state.take_effects().into_iter().filter_map(|effect| match effect {
        Effect::Emit(out) => Some(out),
        Effect::After { .. } | Effect::Cancel(_) => None,
    }));
}

/// The ring of one actor.
pub(crate) struct Recorder<E> {
    keep: usize,
    seed: [u8; 32],
    started: (Time, UnixTime),
    lost: bool,
    ring: VecDeque<(Time, UnixTime, E)>,
}

impl<E: Event> Recorder<E> {
    /// Keeps the last `keep` events; with none to keep, nothing is ever written.
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, seed: [0; 32], started: Default::default(), lost: false, ring: VecDeque::new() }
    }

    /// Forgets the last life.
    pub(crate) fn begin(&mut self, seed: &Seed, now: Time, unix: UnixTime) {
        self.seed = seed.to_bytes();
        self.started = (now, unix);
        self.lost = false;
        self.ring.clear();
    }

    pub(crate) fn record(&mut self, now: Time, unix: UnixTime, event: &E) {
        if self.keep == 0 {
            return;
        }
        if self.ring.len() == self.keep {
            self.ring.pop_front();
            self.lost = true;
        }
        self.ring.push_back((now, unix, event.clone()));
    }

    /// Writes `<dir>/<actor>-<unix>.flight` and removes all but the newest [`FILES_MAX`] of this actor. A second
    /// panic within the same second keeps the first one's file: the cause comes before its consequences.
    pub(crate) fn write(&self, dir: &Path, actor: &str, reason: &str, unix: UnixTime) -> Result<(), RecorderError> {
        if self.keep == 0 {
            return Ok(());
        }
        let codec_error = |source| RecorderError::Codec { actor: actor.to_owned(), source };
        let flight = self.flight(actor, reason).map_err(codec_error)?;
        let body = codec::encode(&flight, Limit::Local).map_err(codec_error)?;
        let path = dir.join(format!("{}-{}.flight", file_stem(actor), unix.0));
        fs::create_dir_all(dir)
            .and_then(|()| write_new(&path, &body))
            .and_then(|()| prune(dir, &file_stem(actor)))
            .map_err(|source| RecorderError::Io { path, source })
    }

    fn flight(&self, actor: &str, reason: &str) -> Result<Flight, CodecError> {
        let mut room = EVENT_BYTES_MAX;
        let mut events = VecDeque::new();
        for (now, unix, event) in self.ring.iter().rev() {
            let bytes = Bytes::from(codec::encode(event, Limit::Local)?);
            if bytes.len() > room && !events.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes.len());
            events.push_front(RecordedEvent { now: *now, unix: *unix, bytes });
        }
        Ok(Flight {
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            seed: self.seed,
            started: self.started,
            truncated: self.lost || events.len() < self.ring.len(),
            events: events.into(),
        })
    }
}

/// Actor names are the wiring's own, but a file name must not depend on that.
fn file_stem(actor: &str) -> String {
    actor.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn write_new(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        opened => opened?,
    };
    // Half a record cannot be read: leave none if the disk is full.
    file.write_all(&MAGIC).and_then(|()| file.write_all(body)).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn prune(dir: &Path, stem: &str) -> io::Result<()> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let written = name.strip_suffix(".flight").and_then(|name| name.rsplit_once('-'));
        if let Some((_, unix)) = written.filter(|(actor, _)| *actor == stem)
            && let Ok(unix) = unix.parse()
        {
            files.push((unix, path));
        }
    }
    files.sort_unstable();
    let surplus = files.len().saturating_sub(FILES_MAX);
    files.drain(..surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_bounded_in_bytes_and_keeps_the_newest_events() {
        let body = Bytes::from(vec![1; 20 << 20]);
        let mut recorder = Recorder::new(128);
        for number in 0..5u8 {
            recorder.record(Time(0), UnixTime(0), &(number, body.clone()));
        }
        let flight = recorder.flight("a", "boom").unwrap();
        let numbers: Vec<u8> = flight.events.iter().map(|event| event.bytes[0]).collect();
        assert_eq!(numbers, [2, 3, 4]);
        assert!(flight.truncated);
    }

    #[test]
    fn the_event_that_panicked_is_kept_even_if_it_is_over_the_bound() {
        let mut recorder = Recorder::new(128);
        for length in [1, EVENT_BYTES_MAX + 1] {
            recorder.record(Time(0), UnixTime(0), &Bytes::from(vec![1; length]));
        }
        let flight = recorder.flight("a", "boom").unwrap();
        assert_eq!(flight.events.len(), 1);
        assert!(flight.events[0].bytes.len() > EVENT_BYTES_MAX);
    }
}
