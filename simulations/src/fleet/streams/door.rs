//! [`Door`]: a bound endpoint, where connections are offered.

use super::ends;
use crate::record::NodeId;
use pangea::drivers::network::Closed;
use pangea_protocols::{PeerId, time::Time};
use std::{
    collections::VecDeque,
    net::{SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};
use tokio::sync::oneshot;

/// Connections that are offered and not yet looked at; further ones are turned away.
const OFFERS_MAX: usize = 1024;

/// A bound endpoint.
pub(super) struct Door {
    pub(super) node: NodeId,
    pub(super) peer: PeerId,
    pub(super) port: u16,
    pub(super) local: SocketAddr,
    pub(super) state: Mutex<Hall>,
}

#[derive(Default)]
pub(super) struct Hall {
    pub(super) listening: bool,
    pub(super) closed: bool,
    pub(super) offers: VecDeque<Offer>,
    pub(super) acceptor: Option<Waker>,
}

/// Somebody has dialled.
pub(super) struct Offer {
    pub(super) dialler: Arc<Door>,
    /// As the door sees the dialler.
    pub(super) from: SocketAddrV4,
    /// As the dialler sees the door.
    pub(super) to: SocketAddrV4,
    pub(super) begun: Time,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) type Answer = Result<ends::Handle, Closed>;

impl Door {
    pub(super) fn offer(&self, offer: Offer) {
        let mut hall = self.hall();
        if !hall.listening || hall.closed || hall.offers.len() >= OFFERS_MAX {
            drop(hall);
            return drop(offer);
        }
        hall.offers.push_back(offer);
        drop(hall);
        self.wake();
    }

    pub(super) fn wake(&self) {
        let waker = self.hall().acceptor.take();
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn close(&self) {
        let mut hall = self.hall();
        hall.closed = true;
        let offers = std::mem::take(&mut hall.offers);
        drop(hall);
        drop(offers);
        self.wake();
    }

    pub(super) fn hall(&self) -> MutexGuard<'_, Hall> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
