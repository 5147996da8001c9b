//! Who of a group is there, and how far away: every node pings its peers and tells them what it measured, so that each
//! has a map of all round trips.
//!
//! A native extension is a core over [`In`] and [`Out`]. It does no I/O and reads no clock: time, chance and timers come
//! from `Cx`, and what it wants leaves as data. So the test below runs it on twenty nodes where everything goes wrong.

use bytes::Bytes;
use pangea_kernel::{Core, Cx};
use pangea_plugins::{In, Out};
use std::{collections::BTreeMap, time::Duration};

/// Any peer's identity.
type Peer = [u8; 32];

/// How often peers are pinged.
const EVERY: Duration = Duration::from_secs(5);
/// The timer.
const TICK: u64 = 1;
/// Most peers that are spoken of in one message.
const TOLD_MAX: usize = 256;
const PING: u8 = 0;
const PONG: u8 = 1;

/// The actor.
#[derive(Default)]
pub struct Presence {
    me: Peer,
    /// Peers that are connected, with the last round trip in microseconds.
    here: BTreeMap<Peer, Option<u32>>,
    /// What each of them has measured.
    told: BTreeMap<Peer, BTreeMap<Peer, u32>>,
}

impl Presence {
    /// Knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// A ping or a pong: its kind, when the ping was sent, and what this node has measured.
    fn message(&self, kind: u8, sent: u64) -> Bytes {
        let mut bytes = vec![kind];
        bytes.extend(sent.to_le_bytes());
        for (peer, micros) in self.here.iter().filter_map(|(peer, rtt)| Some((peer, (*rtt)?))).take(TOLD_MAX) {
            bytes.extend(peer);
            bytes.extend(micros.to_le_bytes());
        }
        bytes.into()
    }

    /// What a peer says. A stranger may have written it: what is no message is ignored.
    fn on_message(&mut self, cx: &mut Cx<'_, Self>, peer: Peer, bytes: &[u8]) {
        let Some((&kind, rest)) = bytes.split_first() else { return };
        let Some((&sent, rest)) = rest.split_first_chunk::<8>() else { return };
        let sent = u64::from_le_bytes(sent);
        let mut told = BTreeMap::new();
        for entry in rest.chunks_exact(36).take(TOLD_MAX) {
            if let (Ok(of), Ok(micros)) = (entry[..32].try_into(), entry[32..].try_into()) {
                told.insert(of, u32::from_le_bytes(micros));
            }
        }
        if !self.here.contains_key(&peer) {
            return;
        }
        self.told.insert(peer, told);
        match kind {
            PING => {
                let bytes = self.message(PONG, sent);
                cx.emit(Out::Send { peer: pangea_plugins::PeerId(peer), bytes });
            }
            PONG => {
                let micros = cx.now().0.saturating_sub(sent) / 1000;
                self.here.insert(peer, Some(u32::try_from(micros).unwrap_or(u32::MAX)));
            }
            _ => {}
        }
    }

    /// Peers that have answered, and what this node knows of the way to each and between them.
    fn answer(&self, question: &[u8]) -> String {
        let short = |peer: &Peer| peer[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = |(from, to, micros): (&Peer, &Peer, u32)| format!("{} {} {micros}us\n", short(from), short(to));
        let own = self.here.iter().filter_map(|(peer, rtt)| Some((&self.me, peer, (*rtt)?)));
        match question {
            b"who" => own.map(line).collect(),
            b"count" => format!("{}\n", own.count()),
            b"map" => {
                let told = self.told.iter().flat_map(|(from, all)| all.iter().map(move |(to, rtt)| (from, to, *rtt)));
                own.chain(told).map(line).collect()
            }
            _ => String::new(),
        }
    }
}

impl Core for Presence {
    type In = In;
    type Out = Out;

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Started { me, peers, .. } => {
                self.me = me.0;
                self.here.extend(peers.into_iter().map(|peer| (peer.0, None)));
                cx.after(EVERY, In::Timer { id: TICK });
            }
            In::Connected { peer } => _ = self.here.entry(peer.0).or_default(),
            In::Disconnected { peer } => {
                self.here.remove(&peer.0);
                self.told.remove(&peer.0);
            }
            In::Timer { .. } => {
                let bytes = self.message(PING, cx.now().0);
                for peer in self.here.keys() {
                    cx.emit(Out::Send { peer: pangea_plugins::PeerId(*peer), bytes: bytes.clone() });
                }
                cx.after(EVERY, In::Timer { id: TICK });
            }
            In::Message { peer, bytes } => self.on_message(cx, peer.0, &bytes),
            In::Ask { request, bytes } => match self.answer(&bytes) {
                answer if answer.is_empty() && bytes != "who" && bytes != "map" => {
                    let reason = "it answers who, count and map".to_owned();
                    cx.emit(Out::Refuse { request, reason });
                }
                answer => cx.emit(Out::Answer { request, bytes: answer.into() }),
            },
            _ => {}
        }
    }
}
