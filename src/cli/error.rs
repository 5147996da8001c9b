//! [`CliError`]: what went wrong, what to do, and the exit code.

use crate::control::ControlError;
use pangea_protocols::{
    id::IdError,
    job::{ErrorKind, JobError},
    ticket::TicketError,
};
use std::io;

/// Printed by `pangea exit-codes`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes
    0  ok
    1  failure
    2  usage: the arguments make no sense
    3  not found: no such object, file or entry
    4  unreachable: no node runs, peers cannot be reached, or nothing moved before --timeout
    5  integrity: wrong key, wrong signature, or too many bad shards
    6  denied: permission, an existing file, or a peer's or operator's refusal
    7  quota: a quota or a disk is full
  130  interrupted
";

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// For the exit code.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl CliError {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None }
    }

    /// Exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// Exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// See [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// An error of reading or writing `what`.
    pub fn io(what: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Quota,
            _ => ErrorKind::Failed,
        };
        Self::new(kind, format!("{what}: {error}"))
    }
}

impl From<JobError> for CliError {
    fn from(error: JobError) -> Self {
        let help = match error.kind {
            ErrorKind::Unreachable => Some("see who is connected with `pangea peers`, or wait longer with --timeout"),
            ErrorKind::Integrity => Some("copy the ticket again; if it is right, the object is damaged at its source"),
            ErrorKind::Quota => Some("free space on the holders, or add peers with `pangea peers add`"),
            _ => None,
        };
        Self { kind: error.kind, message: error.message, help: help.map(str::to_owned) }
    }
}

impl From<ControlError> for CliError {
    fn from(error: ControlError) -> Self {
        let kind = error.kind();
        // The part after the colon is what to do.
        let text = error.to_string();
        match text.rsplit_once(": ") {
            Some((message, help)) if !matches!(error, ControlError::Io { .. }) => Self::new(kind, message).help(help),
            _ => Self::new(kind, text),
        }
    }
}

impl From<TicketError> for CliError {
    fn from(error: TicketError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<IdError> for CliError {
    fn from(error: IdError) -> Self {
        Self::usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_node_is_unreachable_and_the_help_tells_how_to_start_one() {
        let error = CliError::from(ControlError::NoNode { home: "/h".into() });
        assert_eq!(error.exit_code(), 4);
        assert_eq!(error.message, "no node runs in /h");
        assert_eq!(error.help.unwrap(), "start one with `pangea node`");
        assert_eq!(CliError::from(ControlError::Denied { path: "/h".into() }).exit_code(), 6);
    }

    #[test]
    fn the_exit_codes_that_are_documented_are_the_ones_that_are_used() {
        use ErrorKind::*;
        for (kind, word) in [
            (Failed, "failure"),
            (Usage, "usage"),
            (NotFound, "not found"),
            (Unreachable, "unreachable"),
            (Integrity, "integrity"),
            (Denied, "denied"),
            (Quota, "quota"),
            (Interrupted, "interrupted"),
        ] {
            let code = CliError::from(JobError::new(kind, "x")).exit_code();
            assert!(EXIT_CODES.contains(&format!("{code:>5}  {word}")), "{kind:?}");
        }
    }
}
