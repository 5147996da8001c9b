//! The limits of the provider store, one test each.

use super::*;
use std::net::IpAddr;

const HOUR: Duration = Duration::from_secs(3600);

fn store(keys_max: usize) -> ProviderStore {
    ProviderStore::new(PeerId::random(), keys_max, 2)
}

fn record(key: &[u8], addresses: usize, now: Instant) -> ProviderRecord {
    ProviderRecord {
        key: RecordKey::new(&key),
        provider: PeerId::random(),
        expires: Some(now + HOUR),
        addresses: (0..addresses).map(|at| format!("/ip4/192.0.2.1/udp/{}/quic-v1", at + 1).parse().unwrap()).collect(),
    }
}

fn prefix(third: u8) -> Option<Prefix> {
    Prefix::of(IpAddr::from([198, 51, third, 1]))
}

#[test]
fn keys_of_other_lengths_are_refused() {
    let now = Instant::now();
    for length in [0, 31, 33, 64] {
        assert_eq!(store(10).offer(record(&vec![1; length], 1, now), None, now), Err(Refused::Key));
    }
    assert_eq!(store(10).offer(record(&[1; 32], 1, now), None, now), Ok(()));
}

#[test]
fn at_most_eight_addresses_are_kept_and_one_is_needed() {
    let now = Instant::now();
    let mut store = store(10);
    store.offer(record(&[1; 32], 50, now), None, now).unwrap();
    assert_eq!(store.providers(&RecordKey::new(&[1; 32]))[0].addresses.len(), ADDRESSES_MAX);
    assert_eq!(store.offer(record(&[1; 32], 0, now), None, now), Err(Refused::NoAddress));
}

#[test]
fn a_key_keeps_twenty_providers_and_a_crowded_prefix_gives_way_to_a_rare_one() {
    let now = Instant::now();
    let mut store = store(10);
    for _ in 0..PROVIDERS_PER_KEY_MAX {
        store.offer(record(&[1; 32], 1, now), prefix(1), now).unwrap();
    }
    assert_eq!(store.offer(record(&[1; 32], 1, now), prefix(1), now), Err(Refused::Providers));
    let rare = record(&[1; 32], 1, now);
    store.offer(rare.clone(), prefix(2), now).unwrap();
    let providers = store.providers(&rare.key);
    assert_eq!(providers.len(), PROVIDERS_PER_KEY_MAX);
    assert!(providers.contains(&rare));
}

#[test]
fn expired_providers_make_room() {
    let now = Instant::now();
    let mut store = store(10);
    for _ in 0..PROVIDERS_PER_KEY_MAX {
        store.offer(record(&[1; 32], 1, now), prefix(1), now).unwrap();
    }
    let later = now + HOUR + HOUR;
    store.offer(record(&[1; 32], 1, later), prefix(1), later).unwrap();
    assert_eq!(store.providers(&RecordKey::new(&[1; 32])).len(), 1);
}

#[test]
fn a_full_store_prefers_the_keys_nearest_to_this_node() {
    let now = Instant::now();
    let mut store = store(16);
    let mut keys: Vec<_> = (0..64u8).map(|at| RecordKey::new(&[at; 32])).collect();
    for key in &keys {
        let offered = store.offer(record(key.as_ref(), 1, now), None, now);
        assert!(matches!(offered, Ok(()) | Err(Refused::Keys)));
        assert!(store.keys.len() <= 16);
    }
    keys.sort_by_key(|key| store.distance(key));
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(!store.providers(key).is_empty(), at < 16, "key at rank {at}");
    }
}

#[test]
fn a_peer_that_floods_is_refused_until_time_has_passed() {
    let now = Instant::now();
    let mut store = store(10_000);
    let flood = |store: &mut ProviderStore, provider, count: u32, now: Instant| {
        let offers = (0..count).map(|at| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&at.to_le_bytes());
            ProviderRecord { provider, ..record(&key, 1, now) }
        });
        offers.filter(|offer| store.offer(offer.clone(), prefix(1), now).is_ok()).count()
    };
    let peer = PeerId::random();
    assert_eq!(flood(&mut store, peer, 1000, now), PEER_RATE.burst as usize);
    assert_eq!(flood(&mut store, peer, 1000, now + Duration::from_secs(10)), 10 * PEER_RATE.per_second as usize);
}

#[test]
fn a_prefix_that_floods_with_many_identities_is_refused() {
    let now = Instant::now();
    let mut store = store(10_000);
    let offered = (0..3000u32).filter(|at| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&at.to_le_bytes());
        store.offer(record(&key, 1, now), prefix(1), now).is_ok()
    });
    assert_eq!(offered.count(), PREFIX_RATE.burst as usize);
    assert!(store.peers.buckets.len() <= BUCKETS_MAX);
}

#[test]
fn more_identities_than_there_are_buckets_are_refused_not_remembered() {
    let now = Instant::now();
    let mut buckets = TokenBuckets::new(PEER_RATE);
    let taken = (0..BUCKETS_MAX as u32 + 100).filter(|name| buckets.take(*name, now)).count();
    assert_eq!((taken, buckets.buckets.len()), (BUCKETS_MAX, BUCKETS_MAX));
    assert!(buckets.take(u32::MAX, now + HOUR));
}

#[test]
fn values_are_refused_and_own_keys_are_bounded_apart_from_those_of_others() {
    let now = Instant::now();
    let mut store = store(1);
    let local = *store.local.preimage();
    assert!(store.put(Record::new(vec![1; 32], vec![1])).is_err());
    assert!(store.add_provider(record(&[9; 32], 1, now)).is_err(), "a record of another by the back door");
    for key in [1, 2] {
        store.add_provider(ProviderRecord { provider: local, ..record(&[key; 32], 0, now) }).unwrap();
    }
    assert!(store.add_provider(ProviderRecord { provider: local, ..record(&[3; 32], 0, now) }).is_err());
    assert_eq!(store.provided().count(), 2);
    store.remove_provider(&RecordKey::new(&[1; 32]), &local);
    assert_eq!(store.provided().count(), 1);
}
