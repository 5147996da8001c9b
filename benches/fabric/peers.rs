//! The two ends of every measurement, each in its own process: a server that answers and a client that measures.

use super::measure::{
    cpu_of_self,
    network::{Node, frame},
};
use bytes::Bytes;
use libp2p::identity::Keypair;
use pangea::drivers::network::{ALPN_PANGEA, Quic, SystemSockets};
use pangea_protocols::{
    PeerId,
    net::{self, Class},
};
use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Streams that are written at once.
const STREAMS: usize = 8;
const PINGS: usize = 3000;
const DATAGRAMS_PER_SECOND: u64 = 10_000;
const DATAGRAM_SECONDS: u64 = 3;

pub fn run(task: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(task);
    std::process::exit(0);
}

pub async fn serve(name: &str, total: u64) {
    match name {
        "raw-1MiB" | "raw-64KiB" => serve_raw(total).await,
        "raw-ping-datagram" | "raw-ping-stream" => serve_raw_pings().await,
        #[cfg(feature = "stock-interop")]
        "stock-1MiB" => super::stock::serve(total).await,
        _ => serve_driver(name, total).await,
    }
}

pub async fn client(name: &str, address: &str, peer: &str, total: u64) {
    #[cfg(feature = "stock-interop")]
    if name == "stock-1MiB" {
        return super::stock::client(address, peer, total).await;
    }
    let address: SocketAddr = address.parse().unwrap();
    match name {
        "raw-1MiB" => client_raw(address, total, 1 << 20).await,
        "raw-64KiB" => client_raw(address, total, 64 << 10).await,
        "raw-ping-datagram" | "raw-ping-stream" => client_raw_pings(name, address).await,
        _ => {
            let mut node = Node::start(2).await;
            let peer: PeerId = peer.parse().unwrap();
            node.connect(peer, &address.to_string()).await;
            match name {
                "fabric-1MiB" => client_fabric(&mut node, peer, total).await,
                "driver-1MiB" => client_driver(&mut node, peer, total, 1 << 20).await,
                "driver-64KiB" => client_driver(&mut node, peer, total, 64 << 10).await,
                "driver-ping-frame" => client_frame_pings(&mut node, peer).await,
                "fabric-ping-datagram" => client_datagram_pings(&node, peer).await,
                "fabric-datagrams" => client_datagrams(&mut node, peer).await,
                other => panic!("no measurement is called {other}"),
            }
            node.handle.shutdown().await;
        }
    }
}

pub fn report(result: f64, cpu_before: f64) {
    println!("RESULT {result}\nCPU {}", cpu_of_self() - cpu_before);
}

pub fn megabytes_per_second(total: u64, started: Instant) -> f64 {
    total as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn p50_microseconds(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

// Raw quinn with the driver's own configuration.

fn raw_endpoint(listen: bool) -> (Quic, quinn::Endpoint) {
    let quic = Quic::with_alpn(&Keypair::generate_ed25519(), &[ALPN_PANGEA]).unwrap();
    let endpoint = quic.bind(&SystemSockets, "127.0.0.1:0".parse().unwrap(), listen).unwrap();
    (quic, endpoint)
}

async fn raw_accept() -> (quinn::Endpoint, quinn::Connection) {
    let (quic, endpoint) = raw_endpoint(true);
    println!("READY {} raw", endpoint.local_addr().unwrap());
    let incoming = endpoint.accept().await.unwrap();
    let config = quic.server_for(incoming.remote_address().ip());
    let connection = incoming.accept_with(config).unwrap().await.unwrap();
    (endpoint, connection)
}

async fn raw_connect(address: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
    let (quic, endpoint) = raw_endpoint(false);
    let connection = endpoint.connect_with(quic.client_for(address.ip()), address, "l").unwrap().await.unwrap();
    (endpoint, connection)
}

async fn serve_raw(total: u64) {
    let (_endpoint, connection) = raw_accept().await;
    let cpu = cpu_of_self();
    let mut streams = JoinSet::new();
    let mut received = 0;
    while received < total {
        tokio::select! {
            stream = connection.accept_uni() => {
                let mut stream = stream.unwrap();
                streams.spawn(async move {
                    let mut bytes = 0;
                    while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.unwrap() {
                        bytes += chunk.bytes.len() as u64;
                    }
                    bytes
                });
            }
            Some(bytes) = streams.join_next() => received += bytes.unwrap(),
        }
    }
    let mut done = connection.open_uni().await.unwrap();
    done.write_all(b"done").await.unwrap();
    done.finish().unwrap();
    println!("CPU {}", cpu_of_self() - cpu);
    connection.closed().await;
}

async fn client_raw(address: SocketAddr, total: u64, chunk: usize) {
    let (_endpoint, connection) = raw_connect(address).await;
    let body = Bytes::from(vec![0xa5; chunk]);
    let (cpu, started) = (cpu_of_self(), Instant::now());
    write_streams(&connection, total / chunk as u64, vec![body]).await;
    connection.accept_uni().await.unwrap().read_to_end(16).await.unwrap();
    report(megabytes_per_second(total, started), cpu);
    connection.close(0u32.into(), b"");
}

/// One stream per message, [`STREAMS`] at once.
async fn write_streams(connection: &quinn::Connection, count: u64, message: Vec<Bytes>) {
    let slots = Arc::new(Semaphore::new(STREAMS));
    for _ in 0..count {
        let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
        let (connection, mut message) = (connection.clone(), message.clone());
        tokio::spawn(async move {
            let mut stream = connection.open_uni().await.unwrap();
            stream.write_all_chunks(&mut message).await.unwrap();
            stream.finish().unwrap();
            drop(slot);
        });
    }
}

async fn serve_raw_pings() {
    let (_endpoint, connection) = raw_accept().await;
    let cpu = cpu_of_self();
    loop {
        tokio::select! {
            Ok(bytes) = connection.read_datagram() => connection.send_datagram(bytes).unwrap(),
            Ok(mut stream) = connection.accept_uni() => {
                let bytes = stream.read_to_end(64).await.unwrap();
                let mut back = connection.open_uni().await.unwrap();
                back.write_all(&bytes).await.unwrap();
                back.finish().unwrap();
            }
            _ = connection.closed() => break,
        }
    }
    println!("CPU {}", cpu_of_self() - cpu);
}

async fn client_raw_pings(name: &str, address: SocketAddr) {
    let (endpoint, connection) = raw_connect(address).await;
    let mut times = Vec::with_capacity(PINGS);
    let cpu = cpu_of_self();
    for _ in 0..PINGS {
        let started = Instant::now();
        if name == "raw-ping-datagram" {
            connection.send_datagram(Bytes::from_static(&[1; 64])).unwrap();
            connection.read_datagram().await.unwrap();
        } else {
            let mut stream = connection.open_uni().await.unwrap();
            stream.write_all(&[1; 64]).await.unwrap();
            stream.finish().unwrap();
            connection.accept_uni().await.unwrap().read_to_end(64).await.unwrap();
        }
        times.push(started.elapsed());
    }
    report(p50_microseconds(times), cpu);
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
}

// The network driver.

async fn serve_driver(name: &str, total: u64) {
    let mut node = Node::start(1).await;
    println!("READY {} {}", node.handle.listening_on()[0], node.handle.local_peer());
    let peer = node.connected().await;
    let cpu = cpu_of_self();
    match name {
        "fabric-ping-datagram" => {
            let port = node.handle.datagrams(peer).unwrap();
            while let Some(bytes) = port.receive().await {
                if port.send(bytes).is_err() {
                    break;
                }
            }
        }
        "fabric-datagrams" => {
            let port = node.handle.datagrams(peer).unwrap();
            let mut count = 0u64;
            loop {
                tokio::select! {
                    Some(_) = port.receive() => count += 1,
                    _ = node.received() => break,
                }
            }
            let body = Bytes::copy_from_slice(&count.to_le_bytes());
            node.send(peer, 1, Class::Control, frame(&body));
            println!("CPU {}", cpu_of_self() - cpu);
        }
        "driver-ping-frame" => loop {
            match node.events.recv().await.unwrap() {
                net::Event::Received { frame, .. } => node.send(peer, 1, Class::Control, frame),
                net::Event::Disconnected { .. } => break,
                _ => {}
            }
        },
        _ => {
            let mut received = 0;
            while received < total {
                received += node.received().await.body.len() as u64;
            }
            node.send(peer, 1, Class::Control, frame(&Bytes::new()));
        }
    }
    println!("CPU {}", cpu_of_self() - cpu);
    node.disconnected().await;
}

/// Frames written to the driver's connection by hand, received by the driver.
async fn client_fabric(node: &mut Node, peer: PeerId, total: u64) {
    let frame = frame(&Bytes::from(vec![0xa5; 1 << 20]));
    let connection = node.handle.raw_connection(peer).unwrap();
    let (cpu, started) = (cpu_of_self(), Instant::now());
    write_streams(&connection, total >> 20, vec![frame.head().unwrap(), frame.body]).await;
    node.received().await;
    report(megabytes_per_second(total, started), cpu);
}

/// Everything through commands and events.
async fn client_driver(node: &mut Node, peer: PeerId, total: u64, chunk: usize) {
    let body = Bytes::from(vec![0xa5; chunk]);
    // As many as the queue of a peer takes: 64 MiB or 256 frames.
    let window = (48 << 20 >> chunk.trailing_zeros()).min(200);
    let (mut queued, mut acknowledged) = (0, 0);
    let count = total / chunk as u64;
    let (cpu, started) = (cpu_of_self(), Instant::now());
    loop {
        while queued < count && queued - acknowledged < window {
            node.send(peer, queued, Class::Bulk, frame(&body));
            queued += 1;
        }
        match node.events.recv().await.unwrap() {
            net::Event::Sent { .. } => acknowledged += 1,
            net::Event::Received { .. } => break,
            net::Event::SendFailed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    report(megabytes_per_second(total, started), cpu);
}

async fn client_frame_pings(node: &mut Node, peer: PeerId) {
    let body = Bytes::from_static(&[1; 64]);
    let mut times = Vec::with_capacity(PINGS);
    let cpu = cpu_of_self();
    for tag in 0..PINGS as u64 {
        let started = Instant::now();
        node.send(peer, tag, Class::Control, frame(&body));
        node.received().await;
        times.push(started.elapsed());
    }
    report(p50_microseconds(times), cpu);
}

async fn client_datagram_pings(node: &Node, peer: PeerId) {
    let port = node.handle.datagrams(peer).unwrap();
    let mut times = Vec::with_capacity(PINGS);
    let cpu = cpu_of_self();
    for _ in 0..PINGS {
        let started = Instant::now();
        port.send(Bytes::from_static(&[1; 64])).unwrap();
        port.receive().await.unwrap();
        times.push(started.elapsed());
    }
    report(p50_microseconds(times), cpu);
}

async fn client_datagrams(node: &mut Node, peer: PeerId) {
    let port = node.handle.datagrams(peer).unwrap();
    while port.bytes_max() < 1200 {
        // The path's MTU is still being found out.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let payload = Bytes::from(vec![1; 1200]);
    let total = DATAGRAMS_PER_SECOND * DATAGRAM_SECONDS;
    let (cpu, started) = (cpu_of_self(), Instant::now());
    let mut sent = 0;
    while sent < total {
        let due = started.elapsed().as_secs_f64() * DATAGRAMS_PER_SECOND as f64;
        while sent < total.min(due as u64) {
            port.send_wait(payload.clone()).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.send(peer, 1, Class::Control, frame(&Bytes::new()));
    let arrived = node.received().await.body;
    let arrived = u64::from_le_bytes(arrived[..].try_into().unwrap());
    report(100.0 * (total - arrived) as f64 / total as f64, cpu);
}
