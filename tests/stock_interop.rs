//! A stock rust-libp2p node — its own QUIC transport, its own Swarm — pings, identifies and queries the DHT of ours.
//!
//! Behind the feature `stock-interop`, because that transport is built on aws-lc, which nothing else here is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::result_large_err)]

mod network_testbed;

use futures::StreamExt;
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, Transport,
    core::muxing::StreamMuxerBox,
    identify,
    identity::Keypair,
    kad, ping,
    swarm::{self, NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
};
use network_testbed::*;
use pangea_protocols::{
    Cid, Hash, PeerId,
    net::{Command, Event, SendError, Source},
};
use tokio::time::timeout;

const KAD: StreamProtocol = StreamProtocol::new("/pangea/kad/1.0.0");

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Stock {
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    kad: kad::Behaviour<kad::store::MemoryStore>,
}

fn stock() -> Swarm<Stock> {
    let identity = Keypair::ed25519_from_bytes(fresh_secret()).unwrap();
    let peer = identity.public().to_peer_id();
    let transport = libp2p_quic::tokio::Transport::new(libp2p_quic::Config::new(&identity));
    let behaviour = Stock {
        ping: ping::Behaviour::default(),
        identify: identify::Behaviour::new(identify::Config::new("/stock/1".to_owned(), identity.public())),
        kad: kad::Behaviour::with_config(peer, kad::store::MemoryStore::new(peer), kad::Config::new(KAD)),
    };
    let transport = transport.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed();
    let mut swarm = Swarm::new(transport, behaviour, peer, swarm::Config::with_tokio_executor());
    swarm.behaviour_mut().kad.set_mode(Some(kad::Mode::Server));
    swarm.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    swarm
}

/// What a stock node must see of ours.
#[derive(Default, Debug, PartialEq)]
struct Seen {
    agent: Option<String>,
    pinged: bool,
    provider: bool,
}

#[tokio::test]
async fn a_stock_libp2p_node_pings_identifies_and_finds_our_provider_records() {
    let mut ours = node().await;
    let cid = Cid(Hash([5; 32]));
    ours.ask(Command::Provide { cid });
    let id = libp2p::PeerId::from_bytes(&ours.id().to_multihash()).unwrap();
    let address: Multiaddr = ours.address().as_str().parse().unwrap();

    let mut stock = stock();
    let stock_id = PeerId::from_multihash(&stock.local_peer_id().to_bytes()).unwrap();
    stock.behaviour_mut().kad.add_address(&id, address.clone());
    stock.dial(DialOpts::peer_id(id).addresses(vec![address]).build()).unwrap();
    let mut seen = Seen::default();
    let everything = async {
        while !(seen.agent.is_some() && seen.pinged && seen.provider) {
            match stock.select_next_some().await {
                SwarmEvent::Behaviour(StockEvent::Identify(identify::Event::Received { info, .. })) => {
                    assert!(info.protocols.contains(&KAD));
                    seen.agent = Some(info.agent_version);
                    stock.behaviour_mut().kad.get_providers(kad::RecordKey::new(&cid.0.0));
                }
                SwarmEvent::Behaviour(StockEvent::Ping(event)) => seen.pinged |= event.result.is_ok(),
                SwarmEvent::Behaviour(StockEvent::Kad(kad::Event::OutboundQueryProgressed {
                    result: kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })),
                    ..
                })) => seen.provider |= providers.contains(&id),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, everything).await.unwrap();
    assert!(seen.agent.unwrap().starts_with("pangea/"));

    let drive = tokio::spawn(async move {
        loop {
            stock.select_next_some().await;
        }
    });
    ours.until("identify of the stock node", |event| {
        matches!(event, Event::Discovered { peer, source: Source::Identify, .. } if *peer == stock_id).then_some(())
    })
    .await;
    ours.send(stock_id, 1, frame(1, 1));
    assert_eq!(ours.failed(1).await, SendError::NotPangea);
    assert!(!ours.seen.iter().any(|event| matches!(event, Event::Connected { .. })));
    drive.abort();
}
