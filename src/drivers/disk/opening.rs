//! Opening a volume: the index, recovery, and the parts that then work on it, on threads or inline.

use super::{
    OpenError, Options,
    catalog::Catalog,
    index::Index,
    log::Log,
    recovery::{self, Recovered},
    segment::Segments,
    volume::Volume,
    writer::Writer,
};
use pangea_protocols::{ShardId, disk::Event, time::Time};
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Takes the answers.
pub type Emit = Box<dyn Fn(Event) + Send + Sync>;

/// What the writer and the readers share.
pub struct Shared {
    pub catalog: Catalog,
    pub segments: Arc<Segments>,
    emit: Emit,
}

impl Shared {
    /// Sends an event.
    pub fn emit(&self, event: Event) {
        (self.emit)(event);
    }
}

/// An open disk that nobody works on yet.
pub struct Opened {
    /// For the readers.
    pub shared: Arc<Shared>,
    /// Changes things.
    pub writer: Writer,
    /// To be announced.
    pub roots: BTreeSet<ShardId>,
}

/// Opens a volume and brings it up to date.
///
/// # Errors
/// See [`OpenError`]. A damaged index is no error: it is put aside and rebuilt.
pub fn open(volume: Arc<dyn Volume>, options: Options, emit: Emit, now: Time) -> Result<Opened, OpenError> {
    let path = volume.path().to_owned();
    let segments = Arc::new(Segments::new(Arc::clone(&volume)));
    let (catalog, recovered) = open_catalog(&volume, &segments)?;
    let Recovered { ledger, roots, durable, tail } = recovered;
    let log = Log::new(Arc::clone(&segments), options.segment_bytes, ledger, durable, tail)
        .map_err(|error| OpenError::Io { path, error })?;
    let shared = Arc::new(Shared { catalog, segments, emit });
    let writer = Writer::new(Arc::clone(&shared), options, log, now);
    Ok(Opened { shared, writer, roots })
}

/// Opens and recovers; a damaged index is put aside and rebuilt. redb may panic on damaged pages, which is caught.
fn open_catalog(volume: &Arc<dyn Volume>, segments: &Segments) -> Result<(Catalog, Recovered), OpenError> {
    let attempt = || -> Result<(Catalog, Recovered), OpenError> {
        let catalog = Catalog::new(Index::open(Arc::clone(volume))?);
        // Without its name the index would be rebuilt, and what was deleted long ago would be back.
        let error = |error| OpenError::Io { path: volume.path().to_owned(), error };
        volume.sync_index_name().map_err(error)?;
        let recovered = recovery::recover(&catalog, segments)?;
        Ok((catalog, recovered))
    };
    let reason = match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Err(OpenError::Index { reason, .. })) => reason,
        Ok(done) => return done,
        Err(_) => "reading it panicked".to_owned(),
    };
    tracing::error!(store = %volume.path().display(), reason, "shard index is damaged: rebuilding it");
    let aside = volume.path().join("index.redb.damaged");
    volume.put_index_aside().map_err(|error| OpenError::Io { path: aside, error })?;
    attempt()
}
