//! rust-libp2p's own QUIC transport for comparison: one bidirectional stream, as its users have it.

use super::{
    measure::cpu_of_self,
    peers::{megabytes_per_second, report},
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::poll_fn};
use libp2p::{
    Multiaddr, Transport,
    core::{
        Endpoint,
        muxing::{StreamMuxer, StreamMuxerExt},
        transport::{DialOpts, ListenerId, PortUse, TransportEvent},
    },
    identity::Keypair,
};
use libp2p_quic::{Config, tokio};
use std::time::Instant;

fn transport() -> libp2p::core::transport::Boxed<(libp2p::PeerId, libp2p_quic::Connection)> {
    tokio::Transport::new(Config::new(&Keypair::generate_ed25519())).boxed()
}

pub async fn serve(total: u64) {
    let mut transport = transport();
    transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    let upgrade = loop {
        match transport.next().await.unwrap() {
            TransportEvent::NewAddress { listen_addr, .. } => println!("READY {listen_addr} stock"),
            TransportEvent::Incoming { upgrade, .. } => break upgrade,
            _ => {}
        }
    };
    let (background, mut connection) =
        (::tokio::spawn(async move { while transport.next().await.is_some() {} }), upgrade.await.unwrap().1);
    let mut stream = poll_fn(|cx| connection.poll_inbound_unpin(cx)).await.unwrap();
    let cpu = cpu_of_self();
    let mut buffer = vec![0; 256 << 10];
    let mut received = 0;
    while received < total {
        received += stream.read(&mut buffer).await.unwrap() as u64;
    }
    stream.write_all(b"done").await.unwrap();
    stream.close().await.unwrap();
    println!("CPU {}", cpu_of_self() - cpu);
    let _ = stream.read(&mut buffer).await;
    drop(background);
}

pub async fn client(address: &str, _peer: &str, total: u64) {
    let mut transport = transport();
    let address: Multiaddr = address.parse().unwrap();
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
    let (_, mut connection) = transport.dial(address, options).unwrap().await.unwrap();
    let mut stream = poll_fn(|cx| connection.poll_outbound_unpin(cx)).await.unwrap();
    let chunk = vec![0xa5; 1 << 20];
    let (cpu, started) = (cpu_of_self(), Instant::now());
    for _ in 0..total >> 20 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.flush().await.unwrap();
    let mut done = [0; 4];
    stream.read_exact(&mut done).await.unwrap();
    report(megabytes_per_second(total, started), cpu);
    let _ = poll_fn(|cx| std::pin::Pin::new(&mut connection).poll_close(cx)).await;
}
