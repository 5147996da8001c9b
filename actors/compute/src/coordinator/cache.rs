//! [`Cache`]: results of earlier jobs, by module, input and limits. What was used least lately is forgotten first.

use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::{
    Hash,
    codec::{self, Limit},
    task::{Limits, Receipt},
};
use std::collections::BTreeMap;

/// What a result costs beside its bytes.
const ENTRY_BYTES: usize = 512;

/// Results, bounded in bytes.
#[derive(Debug, Default)]
pub struct Cache {
    results: BTreeMap<Hash, (u64, Receipt, Bytes)>,
    /// By time of their last use.
    order: BTreeMap<u64, Hash>,
    bytes: usize,
    clock: u64,
}

impl Cache {
    /// The name of a result.
    pub fn key(module: Hash, input: Hash, limits: &Limits) -> Hash {
        let input = if planted!("cached-for-any-input") { Hash::default() } else { input };
        Hash::of(&codec::encode(&(module, input, limits), Limit::Message).unwrap_or_default())
    }

    /// Looks one up.
    pub fn get(&mut self, key: Hash) -> Option<(Receipt, Bytes)> {
        let (used, receipt, bytes) = self.results.get_mut(&key)?;
        self.order.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.order.insert(self.clock, key);
        Some((*receipt, bytes.clone()))
    }

    /// Remembers one, and forgets others so that no more than `bytes_max` are kept.
    pub fn put(&mut self, key: Hash, receipt: Receipt, bytes: Bytes, bytes_max: usize) {
        if bytes.len() + ENTRY_BYTES > bytes_max || self.get(key).is_some() {
            return;
        }
        self.clock += 1;
        self.bytes += bytes.len() + ENTRY_BYTES;
        self.order.insert(self.clock, key);
        self.results.insert(key, (self.clock, receipt, bytes));
        while self.bytes > bytes_max
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some((_, _, bytes)) = self.results.remove(&oldest)
        {
            self.bytes -= bytes.len() + ENTRY_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let hash = Hash::default();
        Receipt { pass_version: 1, module: hash, input: hash, output: Ok(hash), sent: hash, gas: 1 }
    }

    #[test]
    fn what_was_used_least_lately_is_forgotten_first() {
        let mut cache = Cache::default();
        let key = |n: u8| Hash([n; 32]);
        let room = 3 * (ENTRY_BYTES + 100);
        (0..3).for_each(|n| cache.put(key(n), receipt(), vec![n; 100].into(), room));
        assert!(cache.get(key(0)).is_some());
        cache.put(key(3), receipt(), vec![3; 100].into(), room);
        cache.put(key(4), receipt(), vec![3; room].into(), room);
        let known: Vec<u8> = (0..5).filter(|n| cache.get(key(*n)).is_some()).collect();
        assert_eq!(known, [0, 2, 3]);
        assert_eq!(cache.order.len(), cache.results.len());
    }

    #[test]
    fn a_result_is_of_its_module_input_and_limits() {
        let limits = Limits::default();
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        let key = Cache::key(a, b, &limits);
        assert_ne!(key, Cache::key(b, a, &limits));
        assert_ne!(key, Cache::key(a, b, &Limits { gas: 1, ..limits }));
    }
}
