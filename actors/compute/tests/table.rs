//! Both cores by themselves: what they say to what they are told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use pangea_compute::{
    Coordinator, Worker,
    api::{
        Candidate, News, ReadNews, Report, Spec,
        coordinator::{In, Out},
        worker,
    },
    coordinator, envelope,
    worker::Limits as WorkerLimits,
};
use pangea_kernel::testbed::Testbed;
use pangea_protocols::{
    Cid, Hash, JobId, PeerId,
    job::ErrorKind,
    receipt_job::{Batch, Claim, Place, Stage, Verification},
    stored::{FrameKey, StoredInput},
    task::{self, Ending, Input, Limits, Outcome, Receipt, Trap, input_hash, list_hash},
    wire::{
        Frame, Message,
        compute::{Compute, Failure, Refusal},
    },
};
use std::time::Duration;
use world::{key, peer, spec};

const SECOND: Duration = Duration::from_secs(1);

/// A chunk of one frame of an object.
fn stored(index: u32) -> StoredInput {
    let cid = Cid(Hash::of(b"object"));
    let keys = vec![FrameKey([1; 32])];
    StoredInput { cid, hints: vec![], first: index.into(), len: 1 << 20, keys, head: vec![] }
}

fn receipt(input: Hash, output: Result<&[u8], Trap>) -> Receipt {
    let module = Hash::of(b"module");
    Receipt { pass_version: 1, module, input, output: output.map(Hash::of), sent: list_hash([]), gas: 7 }
}

/// A coordinator (node 1), whose hosts do as a test says.
struct World {
    bed: Testbed<Coordinator>,
    job: Hash,
    /// Leases that were given: to whom, which, where, and the hash of the input.
    assigned: Vec<(PeerId, Place, Hash)>,
    news: Vec<News>,
    reports: Vec<(PeerId, Report)>,
    /// The last question for candidates.
    request: u64,
    /// Chunks lie in a stored object, each of one frame, and all of each at this peer.
    stored_at: Option<PeerId>,
    /// What the coordinator reads itself.
    reads: Vec<(JobId, StoredInput)>,
    /// Leases of stored inputs.
    leases: Vec<(PeerId, Place, u64)>,
}

impl World {
    fn new(limits: coordinator::Limits) -> Self {
        let bed = Testbed::new(Coordinator::new(peer(1), key(1), 1, limits));
        let (stored_at, reads) = (None, vec![]);
        let (assigned, news, reports) = (vec![], vec![], vec![]);
        Self { bed, job: Hash::default(), assigned, news, reports, request: 0, stored_at, reads, leases: vec![] }
    }

    fn send(&mut self, event: In) {
        let outs = self.bed.send(event);
        self.take(outs);
    }

    fn pass(&mut self, duration: Duration) {
        let outs = self.bed.advance(duration);
        self.take(outs);
    }

    fn take(&mut self, outs: Vec<Out>) {
        for out in outs {
            match out {
                Out::Want { job, index } if let Some(holder) = self.stored_at => {
                    let input = Box::new(stored(index));
                    let local = vec![(holder, input.len.into())];
                    self.send(In::Stored { job, index, input, local });
                }
                Out::Want { job, index } => {
                    self.send(In::Input { job, index, bytes: Bytes::from(index.to_string()) });
                }
                Out::Send { peer, frame: Frame { message: Message::Compute(message), .. }, .. } => match message {
                    Compute::Offer { job, .. } => {
                        self.job = job;
                        self.hear(peer, Compute::Accept { job, slots: 4 }, b"");
                    }
                    Compute::Assign { place, input, .. } => self.assigned.push((peer, place, input)),
                    Compute::AssignSmall { tasks, .. } => {
                        self.assigned.extend(tasks.iter().map(|task| (peer, task.place, task.input)));
                    }
                    Compute::AssignStored { lease, place, input, .. } => {
                        self.assigned.push((peer, place, input.hash()));
                        self.leases.push((peer, place, lease));
                    }
                    _ => {}
                },
                Out::Candidates { request, .. } => self.request = request,
                Out::Read { read, input } => self.reads.push((read, *input)),
                Out::News { news, .. } => self.news.push(news),
                Out::Report { peer, report } => self.reports.push((peer, report)),
                _ => {}
            }
        }
    }

    fn hear(&mut self, peer: PeerId, message: Compute, body: &'static [u8]) {
        let frame = Frame { message: Message::Compute(message), body: Bytes::from_static(body) };
        self.send(In::Received { peer, frame });
    }

    fn submit(&mut self, id: u64, spec: Spec) {
        self.send(In::Submit { job: JobId(id), spec: Box::new(spec) });
    }

    fn hosts(&mut self, hosts: &[u8]) {
        let candidate =
            |n: &u8| Candidate { peer: peer(*n), domain: 0, score: 0.9, rtt: None, goodput: 0.0, address: None };
        let candidates: Vec<Candidate> = hosts.iter().map(candidate).collect();
        let request = self.request;
        self.send(In::Candidates { request, candidates });
    }

    /// The tasks that a host has been given come out like this.
    fn answer(&mut self, host: u8, output: Result<&'static [u8], Trap>) -> usize {
        let (mine, rest): (Vec<_>, Vec<_>) = self.assigned.drain(..).partition(|(to, ..)| *to == peer(host));
        self.assigned = rest;
        let claims: Vec<Claim> =
            mine.iter().map(|(_, place, input)| Claim { place: *place, receipt: receipt(*input, output) }).collect();
        if claims.is_empty() {
            return 0;
        }
        let (job, places) = (self.job, claims.iter().map(|claim| claim.place).collect::<Vec<_>>());
        let count = claims.len();
        self.hear(peer(host), Compute::Commit { job, batch: Batch::sign(&key(host), job, claims) }, b"");
        if let Ok(bytes) = output {
            for place in places {
                self.hear(peer(host), Compute::Output { job, place, part: 0, parts: 1 }, bytes);
            }
        }
        count
    }

    /// Nothing comes of any stored input that was given to anybody.
    fn fail_all(&mut self, reason: Failure) {
        let job = self.job;
        for (peer, _, lease) in std::mem::take(&mut self.leases) {
            let frame = Frame::bare(Message::Compute(Compute::Failed { job, lease, reason }));
            self.send(In::Received { peer, frame });
        }
    }

    fn outcome(&self) -> Option<&News> {
        self.news.iter().find(|news| matches!(news, News::Done { .. } | News::Failed(_)))
    }

    fn error(&self) -> (ErrorKind, String) {
        match self.outcome() {
            Some(News::Failed(error)) => (error.kind, error.message.clone()),
            other => panic!("{other:?}"),
        }
    }
}

fn done(world: &World) -> (Vec<Bytes>, u64) {
    let Some(News::Done { outputs, receipt, progress }) = world.outcome() else { panic!("{:?}", world.news) };
    receipt.verify().unwrap();
    (outputs.clone(), progress.executions)
}

#[test]
fn a_node_without_peers_computes_everything_itself_whatever_verification_says() {
    for verification in [Verification::None, Verification::default(), Verification::Quorum { hosts: 3 }] {
        let mut world = World::new(coordinator::Limits::default());
        world.submit(1, Spec { merge: true, ..spec(5, verification) });
        while world.answer(1, Ok(b"out")) > 0 {}
        assert_eq!(done(&world), (vec![Bytes::from_static(b"out")], 6));
        assert!(world.bed.core.is_idle() && world.reports.is_empty());
    }
}

#[test]
fn the_same_chunks_again_cost_nothing() {
    let mut world = World::new(coordinator::Limits::default());
    world.submit(1, spec(3, Verification::None));
    while world.answer(1, Ok(b"out")) > 0 {}
    world.news.clear();
    world.submit(2, Spec { nonce: [2; 16], ..spec(3, Verification::default()) });
    assert_eq!(done(&world), (vec![Bytes::from_static(b"out"); 3], 0));
}

#[test]
fn two_that_differ_are_judged_by_this_node_and_the_liar_is_banned_and_redone() {
    let mut world = World::new(coordinator::Limits::default());
    world.submit(1, spec(12, Verification::Quorum { hosts: 2 }));
    world.hosts(&[2, 3]);
    world.assigned.retain(|(to, ..)| *to != peer(1));
    for _ in 0..40 {
        world.answer(2, Ok(b"lie"));
        world.answer(3, Ok(b"out"));
        world.answer(1, Ok(b"out"));
        world.pass(SECOND);
        if world.outcome().is_some() {
            break;
        }
    }
    assert_eq!(done(&world).0, vec![Bytes::from_static(b"out"); 12]);
    assert!(world.reports.contains(&(peer(2), Report::BadProof)), "{:?}", world.reports);
    assert!(!world.reports.contains(&(peer(3), Report::BadProof)));
}

#[test]
fn an_output_that_is_not_what_was_signed_for_bans() {
    let mut world = World::new(coordinator::Limits::default());
    world.submit(1, spec(12, Verification::None));
    world.hosts(&[2]);
    let (_, place, input) = *world.assigned.iter().find(|(to, ..)| *to == peer(2)).unwrap();
    let (job, claim) = (world.job, Claim { place, receipt: receipt(input, Ok(b"signed")) });
    world.hear(peer(2), Compute::Commit { job, batch: Batch::sign(&key(2), job, vec![claim]) }, b"");
    world.hear(peer(2), Compute::Output { job, place, part: 0, parts: 1 }, b"other");
    assert_eq!(world.reports, [(peer(2), Report::BadProof)]);
}

#[test]
fn a_claim_without_a_lease_or_of_another_key_changes_nothing() {
    let mut world = World::new(coordinator::Limits::default());
    world.submit(1, spec(2, Verification::None));
    world.hosts(&[2]);
    let (place, input) = (Place { stage: Stage::Execute, index: 0 }, Hash::default());
    let (job, claim) = (world.job, Claim { place, receipt: receipt(input, Ok(b"x")) });
    for signer in [2, 9] {
        let batch = Batch::sign(&key(signer), job, vec![claim]);
        world.hear(peer(2), Compute::Commit { job, batch: batch.clone() }, b"");
        world.hear(peer(9), Compute::Commit { job, batch }, b"");
    }
    world.hear(peer(2), Compute::Output { job, place, part: 0, parts: 1 }, b"x");
    assert_eq!(world.reports, [(peer(2), Report::Violation)], "for the signature of another");
    while world.answer(1, Ok(b"out")) + world.answer(2, Ok(b"out")) > 0 {}
    assert_eq!(done(&world).0, vec![Bytes::from_static(b"out"); 2]);
}

#[test]
fn a_trap_is_not_believed_of_one_host_and_names_its_chunk_when_it_is_true() {
    let mut world = World::new(coordinator::Limits::default());
    world.submit(1, spec(20, Verification::None));
    world.hosts(&[2]);
    world.answer(2, Err(Trap::Gas));
    assert_eq!(world.outcome(), None);
    while world.outcome().is_none() && world.answer(1, Err(Trap::Gas)) > 0 {}
    let (kind, message) = world.error();
    assert_eq!(kind, ErrorKind::Failed);
    assert!(message.contains("chunk") && message.contains("used up its gas"), "{message}");
}

#[test]
fn a_chunk_that_kills_its_hosts_fails_the_job_by_name() {
    let limits = coordinator::Limits { crashes_max: 3, ..coordinator::Limits::default() };
    let mut world = World::new(limits);
    world.submit(1, spec(1, Verification::Quorum { hosts: 9 }));
    world.hosts(&[2, 3, 4, 5]);
    for host in [1, 2, 3, 4, 5] {
        world.send(In::Disconnected { peer: peer(host) });
    }
    let (_, message) = world.error();
    assert!(message.contains("chunk 0") && message.contains("3 hosts"), "{message}");
}

#[test]
fn jobs_wait_by_priority_are_refused_beyond_the_limit_and_end_when_cancelled_or_late() {
    let limits = coordinator::Limits { running_max: 1, waiting_max: 2, ..coordinator::Limits::default() };
    let mut world = World::new(limits);
    let job = |n: u8, priority| Spec { nonce: [n; 16], priority, ..spec(1, Verification::None) };
    world.submit(1, job(1, 0));
    world.submit(2, Spec { timeout: Some(5 * SECOND), ..job(2, 0) });
    world.submit(3, job(3, 1));
    let ahead = |news: &News| match news {
        News::Queued { ahead } => Some(*ahead),
        _ => None,
    };
    let ahead: Vec<u32> = world.news.iter().filter_map(ahead).collect();
    assert_eq!(ahead, [0, 0, 1], "the third goes before the second");
    world.submit(4, job(4, 0));
    assert!(world.error().1.contains("jobs wait already"));
    world.news.clear();
    world.pass(6 * SECOND);
    assert!(world.error().1.contains("took longer"));
    world.news.clear();
    world.send(In::Cancel { job: JobId(3) });
    assert_eq!(world.error().0, ErrorKind::Interrupted);
    world.send(In::Cancel { job: JobId(1) });
    assert!(world.bed.core.is_idle());
}

/// Chunks of an object that lies at host 3, after hosts 2, 3 and 4 have joined and given back what they were given first.
fn given_back(chunks: u32) -> World {
    let mut world = World::new(coordinator::Limits { probation: (0, 0), ..coordinator::Limits::default() });
    world.stored_at = Some(peer(3));
    // This node itself takes four.
    world.submit(1, spec(4 + chunks, Verification::None));
    world.leases.clear();
    world.hosts(&[2, 3, 4]);
    world.fail_all(Failure::Busy);
    let job = world.job;
    (2..=4).for_each(|n| world.hear(peer(n), Compute::Accept { job, slots: 4 }, b""));
    world.assigned.clear();
    world.pass(2 * SECOND);
    world
}

#[test]
fn a_host_that_holds_the_data_gets_it_at_equal_load_and_is_not_waited_for_when_it_is_full() {
    let counts = |chunks| {
        let world = given_back(chunks);
        [2, 3, 4].map(|host| world.assigned.iter().filter(|(to, ..)| *to == peer(host)).count())
    };
    assert_eq!(counts(3), [0, 3, 0]);
    assert_eq!(counts(6), [1, 4, 1], "what it has no room for goes to the others, evenly");
}

#[test]
fn what_hosts_cannot_read_this_node_reads_and_sends() {
    let mut world = World::new(coordinator::Limits { probation: (0, 0), ..coordinator::Limits::default() });
    world.stored_at = Some(peer(9));
    world.submit(1, spec(1, Verification::None));
    world.hosts(&[2, 3]);
    let job = world.job;
    let mut failed = Vec::new();
    for _ in 0..9 {
        failed.extend(world.leases.iter().map(|(host, ..)| *host));
        world.fail_all(Failure::Unreadable);
        world.pass(SECOND);
    }
    assert!(failed.len() == 2 && !world.reads.is_empty(), "{failed:?}");
    assert!(world.reports.is_empty(), "it is nobody's fault: {:?}", world.reports);
    world.assigned.clear();
    let (read, input) = world.reads.pop().unwrap();
    let head = envelope::head(Place { stage: Stage::Execute, index: 0 }, 1, 1 << 20);
    assert_eq!((&input.head[..], input.keys.len()), (&head[..], 1));
    let bytes = Bytes::from(vec![7; 1 << 20]);
    for news in [ReadNews::Bytes(bytes.clone()), ReadNews::Done] {
        world.send(In::Reading { read, news });
    }
    let seen = Input { bytes: [&head[..], &bytes].concat().into(), ..Input::default() };
    let (host, _, sent) = world.assigned[0];
    assert_eq!(sent, input_hash(&seen), "the bytes are named by their own hash");
    // A claim from before is late, and no lie.
    let (place, late) = (Place { stage: Stage::Execute, index: 0 }, receipt(input.hash(), Ok(b"out")));
    for n in 1..=3 {
        if peer(n) == host {
            let batch = Batch::sign(&key(n), job, vec![Claim { place, receipt: late }]);
            world.hear(host, Compute::Commit { job, batch }, b"");
        }
    }
    assert!(world.outcome().is_none() && world.reports.is_empty());
    for n in 1..=3 {
        world.answer(n, Ok(b"out"));
    }
    assert_eq!(done(&world).0, [Bytes::from_static(b"out")]);
    assert!(world.bed.core.is_idle());
}

#[test]
fn what_nobody_can_read_fails_the_job_by_name() {
    let mut world = World::new(coordinator::Limits { backoff_max: 2 * SECOND, ..coordinator::Limits::default() });
    world.stored_at = Some(peer(9));
    world.submit(1, spec(1, Verification::None));
    for _ in 0..200 {
        world.fail_all(Failure::Unreadable);
        for (read, _) in std::mem::take(&mut world.reads) {
            world.send(In::Reading { read, news: ReadNews::Failed("3 of 4 shards are gone".to_owned()) });
        }
        world.pass(SECOND);
    }
    let (kind, message) = world.error();
    assert_eq!(kind, ErrorKind::Unreachable);
    assert!(message.contains("chunk 0") && message.contains("3 of 4 shards are gone"), "{message}");
    assert!(world.bed.core.is_idle());
}

fn worker() -> Testbed<Worker> {
    Testbed::new(Worker::new(peer(1), key(1), WorkerLimits { slots: 1, jobs_max: 1, ..WorkerLimits::default() }))
}

fn tell(bed: &mut Testbed<Worker>, from: u8, message: Compute, body: &'static [u8]) -> Vec<worker::Out> {
    let frame = Frame { message: Message::Compute(message), body: Bytes::from_static(body) };
    bed.send(worker::In::Received { peer: peer(from), frame })
}

fn said(outs: &[worker::Out]) -> Vec<Compute> {
    let message = |out: &worker::Out| match out {
        worker::Out::Send { frame: Frame { message: Message::Compute(message), .. }, .. } => Some(message.clone()),
        _ => None,
    };
    outs.iter().filter_map(message).collect()
}

fn offer(job: Hash, limits: Limits) -> Compute {
    Compute::Offer { job, module: Hash::of(b"module"), module_bytes: 6, limits, priority: 0, lease_secs: 30, depth: 0 }
}

#[test]
fn a_worker_fetches_a_module_runs_a_task_and_signs_for_it() {
    let (mut bed, job) = (worker(), Hash::of(b"job"));
    let outs = tell(&mut bed, 2, offer(job, Limits::default()), b"");
    assert_eq!(said(&outs), [Compute::Accept { job, slots: 1 }, Compute::ModuleGet { job, part: 0 }]);
    let outs = tell(&mut bed, 2, Compute::ModulePart { job, part: 0, parts: 1 }, b"module");
    assert!(matches!(outs[..], [worker::Out::Install { .. }]));
    let place = Place { stage: Stage::Execute, index: 3 };
    let input = input_hash(&Input { bytes: Bytes::from_static(b"in"), ..Input::default() });
    let assign = Compute::Assign { job, lease: 8, place, input, part: 0, parts: 1 };
    assert!(tell(&mut bed, 2, assign, b"in").is_empty(), "not before the module is installed");
    let module = Hash::of(b"module");
    let outs = bed.send(worker::In::Installed { module, result: Ok(pangea_compute::worker::granted()) });
    let [worker::Out::Run(run)] = &outs[..] else { panic!("{outs:?}") };
    let outcome = Outcome { ending: Ending::Output(Bytes::from_static(b"out")), sent: vec![], gas: 7, memory_bytes: 0 };
    let receipt = receipt(input, Ok(b"out"));
    let outs = bed.send(worker::In::Done { task: run.task, outcome, receipt });
    let [Compute::Commit { batch, .. }, Compute::Output { parts: 1, .. }] = &said(&outs)[..] else {
        panic!("{outs:?}")
    };
    assert!(batch.verify(job) && batch.claims == [Claim { place, receipt }]);
    bed.advance(29 * SECOND);
    assert!(!bed.core.is_idle());
    bed.advance(2 * SECOND);
    assert!(bed.core.is_idle(), "nobody has renewed the job");
}

#[test]
fn a_worker_reads_a_stored_input_within_its_bounds_and_signs_for_where_it_was() {
    let limits = WorkerLimits { slots: 2, reads_max: 1, ..WorkerLimits::default() };
    let (mut bed, job) = (Testbed::new(Worker::new(peer(1), key(1), limits)), Hash::of(b"job"));
    tell(&mut bed, 2, offer(job, Limits::default()), b"");
    tell(&mut bed, 2, Compute::ModulePart { job, part: 0, parts: 1 }, b"module");
    let module = Hash::of(b"module");
    bed.send(worker::In::Installed { module, result: Ok(pangea_compute::worker::granted()) });
    let input = |index: u32| StoredInput { len: 3, head: b"head".to_vec(), ..stored(index) };
    let place = |index| Place { stage: Stage::Execute, index };
    let assign = |bed: &mut Testbed<Worker>, index: u32| {
        let (lease, place, input) = (index.into(), place(index), Box::new(input(index)));
        tell(bed, 2, Compute::AssignStored { job, lease, place, input }, b"")
    };
    let outs = assign(&mut bed, 1);
    let [worker::Out::Read { read, input: asked }] = &outs[..] else { panic!("{outs:?}") };
    assert_eq!(**asked, input(1));
    assert!(assign(&mut bed, 2).is_empty(), "one at a time");
    let tell_read = |bed: &mut Testbed<Worker>, read, news| bed.send(worker::In::Reading { read, news });
    assert!(tell_read(&mut bed, *read, ReadNews::Bytes(Bytes::from_static(b"in"))).is_empty());
    tell_read(&mut bed, *read, ReadNews::Tally { shards: 4, own: 2 });
    tell_read(&mut bed, *read, ReadNews::Bytes(Bytes::from_static(b"!")));
    let outs = tell_read(&mut bed, *read, ReadNews::Done);
    let [_, worker::Out::Run(run), worker::Out::Read { read: second, .. }] = &outs[..] else { panic!("{outs:?}") };
    assert!(matches!(said(&outs)[..], [Compute::Read { own_bytes: 1, .. }]), "{outs:?}");
    assert_eq!(run.input.bytes, b"headin!"[..]);
    // The second is longer than was announced, and is not run.
    let outs = tell_read(&mut bed, *second, ReadNews::Bytes(Bytes::from_static(b"long")));
    assert_eq!(said(&outs), [Compute::Failed { job, lease: 2, reason: Failure::Unreadable }]);
    assert!(matches!(outs[0], worker::Out::StopReading { .. }), "{outs:?}");
    // The sandbox names the bytes, the claim where they were.
    let outcome = Outcome { ending: Ending::Output(Bytes::from_static(b"out")), sent: vec![], gas: 7, memory_bytes: 0 };
    let bytes = receipt(input_hash(&run.input), Ok(b"out"));
    let outs = bed.send(worker::In::Done { task: run.task, outcome, receipt: bytes });
    let Some(Compute::Commit { batch, .. }) = said(&outs).into_iter().next() else { panic!("{outs:?}") };
    assert_eq!(batch.claims, [Claim { place: place(1), receipt: receipt(input(1).hash(), Ok(b"out")) }]);
    // What is read for a lease that is cancelled is not wanted any more; what brings nothing is given up.
    let outs = assign(&mut bed, 3);
    assert!(matches!(outs[..], [worker::Out::Read { .. }]));
    let outs = tell(&mut bed, 2, Compute::Cancel { job, leases: vec![3] }, b"");
    assert!(matches!(outs[..], [worker::Out::StopReading { .. }]), "{outs:?}");
    tell(&mut bed, 2, Compute::Renew { job, lease_secs: 600 }, b"");
    assign(&mut bed, 4);
    let outs = bed.advance(61 * SECOND);
    assert!(said(&outs).contains(&Compute::Failed { job, lease: 4, reason: Failure::Unreadable }));
    tell(&mut bed, 2, Compute::Cancel { job, leases: vec![] }, b"");
    assert!(bed.core.is_idle());
}

#[test]
fn a_worker_refuses_what_it_does_not_want_and_says_why() {
    let (mut bed, job) = (worker(), Hash::of(b"job"));
    let refused = |outs: Vec<worker::Out>| match said(&outs)[..] {
        [Compute::Refuse { reason, .. }] => Some(reason),
        _ => None,
    };
    let greedy = Limits { memory_bytes: 1 << 40, ..Limits::default() };
    assert_eq!(refused(tell(&mut bed, 2, offer(job, greedy), b"")), Some(Refusal::OverLimit));
    bed.send(worker::In::Allow { peer: peer(3), allowed: false });
    assert_eq!(refused(tell(&mut bed, 3, offer(job, Limits::default()), b"")), Some(Refusal::Denied));
    assert_eq!(refused(tell(&mut bed, 2, offer(job, Limits::default()), b"")), None);
    assert_eq!(refused(tell(&mut bed, 4, offer(job, Limits::default()), b"")), Some(Refusal::Busy));
    assert_eq!(refused(tell(&mut bed, 1, offer(job, Limits::default()), b"")), None, "its own are always taken");
    let outs = tell(&mut bed, 2, Compute::ModulePart { job, part: 0, parts: 1 }, b"another module");
    assert!(outs.iter().any(|out| matches!(out, worker::Out::Report { report: Report::BadProof, .. })));
    assert_eq!(refused(tell(&mut bed, 4, offer(job, Limits::default()), b"")), None, "there is room again");
    let place = Place { stage: Stage::Execute, index: 0 };
    let wrong = Compute::Assign { job, lease: 1, place, input: Hash::default(), part: 0, parts: 1 };
    let outs = tell(&mut bed, 4, wrong, b"in");
    assert_eq!(said(&outs), [Compute::Failed { job, lease: 1, reason: Failure::Input }]);
}

#[test]
fn a_module_that_the_sandbox_lost_or_failed_to_install_comes_again_but_not_for_ever() {
    let limits = WorkerLimits { slots: 2, ..WorkerLimits::default() };
    let (mut bed, job) = (Testbed::new(Worker::new(peer(1), key(1), limits)), Hash::of(b"job"));
    tell(&mut bed, 2, offer(job, Limits::default()), b"");
    let part = Compute::ModulePart { job, part: 0, parts: 1 };
    tell(&mut bed, 2, part.clone(), b"module");
    let module = Hash::of(b"module");
    let granted = Ok(pangea_compute::worker::granted());
    bed.send(worker::In::Installed { module, result: granted.clone() });
    let input = input_hash(&Input { bytes: Bytes::from_static(b"in"), ..Input::default() });
    let mut tasks = Vec::new();
    for index in 0..2 {
        let place = Place { stage: Stage::Execute, index };
        let assign = Compute::Assign { job, lease: index.into(), place, input, part: 0, parts: 1 };
        let outs = tell(&mut bed, 2, assign, b"in");
        let [worker::Out::Run(run)] = &outs[..] else { panic!("{outs:?}") };
        tasks.push(run.task);
    }
    // The process that held it has died: it is asked for once, and both tasks wait for it.
    let lost = |task| worker::In::Refused { task, refusal: task::Refusal::NotInstalled { module } };
    assert_eq!(said(&bed.send(lost(tasks[0]))), [Compute::ModuleGet { job, part: 0 }]);
    assert!(bed.send(lost(tasks[1])).is_empty());
    tell(&mut bed, 2, part.clone(), b"module");
    let failed = || Err(task::Refusal::Node { message: "died".to_owned() });
    for _ in 0..2 {
        assert!(bed.send(worker::In::Installed { module, result: failed() }).is_empty(), "not at once");
        let asked = said(&bed.advance(11 * SECOND));
        assert!(asked.contains(&Compute::ModuleGet { job, part: 0 }), "{asked:?}");
        tell(&mut bed, 2, Compute::Renew { job, lease_secs: 60 }, b"");
        assert!(matches!(tell(&mut bed, 2, part.clone(), b"module")[..], [worker::Out::Install { .. }]));
    }
    let outs = bed.send(worker::In::Installed { module, result: failed() });
    assert!(matches!(said(&outs)[..], [Compute::Refuse { reason: Refusal::Module, .. }]), "{outs:?}");
    assert!(bed.core.is_idle());
}

#[test]
fn a_split_that_returns_no_list_fails_the_job() {
    let mut world = World::new(coordinator::Limits::default());
    world.submit(1, Spec { split: true, ..spec(2, Verification::None) });
    world.answer(1, Ok(b"no list"));
    assert!(world.error().1.contains("CBOR list"), "{}", world.error().1);
    assert!(envelope::read_list(&Bytes::from_static(b"no list"), 9).is_none());
}
