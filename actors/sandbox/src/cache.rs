//! [`Cache`]: what is known of modules, by the hash of their bytes: compiled, or why they are refused. Bounded in bytes;
//! the one not used for longest goes first.

use pangea_protocols::{
    Hash,
    task::{Capabilities, Refusal},
};
use std::collections::BTreeMap;

/// A module that can be run.
#[derive(Clone, Debug)]
pub struct Ready<M> {
    /// In the engine.
    pub compiled: M,
    /// What it imports.
    pub imports: Capabilities,
    /// Gas to make an instance.
    pub setup_gas: u64,
}

/// What a module came to.
pub type Known<M> = Result<Ready<M>, Refusal>;

/// Bytes that a refusal counts for.
const REFUSAL_BYTES: u64 = 1024;

/// Modules by their hash.
#[derive(Debug)]
pub struct Cache<M> {
    modules: BTreeMap<Hash, Entry<M>>,
    /// When a module was last used, oldest first.
    order: BTreeMap<u64, Hash>,
    uses: u64,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug)]
struct Entry<M> {
    known: Known<M>,
    bytes: u64,
    used: u64,
}

impl<M: Clone> Cache<M> {
    /// An empty one of at most `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { modules: BTreeMap::new(), order: BTreeMap::new(), uses: 0, bytes: 0, bytes_max }
    }

    /// What is known of a module; it is now the one used last.
    pub fn get(&mut self, module: &Hash) -> Option<Known<M>> {
        self.uses += 1;
        let entry = self.modules.get_mut(module)?;
        self.order.remove(&entry.used);
        self.order.insert(self.uses, *module);
        entry.used = self.uses;
        Some(entry.known.clone())
    }

    /// Remembers what a module came to; `bytes` is its size in the engine. One that is larger than the whole cache is
    /// not kept.
    pub fn insert(&mut self, module: Hash, known: Known<M>, bytes: u64) {
        let bytes = if known.is_ok() { bytes } else { REFUSAL_BYTES };
        self.remove(&module);
        if bytes > self.bytes_max {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            let Some(oldest) = self.order.values().next().copied() else { break };
            self.remove(&oldest);
        }
        self.uses += 1;
        self.bytes += bytes;
        self.order.insert(self.uses, module);
        self.modules.insert(module, Entry { known, bytes, used: self.uses });
    }

    /// Bytes of all modules.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn remove(&mut self, module: &Hash) {
        if let Some(entry) = self.modules.remove(module) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(number: u32) -> Known<u32> {
        Ok(Ready { compiled: number, imports: Capabilities::NONE, setup_gas: 0 })
    }

    fn name(number: u8) -> Hash {
        Hash([number; 32])
    }

    fn has(cache: &mut Cache<u32>, number: u8) -> bool {
        cache.get(&name(number)).is_some()
    }

    #[test]
    fn the_module_not_used_for_longest_goes_first() {
        let mut cache = Cache::new(100);
        for number in 0..3 {
            cache.insert(name(number), ready(number.into()), 30);
        }
        assert!(has(&mut cache, 0));
        cache.insert(name(3), ready(3), 30);
        assert_eq!([0, 1, 2, 3].map(|number| has(&mut cache, number)), [true, false, true, true]);
        assert_eq!(cache.bytes(), 90);
        cache.insert(name(4), ready(4), 100);
        assert_eq!([0, 2, 3, 4].map(|number| has(&mut cache, number)), [false, false, false, true]);
        cache.insert(name(5), ready(5), 101);
        assert!(has(&mut cache, 4) && !has(&mut cache, 5), "too large to keep");
    }

    #[test]
    fn a_module_counts_once_and_a_refusal_counts_little() {
        let mut cache = Cache::new(2 * REFUSAL_BYTES);
        for _ in 0..10 {
            cache.insert(name(1), ready(1), 50);
        }
        cache.insert(name(2), Err(Refusal::Twice), 1 << 30);
        assert_eq!(cache.bytes(), 50 + REFUSAL_BYTES);
        assert!(matches!(cache.get(&name(2)), Some(Err(Refusal::Twice))));
    }
}
