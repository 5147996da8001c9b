//! The network driver on real sockets: what it promises, and what it does to peers that break the rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::result_large_err)]

mod network_testbed;

use network_testbed::*;
use pangea::drivers::network::{self, ALPN_LIBP2P, ALPN_PANGEA, DatagramError, Limits, NetworkConfig, SystemSockets};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    Cid, Hash, PeerId,
    net::{Class, Command, Event, SendError},
    wire::BODY_BYTES_MAX,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

#[tokio::test]
async fn frames_of_every_size_arrive_whole_in_both_directions() {
    let (mut one, mut two) = pair().await;
    for (tag, bytes) in [0, 1, 64 << 10, 1 << 20, BODY_BYTES_MAX].into_iter().enumerate() {
        let tag = tag as u64;
        one.send(two.id(), tag, frame(tag, bytes));
        assert_eq!(two.received().await, (one.id(), frame(tag, bytes)));
        one.sent(tag).await;
        two.send(one.id(), tag, frame(tag, bytes));
        assert_eq!(one.received().await, (two.id(), frame(tag, bytes)));
        two.sent(tag).await;
    }
    let metrics = one.handle.metrics();
    assert_eq!((metrics.frames_sent, metrics.frames_received, metrics.connections), (5, 5, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_frames_in_flight_all_arrive_on_a_multi_threaded_runtime() {
    let (one, mut two) = pair().await;
    let peer = two.id();
    let sender = tokio::spawn(async move {
        let mut one = one;
        for tag in 0..1000 {
            one.send(peer, tag, frame(tag, 10_000));
            // At most 200 at once: the queue takes 256.
            if tag >= 200 {
                one.sent(tag - 200).await;
            }
        }
        one
    });
    let mut missing: BTreeSet<u64> = (0..1000).collect();
    while !missing.is_empty() {
        let (_, got) = two.received().await;
        assert_eq!(got, frame(request_of(&got), 10_000));
        assert!(missing.remove(&request_of(&got)), "twice");
    }
    sender.await.unwrap();
}

#[tokio::test]
async fn frames_to_a_connected_peer_do_not_wait_in_the_command_queue() {
    let limits = Limits { commands_max: 1, ..Limits::default() };
    let (mut one, mut two) = (node_with(NetworkConfig { limits, ..config() }, 4096).await, node().await);
    one.dial(&two);
    one.connected(two.id()).await;
    // The driver's task has no chance to run in between: this test's runtime has one thread.
    for tag in 0..100 {
        one.send(two.id(), tag, frame(tag, 100));
    }
    for tag in 0..100 {
        one.sent(tag).await;
        two.received().await;
    }
}

#[tokio::test]
async fn who_is_connected_is_told_again_to_whoever_asks() {
    let (mut one, two) = pair().await;
    for _ in 0..2 {
        one.ask(Command::WhoIsConnected);
        one.connected(two.id()).await;
    }
}

#[tokio::test]
async fn a_send_without_a_connection_dials_first() {
    let (mut one, mut two) = (node().await, node().await);
    one.ask(Command::Learn { peer: two.id(), addresses: vec![two.address()] });
    one.send(two.id(), 1, frame(1, 100));
    one.sent(1).await;
    assert_eq!(two.received().await.1, frame(1, 100));
}

#[tokio::test]
async fn a_peer_nobody_knows_is_unreachable() {
    let mut one = node().await;
    let nobody = PeerId([9; 32]);
    let nobody = PeerId::from_multihash(&nobody.to_multihash()).unwrap();
    one.send(nobody, 1, frame(1, 100));
    assert_eq!(one.failed(1).await, SendError::Unreachable);
    one.ask(Command::Dial { peer: nobody, addresses: vec![] });
    let reason = one.until("dial failed", |event| match event {
        Event::DialFailed { peer, reason } if *peer == nobody => Some(reason.clone()),
        _ => None,
    });
    assert!(!reason.await.is_empty());
}

#[tokio::test]
async fn a_simultaneous_dial_leaves_one_connection_and_loses_no_frame() {
    for _ in 0..5 {
        let (mut one, mut two) = (node().await, node().await);
        one.dial(&two);
        two.dial(&one);
        for tag in 0..50 {
            one.send(two.id(), tag, frame(tag, 20_000));
            two.send(one.id(), tag, frame(tag, 20_000));
        }
        for tag in 0..50 {
            one.sent(tag).await;
            two.sent(tag).await;
        }
        for node in [&mut one, &mut two] {
            let mut missing: BTreeSet<u64> = (0..50).collect();
            while !missing.is_empty() {
                missing.remove(&request_of(&node.received().await.1));
            }
        }
        eventually("one connection", || one.handle.metrics().connections == 1 && two.handle.metrics().connections == 1)
            .await;
        for node in [&mut one, &mut two] {
            while let Ok(event) = node.events.try_recv() {
                node.seen.push(event);
            }
            let connected = node.seen.iter().filter(|event| matches!(event, Event::Connected { .. })).count();
            let lost = node.seen.iter().any(|event| matches!(event, Event::Disconnected { .. }));
            assert_eq!((connected, lost), (1, false), "{:?}", node.seen);
        }
        one.send(two.id(), 99, frame(99, 1));
        one.sent(99).await;
    }
}

#[tokio::test]
async fn frames_to_a_peer_that_crashed_and_dialled_again_take_its_new_connection() {
    let mut node = node().await;
    let raw = Raw::new(&[ALPN_PANGEA], false);
    // Nobody reads from the first one or closes it: for this node it is alive.
    let _dead = raw.connect(node.socket()).await;
    node.connected(raw.id).await;
    let again = raw.quic.bind(&SystemSockets, loopback(), false).unwrap();
    let socket = node.socket();
    let alive = again.connect_with(raw.quic.client_for(socket.ip()), socket, "l").unwrap().await.unwrap();
    eventually("the node has both", || node.handle.metrics().connections == 2).await;
    node.send(raw.id, 1, frame(1, 100));
    assert!(timeout(PATIENCE, alive.accept_uni()).await.is_ok_and(|stream| stream.is_ok()));
}

#[tokio::test]
async fn streams_that_are_no_frames_are_refused_and_the_node_lives_on() {
    let mut victim = node().await;
    let raw = Raw::new(&[ALPN_PANGEA], false);
    let connection = raw.connect(victim.socket()).await;
    victim.connected(raw.id).await;

    let good = frame(1, 10);
    let head = good.head().unwrap();
    let whole = [&head[..], &good.body[..]].concat();
    let oversized = [&head[..6], &u32::MAX.to_le_bytes()[..], &head[10..]].concat();
    let huge_header = [&head[..2], &u32::MAX.to_le_bytes()[..], &head[6..]].concat();
    let mut malformed = whole.clone();
    malformed[10] = 0xff;
    let cases: [(&str, Vec<u8>); 8] = [
        ("empty", vec![]),
        ("noise", vec![0xee; 5000]),
        ("unknown protocol", vec![200; 10]),
        ("oversized body", oversized),
        ("oversized header", huge_header),
        ("truncated", whole[..whole.len() - 1].to_vec()),
        ("trailing", [&whole[..], &[0]].concat()),
        ("malformed header", malformed),
    ];
    for (name, bytes) in &cases {
        let mut stream = connection.open_uni().await.unwrap();
        // The node may refuse before everything is written.
        let _ = stream.write_all(bytes).await;
        let _ = stream.finish();
        let reason = victim.garbage(raw.id).await;
        assert!(!reason.is_empty(), "{name}");
    }
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&whole).await.unwrap();
    stream.finish().unwrap();
    assert_eq!(victim.received().await, (raw.id, good));
    assert_eq!(victim.handle.metrics().streams_garbage, cases.len() as u64);
}

#[tokio::test]
async fn a_stream_that_stands_still_is_cut() {
    let limits = Limits { receive_stall: Duration::from_millis(200), ..Limits::default() };
    let mut victim = node_with(NetworkConfig { limits, ..config() }, 64).await;
    let raw = Raw::new(&[ALPN_PANGEA], false);
    let connection = raw.connect(victim.socket()).await;
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&frame(1, 1000).head().unwrap()).await.unwrap();
    assert_eq!(victim.garbage(raw.id).await, "a stream stood still");
    assert_eq!(timeout(PATIENCE, stream.stopped()).await.unwrap().unwrap(), Some(quinn::VarInt::from_u32(18)));
    assert_eq!(victim.handle.metrics().streams_stalled, 1);
}

#[tokio::test]
async fn frames_over_the_memory_budget_wait_and_then_arrive() {
    let limits = Limits { receive_bytes_max: 300 << 10, receive_bytes_per_peer_max: 300 << 10, ..Limits::default() };
    let (one, mut two) = (node().await, node_with(NetworkConfig { limits, ..config() }, 1).await);
    one.dial(&two);
    for tag in 0..20 {
        one.send(two.id(), tag, frame(tag, 200 << 10));
    }
    let mut missing: BTreeSet<u64> = (0..20).collect();
    while !missing.is_empty() {
        missing.remove(&request_of(&two.received().await.1));
    }
    assert_eq!(two.handle.metrics().streams_busy, 0);
}

#[tokio::test]
async fn a_receiver_with_a_mailbox_of_one_loses_nothing_and_hears_of_the_connection_first() {
    let (mut one, mut two) = (node().await, node_with(config(), 1).await);
    one.dial(&two);
    for tag in 0..100 {
        one.send(two.id(), tag, frame(tag, 1000));
        two.send(one.id(), tag, frame(tag, 1000));
    }
    let mut heard = Vec::new();
    let (mut received, mut sent) = (BTreeSet::new(), BTreeSet::new());
    while received.len() < 100 || sent.len() < 100 {
        match timeout(PATIENCE, two.events.recv()).await.unwrap().unwrap() {
            Event::Received { frame, .. } => {
                heard.push("received");
                received.insert(request_of(&frame));
            }
            Event::Sent { tag, .. } => {
                sent.insert(tag);
            }
            Event::SendFailed { tag, error, .. } => {
                // Queued before the connection was there, and this node knows no address of the other.
                assert_eq!(error, SendError::Unreachable);
                sent.insert(tag);
            }
            Event::Connected { .. } => heard.push("connected"),
            _ => {}
        }
    }
    assert_eq!(heard.first(), Some(&"connected"));
    for tag in 0..100 {
        one.sent(tag).await;
    }
}

#[tokio::test]
async fn a_full_queue_is_said_and_ends_when_the_peer_is_hung_up() {
    let deaf = Raw::new(&[ALPN_PANGEA], true);
    let limits = Limits { send_frames_per_peer_max: 4, ..Limits::default() };
    let mut one = node_with(NetworkConfig { limits, ..config() }, 64).await;
    let addresses = vec![address_of(deaf.endpoint.local_addr().unwrap())];
    one.ask(Command::Dial { peer: deaf.id, addresses });
    let _connection = deaf.accept_deaf(0, 1 << 20).await;
    one.connected(deaf.id).await;
    for tag in 0..5 {
        one.send(deaf.id, tag, frame(tag, 10));
    }
    assert_eq!(one.failed(4).await, SendError::QueueFull);
    assert_eq!(one.handle.metrics().frames_queue_full, 1);
    one.ask(Command::Hangup { peer: deaf.id });
    for tag in 0..4 {
        assert_eq!(one.failed(tag).await, SendError::ConnectionLost);
    }
    assert_eq!(one.disconnected(deaf.id).await, "closed by this node");
}

#[tokio::test]
async fn a_cancelled_frame_resets_its_stream_and_one_that_waits_never_starts() {
    let deaf = Raw::new(&[ALPN_PANGEA], true);
    let mut one = node().await;
    let addresses = vec![address_of(deaf.endpoint.local_addr().unwrap())];
    one.ask(Command::Dial { peer: deaf.id, addresses });
    let connection = deaf.accept_deaf(1, 1 << 10).await;
    one.send(deaf.id, 1, frame(1, 100_000));
    let mut stream = timeout(PATIENCE, connection.accept_uni()).await.unwrap().unwrap();
    one.send(deaf.id, 2, frame(2, 100_000));
    for tag in [2, 1] {
        one.ask(Command::CancelSend { peer: deaf.id, tag });
        assert_eq!(one.failed(tag).await, SendError::Cancelled);
    }
    let reset = timeout(PATIENCE, stream.received_reset()).await.unwrap().unwrap();
    assert_eq!(reset, Some(quinn::VarInt::from_u32(16)));
}

#[tokio::test]
async fn a_hangup_is_heard_on_both_sides() {
    let (mut one, mut two) = pair().await;
    one.ask(Command::Hangup { peer: two.id() });
    assert_eq!(one.disconnected(two.id()).await, "closed by this node");
    assert_eq!(two.disconnected(one.id()).await, "closed by the peer");
    assert_eq!(two.handle.raw_connection(one.id()).map(|_| ()), None);
}

#[tokio::test]
async fn a_shutdown_is_heard_at_once_and_ends_within_its_second() {
    let (one, mut two) = pair().await;
    timeout(Duration::from_secs(10), one.handle.shutdown()).await.unwrap();
    assert_eq!(two.disconnected(one.id()).await, "the peer shut down");
    assert!(one.port.send(Command::Hangup { peer: two.id() }).is_err());
    one.handle.shutdown().await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let one = node().await;
    let taken = NetworkConfig { listen: vec![one.socket()], ..config() };
    let Err(error) = network::start(fresh_secret(), taken, Port::new(|_| Ok(()))).await else { panic!("bound twice") };
    let text = error.to_string();
    assert!(text.contains(&one.socket().to_string()) && text.contains("in use"), "{text}");
}

#[tokio::test]
async fn streams_and_datagram_ports_hold_an_idle_connection_and_then_release_it() {
    let limits = Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() };
    let mut one = node_with(NetworkConfig { limits, ..config() }, 4096).await;
    let (mut with_stream, mut with_port, mut without) = (node().await, node().await, node().await);
    let mut pending = None;
    let mut port = None;
    for other in [&mut with_stream, &mut with_port, &mut without] {
        one.dial(other);
        other.connected(one.id()).await;
        one.connected(other.id()).await;
        if pending.is_none() {
            let mut stream = other.handle.raw_connection(one.id()).unwrap().open_uni().await.unwrap();
            stream.write_all(&frame(1, 5).head().unwrap()).await.unwrap();
            pending = Some(stream);
        } else if port.is_none() {
            port = Some(one.handle.datagrams(other.id()).unwrap());
        }
    }
    one.disconnected(without.id()).await;
    // A second round: whoever would be idle is gone by now.
    one.dial(&without);
    one.connected(without.id()).await;
    one.disconnected(without.id()).await;
    assert!(!one.seen.iter().any(|event| matches!(event, Event::Disconnected { .. })), "{:?}", one.seen);

    let mut stream = pending.unwrap();
    stream.write_all(&frame(1, 5).body).await.unwrap();
    stream.finish().unwrap();
    assert_eq!(one.received().await, (with_stream.id(), frame(1, 5)));
    one.disconnected(with_stream.id()).await;
    drop(port);
    one.disconnected(with_port.id()).await;
}

#[tokio::test]
async fn datagrams_go_both_ways_and_belong_to_one_port() {
    let (one, two) = pair().await;
    let (here, there) = (one.handle.datagrams(two.id()).unwrap(), two.handle.datagrams(one.id()).unwrap());
    assert_eq!(one.handle.datagrams(two.id()).map(|_| ()), Err(DatagramError::Taken));
    assert_eq!(one.handle.datagrams(PeerId([3; 32])).map(|_| ()), Err(DatagramError::NotConnected));
    here.send(bytes::Bytes::from_static(b"ping")).unwrap();
    assert_eq!(timeout(PATIENCE, there.receive()).await.unwrap().unwrap(), "ping");
    there.send_wait(bytes::Bytes::from_static(b"pong")).await.unwrap();
    assert_eq!(timeout(PATIENCE, here.receive()).await.unwrap().unwrap(), "pong");
    let limit = here.bytes_max();
    assert!(limit >= 1150);
    assert_eq!(here.send(vec![0; 9000].into()), Err(DatagramError::TooLarge { bytes: 9000, limit: here.bytes_max() }));
    drop(here);
    one.handle.datagrams(two.id()).unwrap();
}

#[tokio::test]
async fn too_much_media_at_once_is_dropped_and_counted_not_queued() {
    let (one, two) = pair().await;
    let port = one.handle.datagrams(two.id()).unwrap();
    let payload = bytes::Bytes::from(vec![0; 1100]);
    // Nothing can be sent while this test does not yield, so the buffer must fill.
    let refused = (0..5000).filter(|_| port.send(payload.clone()) == Err(DatagramError::Full)).count();
    assert!(refused > 0);
    assert_eq!(one.handle.metrics().datagrams_dropped, refused as u64);
}

#[tokio::test]
async fn what_one_of_five_nodes_provides_the_others_find() {
    let mut nodes = Vec::new();
    for _ in 0..5 {
        nodes.push(node().await);
    }
    let cid = Cid(Hash([42; 32]));
    // Announced before anybody is there to hear it: it must be announced again.
    nodes[4].ask(Command::Provide { cid });
    let (first, rest) = nodes.split_first_mut().unwrap();
    for other in rest.iter_mut() {
        other.dial(first);
        other.connected(first.id()).await;
    }
    let (provider, address) = (nodes[4].id(), nodes[4].address());
    for at in 1..4u64 {
        let node = &mut nodes[at as usize];
        let mut found = None;
        for query in 0.. {
            node.ask(Command::FindProviders { query: at * 1000 + query, cid });
            loop {
                let (providers, done) = node
                    .until("providers", |event| match event {
                        Event::Providers { query: of, providers, done } if *of == at * 1000 + query => {
                            Some((providers.clone(), *done))
                        }
                        _ => None,
                    })
                    .await;
                found = found.or(providers.into_iter().find(|(peer, _)| *peer == provider));
                if done {
                    break;
                }
            }
            // The announcement may still be under way; a search that finds nothing is repeated, never waited for.
            if found.is_some() || query > 2000 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (_, addresses) = found.expect("never found");
        assert!(addresses.contains(&address), "{addresses:?}");
    }
    // And a peer whose address only the DHT knows can be dialled.
    let (one, two) = (3, provider);
    nodes[one].ask(Command::Dial { peer: two, addresses: vec![] });
    nodes[one].connected(two).await;
}

/// All that one search finds.
async fn search(node: &mut Node, query: u64, cid: Cid) -> Vec<(PeerId, Vec<pangea_protocols::Address>)> {
    node.ask(Command::FindProviders { query, cid });
    let mut found = Vec::new();
    loop {
        let heard = |event: &Event| match event {
            Event::Providers { query: of, providers, done } if *of == query => Some((providers.clone(), *done)),
            _ => None,
        };
        let (providers, done) = node.until("providers", heard).await;
        found.extend(providers);
        if done {
            return found;
        }
    }
}

/// Nobody has told these nodes where they can be dialled, as nobody tells most nodes.
#[tokio::test]
async fn a_provider_that_is_away_is_still_named_and_placed_by_those_who_heard_it() {
    let (mut provider, mut witness, mut late) = (node().await, node().await, node().await);
    let (cid, id, address) = (Cid(Hash([43; 32])), provider.id(), provider.address());
    for other in [&mut provider, &mut late] {
        other.dial(&witness);
        other.connected(witness.id()).await;
        witness.connected(other.id()).await;
    }
    provider.ask(Command::Provide { cid });
    eventually("the announcement is kept", || witness.handle.metrics().provider_records == 1).await;
    provider.handle.shutdown().await;
    witness.disconnected(id).await;
    let found = search(&mut late, 5000, cid).await;
    assert_eq!(found.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [id]);
    assert!(found[0].1.contains(&address), "{found:?}");
}

#[tokio::test]
async fn a_peer_that_speaks_only_libp2p_is_pinged_but_gets_no_frames() {
    let mut one = node().await;
    let stock = Raw::new(&[ALPN_LIBP2P], false);
    let connection = stock.connect(one.socket()).await;
    // The protocol negotiation and ping of libp2p, by hand: length-prefixed lines, then 32 bytes that come back.
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let hello = b"\x13/multistream/1.0.0\n\x11/ipfs/ping/1.0.0\n";
    let payload = [7; 32];
    send.write_all(hello).await.unwrap();
    send.write_all(&payload).await.unwrap();
    let mut answer = vec![0; hello.len() + payload.len()];
    timeout(PATIENCE, receive.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, [&hello[..], &payload[..]].concat());

    one.ask(Command::Send { peer: stock.id, tag: 1, class: Class::Control, frame: frame(1, 1) });
    assert_eq!(one.failed(1).await, SendError::NotPangea);
    assert!(!one.seen.iter().any(|event| matches!(event, Event::Connected { .. })));
}

#[tokio::test]
async fn a_panic_of_the_driver_is_told_to_whoever_waits_for_it() {
    let events = Port::new(|_: Event| -> Result<(), Rejected<Event>> { panic!("planted") });
    let config = NetworkConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], ..NetworkConfig::default() };
    let (handle, _port) = network::start([7; 32], config, events).await.unwrap();
    let reason = timeout(Duration::from_secs(10), handle.failed()).await.unwrap();
    assert!(reason.contains("planted"), "{reason}");
}
