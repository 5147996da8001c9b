//! What a connection promises, and what breaks it.

use super::*;
use crate::{
    plan::{Act, Nat, Plan},
    world::World,
};
use pangea_protocols::{
    Hash,
    net::Class,
    wire::{Frame, Message, have::Have},
};
use std::sync::Mutex;

type Heard = Arc<Mutex<Vec<Event>>>;

/// Nodes without actors.
struct Bed {
    world: World,
    links: Links,
    network: Network,
    nodes: Vec<Seat>,
}

struct Seat {
    life: Life,
    port: Port<Command>,
    heard: Heard,
}

fn peer(number: usize) -> PeerId {
    PeerId([u8::try_from(number).unwrap() + 1; 32])
}

fn address(number: usize) -> Address {
    format!("/ip4/11.0.{number}.1/udp/1/quic-v1").parse().unwrap()
}

fn frame(request: u64, bytes: usize) -> Frame {
    Frame { message: Message::Have(Have::Have { request, present: vec![] }), body: vec![0; bytes].into() }
}

impl Bed {
    /// Nodes 0, 1, …; those named in `behind` are behind a router.
    fn new(count: usize, behind: &[u32]) -> Self {
        let mut plan: Plan = toml::from_str(
            "scenario = 'test'\nseed = 1\ntier = 'swarm'\ncalm_ms = 0\nend_ms = 0\n\
             regions = [{ name = 'here', latency_ms = 10.0, jitter_ms = 5.0 }]\nnodes = []",
        )
        .unwrap();
        plan.nodes = (0..u32::try_from(count).unwrap())
            .map(|id| crate::plan::Node {
                id,
                region: "here".to_owned(),
                start_ms: None,
                quota: 0,
                nat: if behind.contains(&id) { Nat::Restricted } else { Nat::Open },
                knows: vec![],
            })
            .collect();
        let world = World::new(1);
        let links = Links::new(&plan, Seed::new([1; 32]));
        let network = Network::new(world.timeline(), links.clone(), Seed::new([2; 32]));
        let mut bed = Self { world, links, network, nodes: vec![] };
        for number in 0..count {
            let seat = bed.join(number);
            bed.nodes.push(seat);
        }
        bed
    }

    fn join(&self, number: usize) -> Seat {
        let (life, heard) = (Life::new(self.world.timeline()), Heard::default());
        let ears = Arc::clone(&heard);
        let events = Port::new(move |event| {
            ears.lock().unwrap().push(event);
            Ok(())
        });
        let id = u32::try_from(number).unwrap();
        let port = self.network.join(id, peer(number), address(number), life.clone(), events);
        Seat { life, port, heard }
    }

    fn run(&self, millis: u64) {
        self.world.run_until(self.world.now() + Duration::from_millis(millis));
    }

    fn command(&self, node: usize, command: Command) {
        self.nodes[node].port.send(command).unwrap();
    }

    fn dial(&self, from: usize, to: usize) {
        self.command(from, Command::Dial { peer: peer(to), addresses: vec![address(to)] });
    }

    fn send(&self, from: usize, to: usize, tag: u64, bytes: usize) {
        self.command(from, Command::Send { peer: peer(to), tag, class: Class::Bulk, frame: frame(tag, bytes) });
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].life.end();
        self.network.crash(peer(node));
    }

    /// What a node heard since it was last asked, in short.
    fn heard(&self, node: usize) -> Vec<String> {
        let short = |event: Event| match event {
            Event::Connected { peer, inbound, .. } => Some(format!("{}{}", if inbound { "<" } else { ">" }, who(peer))),
            Event::Disconnected { peer, reason, .. } => Some(format!("-{} {reason}", who(peer))),
            Event::DialFailed { peer, reason } => Some(format!("x{} {reason}", who(peer))),
            Event::Received { frame, .. } => match frame.message {
                Message::Have(Have::Have { request, .. }) => Some(format!("frame {request}")),
                _ => None,
            },
            Event::Sent { tag, .. } => Some(format!("sent {tag}")),
            Event::SendFailed { tag, error, .. } => Some(format!("failed {tag} {error:?}")),
            Event::Providers { providers, .. } => {
                Some(format!("providers {:?}", providers.iter().map(|(peer, _)| who(*peer)).collect::<Vec<_>>()))
            }
            _ => None,
        };
        std::mem::take(&mut *self.nodes[node].heard.lock().unwrap()).into_iter().filter_map(short).collect()
    }

    fn connected(count: usize) -> Self {
        let bed = Self::new(count, &[]);
        for to in 1..count {
            bed.dial(0, to);
        }
        bed.run(500);
        (0..count).for_each(|node| drop(bed.heard(node)));
        bed
    }
}

fn who(peer: PeerId) -> u8 {
    peer.0[0] - 1
}

fn cut(one_way: bool) -> Act {
    Act::Partition { from: vec![0], to: vec![1], one_way }
}

#[test]
fn acquaintances_were_made_by_who_could_dial() {
    let bed = Bed::new(4, &[2, 3]);
    bed.network.acquaint(peer(0), peer(1));
    bed.network.acquaint(peer(0), peer(2));
    bed.network.acquaint(peer(2), peer(3));
    bed.run(100);
    let heard: Vec<_> = (0..4).map(|node| bed.heard(node)).collect();
    assert_eq!(heard, [vec![">1", "<2"], vec!["<0"], vec![">0"], vec![]]);
}

#[test]
fn a_frame_dials_its_peer_and_arrives_in_order_and_is_acknowledged() {
    let bed = Bed::new(2, &[]);
    bed.command(0, Command::Learn { peer: peer(1), addresses: vec![address(1)] });
    (1..=3).for_each(|tag| bed.send(0, 1, tag, 1000));
    bed.run(500);
    assert_eq!(bed.heard(0), [">1", "sent 1", "sent 2", "sent 3"]);
    assert_eq!(bed.heard(1), ["<0", "frame 1", "frame 2", "frame 3"]);
    assert_eq!(bed.network.counts().frames, 3);
}

#[test]
fn two_nodes_that_dial_each_other_at_once_hear_of_one_connection_each() {
    let bed = Bed::new(2, &[]);
    bed.dial(0, 1);
    bed.dial(1, 0);
    bed.run(500);
    for node in 0..2 {
        assert_eq!(bed.heard(node).len(), 1);
        assert_eq!(bed.network.degree(peer(node)), 1);
        bed.send(node, 1 - node, 7, 10);
    }
    bed.run(500);
    assert_eq!((bed.heard(0).len(), bed.heard(1).len()), (2, 2), "a frame and an acknowledgement each");
}

#[test]
fn a_peer_that_ends_without_a_word_is_given_up_after_the_silence_and_so_are_its_frames() {
    let mut bed = Bed::connected(2);
    bed.crash(1);
    bed.send(0, 1, 1, 10);
    bed.run(19_000);
    assert!(bed.heard(0).is_empty());
    bed.run(2_000);
    assert_eq!(bed.heard(0), ["-1 the peer stopped answering", "failed 1 ConnectionLost"]);
    bed.dial(0, 1);
    bed.run(10_000);
    assert_eq!(bed.heard(0), ["x1 none of its addresses answers, and the DHT knows no other"]);
}

#[test]
fn a_peer_that_is_back_before_the_silence_ends_is_not_missed() {
    let mut bed = Bed::connected(2);
    bed.crash(1);
    bed.send(0, 1, 1, 10);
    bed.run(5_000);
    bed.nodes[1] = bed.join(1);
    bed.dial(1, 0);
    bed.run(30_000);
    assert_eq!(bed.heard(1), [">0", "frame 1"]);
    assert_eq!(bed.heard(0), ["sent 1"]);
}

#[test]
fn a_short_cut_delays_frames_and_a_long_one_breaks_the_connection_on_both_sides() {
    for one_way in [false, true] {
        let bed = Bed::connected(2);
        bed.links.begin(1, &cut(one_way));
        bed.send(0, 1, 1, 10);
        bed.send(1, 0, 2, 10);
        bed.run(10_000);
        assert!(bed.heard(0).is_empty() && bed.heard(1).is_empty(), "one way: {one_way}");
        bed.links.end(1);
        bed.run(2_000);
        let mut heard = bed.heard(0);
        heard.sort();
        assert_eq!(heard, ["frame 2", "sent 1"], "one way: {one_way}");
        bed.heard(1);
        bed.links.begin(1, &cut(one_way));
        bed.run(22_000);
        assert_eq!(bed.heard(0), ["-1 the peer stopped answering"]);
        assert_eq!(bed.heard(1), ["-0 the peer stopped answering"]);
    }
}

#[test]
fn a_node_behind_a_router_can_dial_and_be_answered_but_not_be_dialled() {
    let bed = Bed::new(2, &[1]);
    bed.dial(0, 1);
    bed.run(10_000);
    assert_eq!(bed.heard(0), ["x1 none of its addresses answers"]);
    bed.dial(1, 0);
    bed.run(500);
    bed.send(0, 1, 1, 10);
    bed.run(500);
    assert_eq!(bed.heard(0), ["<1", "sent 1"]);
}

#[test]
fn a_queue_is_bounded_and_a_frame_can_be_cancelled() {
    let bed = Bed::connected(2);
    (0..257).for_each(|tag| bed.send(0, 1, tag, 10));
    bed.command(0, Command::CancelSend { peer: peer(1), tag: 255 });
    bed.run(0);
    assert_eq!(bed.heard(0), ["failed 256 QueueFull", "failed 255 Cancelled"]);
    bed.run(3_000);
    assert_eq!(bed.heard(1).len(), 255);
}

#[test]
fn a_node_that_stands_still_hears_everything_in_order_when_it_goes_on() {
    let bed = Bed::connected(2);
    bed.nodes[1].life.pause(true);
    bed.network.pause(peer(1), true);
    (1..=40).for_each(|tag| bed.send(0, 1, tag, 10));
    bed.run(15_000);
    assert!(bed.heard(1).is_empty() && bed.heard(0).is_empty());
    bed.nodes[1].life.pause(false);
    bed.network.pause(peer(1), false);
    bed.run(1_000);
    assert_eq!(bed.heard(1), (1..=40).map(|tag| format!("frame {tag}")).collect::<Vec<_>>());
    assert_eq!(bed.heard(0).len(), 40);
}

#[test]
fn a_node_that_stands_still_for_too_long_finds_its_connections_gone() {
    let bed = Bed::connected(2);
    bed.nodes[1].life.pause(true);
    bed.network.pause(peer(1), true);
    bed.run(25_000);
    assert_eq!(bed.heard(0), ["-1 the peer stopped answering"]);
    bed.nodes[1].life.pause(false);
    bed.network.pause(peer(1), false);
    bed.run(1);
    assert_eq!(bed.heard(1), ["-0 the peer stopped answering"]);
}

#[test]
fn a_goodbye_is_heard_and_an_idle_connection_is_closed_in_time() {
    let bed = Bed::connected(3);
    bed.command(0, Command::Hangup { peer: peer(1) });
    bed.run(500);
    assert_eq!(
        (bed.heard(0), bed.heard(1)),
        (vec!["-1 closed by this node".into()], vec!["-0 closed by the peer".into()])
    );
    let idle = u64::try_from(Limits::default().idle_timeout.as_millis()).unwrap();
    bed.run(idle - 2_000);
    assert!(bed.heard(0).is_empty());
    bed.run(20_000);
    assert_eq!(bed.heard(0).len() + bed.heard(2).len(), 2);
    assert_eq!(bed.network.degree(peer(0)), 0);
}

#[test]
fn a_provider_is_found_while_it_can_be_reached_through_nodes_that_know_of_it() {
    let cid = Cid(Hash([9; 32]));
    let mut bed = Bed::connected(30);
    let find = |bed: &Bed, node| {
        bed.command(node, Command::FindProviders { query: 1, cid });
        bed.run(10_000);
        bed.heard(node).into_iter().filter(|heard| heard.starts_with("providers")).collect::<Vec<_>>()
    };
    assert_eq!(find(&bed, 0), ["providers []"]);
    bed.command(3, Command::Provide { cid });
    bed.run(5_000);
    assert_eq!(find(&bed, 0), ["providers [3]"]);
    // Those who hold the record forget it with their lives; the provider announces it again in time.
    for node in (0..30).filter(|node| *node != 3) {
        bed.crash(node);
        bed.nodes[node] = bed.join(node);
    }
    (4..30).for_each(|node| bed.dial(node, 0));
    bed.run(5_000);
    let found = find(&bed, 4);
    bed.run(6 * 3600 * 1000);
    assert_eq!((found, find(&bed, 4)), (vec!["providers []".to_owned()], vec!["providers [3]".to_owned()]));
}
