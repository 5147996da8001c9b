//! Peers that break the protocol and peers that break their word, against real nodes.

use super::{
    network_testbed::{self, Raw, frame},
    swarm::{Swarm, eventually, noise},
};
use pangea::drivers::network::{ALPN_PANGEA, NetworkConfig};
use pangea_protocols::{
    PeerId,
    net::{Class, Command, Event},
    wire::{Frame, Message, store::Store},
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

const MIB: usize = 1 << 20;

fn socket(swarm: &Swarm, number: usize) -> SocketAddr {
    let address = &swarm.cluster.members()[number].ready.addresses[0];
    let parts: Vec<&str> = address.split('/').collect();
    format!("{}:{}", parts[2], parts[4]).parse().unwrap()
}

fn peer_row(swarm: &Swarm, number: usize, peer: PeerId) -> Option<Value> {
    let rows = swarm.cli(number, &["peers", "--json"]).ok().json_lines();
    rows.into_iter().find(|row| row["peer"] == peer.to_string())
}

/// Streams that are no frames, and one that is none of this node's business.
fn garbage() -> Vec<Vec<u8>> {
    let good = frame(1, 10);
    let whole = [&good.head().unwrap()[..], &good.body[..]].concat();
    let mut malformed = whole.clone();
    malformed[10] = 0xff;
    vec![
        vec![],
        noise("garbage", 5000),
        vec![200; 10],
        [&whole[..6], &u32::MAX.to_le_bytes()[..], &whole[10..]].concat(),
        [&whole[..2], &u32::MAX.to_le_bytes()[..], &whole[6..]].concat(),
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], &[0]].concat(),
        malformed,
        whole,
    ]
}

#[test]
fn a_peer_that_sends_garbage_is_found_out_and_the_others_do_not_notice() {
    let swarm = Swarm::of(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let raw = runtime.block_on(async { Raw::new(&[ALPN_PANGEA], false) });
    let victim = 1;
    runtime.block_on(async {
        for number in 0..4 {
            let connection = raw.connect(socket(&swarm, number)).await;
            for bytes in garbage() {
                let Ok(mut stream) = connection.open_uni().await else { break };
                // The node may refuse before everything is written, and may hang up for good.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.finish();
            }
            let _ = connection.send_datagram(bytes::Bytes::from_static(b"\xff\xff garbage"));
            if let Ok((mut stream, _)) = connection.open_bi().await {
                let _ = stream.write_all(&noise("multistream", 3000)).await;
            }
            // Kept open: a node must not wait for it.
            std::mem::forget(connection);
        }
    });
    eventually("the garbage shows in the list of peers", || {
        peer_row(&swarm, victim, raw.id).is_some_and(|row| {
            let state = row["state"].as_str().unwrap();
            matches!(state, "suspect" | "quarantined" | "banned") && !row["reason"].as_str().unwrap().is_empty()
        })
    });
    let stored = swarm.put(victim, &swarm.file("object", MIB), &[]);
    assert_eq!(stored["missing_shards"], 0);
    assert!(!stored["holders"].as_array().unwrap().contains(&raw.id.to_string().into()));
    assert!(swarm.read(3, stored["ticket"].as_str().unwrap()) == noise("object", MIB));
    assert_eq!(swarm.living().len(), 4);
    swarm.quiet();
}

#[test]
fn a_peer_that_promises_room_and_never_answers_again_holds_nothing_up_for_long() {
    let swarm = Swarm::of(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut liar = runtime.block_on(network_testbed::node_with(
        NetworkConfig { listen: vec![network_testbed::loopback()], ..NetworkConfig::default() },
        4096,
    ));
    let id = liar.id();
    let (port, address) = (liar.port.clone(), liar.address());
    let taken = Arc::new(AtomicU64::new(0));
    let shards = Arc::clone(&taken);
    runtime.spawn(async move {
        // Room for everybody, a receipt for nobody.
        while let Some(event) = liar.events.recv().await {
            let Event::Received { peer, frame } = event else { continue };
            match frame.message {
                Message::Store(Store::Reserve { request, .. }) => {
                    let answer = Store::Reserved { request, grant: request, expires_unix: u64::MAX / 2 };
                    let frame = Frame::bare(Message::Store(answer));
                    let _ = port.send(Command::Send { peer, tag: 0, class: Class::Control, frame });
                }
                Message::Store(Store::Put { .. }) => {
                    shards.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    });
    swarm.cli(0, &["peers", "add", &format!("{}/p2p/{id}", address.as_str())]).ok();
    eventually("the liar is connected", || peer_row(&swarm, 0, id).is_some_and(|row| row["connected"] == true));

    let started = Instant::now();
    let stored = swarm.put(0, &swarm.file("object", 3 * MIB), &[]);
    assert!(taken.load(Ordering::Relaxed) > 0, "the liar was not even asked");
    assert!(started.elapsed().as_secs() < 40, "{:?}", started.elapsed());
    assert_eq!(stored["missing_shards"], 0);
    assert!(!stored["holders"].as_array().unwrap().contains(&id.to_string().into()), "{stored}");
    // The liar may go: nothing is there.
    drop(runtime);
    assert!(swarm.read(4, stored["ticket"].as_str().unwrap()) == noise("object", 3 * MIB));
    swarm.quiet();
}
