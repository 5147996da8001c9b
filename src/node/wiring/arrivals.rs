//! Where each thing goes that comes from the network: frames, their fates, connections.

use super::{Actors, TAG_BITS, TO_COORDINATOR, TO_DOWNLOADS, TO_UPLOADS, delivery::counted};
use crate::node::hub::HubIn;
use pangea_chunks::api as chunks;
use pangea_compute::api::{coordinator, worker};
use pangea_kernel::{Port, Rejected, planted};
use pangea_peers::api as peers;
use pangea_protocols::{
    PeerId, net,
    wire::{Frame, Message, fetch::Fetch, have::Have, store::Store},
};
use pangea_transfer::api::{download, upload};

impl Actors {
    pub(super) fn on_network(&self, hub: &Port<HubIn>, event: net::Event) -> Result<(), Rejected<net::Event>> {
        use net::Event as E;
        match &event {
            E::Sent { .. } | E::SendFailed { .. } => return self.on_sent(event),
            E::Providers { .. } if planted!("providers-not-passed") => return Ok(()),
            E::Providers { query, providers, done } => {
                let (query, providers, done) = (*query, providers.clone(), *done);
                return hand_back(self.downloads.send(download::In::Providers { query, providers, done }), event);
            }
            E::Connected { peer, .. } => {
                self.extensions.on_presence(*peer, true);
                counted("downloads", self.downloads.send(download::In::Connected { peer: *peer }));
            }
            E::Disconnected { peer, .. } => {
                self.extensions.on_presence(*peer, false);
                if !planted!("disconnected-not-passed") {
                    counted("uploads", self.uploads.send(upload::In::Disconnected { peer: *peer }));
                }
                counted("downloads", self.downloads.send(download::In::Disconnected { peer: *peer }));
                counted("chunks", self.chunks.send(chunks::In::Disconnected { peer: *peer }));
                counted("coordinator", self.coordinator.send(coordinator::In::Disconnected { peer: *peer }));
                counted("worker", self.worker.send(worker::In::Disconnected { peer: *peer }));
            }
            E::DialFailed { peer, .. } => {
                counted("downloads", self.downloads.send(download::In::DialFailed { peer: *peer }));
            }
            E::Listening { address } => counted("hub", hub.send(HubIn::Listening { address: address.clone() })),
            E::NotListening { address } => counted("hub", hub.send(HubIn::NotListening { address: address.clone() })),
            E::Received { .. } | E::Garbage { .. } | E::Discovered { .. } | E::Rtt { .. } => {}
        }
        hand_back(self.peers.send(peers::In::Net(event.clone())), event)
    }

    /// The fate of a frame goes to the actor that sent it.
    pub(super) fn on_sent(&self, event: net::Event) -> Result<(), Rejected<net::Event>> {
        let (peer, tag, failed) = match &event {
            net::Event::Sent { peer, tag } => (*peer, *tag, None),
            net::Event::SendFailed { peer, tag, error } => (*peer, *tag, Some(*error)),
            _ => return Ok(()),
        };
        let (sender, tag) = (tag & ((1 << TAG_BITS) - 1), tag >> TAG_BITS);
        match (sender, failed) {
            (TO_UPLOADS, None) => hand_back(self.uploads.send(upload::In::Sent { peer, tag }), event),
            (TO_UPLOADS, Some(_)) if planted!("send-failed-swallowed") => Ok(()),
            (TO_UPLOADS, Some(error)) => {
                hand_back(self.uploads.send(upload::In::SendFailed { peer, tag, error }), event)
            }
            (TO_DOWNLOADS, None) => hand_back(self.downloads.send(download::In::Sent { peer, tag }), event),
            (TO_DOWNLOADS, Some(error)) => {
                hand_back(self.downloads.send(download::In::SendFailed { peer, tag, error }), event)
            }
            (TO_COORDINATOR, Some(error)) => {
                hand_back(self.coordinator.send(coordinator::In::SendFailed { peer, tag, error }), event)
            }
            _ => Ok(()),
        }
    }

    /// Frames go to whoever plays that side of the protocol.
    pub(super) fn on_frame(&self, event: net::Event) -> Result<(), Rejected<net::Event>> {
        let net::Event::Received { peer, frame } = event else { return Ok(()) };
        match &frame.message {
            Message::Store(Store::Reserve { .. } | Store::Put { .. } | Store::Release { .. } | Store::Drop { .. })
            | Message::Fetch(Fetch::Get { .. } | Fetch::Cancel { .. })
            | Message::Have(Have::Want { .. }) => self.frame_to_chunks(peer, frame),
            Message::Store(Store::Reserved { .. } | Store::Stored { .. } | Store::NotStored { .. }) => {
                self.frame_to_uploads(peer, frame)
            }
            // A refusal answers the uploader's `Reserve` or the downloader's `Drop`: each knows its own numbers.
            Message::Store(Store::Refused { .. }) => {
                counted("downloads", self.downloads.send(download::In::Received { peer, frame: frame.clone() }));
                self.frame_to_uploads(peer, frame)
            }
            Message::Store(Store::Dropped { .. })
            | Message::Fetch(Fetch::Found { .. } | Fetch::Missing { .. })
            | Message::Have(Have::Have { .. }) => {
                deliver(&self.downloads, download::In::Received { peer, frame }, |m| {
                    let download::In::Received { peer, frame } = m else { return None };
                    Some((peer, frame))
                })
            }
            Message::Pex(_) => deliver(&self.peers, peers::In::Pex { peer, frame }, |m| {
                let peers::In::Pex { peer, frame } = m else { return None };
                Some((peer, frame))
            }),
            Message::Compute(message) if message.is_for_worker() => {
                deliver(&self.worker, worker::In::Received { peer, frame }, |m| {
                    let worker::In::Received { peer, frame } = m else { return None };
                    Some((peer, frame))
                })
            }
            Message::Compute(_) => deliver(&self.coordinator, coordinator::In::Received { peer, frame }, |m| {
                let coordinator::In::Received { peer, frame } = m else { return None };
                Some((peer, frame))
            }),
            Message::Extension(_) => {
                self.extensions.on_frame(peer, frame);
                Ok(())
            }
        }
    }

    fn frame_to_chunks(&self, peer: PeerId, frame: Frame) -> Result<(), Rejected<net::Event>> {
        deliver(&self.chunks, chunks::In::Received { peer, frame }, |m| {
            let chunks::In::Received { peer, frame } = m else { return None };
            Some((peer, frame))
        })
    }

    fn frame_to_uploads(&self, peer: PeerId, frame: Frame) -> Result<(), Rejected<net::Event>> {
        deliver(&self.uploads, upload::In::Received { peer, frame }, |m| {
            let upload::In::Received { peer, frame } = m else { return None };
            Some((peer, frame))
        })
    }
}

/// Sends a message that carries a frame; `frame_of` takes the frame out of it again if it is not taken.
fn deliver<M>(
    port: &Port<M>,
    message: M,
    frame_of: impl FnOnce(M) -> Option<(PeerId, Frame)>,
) -> Result<(), Rejected<net::Event>> {
    let Err(rejected) = port.send(message) else { return Ok(()) };
    let full = matches!(rejected, Rejected::Full(_));
    // A port hands back what it was given, so there is a frame.
    let Some((peer, frame)) = frame_of(rejected.into_inner()) else { return Ok(()) };
    let event = net::Event::Received { peer, frame };
    Err(if full { Rejected::Full(event) } else { Rejected::Closed(event) })
}

fn hand_back<M>(sent: Result<(), Rejected<M>>, event: net::Event) -> Result<(), Rejected<net::Event>> {
    sent.map_err(|rejected| rewrap(&rejected, event))
}

fn rewrap<M>(rejected: &Rejected<M>, event: net::Event) -> Rejected<net::Event> {
    match rejected {
        Rejected::Full(_) => Rejected::Full(event),
        Rejected::Closed(_) => Rejected::Closed(event),
    }
}
