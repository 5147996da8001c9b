//! Connections as the network driver sees them, between two or three nodes.

use super::*;
use crate::{
    fleet::runtime,
    plan::{Act, Nat, Node, Plan, Region, TierName},
};
use bytes::Bytes;
use pangea::drivers::network::{Connection, LinkError, RecvStream, SendStream, WriteError};
use pangea_kernel::Seed;
use std::{future::Future, net::Ipv4Addr};
use tokio::time::{Instant, sleep, timeout};

const LATENCY: Duration = Duration::from_millis(20);
const PORT: u16 = 4411;
const MINUTE: Duration = Duration::from_secs(60);

struct Bed {
    timeline: Timeline,
    links: Links,
    internet: Internet,
    streams: Streams,
    endpoints: Vec<Arc<dyn Endpoint>>,
}

impl Bed {
    fn new(nats: &[Nat]) -> Self {
        let region = Region {
            name: "here".to_owned(),
            latency_ms: LATENCY.as_millis() as f64,
            jitter_ms: 0.0,
            loss: 0.0,
            uplink: None,
        };
        let node = |(id, nat): (usize, &Nat)| Node {
            id: id as NodeId,
            region: "here".to_owned(),
            start_ms: Some(0),
            quota: 0,
            nat: *nat,
            knows: vec![],
        };
        let plan = Plan {
            scenario: String::new(),
            story: String::new(),
            seed: 1,
            tier: TierName::Streams,
            warm: false,
            calm_ms: 0,
            end_ms: 0,
            read_back: false,
            harmless: false,
            reads_within_ms: None,
            without: vec![],
            sometimes: vec![],
            peers_target: 8,
            regions: vec![region],
            lines: vec![],
            nodes: nats.iter().enumerate().map(node).collect(),
            operations: vec![],
            faults: vec![],
        };
        let links = Links::new(&plan, Seed::new([1; 32]));
        let timeline = Timeline::on_tokio();
        tokio::spawn(timeline.drive());
        let internet = Internet::new(timeline.clone(), links.clone(), false);
        let streams = Streams::new(timeline.clone(), links.clone(), internet.clone());
        let mut bed = Self { timeline, links, internet, streams, endpoints: vec![] };
        for node in 0..nats.len() as NodeId {
            bed.internet.add(node, ip(node));
            let endpoint = bed.bind(node);
            bed.endpoints.push(endpoint);
        }
        bed
    }

    fn bind(&self, node: NodeId) -> Arc<dyn Endpoint> {
        let carrier = self.streams.carrier(node, peer(node));
        carrier.bind(SocketAddr::from((ip(node), PORT)), true).unwrap()
    }

    /// The two ends of a new connection.
    async fn connect(&self, from: usize, to: usize) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
        let accept = async {
            let incoming = self.endpoints[to].accept().await.unwrap();
            incoming.accept().unwrap().await.unwrap()
        };
        let place = self.endpoints[to].local_address().unwrap();
        let (dialled, accepted) = tokio::join!(self.endpoints[from].connect(place), accept);
        (dialled.unwrap(), accepted)
    }

    fn cut(&self, from: NodeId, to: NodeId) {
        self.links.begin(1, &Act::Partition { from: vec![from], to: vec![to], one_way: false });
    }
}

fn ip(node: NodeId) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, 1 + node as u8)
}

fn peer(node: NodeId) -> PeerId {
    PeerId([node as u8 + 1; 32])
}

fn run<F: Future>(test: impl FnOnce() -> F) -> F::Output {
    let runtime = runtime::paused().unwrap();
    runtime.block_on(async { test().await })
}

async fn write(stream: &mut Box<dyn SendStream>, bytes: &[u8]) {
    stream.write_all_chunks(&mut [Bytes::copy_from_slice(bytes)]).await.unwrap();
}

async fn read_all(stream: &mut Box<dyn RecvStream>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.read_chunk(1000).await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

#[test]
fn a_dial_takes_a_round_trip_and_each_side_knows_the_other() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let begun = Instant::now();
        let (one, two) = bed.connect(0, 1).await;
        assert!(begun.elapsed() >= LATENCY * 3 && begun.elapsed() < LATENCY * 4, "{:?}", begun.elapsed());
        assert_eq!((one.peer(), two.peer()), (Some(peer(1)), Some(peer(0))));
        assert_eq!((one.is_inbound(), two.is_inbound()), (false, true));
        assert_eq!(two.remote_address(), SocketAddr::from((ip(0), PORT)));
        assert!(one.rtt() >= LATENCY * 2 && one.speaks_pangea());
        assert_ne!(bed.timeline.now(), Time(0));
    });
}

#[test]
fn a_stream_arrives_whole_and_its_writer_learns_of_that_after_a_round_trip() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        let content: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let mut stream = one.open_uni().await.unwrap();
        let begun = Instant::now();
        write(&mut stream, &content).await;
        stream.finish().unwrap();
        assert!(stream.finish().is_err(), "once");
        let mut reader = two.accept_uni().await.unwrap();
        assert_eq!(read_all(&mut reader).await, content);
        stream.delivered().await.unwrap();
        assert!(begun.elapsed() >= LATENCY * 2 && begun.elapsed() < LATENCY * 3);

        let (mut ask, mut hear) = one.open_bi().await.unwrap();
        write(&mut ask, b"question").await;
        let (mut answer, mut asked) = two.accept_bi().await.unwrap();
        assert_eq!(asked.read_chunk(99).await.unwrap().unwrap(), "question");
        write(&mut answer, b"answer").await;
        answer.finish().unwrap();
        assert_eq!(read_all(&mut hear).await, b"answer");
    });
}

#[test]
fn who_gives_up_a_stream_is_heard_on_the_other_side() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        let mut stream = one.open_uni().await.unwrap();
        write(&mut stream, b"half of it").await;
        drop(stream);
        let mut reader = two.accept_uni().await.unwrap();
        sleep(LATENCY * 2).await;
        assert!(reader.read_chunk(99).await.is_err(), "reset");
        drop(reader);

        let mut stream = one.open_uni().await.unwrap();
        write(&mut stream, b"unwanted").await;
        drop(two.accept_uni().await.unwrap());
        sleep(LATENCY * 2).await;
        assert_eq!(stream.write_all_chunks(&mut [Bytes::from("more")]).await, Err(WriteError::Stopped));
        assert_eq!(stream.delivered().await, Err(WriteError::Stopped));
    });
}

#[test]
fn what_is_not_read_holds_its_writer_up_and_streams_are_limited() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        let mut stream = one.open_uni().await.unwrap();
        let chunk = Bytes::from(vec![7; 1 << 20]);
        for _ in 0..line::WINDOW_BYTES >> 20 {
            stream.write_all_chunks(&mut [chunk.clone()]).await.unwrap();
        }
        let waiting = tokio::spawn(async move {
            stream.write_all_chunks(&mut [chunk]).await.unwrap();
            stream
        });
        sleep(MINUTE).await;
        assert!(!waiting.is_finished(), "the window is full");
        let mut reader = two.accept_uni().await.unwrap();
        assert_eq!(reader.read_chunk(1 << 20).await.unwrap().unwrap().len(), 1 << 20);
        let stream = timeout(MINUTE, waiting).await.expect("there is room again").unwrap();
        drop((stream, reader));

        let mut open = Vec::new();
        for _ in 0..line::UNI_STREAMS_MAX {
            let mut stream = one.open_uni().await.unwrap();
            stream.finish().unwrap();
            open.push(stream);
        }
        assert!(timeout(MINUTE, one.open_uni()).await.is_err(), "no more");
        drop(two.accept_uni().await.unwrap());
        assert!(timeout(MINUTE, one.open_uni()).await.is_ok(), "one has been seen through");
    });
}

#[test]
fn a_goodbye_is_heard_with_its_code_and_a_dropped_connection_is_closed() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        one.close(2);
        assert_eq!(one.closed().await, Closed::Here);
        assert_eq!(two.closed().await, Closed::ByPeer(2));
        assert!(two.open_uni().await.is_err() && two.accept_bi().await.is_err());
        let (one, two) = bed.connect(0, 1).await;
        drop(two);
        assert_eq!(one.closed().await, Closed::ByPeer(0));
        assert!(bed.streams.state().lines.is_empty(), "nothing is remembered of them");
    });
}

#[test]
fn a_short_cut_delays_and_a_long_one_ends_a_connection_for_both() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        bed.cut(0, 1);
        let mut stream = one.open_uni().await.unwrap();
        write(&mut stream, b"patience").await;
        stream.finish().unwrap();
        sleep(SILENCE / 2).await;
        assert!(timeout(LATENCY, two.accept_uni()).await.is_err());
        bed.links.end(1);
        let mut reader = timeout(LOOK * 2, two.accept_uni()).await.unwrap().unwrap();
        assert_eq!(read_all(&mut reader).await, b"patience");

        bed.cut(0, 1);
        let begun = Instant::now();
        let (a, b) = tokio::join!(one.closed(), two.closed());
        assert_eq!((a, b), (Closed::Silent, Closed::Silent));
        assert!(begun.elapsed() >= SILENCE && begun.elapsed() <= SILENCE + LOOK * 2);
        let place = bed.endpoints[1].local_address().unwrap();
        assert!(timeout(MINUTE, bed.endpoints[0].connect(place)).await.is_err(), "nor can anybody dial");
    });
}

#[test]
fn a_dead_node_is_silent_and_a_restarted_one_says_that_it_knows_nothing() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        bed.streams.kill(1);
        assert!(matches!(two.why_closed(), Some(Closed::Fault(_))));
        two.close(2);
        assert_eq!(one.closed().await, Closed::Silent, "its last words are not heard");

        let (one, _two) = bed.connect(0, 2).await;
        bed.streams.kill(2);
        let _again = bed.bind(2);
        let begun = Instant::now();
        assert_eq!(one.closed().await, Closed::Restarted);
        assert!(begun.elapsed() <= KEEP_ALIVE + LOOK);
    });
}

#[test]
fn a_paused_node_says_and_hears_everything_afterwards_in_order() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        bed.streams.pause(1);
        for word in [b"first", b"later"] {
            let mut stream = one.open_uni().await.unwrap();
            write(&mut stream, word).await;
            stream.finish().unwrap();
            let mut back = two.open_uni().await.unwrap();
            write(&mut back, word).await;
            back.finish().unwrap();
            // Dropped only when it has arrived, or it would be given up.
            tokio::spawn(async move { stream.delivered().await });
            tokio::spawn(async move { back.delivered().await });
            sleep(Duration::from_secs(2)).await;
        }
        assert!(timeout(LATENCY, two.accept_uni()).await.is_err() && timeout(LATENCY, one.accept_uni()).await.is_err());
        bed.streams.resume(1);
        for connection in [&one, &two] {
            for word in [b"first", b"later"] {
                let mut reader = timeout(MINUTE, connection.accept_uni()).await.unwrap().unwrap();
                assert_eq!(read_all(&mut reader).await, word);
            }
        }
    });
}

#[test]
fn nobody_dials_through_a_router_that_does_not_know_him() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Restricted]);
        let place = bed.endpoints[1].local_address().unwrap();
        assert!(timeout(MINUTE, bed.endpoints[0].connect(place)).await.is_err());
        let (out, inside) = bed.connect(1, 0).await;
        assert_eq!(inside.remote_address(), SocketAddr::from((ip(1), PORT)));
        bed.internet.rebind(1);
        bed.streams.rebound(1);
        assert_ne!(inside.remote_address().port(), PORT, "it is seen elsewhere, and stays connected");
        assert_eq!((out.why_closed(), inside.why_closed()), (None, None));
    });
}

#[test]
fn who_is_turned_away_hears_of_it() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let place = bed.endpoints[1].local_address().unwrap();
        let turn_away = async { bed.endpoints[1].accept().await.unwrap().refuse() };
        let (dialled, ()) = tokio::join!(bed.endpoints[0].connect(place), turn_away);
        assert!(matches!(dialled, Err(LinkError::Handshake(Closed::Fault(_)))));
    });
}

#[test]
fn datagrams_arrive_or_do_not_and_large_ones_are_refused() {
    run(|| async {
        let bed = Bed::new(&[Nat::Open, Nat::Open]);
        let (one, two) = bed.connect(0, 1).await;
        one.send_datagram(Bytes::from("now")).unwrap();
        assert_eq!(two.read_datagram().await.unwrap(), "now");
        assert!(one.send_datagram(Bytes::from(vec![0; one.datagram_bytes_max() + 1])).is_err());
        bed.links.begin(1, &Act::Loss { from: vec![], to: vec![], rate: 1.0 });
        one.send_datagram(Bytes::from("lost")).unwrap();
        assert!(timeout(MINUTE, two.read_datagram()).await.is_err());
        one.close(0);
        assert!(two.read_datagram().await.is_none());
    });
}
