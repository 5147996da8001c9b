//! From the schema's structs to the node's types. The other direction is `encode`.
//!
//! What is read here was written by another program: every field is checked, and a bad one is an error, never a panic.

use super::{
    encode::NONE,
    view::{PeerView, StatusView},
};
use pangea_ces::api::{Profile, Selection};
use pangea_protocols::{
    Address, Cid, JobId, PeerId,
    disk::Usage,
    generated::control_capnp as schema,
    job::{ErrorKind, JobError, JobEvent, Outcome, Progress, Stored},
    manifest::{Entry, EntryKind},
    ticket::ReadKey,
};
use pangea_transfer::api::Redundancy;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, str::FromStr, time::Duration};

/// Why a message could not be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("broken message: {0}")]
    Message(#[from] capnp::Error),
    #[error(transparent)]
    Name(#[from] pangea_protocols::wire::extension::BadName),
    #[error("text that is not UTF-8")]
    Utf8(#[from] std::str::Utf8Error),
    #[error("a choice that this version does not know")]
    Unknown(#[from] capnp::NotInSchema),
    #[error("{0}")]
    Id(#[from] pangea_protocols::id::IdError),
    #[error("{0}")]
    Ticket(#[from] pangea_protocols::ticket::TicketError),
    #[error("{0}")]
    Field(&'static str),
}

/// News of a job, with the index still in pages.
pub(super) enum NewsPage {
    Event(JobEvent),
    Index { entries: Vec<Entry>, last: bool },
    Ended,
}

type Result<T> = std::result::Result<T, DecodeError>;

fn text(from: capnp::text::Reader<'_>) -> Result<String> {
    Ok(from.to_str()?.to_owned())
}

/// A text that is an id of some kind.
pub(super) fn parse<T: FromStr>(from: capnp::text::Reader<'_>) -> Result<T>
where
    DecodeError: From<T::Err>,
{
    Ok(from.to_str()?.parse()?)
}

pub(super) fn parse_all<T: FromStr>(from: capnp::text_list::Reader<'_>) -> Result<Vec<T>>
where
    DecodeError: From<T::Err>,
{
    from.iter().map(|item| parse(item?)).collect()
}

fn texts(from: capnp::text_list::Reader<'_>) -> Result<Vec<String>> {
    from.iter().map(|item| text(item?)).collect()
}

/// An absolute path of this machine.
pub(super) fn path(from: &[u8]) -> Result<PathBuf> {
    let path = PathBuf::from(OsString::from_vec(from.to_vec()));
    if path.is_absolute() && !from.contains(&0) { Ok(path) } else { Err(DecodeError::Field("paths must be absolute")) }
}

fn known(value: u64) -> Option<u64> {
    (value != NONE).then_some(value)
}

pub(super) fn failure(from: schema::failure::Reader<'_>) -> Result<JobError> {
    use schema::FailureKind as From;
    // A kind that a newer node invented is still a failure.
    let kind = match from.get_kind().unwrap_or(From::Failed) {
        From::Failed => ErrorKind::Failed,
        From::Usage => ErrorKind::Usage,
        From::NotFound => ErrorKind::NotFound,
        From::Unreachable => ErrorKind::Unreachable,
        From::Integrity => ErrorKind::Integrity,
        From::Denied => ErrorKind::Denied,
        From::Quota => ErrorKind::Quota,
        From::Interrupted => ErrorKind::Interrupted,
    };
    Ok(JobError::new(kind, text(from.get_message()?)?))
}

pub(super) fn status(from: schema::status::Reader<'_>) -> Result<StatusView> {
    let chunks = from.get_chunks()?;
    Ok(StatusView {
        peer: parse(from.get_peer()?)?,
        version: text(from.get_version()?)?,
        addresses: parse_all(from.get_addresses()?)?,
        home: path(from.get_home()?)?,
        uptime: Duration::from_millis(from.get_uptime_ms()),
        peers_connected: from.get_peers_connected(),
        objects: from.get_objects(),
        jobs: from.get_jobs(),
        chunks: pangea_chunks::api::Status {
            usage: Usage {
                shards: chunks.get_shards(),
                disk_bytes: chunks.get_disk_bytes(),
                free_bytes: chunks.get_free_bytes(),
            },
            reserved_bytes: chunks.get_reserved_bytes(),
            quota_bytes: chunks.get_quota_bytes(),
            stored: chunks.get_stored(),
            served: chunks.get_served(),
            refused: chunks.get_refused(),
        },
    })
}

pub(super) fn peer(from: schema::peer::Reader<'_>) -> Result<PeerView> {
    let address = from.get_address()?;
    Ok(PeerView {
        peer: parse(from.get_peer()?)?,
        connected: from.get_connected(),
        address: if address.is_empty() { None } else { Some(parse::<Address>(address)?) },
        state: text(from.get_state()?)?,
        reason: text(from.get_reason()?)?,
        score: from.get_score(),
        rtt: known(from.get_rtt_us()).map(Duration::from_micros),
        bytes_in: from.get_bytes_in(),
        bytes_out: from.get_bytes_out(),
        last_seen_unix: from.get_last_seen_unix(),
    })
}

pub(super) fn stored(from: schema::stored::Reader<'_>) -> Result<Stored> {
    let key = from.get_key()?.try_into().map_err(|_| DecodeError::Field("a read key has 32 bytes"))?;
    Ok(Stored {
        cid: parse::<Cid>(from.get_cid()?)?,
        key: ReadKey(key),
        name: text(from.get_name()?)?,
        directory: from.get_directory(),
        raw_bytes: from.get_raw_bytes(),
        stored_bytes: from.get_stored_bytes(),
        stripes: from.get_stripes(),
        k: from.get_data_shards(),
        m: from.get_parity_shards(),
        holders: parse_all::<PeerId>(from.get_holders()?)?,
        missing_shards: from.get_missing_shards(),
        sealed_unix: from.get_sealed_unix(),
        skipped: from.get_skipped(),
    })
}

fn progress(from: schema::progress::Reader<'_>) -> Progress {
    Progress {
        done_bytes: from.get_done_bytes(),
        full_bytes: from.get_full_bytes(),
        total_bytes: known(from.get_total_bytes()),
        shards: from.get_shards(),
        healed: from.get_healed(),
        hedged: from.get_hedged(),
    }
}

pub(super) fn news(from: schema::news::Reader<'_>) -> Result<NewsPage> {
    use schema::news::Which;
    let job = JobId(from.get_job());
    Ok(NewsPage::Event(match from.which()? {
        Which::Placed(from) => {
            let from = from?;
            let holders = parse_all(from.get_holders()?)?;
            JobEvent::Placed { job, k: from.get_data_shards(), m: from.get_parity_shards(), holders }
        }
        Which::Opened(from) => {
            let from = from?;
            JobEvent::Opened {
                job,
                name: text(from.get_name()?)?,
                directory: from.get_directory(),
                raw_len: from.get_raw_len(),
                k: from.get_data_shards(),
                m: from.get_parity_shards(),
            }
        }
        Which::Progress(from) => JobEvent::Progress { job, progress: progress(from?) },
        Which::Index(from) => {
            let from = from?;
            let entries = from.get_entries()?.iter().map(entry).collect::<Result<_>>()?;
            return Ok(NewsPage::Index { entries, last: from.get_last() });
        }
        Which::Done(from) => JobEvent::Done { job, outcome: outcome(from?)? },
        Which::Failed(from) => JobEvent::Failed { job, error: failure(from?)? },
        Which::Ended(()) => return Ok(NewsPage::Ended),
    }))
}

fn outcome(from: schema::outcome::Reader<'_>) -> Result<Outcome> {
    use schema::outcome::Which;
    Ok(match from.which()? {
        Which::Put(from) => Outcome::Put(stored(from?)?),
        Which::Got(from) => {
            let bytes = from.get_path()?;
            let path = if bytes.is_empty() { None } else { Some(path(bytes)?) };
            Outcome::Got { path, bytes: from.get_bytes(), progress: progress(from.get_progress()?) }
        }
        Which::Removed(from) => {
            Outcome::Removed { shards: from.get_shards(), unreachable: parse_all(from.get_unreachable()?)? }
        }
    })
}

fn entry(from: schema::entry::Reader<'_>) -> Result<Entry> {
    use schema::entry::Which;
    let kind = match from.which()? {
        Which::Directory(()) => EntryKind::Directory,
        Which::File(from) => EntryKind::File {
            offset: from.get_offset(),
            len: from.get_len(),
            executable: from.get_executable(),
            modified_unix: from.get_modified_unix(),
        },
    };
    Ok(Entry { path: texts(from.get_path()?)?, kind })
}

/// Redundancy, profile and lease.
pub(super) fn put_options(from: schema::put_options::Reader<'_>) -> Result<(Redundancy, Profile, Duration)> {
    let redundancy = match (from.get_data_shards(), from.get_parity_shards()) {
        (0, 0) => Redundancy::Auto,
        (0, _) => return Err(DecodeError::Field("at least one data shard is needed")),
        (k, m) if k.checked_add(m).is_none() => return Err(DecodeError::Field("at most 255 shards per stripe")),
        (k, m) => Redundancy::Fixed { k, m },
    };
    let profile = match from.get_profile()? {
        schema::Profile::Fast => Profile::Fast,
        schema::Profile::Balanced => Profile::Balanced,
        schema::Profile::Small => Profile::Small,
    };
    Ok((redundancy, profile, Duration::from_secs(from.get_lease_seconds())))
}

pub(super) fn selection(from: schema::selection::Reader<'_>) -> Result<Selection> {
    use schema::selection::Which;
    Ok(match from.which()? {
        Which::All(()) => Selection::All,
        Which::Range(from) => Selection::Range { offset: from.get_offset(), len: known(from.get_len()) },
        Which::Entry(from) => Selection::Entry(texts(from?)?),
    })
}
