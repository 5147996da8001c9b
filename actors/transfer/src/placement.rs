//! Which peers hold an object, and which of them holds which shard of which stripe. Pure functions.
//!
//! Holders sit on a ring of **seats**. Shard `s` of stripe `i` belongs to seat `(s + i) mod seats`: over consecutive
//! stripes every seat gets every shard index in turn, so data, parity and load are even. When a seat is empty only its
//! own shards move, each to the seat that has the fewest of that stripe; when a replacement sits down, they go there
//! again. What a seat may hold of one stripe is capped, because a holder is lost with all it holds.
//!
//! Not here: whether a peer is good enough to be a candidate (peer manager), reservations and retries
//! ([`crate::upload`]).

use crate::api::Candidate;
use pangea_kernel::Draw;
use std::collections::BTreeMap;

/// The order in which candidates are asked to hold: indices into `candidates`, each once.
///
/// Failure domains come first: no domain is used a second time before every domain is used once, and so on. Within
/// that, two candidates are drawn at random and the better score goes first ("the power of two choices", Mitzenmacher
/// 2001): good peers are preferred without all uploads of all nodes piling onto the best one.
pub fn rank(candidates: &[Candidate], draw: &mut Draw) -> Vec<usize> {
    let score = |index: usize| candidates.get(index).map_or(0.0, |c| if c.score.is_finite() { c.score } else { 0.0 });
    let mut uses: BTreeMap<u64, usize> = BTreeMap::new();
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let used = |index: &usize| candidates.get(*index).map_or(0, |c| uses.get(&c.domain).copied().unwrap_or(0));
        let fewest = left.iter().map(used).min().unwrap_or(0);
        let eligible: Vec<usize> = left.iter().copied().filter(|index| used(index) == fewest).collect();
        let (Some(&first), Some(&second)) = (draw.choose(&eligible), draw.choose(&eligible)) else { break };
        let better = if score(second) > score(first) { second } else { first };
        if let Some(candidate) = candidates.get(better) {
            *uses.entry(candidate.domain).or_default() += 1;
        }
        left.retain(|index| *index != better);
        order.push(better);
    }
    order
}

/// The seat of each of `shards` shards of stripe `stripe`; `None` for a shard that no seat may take.
///
/// `seats[i]` tells whether somebody sits there; nobody gets more than `cap` shards.
pub fn assign(stripe: u64, shards: usize, seats: &[bool], cap: usize) -> Vec<Option<usize>> {
    let mut loads: Vec<Option<usize>> = seats.iter().map(|taken| taken.then_some(0)).collect();
    let mut placed = vec![None; shards];
    for (shard, place) in placed.iter_mut().enumerate() {
        let home = home(stripe, shard, seats.len());
        if let Some(Some(load)) = home.and_then(|seat| loads.get_mut(seat))
            && *load < cap
        {
            *load += 1;
            *place = home;
        }
    }
    for (shard, place) in placed.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
        let start = home(stripe, shard, seats.len()).unwrap_or(0);
        *place = pick(&loads, cap, start);
        if let Some(Some(load)) = place.and_then(|seat| loads.get_mut(seat)) {
            *load += 1;
        }
    }
    placed
}

/// The seat for one more shard: the one with the fewest of `loads` below `cap`, ties in ring order from `start`.
/// A load of `None` is a seat that may not be used.
pub fn pick(loads: &[Option<usize>], cap: usize, start: usize) -> Option<usize> {
    let seats = loads.len();
    let ring = (0..seats).map(|step| (start + step) % seats);
    let open = ring.filter_map(|seat| loads.get(seat).copied().flatten().map(|load| (load, seat)));
    // `min_by_key` keeps the first of equals: ring order.
    open.filter(|(load, _)| *load < cap).min_by_key(|(load, _)| *load).map(|(_, seat)| seat)
}

fn home(stripe: u64, shard: usize, seats: usize) -> Option<usize> {
    let turn = usize::try_from(stripe.checked_rem(seats as u64)?).ok()?;
    (shard % seats + turn).checked_rem(seats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_kernel::Seed;
    use pangea_protocols::PeerId;
    use proptest::prelude::*;

    fn candidate(number: u8, domain: u64, score: f64) -> Candidate {
        Candidate { peer: PeerId([number; 32]), domain, score, rtt: None, goodput: 0.0, address: None }
    }

    fn counts(placed: &[Option<usize>], seats: usize) -> Vec<usize> {
        (0..seats).map(|seat| placed.iter().filter(|place| **place == Some(seat)).count()).collect()
    }

    #[test]
    fn every_domain_is_used_once_before_any_is_used_twice() {
        let candidates: Vec<_> = (0..12).map(|n| candidate(n, u64::from(n) % 4, f64::from(n))).collect();
        let order = rank(&candidates, &mut Seed::new([1; 32]).draw());
        for round in order.chunks(4) {
            let mut domains: Vec<u64> = round.iter().map(|index| candidates[*index].domain).collect();
            domains.sort_unstable();
            assert_eq!(domains, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn better_scores_are_asked_earlier_on_average_but_not_always_first() {
        let candidates: Vec<_> = (0..20).map(|n| candidate(n, u64::from(n), f64::from(n))).collect();
        let mut draw = Seed::new([2; 32]).draw();
        let orders: Vec<_> = (0..200).map(|_| rank(&candidates, &mut draw)).collect();
        let mean_of_first_half: f64 = orders.iter().flat_map(|o| &o[..10]).map(|i| *i as f64).sum::<f64>() / 2000.0;
        assert!(mean_of_first_half > 11.0, "uniform would be 9.5, got {mean_of_first_half}");
        assert!(orders.iter().any(|order| order[0] != 19));
    }

    #[test]
    fn a_score_that_is_no_number_counts_as_nothing() {
        let candidates = [candidate(0, 0, f64::NAN), candidate(1, 1, f64::INFINITY), candidate(2, 2, 0.5)];
        assert_eq!(rank(&candidates, &mut Seed::new([3; 32]).draw()).len(), 3);
    }

    proptest! {
        #[test]
        fn ranking_is_a_permutation_and_depends_on_nothing_but_its_inputs(
            domains in prop::collection::vec((0u64..6, 0.0f64..1.0), 0..40), seed: u8,
        ) {
            let candidates: Vec<_> =
                domains.iter().enumerate().map(|(n, (domain, score))| candidate(n as u8, *domain, *score)).collect();
            let order = rank(&candidates, &mut Seed::new([seed; 32]).draw());
            prop_assert_eq!(&order, &rank(&candidates, &mut Seed::new([seed; 32]).draw()));
            let mut sorted = order;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..candidates.len()).collect::<Vec<_>>());
        }

        #[test]
        fn no_seat_exceeds_the_cap_and_nothing_is_left_over_while_there_is_room(
            stripe: u64, shards in 1usize..64, taken in prop::collection::vec(any::<bool>(), 1..30), cap in 1usize..12,
        ) {
            let placed = assign(stripe, shards, &taken, cap);
            let loads = counts(&placed, taken.len());
            for (load, taken) in loads.iter().zip(&taken) {
                let most = if *taken { cap } else { 0 };
                prop_assert!(*load <= most);
            }
            let room = taken.iter().filter(|taken| **taken).count() * cap;
            prop_assert_eq!(placed.iter().flatten().count(), shards.min(room));
        }

        #[test]
        fn each_stripe_and_any_run_of_stripes_is_balanced(first in 0u64..1 << 40, shards in 1usize..40, seats in 1usize..21) {
            let cap = shards.div_ceil(seats);
            let mut total = vec![0; seats];
            let mut first_shard = vec![0; seats];
            for stripe in first..first + seats as u64 {
                let placed = assign(stripe, shards, &vec![true; seats], cap);
                let loads = counts(&placed, seats);
                prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
                total.iter_mut().zip(&loads).for_each(|(total, load)| *total += load);
                first_shard[placed[0].unwrap()] += 1;
            }
            // After one turn of the ring all are exactly equal, and each had shard 0 once.
            prop_assert!(total.iter().all(|load| *load == shards));
            prop_assert!(first_shard.iter().all(|times| *times == 1));
        }

        #[test]
        fn when_a_holder_drops_out_only_its_own_shards_move(stripe: u64, shards in 1usize..40, seats in 2usize..21, lost: usize) {
            let (lost, cap) = (lost % seats, shards);
            let before = assign(stripe, shards, &vec![true; seats], cap);
            let mut taken = vec![true; seats];
            taken[lost] = false;
            let after = assign(stripe, shards, &taken, cap);
            for (old, new) in before.iter().zip(&after) {
                let moved = *new != Some(lost) && new.is_some();
                let right = if *old == Some(lost) { moved } else { old == new };
                prop_assert!(right);
            }
        }
    }
}
