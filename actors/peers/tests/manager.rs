//! The peer manager as its neighbours see it: events in, messages out, on a virtual clock.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use ed25519_dalek::SigningKey;
use pangea_kernel::testbed::{EPOCH, Testbed};
use pangea_peers::{
    Config, PeerManager, Record,
    api::{In, Out, Report},
};
use pangea_protocols::{
    Address, PeerId,
    net::{self, Command, Event, Source},
    wire::{
        Frame, Message,
        pex::{PeerRecord, Pex},
    },
};
use proptest::prelude::*;
use std::{collections::BTreeSet, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn key(n: u32) -> SigningKey {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    SigningKey::from_bytes(&bytes)
}

fn id(n: u32) -> PeerId {
    PeerId(key(n).verifying_key().to_bytes())
}

/// A public address in a network of its own.
fn at(n: u32) -> Address {
    format!("/ip4/{}.{}.{}.1/udp/4001/quic-v1", 1 + n / 65536, n / 256 % 256, n % 256).parse().unwrap()
}

fn bed(config: Config) -> Testbed<PeerManager> {
    let mut bed = Testbed::new(PeerManager::new(key(0), config));
    bed.send(In::Net(Event::Listening { address: at(0) }));
    bed
}

fn connect(bed: &mut Testbed<PeerManager>, n: u32) -> Vec<Out> {
    bed.send(In::Net(Event::Connected { peer: id(n), address: at(n), inbound: true }))
}

fn report(bed: &mut Testbed<PeerManager>, n: u32, report: Report) -> Vec<Out> {
    bed.send(In::Report { peer: id(n), report })
}

fn dials(out: &[Out]) -> Vec<PeerId> {
    let dial = |out: &Out| if let Out::Net(Command::Dial { peer, .. }) = out { Some(*peer) } else { None };
    out.iter().filter_map(dial).collect()
}

fn hangups(out: &[Out]) -> Vec<PeerId> {
    let hangup = |out: &Out| if let Out::Net(Command::Hangup { peer }) = out { Some(*peer) } else { None };
    out.iter().filter_map(hangup).collect()
}

fn candidates(bed: &mut Testbed<PeerManager>, count: u16) -> Vec<PeerId> {
    let out = bed.send(In::Candidates { request: 1, count, bytes: 1, exclude: Vec::new() });
    match out.as_slice() {
        [Out::Candidates { candidates, .. }] => candidates.iter().map(|candidate| candidate.peer).collect(),
        other => panic!("{other:?}"),
    }
}

fn sent(out: &[Out]) -> Vec<(PeerId, Pex)> {
    let pex = |out: &Out| match out {
        Out::Net(Command::Send { peer, frame: Frame { message: Message::Pex(pex), .. }, .. }) => {
            Some((*peer, pex.clone()))
        }
        _ => None,
    };
    out.iter().filter_map(pex).collect()
}

fn pex(bed: &mut Testbed<PeerManager>, n: u32, message: Pex) -> Vec<Out> {
    bed.send(In::Pex { peer: id(n), frame: Frame::bare(Message::Pex(message)) })
}

fn signed(n: u32, age_s: u64) -> PeerRecord {
    PeerRecord::sign(&key(n), vec![at(n)], EPOCH.0 - age_s)
}

#[test]
fn a_bootstrap_peer_is_dialled_at_once_then_after_one_two_and_four_seconds() {
    let config = Config { bootstrap: vec![(id(1), vec![at(1)])], ..Config::default() };
    let mut bed = bed(config);
    let mut out = bed.advance(Duration::ZERO);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let mut waited = Duration::ZERO;
        while dials(&out).is_empty() {
            out = bed.advance(SECOND / 10);
            waited += SECOND / 10;
        }
        waits.push(waited.as_secs_f64());
        out = bed.send(In::Net(Event::DialFailed { peer: id(1), reason: "refused".into() }));
    }
    for (wait, step) in waits.iter().zip([0.0, 1.0, 2.0, 4.0]) {
        assert!(*wait >= step * 0.7 && *wait <= step * 1.5 + 0.2, "{waits:?}");
    }
}

#[test]
fn a_peer_that_sends_this_node_away_is_left_alone_for_minutes_even_if_it_is_pinned() {
    let mut bed = bed(Config { bootstrap: vec![(id(1), vec![at(1)])], ..Config::default() });
    assert_eq!(dials(&bed.advance(Duration::ZERO)), [id(1)]);
    let mut total = 0;
    // Others are connected, so that the node is not isolated.
    connect(&mut bed, 2);
    let mut minutes = 0;
    while minutes < 60 {
        bed.send(In::Net(Event::Connected { peer: id(1), address: at(1), inbound: false }));
        bed.send(In::Net(Event::Disconnected { peer: id(1), reason: "closed by the peer".into(), dismissed: true }));
        while minutes < 60 && !dials(&bed.advance(SECOND * 60)).contains(&id(1)) {
            minutes += 1;
        }
        total += 1;
    }
    assert!((2..=5).contains(&total), "5, 10, 20 and 40 minutes: {total} times in an hour");
}

#[test]
fn a_node_that_has_its_peers_does_not_ask_every_newcomer_for_more() {
    let mut bed = bed(Config { target: 2, max: 6, ..Config::default() });
    let asked: Vec<usize> = (1..=4).map(|n| sent(&connect(&mut bed, n)).len()).collect();
    assert_eq!(asked, [1, 1, 0, 0]);
}

#[test]
fn a_stream_of_discoveries_does_not_put_off_the_next_dial() {
    let config = Config { bootstrap: vec![(id(1), vec![at(1)])], ..Config::default() };
    let mut bed = bed(config);
    assert_eq!(dials(&bed.advance(SECOND)), [id(1)]);
    bed.send(In::Net(Event::DialFailed { peer: id(1), reason: "refused".into() }));
    let mut dialled = Vec::new();
    for n in 100..150 {
        bed.send(In::Net(Event::Discovered { peer: id(n), addresses: vec![at(n)], source: Source::Dht }));
        dialled.extend(dials(&bed.advance(SECOND / 10)));
    }
    assert!(dialled.contains(&id(1)), "{}", dialled.len());
}

#[test]
fn what_a_stranger_says_of_itself_does_not_reach_into_this_network() {
    let mut bed = bed(Config::default());
    connect(&mut bed, 1);
    let addresses = vec!["/ip4/127.0.0.1/udp/22".parse().unwrap(), at(2)];
    bed.send(In::Net(Event::Discovered { peer: id(1), addresses, source: Source::Identify }));
    let places = &bed.core.book().get(id(1)).unwrap().record.addresses;
    assert_eq!(places.iter().map(|place| place.address.clone()).collect::<Vec<_>>(), [at(2)]);
}

#[test]
fn an_unreachable_stranger_is_left_alone_for_minutes_while_others_are_connected() {
    let mut bed = bed(Config::default());
    connect(&mut bed, 9);
    let news = Event::Discovered { peer: id(1), addresses: vec![at(1)], source: Source::Dht };
    bed.send(In::Net(news));
    assert_eq!(dials(&bed.advance(SECOND * 10)), [id(1)]);
    bed.send(In::Net(Event::DialFailed { peer: id(1), reason: "timeout".into() }));
    assert!(dials(&bed.advance(SECOND * 220)).is_empty());
    assert_eq!(dials(&bed.advance(SECOND * 180)), [id(1)]);
}

#[test]
fn a_node_that_lost_everybody_tries_again_within_a_minute_or_so() {
    let mut bed = bed(Config::default());
    bed.send(In::Net(Event::Discovered { peer: id(1), addresses: vec![at(1)], source: Source::Mdns }));
    bed.advance(SECOND * 10);
    for _ in 0..10 {
        bed.send(In::Net(Event::DialFailed { peer: id(1), reason: "network is down".into() }));
        assert_eq!(dials(&bed.advance(SECOND * 95)), [id(1)]);
    }
}

#[test]
fn dials_stop_at_the_target_and_at_eight_under_way() {
    let mut bed = bed(Config { target: 10, ..Config::default() });
    for n in 1..=30 {
        bed.send(In::Net(Event::Discovered { peer: id(n), addresses: vec![at(n)], source: Source::Dht }));
    }
    let first = dials(&bed.advance(SECOND * 20));
    assert_eq!(first.len(), 8);
    for peer in &first {
        bed.send(In::Net(Event::Connected { peer: *peer, address: at(99), inbound: false }));
    }
    assert_eq!(dials(&bed.advance(SECOND * 30)).len(), 2);
}

#[test]
fn one_public_network_gets_no_more_than_its_share_of_connections() {
    let near = |n: u32| -> Address { format!("/ip4/198.51.100.{n}/udp/1/quic-v1").parse().unwrap() };
    let mut bed = bed(Config { per_prefix_max: 3, ..Config::default() });
    let mut refused = 0;
    for n in 1..=10 {
        let out = bed.send(In::Net(Event::Connected { peer: id(n), address: near(n), inbound: true }));
        refused += hangups(&out).len();
    }
    assert_eq!(refused, 7);
    for n in 11..=20 {
        let address = format!("/ip4/192.168.0.{n}/udp/1/quic-v1").parse().unwrap();
        assert!(hangups(&bed.send(In::Net(Event::Connected { peer: id(n), address, inbound: true }))).is_empty());
    }
}

#[test]
fn trimming_takes_the_worst_and_spares_pinned_busy_and_young_peers() {
    let mut bed = bed(Config { target: 4, max: 8, ..Config::default() });
    bed.send(In::Add { peer: id(1), addresses: vec![at(1)] });
    for n in 1..=9 {
        connect(&mut bed, n);
    }
    assert!(hangups(&bed.advance(SECOND * 10)).is_empty(), "all are young");
    report(&mut bed, 2, Report::Delivered { bytes: 1 << 20, took: SECOND });
    let gone: BTreeSet<PeerId> = hangups(&bed.advance(SECOND * 25)).into_iter().collect();
    assert_eq!(gone.len(), 3, "from 9 half of the way from 8 to the target of 4");
    assert!(!gone.contains(&id(1)) && !gone.contains(&id(2)));
    assert!(dials(&bed.advance(SECOND * 60)).is_empty(), "a trimmed peer is not dialled right away");
}

#[test]
fn a_bad_proof_closes_every_gate_at_once_and_a_day_opens_them_again() {
    let mut bed = bed(Config::default());
    for n in 1..=2 {
        connect(&mut bed, n);
    }
    assert_eq!(candidates(&mut bed, 5).len(), 2);
    let out = report(&mut bed, 1, Report::BadProof);
    assert!(out.contains(&Out::Allow { peer: id(1), allowed: false }));
    assert!(out.iter().any(|out| matches!(out, Out::Save { records } if records.len() == 1)), "a crash pardons nobody");
    assert_eq!(candidates(&mut bed, 5), [id(2)]);
    let out = bed.advance(Duration::from_secs(86_400 + 60));
    assert!(out.contains(&Out::Allow { peer: id(1), allowed: true }));
    assert_eq!(candidates(&mut bed, 5).len(), 2);
}

#[test]
fn a_peer_that_lost_a_shard_gets_no_new_ones_but_is_still_read_from() {
    let mut bed = bed(Config::default());
    for n in 1..=2 {
        connect(&mut bed, n);
    }
    report(&mut bed, 1, Report::Lost);
    assert_eq!(candidates(&mut bed, 5), [id(2)]);
    let out = bed.send(In::Rank { request: 7, peers: vec![id(2), id(1), id(77)] });
    let [Out::Ranked { request: 7, candidates }] = out.as_slice() else { panic!("{out:?}") };
    let order: Vec<PeerId> = candidates.iter().map(|candidate| candidate.peer).collect();
    assert_eq!(order, [id(2), id(1), id(77)], "in the order asked");
    assert!(candidates[0].score > candidates[1].score && candidates[1].score > 0.0);
}

#[test]
fn a_banned_peer_is_hung_up_on_refused_and_never_dialled_until_it_is_unbanned() {
    let mut bed = bed(Config::default());
    bed.send(In::Add { peer: id(1), addresses: vec![at(1)] });
    connect(&mut bed, 1);
    let out = bed.send(In::Ban { peer: id(1), reason: "spam".into() });
    assert!(out.contains(&Out::Allow { peer: id(1), allowed: false }));
    assert_eq!(hangups(&out), [id(1)]);
    bed.send(In::Net(Event::Disconnected { peer: id(1), reason: "closed".into(), dismissed: false }));
    assert!(dials(&bed.advance(Duration::from_secs(7200))).is_empty());
    assert_eq!(hangups(&connect(&mut bed, 1)), [id(1)]);
    assert!(bed.send(In::Unban { peer: id(1) }).contains(&Out::Allow { peer: id(1), allowed: true }));
    assert_eq!(dials(&bed.advance(SECOND)), [id(1)]);
}

#[test]
fn denied_peers_and_those_not_on_the_allow_list_are_refused() {
    for config in [
        Config { deny: BTreeSet::from([id(1)]), ..Config::default() },
        Config { allow: BTreeSet::from([id(2)]), ..Config::default() },
    ] {
        let mut bed = bed(config);
        let out = connect(&mut bed, 1);
        assert_eq!(hangups(&out), [id(1)]);
        assert!(out.contains(&Out::Allow { peer: id(1), allowed: false }));
        connect(&mut bed, 2);
        assert_eq!(candidates(&mut bed, 9), [id(2)]);
        bed.send(In::Net(Event::Discovered { peer: id(1), addresses: vec![at(1)], source: Source::Mdns }));
        assert!(dials(&bed.advance(Duration::from_secs(600))).is_empty());
    }
}

#[test]
fn a_newcomer_that_there_is_no_room_for_is_told_of_others_before_it_is_sent_away() {
    let config = Config::keeping(1);
    let full = u32::try_from(config.hard_max()).unwrap();
    let mut bed = bed(config);
    for n in 1..=full {
        connect(&mut bed, n);
        pex(&mut bed, n, Pex::Ask { max: 0, own: Some(signed(n, 10)) });
    }
    assert!(hangups(&connect(&mut bed, 100)).is_empty(), "not yet");
    let answer = sent(&pex(&mut bed, 100, Pex::Ask { max: 32, own: Some(signed(100, 10)) }));
    let [(asked, Pex::Peers { records })] = answer.as_slice() else { panic!("{answer:?}") };
    // Those it knows, and itself.
    assert_eq!((*asked, records.len()), (id(100), full as usize + 1));
    assert!(sent(&pex(&mut bed, 100, Pex::Ask { max: 32, own: None })).is_empty(), "once is enough");
    assert!(!candidates(&mut bed, 99).contains(&id(100)), "a guest holds nothing");
    assert!(hangups(&bed.advance(SECOND * 2)).is_empty());
    assert_eq!(hangups(&bed.advance(SECOND * 2)), [id(100)]);
    // Of a crowd, those beyond the limit go at once; all go in the end.
    let crowd: Vec<PeerId> = (200..300).flat_map(|n| hangups(&connect(&mut bed, n))).collect();
    assert_eq!(crowd.len(), 100 - 32);
    let out = bed.advance(SECOND * 4);
    let later: Vec<PeerId> = hangups(&out).into_iter().filter(|peer| (200..300).any(|n| id(n) == *peer)).collect();
    assert_eq!(later.len(), 32);
}

#[test]
fn peers_introduce_each_other_and_only_signed_records_of_peers_that_were_met_are_passed_on() {
    let mut bed = bed(Config::default());
    let out = connect(&mut bed, 1);
    let asks = sent(&out);
    let [(asked, Pex::Ask { own: Some(own), .. })] = asks.as_slice() else { panic!("{out:?}") };
    assert!(*asked == id(1) && own.peer == id(0) && own.verify() && own.addresses == [at(0)]);
    pex(&mut bed, 1, Pex::Peers { records: vec![signed(5, 10)] });
    assert_eq!(dials(&bed.advance(SECOND * 10)), [id(5)], "hearsay is dialled");
    let answer = sent(&pex(&mut bed, 1, Pex::Ask { max: 32, own: Some(signed(1, 10)) }));
    assert_eq!(answer, [(id(1), Pex::Peers { records: vec![own.clone()] })], "but not passed on");
    bed.send(In::Net(Event::Connected { peer: id(5), address: at(5), inbound: false }));
    let answer = sent(&pex(&mut bed, 1, Pex::Ask { max: 32, own: None }));
    assert_eq!(answer, [(id(1), Pex::Peers { records: vec![signed(5, 10), own.clone()] })]);
    let answer = sent(&pex(&mut bed, 1, Pex::Ask { max: 1, own: None }));
    assert_eq!(answer, [(id(1), Pex::Peers { records: vec![own.clone()] })], "no more than was asked for");
    let answer = sent(&pex(&mut bed, 1, Pex::Ask { max: 0, own: Some(signed(1, 5)) }));
    assert_eq!(answer, [], "an introduction has no answer");
}

#[test]
fn peers_that_were_dialled_are_preferred_as_holders_and_others_serve_where_there_are_none() {
    let mut bed = bed(Config::default());
    for n in 1..=20 {
        bed.send(In::Net(Event::Connected { peer: id(n), address: at(n), inbound: n > 10 }));
    }
    let dialled: BTreeSet<PeerId> = (1..=10).map(id).collect();
    let chosen: Vec<PeerId> = (0..100).flat_map(|_| candidates(&mut bed, 8)).collect();
    let preferred = chosen.iter().filter(|peer| dialled.contains(peer)).count();
    assert!(chosen.len() == 800 && preferred > 600, "{preferred} of {}: half of all would be 400", chosen.len());
    assert_eq!(candidates(&mut bed, 20).len(), 20);
}

#[test]
fn the_first_peers_are_asked_then_those_it_dials_are_told_where_it_is_and_callers_are_not() {
    let mut bed = bed(Config::default());
    let mut asked = |n: u32, inbound: bool| -> Option<u8> {
        let out = bed.send(In::Net(Event::Connected { peer: id(n), address: at(n), inbound }));
        match sent(&out).as_slice() {
            [(_, Pex::Ask { max, own: Some(own) })] if own.addresses == [at(0)] => Some(*max),
            [] => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(|n| asked(n, n % 2 == 0)), [Some(16); 8]);
    assert_eq!([9, 10].map(|n| asked(n, false)), [Some(0); 2]);
    assert_eq!([11, 12].map(|n| asked(n, true)), [None; 2]);
}

#[test]
fn forged_stale_and_future_records_change_nothing() {
    let honest = signed(5, 10);
    let forged = PeerRecord::new(id(5), vec![at(6)], honest.issued_unix, honest.signature.clone());
    let future = PeerRecord::sign(&key(5), vec![at(5)], EPOCH.0 + 7200);
    for record in [forged, signed(5, 15 * 86_400), future] {
        let mut bed = bed(Config::default());
        connect(&mut bed, 1);
        pex(&mut bed, 1, Pex::Peers { records: vec![record] });
        assert!(bed.core.book().get(id(5)).is_none());
    }
}

#[test]
fn a_stranger_cannot_make_this_node_knock_at_its_own_networks_doors() {
    let inside: Address = "/ip4/192.168.0.1/udp/53".parse().unwrap();
    let mut bed = bed(Config::default());
    connect(&mut bed, 1);
    let record = PeerRecord::sign(&key(5), vec![inside.clone(), at(5)], EPOCH.0);
    pex(&mut bed, 1, Pex::Peers { records: vec![record] });
    let places = &bed.core.book().get(id(5)).unwrap().record.addresses;
    assert_eq!(places.iter().map(|place| place.address.clone()).collect::<Vec<_>>(), [at(5)]);
}

#[test]
fn a_flood_of_exchange_frames_is_dropped_and_ends_in_quarantine() {
    let mut bed = bed(Config::default());
    connect(&mut bed, 1);
    let answers: usize = (0..30).map(|_| sent(&pex(&mut bed, 1, Pex::Ask { max: 32, own: None })).len()).sum();
    assert_eq!(answers, 6);
    let out = bed.send(In::List { request: 1 });
    let [Out::Listed { peers, .. }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((peers[0].state, peers[0].score), ("quarantined", 0.0));
    assert!(peers[0].reason.contains("rules"));
}

#[test]
fn unasked_answers_and_garbage_count_against_a_peer() {
    // It lacks nobody, and asks rarely.
    let mut bed = bed(Config::keeping(1));
    connect(&mut bed, 1);
    bed.advance(SECOND * 120);
    pex(&mut bed, 1, Pex::Peers { records: vec![] });
    for _ in 0..3 {
        bed.send(In::Net(Event::Garbage { peer: id(1), reason: "unknown protocol 77".into() }));
    }
    let out = bed.send(In::List { request: 1 });
    let [Out::Listed { peers, .. }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(peers[0].state, "suspect");
}

#[test]
fn changed_records_are_saved_in_bounded_batches_every_thirty_seconds_and_come_back() {
    let mut bed = bed(Config::default());
    for n in 1..=300 {
        bed.send(In::Net(Event::Discovered { peer: id(n), addresses: vec![at(n)], source: Source::Dht }));
    }
    let mut saved: Vec<Record> = Vec::new();
    for _ in 0..3 {
        let batches: Vec<Vec<Record>> = bed
            .advance(SECOND * 30)
            .into_iter()
            .filter_map(|out| if let Out::Save { records } = out { Some(records) } else { None })
            .collect();
        assert!(batches.len() <= 1 && batches.iter().all(|batch| batch.len() <= 256), "{}", batches.len());
        saved.extend(batches.into_iter().flatten());
    }
    assert_eq!(saved.iter().map(|record| record.peer).collect::<BTreeSet<_>>().len(), 300);
    let mut again = self::bed(Config::default());
    again.send(In::Restored { records: saved });
    assert_eq!(again.core.book().len(), 300);
    assert_eq!(dials(&again.advance(SECOND)).len(), 8);
}

#[test]
fn a_restored_ban_is_in_force_and_tells_the_chunk_store() {
    let mut record = Record::new(id(1), EPOCH.0);
    pangea_peers::standing::ban_by_user(&mut record, "spam", EPOCH.0);
    let mut bed = bed(Config::default());
    let out = bed.send(In::Restored { records: vec![record] });
    assert_eq!(out, [Out::Allow { peer: id(1), allowed: false }]);
    assert_eq!(hangups(&connect(&mut bed, 1)), [id(1)]);
}

#[test]
fn the_number_of_connected_peers_is_told_when_it_changes() {
    let mut bed = bed(Config::default());
    assert!(connect(&mut bed, 1).contains(&Out::Connected { count: 1 }));
    assert!(connect(&mut bed, 1).is_empty(), "already connected");
    let out = bed.send(In::Net(Event::Disconnected { peer: id(1), reason: "gone".into(), dismissed: false }));
    assert!(out.contains(&Out::Connected { count: 0 }));
    assert!(bed.send(In::Net(Event::Disconnected { peer: id(1), reason: "gone".into(), dismissed: false })).is_empty());
}

#[test]
fn better_peers_are_drawn_more_often_and_newcomers_are_not_starved() {
    let mut bed = bed(Config { target: 4, max: 100, ..Config::default() });
    for n in 1..=20 {
        connect(&mut bed, n);
    }
    for n in 1..=10 {
        for _ in 0..200 {
            report(&mut bed, n, Report::Delivered { bytes: 1 << 20, took: SECOND / 100 });
        }
    }
    let (mut proven, mut new) = (0, 0);
    for _ in 0..200 {
        for peer in candidates(&mut bed, 5) {
            if (1..=10).any(|n| id(n) == peer) { proven += 1 } else { new += 1 }
        }
    }
    assert_eq!(proven + new, 1000);
    assert!(proven > 2 * new && new > 50, "proven {proven}, new {new}");
}

#[test]
fn the_user_sees_the_best_connected_peers_first() {
    let mut bed = bed(Config::default());
    bed.send(In::Net(Event::Discovered { peer: id(9), addresses: vec![at(9)], source: Source::Dht }));
    for n in 1..=3 {
        connect(&mut bed, n);
    }
    (0..30).for_each(|_| drop(report(&mut bed, 2, Report::Delivered { bytes: 1 << 20, took: SECOND })));
    let out = bed.send(In::List { request: 3 });
    let [Out::Listed { request: 3, peers }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((peers[0].peer, peers[0].state, peers[0].bytes_in), (id(2), "good", 30 << 20));
    assert_eq!((peers[3].peer, peers[3].state, peers[3].connected), (id(9), "new", false));
}

/// Steps of a random life: what happens, and to whom.
fn life() -> impl Strategy<Value = Vec<(u8, u32)>> {
    prop::collection::vec((0..9u8, 1..40u32), 1..200)
}

fn live(steps: &[(u8, u32)]) -> (Vec<Vec<Out>>, Testbed<PeerManager>) {
    let mut bed = bed(Config { target: 5, max: 10, known_max: 20, ..Config::default() });
    let mut out = Vec::new();
    for (what, n) in steps {
        let (peer, address) = (id(*n), at(*n));
        out.push(match what {
            0 | 1 => connect(&mut bed, *n),
            2 => bed.send(In::Net(Event::Disconnected { peer, reason: String::new(), dismissed: false })),
            3 => bed.send(In::Net(Event::DialFailed { peer, reason: String::new() })),
            4 => bed.send(In::Net(Event::Discovered { peer, addresses: vec![address], source: Source::Dht })),
            5 => report(&mut bed, *n, Report::Delivered { bytes: 1 << 20, took: SECOND }),
            6 => report(&mut bed, *n, Report::BadProof),
            7 => bed.send(In::Ban { peer, reason: "test".into() }),
            _ => bed.advance(SECOND * *n),
        });
    }
    (out, bed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_events_have_the_same_effects(steps in life()) {
        prop_assert_eq!(live(&steps).0, live(&steps).0);
    }

    #[test]
    fn limits_hold_in_every_life(steps in life()) {
        let (out, bed) = live(&steps);
        prop_assert!(bed.core.book().connected_len() <= 20, "twice the max of 10");
        let bans = steps.iter().filter(|(what, _)| *what == 7).map(|(_, n)| *n).collect::<BTreeSet<_>>();
        prop_assert!(bed.core.book().len() <= 20);
        let last = steps.iter().rposition(|(what, _)| *what == 7).unwrap_or(steps.len());
        for peer in out.iter().skip(last).flat_map(|out| dials(out)) {
            prop_assert!(!bans.iter().any(|n| id(*n) == peer) || bed.core.book().get(peer).is_none());
        }
    }

    #[test]
    fn trimming_never_goes_below_the_target(steps in life()) {
        let (mut connected, mut at_hand) = (BTreeSet::new(), 0usize);
        let (out, _) = live(&steps);
        for (out, (what, n)) in out.iter().zip(&steps) {
            for message in out {
                if let Out::Connected { count } = message { at_hand = *count as usize; }
            }
            if *what == 8 && !hangups(out).is_empty() {
                prop_assert!(at_hand >= 5, "trimmed down to {}", at_hand);
            }
            connected.insert(*n);
        }
    }

    #[test]
    fn no_frame_of_a_peer_brings_the_manager_down(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bed = bed(Config::default());
        connect(&mut bed, 1);
        if let Ok(frame) = Frame::read(&bytes::Bytes::from(bytes)) {
            bed.send(In::Pex { peer: id(1), frame });
        }
        bed.send(In::Pex { peer: id(1), frame: Frame { message: Message::Pex(Pex::Peers { records: vec![] }), body: bytes::Bytes::from_static(b"x") } });
        prop_assert_eq!(bed.core.book().connected_len(), 1);
    }
}

#[test]
fn a_thousand_nodes_that_lose_the_same_peer_do_not_return_within_the_same_second() {
    let mut per_second = std::collections::BTreeMap::<u64, u32>::new();
    for node in 0..1000 {
        let mut bed = Testbed::with_seed(PeerManager::new(key(0), Config::default()), node);
        connect(&mut bed, 2);
        bed.send(In::Net(net::Event::Connected { peer: id(1), address: at(1), inbound: false }));
        bed.advance(SECOND * 100);
        bed.send(In::Net(net::Event::Disconnected { peer: id(1), reason: "restart".into(), dismissed: false }));
        let mut seconds = 0;
        while !dials(&bed.advance(SECOND)).contains(&id(1)) {
            seconds += 1;
            assert!(seconds < 60);
        }
        *per_second.entry(seconds).or_default() += 1;
    }
    assert!(per_second.values().all(|count| *count <= 250) && per_second.len() >= 8, "{per_second:?}");
}
