//! Stories of a few nodes: what users are promised while holders die.

use crate::net::{Net, SECOND, content};
use pangea_protocols::{
    job::{JobEvent, Outcome},
    time::Time,
};
use pangea_simulations::{
    plan::DiskFate,
    tier::{Ask, Tier},
};
use std::time::Duration;

/// Eight nodes, one put, `dead` holders killed, one get. Returns what came back and whether it is what was stored.
fn story(seed: u64, dead: usize) -> (JobEvent, bool) {
    let mut net = Net::settled(8, seed);
    let bytes = content(seed, (2 << 20) + 12_345);
    net.write(0, "/source", bytes.clone());
    let stored = net.put(0, "/source");
    assert_eq!(stored.missing_shards, 0);
    let holders: Vec<_> = stored.holders.iter().map(|peer| net.node(*peer)).collect();
    for victim in (1..7).filter(|node| holders.contains(node)).take(dead) {
        net.swarm.crash(victim, DiskFate::Wiped);
    }
    let end = net.get(7, &stored, "/sink");
    let intact = net.read(7, "/sink") == Some(bytes);
    (end, intact)
}

#[test]
fn a_file_comes_back_after_as_many_holders_die_as_the_code_tolerates() {
    for seed in 0..4 {
        // Seven holders get three shards of a stripe each, so the loss of one (three of four parity shards) is healed.
        let (end, intact) = story(seed, 1);
        assert!(matches!(end, JobEvent::Done { .. }), "seed {seed}: {end:?}");
        assert!(intact, "seed {seed}: other bytes came back");
    }
}

#[test]
fn one_death_too_many_is_an_error_that_says_so_and_never_wrong_bytes() {
    let (end, intact) = story(0, 2);
    let JobEvent::Failed { error, .. } = end else { panic!("{end:?}") };
    assert!(error.message.contains("of the 16 shards"), "{error}");
    assert!(!intact);
}

#[test]
fn a_put_and_a_get_survive_a_holder_that_dies_under_them() {
    for seed in 0..12 {
        let mut net = Net::settled(10, seed);
        let bytes = content(seed, 5 << 20);
        net.write(0, "/source", bytes.clone());
        let mut fate = pangea_kernel::Seed::new([seed as u8; 32]).derive("fate").draw();
        let victim = 1 + u32::try_from(fate.below(8)).unwrap();
        // Nine holders get up to three shards of a stripe each, so one death at any moment is healed.
        let job = net.begin_put(0, "/source");
        net.run(Duration::from_millis(fate.below(1_500)));
        net.swarm.crash(victim, DiskFate::Lost);
        let JobEvent::Done { outcome: Outcome::Put(stored), .. } = net.end_of(0, job) else { panic!("seed {seed}") };
        let end = net.get(9, &stored, "/sink");
        assert!(matches!(end, JobEvent::Done { .. }), "seed {seed}: {end:?}");
        assert_eq!(net.read(9, "/sink"), Some(bytes), "seed {seed}");
    }
}

#[test]
fn nothing_is_left_behind_once_an_object_is_removed() {
    let mut net = Net::settled(6, 3);
    net.write(0, "/source", content(3, 3 << 20));
    let stored = net.put(0, "/source");
    let held = |net: &Net| (0..6).map(|node| net.swarm.holdings(node).shards.len()).sum::<usize>();
    assert!(held(&net) > 60);
    let job = net.ask(0, Ask::Remove { cid: stored.cid, hints: vec![] });
    let end = net.end_of(0, job);
    assert!(
        matches!(&end, JobEvent::Done { outcome: Outcome::Removed { unreachable, .. }, .. } if unreachable.is_empty())
    );
    let until = Time(net.swarm.now().0 + SECOND);
    net.swarm.run_until(until);
    assert_eq!(held(&net), 0);
}
