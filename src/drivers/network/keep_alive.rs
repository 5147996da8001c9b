//! Keeps a connection open while unidirectional streams or datagrams use it, and lets it go afterwards.
//!
//! The swarm sees bidirectional streams only; without this behaviour it would close a busy connection at its idle
//! timeout. It speaks no protocol. The uses are counted in `registry.rs`.

use super::{
    address,
    registry::{Activity, Registry},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse, upgrade::DeniedUpgrade},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, THandlerInEvent, THandlerOutEvent, ToSwarm, handler::ConnectionEvent,
    },
};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

/// Makes a handler for every connection.
pub struct KeepAlive {
    registry: Arc<Registry>,
}

impl KeepAlive {
    /// For the connections of `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    fn handler(&self, peer: &PeerId) -> Result<Handler, ConnectionDenied> {
        let peer = address::from_libp2p(peer).ok_or_else(|| ConnectionDenied::new("not an Ed25519 identity"))?;
        let activity = self.registry.activity(peer);
        Ok(Handler { watch: activity.watch(), activity })
    }
}

impl NetworkBehaviour for KeepAlive {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(&peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(&peer)
    }

    fn on_swarm_event(&mut self, _event: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Answers the swarm's question whether a connection is needed.
pub struct Handler {
    activity: Arc<Activity>,
    watch: usize,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.activity.unwatch(self.watch);
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.activity.holds(self.watch)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        self.activity.register(self.watch, cx.waker());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, _event: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade>) {}
}
