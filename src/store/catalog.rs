//! The catalog: what this node's user has stored, with the keys that open it.

use super::{NodeStore, StoreError};
use pangea_protocols::{
    Cid, Hash,
    codec::{self, Limit},
    job::Stored,
};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

/// Place in the order → content id, version byte and [`Stored`].
pub(super) const CATALOG: TableDefinition<'_, u64, (&[u8; 32], &[u8])> = TableDefinition::new("catalog");
/// Content id → place in the order.
pub(super) const ORDER: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("catalog-order");
/// Version of an encoded entry.
const VERSION: u8 = 1;

/// All that is in the catalog.
#[derive(Debug, Default)]
pub struct Catalog {
    /// In the order in which they were first stored.
    pub stored: Vec<Stored>,
    /// Entries that cannot be read: never left out without a word.
    pub unreadable: Vec<Unreadable>,
}

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The object.
    pub cid: Cid,
    /// Why.
    pub reason: String,
}

impl NodeStore {
    /// Puts an object into the catalog, durably. An entry of the same object is replaced and keeps its place.
    ///
    /// # Errors
    /// The database's; then nothing is changed.
    pub fn remember(&self, stored: &Stored) -> Result<(), StoreError> {
        let mut bytes = vec![VERSION];
        bytes.extend(codec::encode(stored, Limit::Message)?);
        let cid = &stored.cid.0.0;
        // The default durability of a transaction is immediate: `commit` returns after an fsync.
        let write = self.db.begin_write().map_err(|error| self.fault(error))?;
        {
            let mut order = write.open_table(ORDER).map_err(|error| self.fault(error))?;
            let mut catalog = write.open_table(CATALOG).map_err(|error| self.fault(error))?;
            let known = order.get(cid).map_err(|error| self.fault(error))?.map(|place| place.value());
            let place = match known {
                Some(place) => place,
                None => {
                    let last = catalog.last().map_err(|error| self.fault(error))?.map(|(place, _)| place.value());
                    last.map_or(0, |last| last + 1)
                }
            };
            order.insert(cid, place).map_err(|error| self.fault(error))?;
            catalog.insert(place, (cid, bytes.as_slice())).map_err(|error| self.fault(error))?;
        }
        write.commit().map_err(|error| self.fault(error))
    }

    /// Takes an object out of the catalog, durably. True if it was there.
    ///
    /// # Errors
    /// The database's; then nothing is changed.
    pub fn forget(&self, cid: Cid) -> Result<bool, StoreError> {
        let write = self.db.begin_write().map_err(|error| self.fault(error))?;
        let found = {
            let mut order = write.open_table(ORDER).map_err(|error| self.fault(error))?;
            let place = order.remove(&cid.0.0).map_err(|error| self.fault(error))?.map(|place| place.value());
            if let Some(place) = place {
                let mut catalog = write.open_table(CATALOG).map_err(|error| self.fault(error))?;
                catalog.remove(place).map_err(|error| self.fault(error))?;
            }
            place.is_some()
        };
        write.commit().map_err(|error| self.fault(error))?;
        Ok(found)
    }

    /// Everything, in the order in which it was first stored.
    ///
    /// # Errors
    /// The database's. Entries that cannot be read are listed, not an error.
    pub fn list(&self) -> Result<Catalog, StoreError> {
        let read = self.db.begin_read().map_err(|error| self.fault(error))?;
        let table = read.open_table(CATALOG).map_err(|error| self.fault(error))?;
        let mut catalog = Catalog::default();
        for row in table.iter().map_err(|error| self.fault(error))? {
            let (_, value) = row.map_err(|error| self.fault(error))?;
            let (cid, bytes) = value.value();
            match decode(bytes) {
                Ok(stored) => catalog.stored.push(stored),
                Err(reason) => {
                    let cid = Cid(Hash(*cid));
                    tracing::error!(%cid, reason, file = %self.file.display(), "a catalog entry cannot be read");
                    catalog.unreadable.push(Unreadable { cid, reason });
                }
            }
        }
        Ok(catalog)
    }

    /// The one object that `query` names: a content id, the start of one, or a file or directory name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`] with the candidates, [`StoreError::Unreadable`], or the
    /// database's.
    pub fn find(&self, query: &str) -> Result<Stored, StoreError> {
        let catalog = self.list()?;
        if let Ok(cid) = query.parse::<Cid>() {
            if let Some(entry) = catalog.unreadable.iter().find(|entry| entry.cid == cid) {
                return Err(StoreError::Unreadable { cid, reason: entry.reason.clone() });
            }
            let found = catalog.stored.into_iter().find(|stored| stored.cid == cid);
            return found.ok_or_else(|| StoreError::NotFound(query.to_owned()));
        }
        if query.is_empty() {
            return Err(StoreError::NotFound(String::new()));
        }
        let means = |stored: &Stored| stored.name == query || stored.cid.to_string().starts_with(query);
        let mut found: Vec<Stored> = catalog.stored.into_iter().filter(means).collect();
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(StoreError::NotFound(query.to_owned())),
            (Some(last), false) => {
                found.push(last);
                let candidates = found.iter().map(|stored| (stored.cid, stored.name.clone())).collect();
                Err(StoreError::Ambiguous { query: query.to_owned(), candidates })
            }
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Stored, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => codec::decode(rest, Limit::Message).map_err(|error| error.to_string()),
        Some((version, _)) => Err(format!("written by a newer Pangea: entry version {version}")),
        None => Err("empty entry".to_owned()),
    }
}
