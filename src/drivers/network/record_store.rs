//! The provider records that this node keeps in the DHT, for itself and for others, all of it bounded.
//!
//! Not a store of values: Pangea puts none into the DHT, and refuses those of others. A record of another peer is kept
//! only if its key has 32 bytes, the peer and its prefix have not offered too many lately, and there is room. When
//! there is none, keys far from this node give way to near ones, and among the providers of a key those whose prefix
//! is crowded give way to others; arrival time decides nothing, so that flooding buys nothing.

use super::address::{ADDRESSES_MAX, Prefix};
use libp2p::{
    PeerId,
    kad::{
        KBucketDistance, KBucketKey, ProviderRecord, Record, RecordKey,
        store::{Error, RecordStore, Result},
    },
};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    iter,
    time::{Duration, Instant},
};

/// Bytes of a key: a BLAKE3 hash.
pub const KEY_BYTES: usize = 32;
/// Providers kept per key.
pub const PROVIDERS_PER_KEY_MAX: usize = 20;
/// Token buckets kept; the oldest unused ones are forgotten first.
const BUCKETS_MAX: usize = 4096;
/// Records a peer may offer at once, and per second afterwards.
const PEER_RATE: Rate = Rate { burst: 256, per_second: 4 };
/// The same for all peers of a prefix.
const PREFIX_RATE: Rate = Rate { burst: 1024, per_second: 16 };

/// A bounded store of provider records.
pub struct ProviderStore {
    local: KBucketKey<PeerId>,
    keys_max: usize,
    provided_max: usize,
    /// By distance of the key to this node: the last is the first to go.
    keys: BTreeMap<KBucketDistance, Providers>,
    /// What this node announces itself.
    provided: BTreeMap<Vec<u8>, ProviderRecord>,
    peers: TokenBuckets<PeerId>,
    prefixes: TokenBuckets<Prefix>,
}

struct Providers {
    key: RecordKey,
    held: Vec<Held>,
}

struct Held {
    record: ProviderRecord,
    prefix: Option<Prefix>,
}

/// Why a record of another peer was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key is not a BLAKE3 hash.
    #[error("the key has not {KEY_BYTES} bytes")]
    Key,
    /// Nobody could dial the provider.
    #[error("the record has no usable address")]
    NoAddress,
    /// The peer or its prefix offers too much.
    #[error("too many records in a short time")]
    Rate,
    /// The providers of this key are at least as diverse.
    #[error("the key has enough providers")]
    Providers,
    /// All keys held are nearer.
    #[error("the store is full of nearer keys")]
    Keys,
}

impl ProviderStore {
    /// An empty store for at most `keys_max` keys of others and `provided_max` own ones.
    pub fn new(local: PeerId, keys_max: usize, provided_max: usize) -> Self {
        Self {
            local: local.into(),
            keys_max,
            provided_max,
            keys: BTreeMap::new(),
            provided: BTreeMap::new(),
            peers: TokenBuckets::new(PEER_RATE),
            prefixes: TokenBuckets::new(PREFIX_RATE),
        }
    }

    /// Keeps a record that its provider sent from `prefix`, if it passes every limit.
    ///
    /// # Errors
    /// Which limit it does not pass.
    pub fn offer(
        &mut self,
        mut record: ProviderRecord,
        prefix: Option<Prefix>,
        now: Instant,
    ) -> std::result::Result<(), Refused> {
        if record.key.as_ref().len() != KEY_BYTES {
            return Err(Refused::Key);
        }
        let fits = self.peers.take(record.provider, now);
        if !(fits && prefix.is_none_or(|prefix| self.prefixes.take(prefix, now))) {
            return Err(Refused::Rate);
        }
        record.addresses.truncate(ADDRESSES_MAX);
        if record.addresses.is_empty() {
            return Err(Refused::NoAddress);
        }
        let distance = self.distance(&record.key);
        self.make_room(distance, now)?;
        let key = record.key.clone();
        self.keys
            .entry(distance)
            .or_insert_with(|| Providers { key, held: Vec::new() })
            .insert(Held { record, prefix }, now)
    }

    /// Own keys that are announced.
    pub fn provided_keys(&self) -> impl Iterator<Item = RecordKey> + '_ {
        self.provided.values().map(|record| record.key.clone())
    }

    fn distance(&self, key: &RecordKey) -> KBucketDistance {
        self.local.distance(&KBucketKey::new(key.clone()))
    }

    fn make_room(&mut self, distance: KBucketDistance, now: Instant) -> std::result::Result<(), Refused> {
        if self.keys.contains_key(&distance) || self.keys.len() < self.keys_max {
            return Ok(());
        }
        let farthest = self.keys.last_key_value().map(|(farthest, _)| *farthest).ok_or(Refused::Keys)?;
        if farthest > distance {
            self.keys.remove(&farthest);
            return Ok(());
        }
        // Only now, because it looks at every key: what has expired goes.
        self.keys.retain(|_, providers| {
            providers.held.retain(|held| !held.record.is_expired(now));
            !providers.held.is_empty()
        });
        if self.keys.len() < self.keys_max { Ok(()) } else { Err(Refused::Keys) }
    }
}

impl Providers {
    fn insert(&mut self, new: Held, now: Instant) -> std::result::Result<(), Refused> {
        if let Some(same) = self.held.iter_mut().find(|held| held.record.provider == new.record.provider) {
            *same = new;
            return Ok(());
        }
        self.held.retain(|held| !held.record.is_expired(now));
        if self.held.len() < PROVIDERS_PER_KEY_MAX {
            self.held.push(new);
            return Ok(());
        }
        let of_prefix = |prefix: Option<Prefix>| self.held.iter().filter(|held| held.prefix == prefix).count();
        let crowd = self.held.iter().enumerate().map(|(at, held)| (of_prefix(held.prefix), at)).max();
        match crowd {
            // The newcomer's prefix stays less crowded than the one that gives way: otherwise nothing is gained.
            Some((crowd, at)) if crowd > of_prefix(new.prefix) + 1 => {
                self.held[at] = new;
                Ok(())
            }
            _ => Err(Refused::Providers),
        }
    }
}

impl RecordStore for ProviderStore {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = iter::Map<
        std::collections::btree_map::Values<'a, Vec<u8>, ProviderRecord>,
        fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>,
    >;

    fn get(&self, _key: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _record: Record) -> Result<()> {
        Err(Error::ValueTooLarge)
    }

    fn remove(&mut self, _key: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    /// Called by the behaviour for this node's own records; those of others come through [`ProviderStore::offer`].
    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider != *self.local.preimage() || record.key.as_ref().len() != KEY_BYTES {
            return Err(Error::MaxProvidedKeys);
        }
        let key = record.key.to_vec();
        if self.provided.len() >= self.provided_max && !self.provided.contains_key(&key) {
            return Err(Error::MaxProvidedKeys);
        }
        self.provided.insert(key, record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let own = self.provided.get(key.as_ref());
        let others = self.keys.get(&self.distance(key)).filter(|providers| providers.key == *key);
        let others = others.into_iter().flat_map(|providers| providers.held.iter().map(|held| &held.record));
        own.into_iter().chain(others).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.provided.values().map(Cow::Borrowed)
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if provider == self.local.preimage() {
            self.provided.remove(key.as_ref());
            return;
        }
        let distance = self.distance(key);
        if let Some(providers) = self.keys.get_mut(&distance) {
            providers.held.retain(|held| held.record.provider != *provider);
            if providers.held.is_empty() {
                self.keys.remove(&distance);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Rate {
    burst: u32,
    per_second: u32,
}

/// A token bucket per name, for a bounded number of names.
struct TokenBuckets<K> {
    rate: Rate,
    buckets: BTreeMap<K, Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Ord + Copy> TokenBuckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, buckets: BTreeMap::new() }
    }

    /// Takes one token of `name`; false if there is none.
    fn take(&mut self, name: K, now: Instant) -> bool {
        let (burst, per_second) = (f64::from(self.rate.burst), f64::from(self.rate.per_second));
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&name) {
            // A bucket that has had time to fill up says nothing.
            let full_after = Duration::from_secs_f64(burst / per_second);
            self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < full_after);
            if self.buckets.len() >= BUCKETS_MAX {
                return false;
            }
        }
        let bucket = self.buckets.entry(name).or_insert(Bucket { tokens: burst, at: now });
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * per_second;
        bucket.tokens = (bucket.tokens + earned).min(burst);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
#[path = "record_store_tests.rs"]
mod tests;
