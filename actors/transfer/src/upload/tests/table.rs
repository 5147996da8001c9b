//! Single reactions: (state, event) → effects.

use super::world::{JOB, Manner, World, peer_of, stripe};
use crate::{
    api::{
        Candidate, Redundancy, Report,
        upload::{In, Out},
    },
    upload::{Limits, Uploader},
};
use ed25519_dalek::SigningKey;
use pangea_kernel::testbed::{EPOCH, Testbed};
use pangea_protocols::{
    JobId, PeerId, ShardId,
    encoded::Profile,
    files::Source,
    job::{ErrorKind, JobEvent},
    net::Class,
    receipt::Receipt,
    wire::{
        Frame, Message,
        store::{Refusal, Store},
    },
};
use std::time::Duration;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn bed() -> Testbed<Uploader> {
    Testbed::new(Uploader::new(peer_of(&key(255)), key(255), Limits::default()))
}

fn put(job: u64, redundancy: Redundancy) -> In {
    let source = Source::Stream { name: "x".into() };
    In::Put { job: JobId(job), source, redundancy, profile: Profile::Fast, lease: Duration::from_secs(1000) }
}

fn candidate(peer: PeerId) -> Candidate {
    Candidate { peer, domain: 0, score: 1.0, rtt: None, goodput: 0.0, address: None }
}

fn received(peer: PeerId, message: Store) -> In {
    In::Received { peer, frame: Frame::bare(Message::Store(message)) }
}

/// A job on one holder with room, and the tag of nothing sent yet: (bed, holder's key).
fn streaming(redundancy: Redundancy) -> (Testbed<Uploader>, SigningKey) {
    let mut bed = bed();
    let holder = key(1);
    let peer = peer_of(&holder);
    let outs = bed.send(put(7, redundancy));
    let [Out::Candidates { request, count: 40, .. }] = outs[..] else { panic!("{outs:?}") };
    let outs = bed.send(In::Candidates { request, candidates: vec![candidate(peer)] });
    let [Out::Send { frame: Frame { message: Message::Store(Store::Reserve { request, .. }), .. }, .. }] = &outs[..]
    else {
        panic!("{outs:?}")
    };
    let outs = bed.send(received(peer, Store::Reserved { request: *request, grant: 5, expires_unix: EPOCH.0 + 1000 }));
    let [
        Out::Job(JobEvent::Placed { .. }),
        Out::Encode { .. },
        Out::Credit { stripes, .. },
        Out::Job(JobEvent::Progress { .. }),
    ] = &outs[..]
    else {
        panic!("{outs:?}")
    };
    assert!(*stripes > 0);
    (bed, holder)
}

fn sent_shards(outs: &[Out]) -> Vec<ShardId> {
    let shard = |out: &Out| match out {
        Out::Send {
            class: Class::Bulk,
            frame: Frame { message: Message::Store(Store::Put { shard, .. }), .. },
            ..
        } => Some(*shard),
        _ => None,
    };
    outs.iter().filter_map(shard).collect()
}

#[test]
fn the_thirty_third_put_is_refused_and_the_others_go_on() {
    let mut bed = bed();
    for job in 0..32 {
        assert!(matches!(bed.send(put(job, Redundancy::Auto))[..], [Out::Candidates { .. }]));
    }
    let outs = bed.send(put(99, Redundancy::Auto));
    assert!(
        matches!(&outs[..], [Out::Job(JobEvent::Failed { job: JobId(99), error })] if error.message.contains("32 uploads"))
    );
    assert!(bed.send(put(3, Redundancy::Auto)).is_empty(), "a second put under a running id changes nothing");
    for job in 0..32 {
        bed.send(In::Cancel { job: JobId(job) });
    }
    assert!(bed.core.is_idle() && bed.next_timer().is_none());
}

#[test]
fn an_impossible_code_is_refused_before_anybody_is_asked() {
    let outs = bed().send(put(1, Redundancy::Fixed { k: 0, m: 3 }));
    assert!(matches!(&outs[..], [Out::Job(JobEvent::Failed { error, .. })] if error.kind == ErrorKind::Usage));
}

#[test]
fn a_peer_manager_that_never_answers_ends_the_put() {
    let mut bed = bed();
    bed.send(put(1, Redundancy::Auto));
    let outs = bed.advance(Duration::from_secs(61));
    assert!(matches!(&outs[..], [Out::Job(JobEvent::Failed { error, .. })] if error.kind == ErrorKind::Unreachable));
    assert!(bed.core.is_idle());
}

#[test]
fn a_grant_that_comes_too_late_is_given_back() {
    let peer = peer_of(&key(1));
    let outs = bed().send(received(peer, Store::Reserved { request: 1, grant: 77, expires_unix: 0 }));
    assert!(matches!(
        &outs[..],
        [Out::Send { frame: Frame { message: Message::Store(Store::Release { grant: 77 }), .. }, .. }]
    ));
}

#[test]
fn only_a_receipt_of_this_holder_for_this_owner_with_a_lease_and_a_signature_counts() {
    let me = peer_of(&key(255));
    let later = EPOCH.0 + 1000;
    type Forge = fn(&SigningKey, PeerId, Vec<ShardId>, u64) -> Receipt;
    let table: [(&str, Forge, bool); 5] = [
        ("true", Receipt::sign, true),
        ("other owner", |key, _, shards, at| Receipt::sign(key, PeerId([3; 32]), shards, at), false),
        (
            "other holder",
            |_, owner, shards, at| Receipt::sign(&SigningKey::from_bytes(&[9; 32]), owner, shards, at),
            false,
        ),
        ("lease over", |key, owner, shards, _| Receipt::sign(key, owner, shards, EPOCH.0), false),
        (
            "altered",
            |key, owner, shards, at| Receipt { expires_unix: at + 1, ..Receipt::sign(key, owner, shards, at) },
            false,
        ),
    ];
    for (what, forge, good) in table {
        let (mut bed, holder) = streaming(Redundancy::Fixed { k: 1, m: 0 });
        let peer = peer_of(&holder);
        let (record, shards) = stripe(0, (1, 0), 1000);
        let shard = record.shard(0);
        assert_eq!(sent_shards(&bed.send(In::Encoded { job: JOB, index: 0, record, shards })), [shard]);
        let unknown = Receipt::sign(&holder, me, vec![ShardId { index: 9, ..shard }], later);
        assert!(
            bed.send(received(peer, Store::Stored { grant: 5, receipt: unknown })).is_empty(),
            "nobody waits for it"
        );
        let receipt = forge(&holder, me, vec![shard, shard], later);
        let outs = bed.send(received(peer, Store::Stored { grant: 5, receipt }));
        let reports: Vec<_> = outs.iter().filter(|out| matches!(out, Out::Report { .. })).collect();
        match (good, &reports[..]) {
            (true, [Out::Report { report: Report::Stored { bytes: 64, .. }, .. }]) => {}
            (false, [Out::Report { report: Report::BadProof, .. }]) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_stripe_that_does_not_follow_the_last_one_ends_the_put() {
    let (record, shards) = stripe(0, (1, 0), 1000);
    for (index, shards) in [(1, shards.clone()), (0, Vec::new()), (0, [shards.clone(), shards].concat())] {
        let (mut bed, _) = streaming(Redundancy::Fixed { k: 1, m: 0 });
        let outs = bed.send(In::Encoded { job: JOB, index, record: record.clone(), shards });
        assert!(matches!(outs.last(), Some(Out::Job(JobEvent::Failed { .. }))));
        assert!(bed.core.is_idle() && bed.next_timer().is_none());
    }
}

#[test]
fn a_holder_that_grants_and_never_takes_anything_is_given_up() {
    let (mut bed, holder) = streaming(Redundancy::Fixed { k: 1, m: 0 });
    let peer = peer_of(&holder);
    let (record, shards) = stripe(0, (1, 0), 1000);
    let shard = record.shard(0);
    let mut outs = bed.send(In::Encoded { job: JOB, index: 0, record, shards });
    let mut rounds = 0;
    let failed = loop {
        rounds += 1;
        assert!(rounds < 20, "an endless exchange of grants");
        outs.extend(bed.send(received(peer, Store::NotStored { grant: 5, shard, reason: Refusal::NoGrant })));
        let request = outs.iter().rev().find_map(|out| match out {
            Out::Send { frame: Frame { message: Message::Store(Store::Reserve { request, .. }), .. }, .. } => {
                Some(*request)
            }
            Out::Candidates { request, .. } => Some(*request),
            _ => None,
        });
        outs.clear();
        if let Some(request) = request {
            let answer = Store::Reserved { request, grant: 5, expires_unix: EPOCH.0 + 1000 };
            outs.extend(bed.send(received(peer, answer)));
            outs.extend(bed.send(In::Candidates { request, candidates: Vec::new() }));
        }
        if let Some(Out::Job(JobEvent::Failed { error, .. })) = outs.last() {
            break error.clone();
        }
    };
    assert_eq!(failed.kind, ErrorKind::Unreachable);
    assert!(bed.core.is_idle());
}

#[test]
fn no_holder_has_more_shards_in_flight_than_its_window() {
    let mut world = World::new(&[Manner::Silent, Manner::Silent], 50, 1);
    world.put(Redundancy::Auto);
    world.run_for(Duration::from_millis(900));
    for peer in world.holders.keys() {
        let sent = world.puts.iter().filter(|(to, _)| to == peer).count();
        assert_eq!(sent, 4, "before the first receipt only four are risked");
    }
}
