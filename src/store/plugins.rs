//! Plugins in the node store: their packages, and the last snapshot of every extension.

use super::{NodeStore, StoreError};
use pangea_plugins::api::{Package, Snapshot};
use pangea_protocols::{
    codec::{self, Limit},
    wire::extension::Name,
};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

/// Name → version byte, package.
pub(super) const PACKAGES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("plugins");
/// Name of an extension, native ones included → version byte, snapshot.
pub(super) const SNAPSHOTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("snapshots");
/// Version of an encoded value.
const VERSION: u8 = 1;

impl NodeStore {
    /// Writes what is given in one transaction, durably: both or neither replace what is there.
    ///
    /// # Errors
    /// The database's.
    pub fn save_plugin(
        &self,
        name: &Name,
        package: Option<&Package>,
        snapshot: Option<&Snapshot>,
    ) -> Result<(), StoreError> {
        let write = self.db.begin_write().map_err(|error| self.fault(error))?;
        {
            let mut table = write.open_table(PACKAGES).map_err(|error| self.fault(error))?;
            if let Some(package) = package {
                table.insert(name.as_str(), encode(package)?.as_slice()).map_err(|error| self.fault(error))?;
            }
            let mut table = write.open_table(SNAPSHOTS).map_err(|error| self.fault(error))?;
            if let Some(snapshot) = snapshot {
                table.insert(name.as_str(), encode(snapshot)?.as_slice()).map_err(|error| self.fault(error))?;
            }
        }
        write.commit().map_err(|error| self.fault(error))
    }

    /// Forgets a plugin and what it kept.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_plugin(&self, name: &Name) -> Result<(), StoreError> {
        let write = self.db.begin_write().map_err(|error| self.fault(error))?;
        for definition in [PACKAGES, SNAPSHOTS] {
            let mut table = write.open_table(definition).map_err(|error| self.fault(error))?;
            table.remove(name.as_str()).map_err(|error| self.fault(error))?;
        }
        write.commit().map_err(|error| self.fault(error))
    }

    /// All plugins, by name. One that cannot be read is left out, with a word in the log.
    ///
    /// # Errors
    /// The database's.
    pub fn load_plugins(&self) -> Result<Vec<(Package, Option<Snapshot>)>, StoreError> {
        let read = self.db.begin_read().map_err(|error| self.fault(error))?;
        let table = read.open_table(PACKAGES).map_err(|error| self.fault(error))?;
        let mut plugins = Vec::new();
        for row in table.iter().map_err(|error| self.fault(error))? {
            let (name, value) = row.map_err(|error| self.fault(error))?;
            match decode(value.value()) {
                Some(package) => plugins.push((package, self.load_snapshot(name.value())?)),
                None => tracing::warn!(plugin = name.value(), "a plugin of another version is not used"),
            }
        }
        Ok(plugins)
    }

    /// The last snapshot of an extension.
    ///
    /// # Errors
    /// The database's.
    pub fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, StoreError> {
        let read = self.db.begin_read().map_err(|error| self.fault(error))?;
        let table = read.open_table(SNAPSHOTS).map_err(|error| self.fault(error))?;
        let value = table.get(name).map_err(|error| self.fault(error))?;
        Ok(value.and_then(|value| decode(value.value())))
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    bytes.extend(codec::encode(value, Limit::Local)?);
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    codec::decode(bytes.strip_prefix(&[VERSION])?, Limit::Local).ok()
}
