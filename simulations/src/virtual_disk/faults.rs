//! What is wrong with a disk now, and what it costs. All of it is counted, nothing drawn.

use std::{io, time::Duration};

/// The faults of a disk.
#[derive(Debug, Default)]
pub struct Faults {
    /// Operations until everything fails.
    pub crash_in: Option<u64>,
    /// Everything fails.
    pub down: bool,
    /// Syncs do nothing.
    pub lying_sync: bool,
    /// Bytes that fit.
    pub capacity: Option<u64>,
    /// Writes, syncs and changes of names that fail.
    pub operations: Window,
    /// Reads that fail.
    pub reads: Window,
    /// Writes until one lands elsewhere, and how far away.
    pub misdirect: Option<(u64, i64)>,
    /// How long things take.
    pub speed: Speed,
}

/// A run of failures that is to come.
#[derive(Debug, Default)]
pub struct Window {
    after: u64,
    count: u64,
}

impl Window {
    /// `count` failures after `after` successes.
    pub fn plan(&mut self, after: u64, count: u64) {
        *self = Self { after, count };
    }

    /// One more attempt: true if it fails.
    fn hits(&mut self) -> bool {
        let hit = self.after == 0 && self.count > 0;
        if hit {
            self.count -= 1;
        }
        self.after = self.after.saturating_sub(1);
        hit
    }
}

/// How an operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Well.
    Whole,
    /// It is carried out while everything fails: nobody hears of it.
    Unheard,
}

impl Course {
    /// What is heard.
    pub fn heard<T>(self, value: T) -> io::Result<T> {
        match self {
            Self::Whole => Ok(value),
            Self::Unheard => Err(crashed()),
        }
    }
}

impl Faults {
    /// A write, sync or change of names begins.
    pub fn operation(&mut self) -> io::Result<Course> {
        self.alive()?;
        if let Some(left) = &mut self.crash_in {
            if *left == 0 {
                self.down = true;
                return Ok(Course::Unheard);
            }
            *left -= 1;
        }
        if self.operations.hits() { Err(io_error()) } else { Ok(Course::Whole) }
    }

    /// A read begins.
    pub fn read(&mut self) -> io::Result<()> {
        self.alive()?;
        if self.reads.hits() { Err(io_error()) } else { Ok(()) }
    }

    /// Where a write at `at` lands.
    pub fn landing(&mut self, at: u64) -> u64 {
        match &mut self.misdirect {
            Some((0, by)) => {
                let landing = at.saturating_add_signed(*by);
                self.misdirect = None;
                landing
            }
            Some((after, _)) => {
                *after -= 1;
                at
            }
            None => at,
        }
    }

    /// True if there is something to come beside a crash.
    pub fn planned(&self) -> bool {
        let failing = self.operations.count > 0 || self.reads.count > 0;
        failing || self.lying_sync || self.capacity.is_some() || self.misdirect.is_some()
    }

    /// Ends everything but a crash.
    pub fn heal(&mut self) {
        *self = Self { crash_in: self.crash_in, down: self.down, speed: self.speed, ..Self::default() };
    }

    fn alive(&self) -> io::Result<()> {
        if self.down { Err(crashed()) } else { Ok(()) }
    }
}

/// What a mount says after its node has crashed.
pub fn crashed() -> io::Error {
    io::Error::other("the machine has crashed")
}

fn io_error() -> io::Error {
    io::Error::other("input/output error")
}

/// How long things take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    /// A sync, whatever it writes.
    pub sync: Duration,
    /// Each MiB written.
    pub mebibyte: Duration,
}

/// What was done, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Syncs of files and names.
    pub syncs: u64,
    /// Bytes written.
    pub bytes: u64,
    /// At the speed that was set then.
    pub time: Duration,
}

impl Cost {
    /// A sync was done.
    pub fn sync(&mut self, speed: Speed) {
        self.syncs += 1;
        self.time += speed.sync;
    }

    /// Bytes were written.
    pub fn write(&mut self, bytes: u64, speed: Speed) {
        self.bytes += bytes;
        self.time += Duration::from_secs_f64(speed.mebibyte.as_secs_f64() * bytes as f64 / f64::from(1 << 20));
    }
}
