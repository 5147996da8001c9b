//! From the node's types to the schema's structs. The other direction is `decode`.

use crate::node::handle::{Get, Put, Status};
use pangea_ces::api::{Profile, Selection};
use pangea_peers::api::View;
use pangea_protocols::{
    generated::control_capnp as schema,
    job::{ErrorKind, JobError, JobEvent, Outcome, Progress, Stored},
    manifest::{Entry, EntryKind},
};
use pangea_transfer::api::Redundancy;
use std::{os::unix::ffi::OsStrExt, path::Path, time::Duration};

/// Stands for "unknown" and "to the end" in number fields.
pub(super) const NONE: u64 = u64::MAX;

pub(super) fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

pub(super) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

pub(super) fn texts<T: ToString>(mut to: capnp::text_list::Builder<'_>, from: &[T]) {
    for (n, item) in (0..to.len()).zip(from) {
        to.set(n, item.to_string().as_str());
    }
}

pub(super) fn kind(kind: ErrorKind) -> schema::FailureKind {
    use schema::FailureKind as To;
    match kind {
        ErrorKind::Failed => To::Failed,
        ErrorKind::Usage => To::Usage,
        ErrorKind::NotFound => To::NotFound,
        ErrorKind::Unreachable => To::Unreachable,
        ErrorKind::Integrity => To::Integrity,
        ErrorKind::Denied => To::Denied,
        ErrorKind::Quota => To::Quota,
        ErrorKind::Interrupted => To::Interrupted,
    }
}

pub(super) fn failure(mut to: schema::failure::Builder<'_>, error: &JobError) {
    to.set_kind(kind(error.kind));
    to.set_message(error.message.as_str());
}

pub(super) fn status(mut to: schema::status::Builder<'_>, from: &Status) {
    to.set_peer(from.peer.to_string().as_str());
    to.set_version(from.version);
    texts(to.reborrow().init_addresses(length(from.addresses.len())), &from.addresses);
    to.set_home(path_bytes(&from.home));
    to.set_uptime_ms(millis(from.uptime));
    to.set_peers_connected(from.peers_connected);
    to.set_objects(from.objects);
    to.set_jobs(from.jobs);
    let mut chunks = to.init_chunks();
    chunks.set_shards(from.chunks.usage.shards);
    chunks.set_disk_bytes(from.chunks.usage.disk_bytes);
    chunks.set_free_bytes(from.chunks.usage.free_bytes);
    chunks.set_reserved_bytes(from.chunks.reserved_bytes);
    chunks.set_quota_bytes(from.chunks.quota_bytes);
    chunks.set_stored(from.chunks.stored);
    chunks.set_served(from.chunks.served);
    chunks.set_refused(from.chunks.refused);
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NONE)
}

pub(super) fn peers(mut to: capnp::struct_list::Builder<'_, schema::peer::Owned>, from: &[View]) {
    for (n, view) in (0..to.len()).zip(from) {
        let mut to = to.reborrow().get(n);
        to.set_peer(view.peer.to_string().as_str());
        to.set_connected(view.connected);
        to.set_address(view.address.as_ref().map_or("", |address| address.as_str()));
        to.set_state(view.state);
        to.set_reason(view.reason.as_str());
        to.set_score(view.score);
        to.set_rtt_us(view.rtt.map_or(NONE, |rtt| u64::try_from(rtt.as_micros()).unwrap_or(NONE)));
        to.set_bytes_in(view.bytes_in);
        to.set_bytes_out(view.bytes_out);
        to.set_last_seen_unix(view.last_seen_unix);
    }
}

pub(super) fn stored(mut to: schema::stored::Builder<'_>, from: &Stored) {
    to.set_cid(from.cid.to_string().as_str());
    to.set_key(&from.key.0);
    to.set_name(from.name.as_str());
    to.set_directory(from.directory);
    to.set_raw_bytes(from.raw_bytes);
    to.set_stored_bytes(from.stored_bytes);
    to.set_stripes(from.stripes);
    to.set_data_shards(from.k);
    to.set_parity_shards(from.m);
    texts(to.reborrow().init_holders(length(from.holders.len())), &from.holders);
    to.set_missing_shards(from.missing_shards);
    to.set_sealed_unix(from.sealed_unix);
    to.set_skipped(from.skipped);
}

fn progress(mut to: schema::progress::Builder<'_>, from: &Progress) {
    to.set_done_bytes(from.done_bytes);
    to.set_full_bytes(from.full_bytes);
    to.set_total_bytes(from.total_bytes.unwrap_or(NONE));
    to.set_shards(from.shards);
    to.set_healed(from.healed);
    to.set_hedged(from.hedged);
}

pub(super) fn event(mut to: schema::news::Builder<'_>, from: &JobEvent) {
    to.set_job(from.job().0);
    match from {
        JobEvent::Placed { k, m, holders, .. } => {
            let mut to = to.init_placed();
            to.set_data_shards(*k);
            to.set_parity_shards(*m);
            texts(to.init_holders(length(holders.len())), holders);
        }
        JobEvent::Opened { name, directory, raw_len, k, m, .. } => {
            let mut to = to.init_opened();
            to.set_name(name.as_str());
            to.set_directory(*directory);
            to.set_raw_len(*raw_len);
            to.set_data_shards(*k);
            to.set_parity_shards(*m);
        }
        JobEvent::Progress { progress: from, .. } => progress(to.init_progress(), from),
        JobEvent::Done { outcome: from, .. } => outcome(to.init_done(), from),
        JobEvent::Failed { error, .. } => failure(to.init_failed(), error),
    }
}

fn outcome(to: schema::outcome::Builder<'_>, from: &Outcome) {
    match from {
        Outcome::Put(from) => stored(to.init_put(), from),
        Outcome::Got { path, bytes, progress: from } => {
            let mut to = to.init_got();
            to.set_path(path.as_deref().map_or(&[], path_bytes));
            to.set_bytes(*bytes);
            progress(to.init_progress(), from);
        }
        Outcome::Removed { shards, unreachable } => {
            let mut to = to.init_removed();
            to.set_shards(*shards);
            texts(to.init_unreachable(length(unreachable.len())), unreachable);
        }
    }
}

pub(super) fn index_page(mut to: schema::index_page::Builder<'_>, entries: &[Entry], last: bool) {
    to.set_last(last);
    let mut to = to.init_entries(length(entries.len()));
    for (n, entry) in (0..to.len()).zip(entries) {
        let mut to = to.reborrow().get(n);
        texts(to.reborrow().init_path(length(entry.path.len())), &entry.path);
        match entry.kind {
            EntryKind::Directory => to.set_directory(()),
            EntryKind::File { offset, len, executable, modified_unix } => {
                let mut to = to.init_file();
                to.set_offset(offset);
                to.set_len(len);
                to.set_executable(executable);
                to.set_modified_unix(modified_unix);
            }
        }
    }
}

pub(super) fn put_options(mut to: schema::put_options::Builder<'_>, put: &Put, detach: bool) {
    let (k, m) = match put.redundancy {
        Redundancy::Auto => (0, 0),
        Redundancy::Fixed { k, m } => (k, m),
    };
    to.set_data_shards(k);
    to.set_parity_shards(m);
    to.set_profile(match put.profile {
        Profile::Fast => schema::Profile::Fast,
        Profile::Balanced => schema::Profile::Balanced,
        Profile::Small => schema::Profile::Small,
    });
    to.set_lease_seconds(put.lease.as_secs());
    to.set_detach(detach);
}

pub(super) fn get_options(mut to: schema::get_options::Builder<'_>, get: &Get, detach: bool) {
    to.set_timeout_ms(millis(get.timeout));
    to.set_detach(detach);
}

/// [`Selection::Info`] has a call of its own and is not encoded.
pub(super) fn selection(mut to: schema::selection::Builder<'_>, from: &Selection) {
    match from {
        Selection::All | Selection::Info => to.set_all(()),
        Selection::Range { offset, len } => {
            let mut to = to.init_range();
            to.set_offset(*offset);
            to.set_len(len.unwrap_or(NONE));
        }
        Selection::Entry(path) => texts(to.init_entry(length(path.len())), path),
    }
}
