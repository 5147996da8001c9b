//! [`Kind`]: the groups of events that a person filters by. One event has one kind.

use crate::record::What;
use std::{fmt, str::FromStr};

/// A group of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Started, crashed, paused.
    Life,
    /// Connected, disconnected.
    Connection,
    /// Sent, arrived.
    Frame,
    /// Asked, progress, ended.
    Operation,
    /// A fault began or ended; calm.
    Fault,
    /// What a disk holds.
    Holding,
    /// A goal was reached.
    Goal,
    /// A promise was broken.
    Violation,
}

impl Kind {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [Self; 8] = [
        Self::Life,
        Self::Connection,
        Self::Frame,
        Self::Operation,
        Self::Fault,
        Self::Holding,
        Self::Goal,
        Self::Violation,
    ];

    /// The kind of an event.
    pub fn of(what: &What) -> Self {
        match what {
            What::Started { .. } | What::Crashed { .. } | What::Paused { .. } => Self::Life,
            What::Connected { .. } | What::Disconnected { .. } => Self::Connection,
            What::Sent { .. } | What::Arrived { .. } => Self::Frame,
            What::Asked { .. } | What::Progress { .. } | What::Ended { .. } => Self::Operation,
            What::FaultBegan { .. } | What::FaultEnded { .. } | What::Calm => Self::Fault,
            What::Holds { .. } => Self::Holding,
            What::Reached { .. } => Self::Goal,
            What::Violated { .. } => Self::Violation,
        }
    }

    /// The word for it on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Life => "life",
            Self::Connection => "connection",
            Self::Frame => "frame",
            Self::Operation => "operation",
            Self::Fault => "fault",
            Self::Holding => "holding",
            Self::Goal => "goal",
            Self::Violation => "violation",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no kind of event; there are", self.0)?;
        Kind::ALL.iter().try_for_each(|kind| write!(f, " {kind}"))
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownKind(name.to_owned()))
    }
}
