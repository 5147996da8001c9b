//! Peer records in the node store. They can be learned again: one that cannot be read is dropped with a word in the log.

use super::{NodeStore, StoreError};
use pangea_peers::Record;
use pangea_protocols::codec::{self, Limit};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

/// Peer id → version byte, record.
pub(super) const PEERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("peers");
/// Version of an encoded record.
const VERSION: u8 = 1;
/// Records above which the least recently seen are removed, down to [`PEERS_KEPT`].
pub const PEERS_MAX: u64 = 12_000;
/// See [`PEERS_MAX`]; the peer manager's own limit.
pub const PEERS_KEPT: usize = 10_000;

impl NodeStore {
    /// Writes records in one transaction, durably; those of the same peers are replaced.
    ///
    /// # Errors
    /// The database's.
    pub fn save_peers(&self, records: &[Record]) -> Result<(), StoreError> {
        let write = self.db.begin_write().map_err(|error| self.fault(error))?;
        {
            let mut table = write.open_table(PEERS).map_err(|error| self.fault(error))?;
            for record in records {
                let mut bytes = vec![VERSION];
                bytes.extend(codec::encode(record, Limit::Message)?);
                table.insert(&record.peer.0, bytes.as_slice()).map_err(|error| self.fault(error))?;
            }
            if table.len().map_err(|error| self.fault(error))? > PEERS_MAX {
                for peer in self.surplus(&table)? {
                    table.remove(&peer).map_err(|error| self.fault(error))?;
                }
            }
        }
        write.commit().map_err(|error| self.fault(error))
    }

    /// All records that can be read, in the order of their peers' ids.
    ///
    /// # Errors
    /// The database's.
    pub fn load_peers(&self) -> Result<Vec<Record>, StoreError> {
        let read = self.db.begin_read().map_err(|error| self.fault(error))?;
        let table = read.open_table(PEERS).map_err(|error| self.fault(error))?;
        self.readable(&table)
    }

    fn readable(
        &self,
        table: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    ) -> Result<Vec<Record>, StoreError> {
        let (mut records, mut dropped) = (Vec::new(), 0u64);
        for row in table.iter().map_err(|error| self.fault(error))? {
            let (_, value) = row.map_err(|error| self.fault(error))?;
            match decode(value.value()) {
                Some(record) => records.push(record),
                None => dropped += 1,
            }
        }
        if dropped > 0 {
            tracing::warn!(dropped, file = %self.file.display(), "peer records of another version are not used");
        }
        Ok(records)
    }

    /// Who is removed to come down to [`PEERS_KEPT`]: nobody the user has decided about.
    fn surplus(
        &self,
        table: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let mut records = self.readable(table)?;
        records.sort_by_key(|record| (std::cmp::Reverse(record.worth()), record.peer));
        Ok(records.into_iter().skip(PEERS_KEPT).map(|record| record.peer.0).collect())
    }
}

fn decode(bytes: &[u8]) -> Option<Record> {
    codec::decode(bytes.strip_prefix(&[VERSION])?, Limit::Message).ok()
}
