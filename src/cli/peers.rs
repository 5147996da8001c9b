//! `peers`: who else is there.

use super::{CliError, catalog::now_unix, format, session::Session, table::Table};
use crate::control::view::PeerView;
use clap::Subcommand;
use pangea_protocols::{Address, PeerId};
use serde_json::{Value, json};
use std::str::FromStr;

/// List known peers, or add, ban or unban one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea peers
  pangea peers --json
  pangea peers ban 12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp --reason spam")]
pub(crate) struct PeersArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Dial a peer and remember it
    #[command(after_help = "Examples:
  pangea peers add /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")]
    Add {
        /// Its address with its id: ADDRESS/p2p/ID, as `pangea id` prints it there
        #[arg(value_name = "ADDRESS/p2p/ID")]
        address: FullAddress,
    },
    /// Have no more to do with a peer
    #[command(after_help = "Examples:
  pangea peers ban 12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")]
    Ban {
        /// The peer's id
        #[arg(value_name = "ID")]
        peer: PeerId,
        /// Why, for the list of peers
        #[arg(long, default_value = "banned by hand")]
        reason: String,
    },
    /// Take a ban back
    #[command(after_help = "Examples:
  pangea peers unban 12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")]
    Unban {
        /// The peer's id
        #[arg(value_name = "ID")]
        peer: PeerId,
    },
}

/// An address that tells who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FullAddress {
    peer: PeerId,
    address: Address,
}

impl FromStr for FullAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW…";
        let (address, peer) = text.rsplit_once("/p2p/").ok_or(format!("the id is missing: write it like {example}"))?;
        let peer = peer.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { peer, address: address.parse().map_err(|error| format!("{error}"))? })
    }
}

pub(crate) async fn peers(session: &Session<'_>, args: PeersArgs) -> Result<(), CliError> {
    let (peer, done) = match args.action {
        None => return list(session).await,
        Some(Action::Add { address: FullAddress { peer, address } }) => {
            session.answer(session.client.add_peer(peer, &[address])).await?;
            (peer, "added")
        }
        Some(Action::Ban { peer, reason }) => {
            session.answer(session.client.ban(peer, &reason)).await?;
            (peer, "banned")
        }
        Some(Action::Unban { peer }) => {
            session.answer(session.client.unban(peer)).await?;
            (peer, "unbanned")
        }
    };
    if session.output.json {
        return session.output.value(&json!({ "peer": peer.to_string(), "done": done }));
    }
    session.output.say(&format!("{done} {peer}; see `pangea peers`"));
    Ok(())
}

async fn list(session: &Session<'_>) -> Result<(), CliError> {
    let peers = session.answer(session.client.peers()).await?;
    if session.output.json {
        return session.output.text(&peers.iter().map(|peer| format!("{}\n", peer_json(peer))).collect::<String>());
    }
    if peers.is_empty() {
        session.output.say("no peers are known: add one with `pangea peers add ADDRESS/p2p/ID`");
        return Ok(());
    }
    let now = now_unix();
    let header = ["PEER", "STATE", "SCORE", "RTT", "IN", "OUT", "SEEN", "ADDRESS", "REASON"];
    let mut table = Table::new(&header, 8, &[2, 3, 4, 5]);
    for view in &peers {
        table.row(vec![
            view.peer.to_string(),
            format::printable(&view.state),
            format!("{:.2}", view.score),
            view.rtt.map_or_else(|| "-".into(), format::latency),
            format::size(view.bytes_in),
            format::size(view.bytes_out),
            if view.connected { "connected".into() } else { format::age(view.last_seen_unix, now) },
            view.address.as_ref().map_or_else(|| "-".into(), ToString::to_string),
            format::printable(&view.reason),
        ]);
    }
    table.print(session.output)
}

fn peer_json(view: &PeerView) -> Value {
    json!({
        "peer": view.peer.to_string(), "connected": view.connected,
        "address": view.address.as_ref().map(ToString::to_string), "state": view.state, "reason": view.reason,
        "score": view.score, "rtt_ms": view.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0), "bytes_in": view.bytes_in,
        "bytes_out": view.bytes_out, "last_seen_unix": view.last_seen_unix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_add_needs_the_id_of_the_peer() {
        let peer = PeerId([1; 32]);
        let full: FullAddress = format!("/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{peer}").parse().unwrap();
        assert_eq!((full.peer, full.address.as_str()), (peer, "/ip4/192.0.2.1/udp/4001/quic-v1"));
        for bad in ["", "/ip4/192.0.2.1/udp/4001", "/ip4/192.0.2.1/udp/4001/p2p/x", "x/p2p/y"] {
            assert!(bad.parse::<FullAddress>().is_err(), "{bad}");
        }
    }
}
