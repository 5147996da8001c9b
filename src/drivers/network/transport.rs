//! The libp2p transport on our own endpoints.
//!
//! One endpoint per listening socket; the same sockets dial, so that routers see one port. What happens on a
//! connection afterwards is the muxer's and the streams' affair. Hole punching (a dial in the role of the listener)
//! is not offered: the node contains no DCUtR.

use super::{
    address,
    connection::{Carrier, Endpoint, Handshake, Incoming, LinkError},
    muxer::Muxer,
    registry::{Admission, Established, Registry, Seat},
};
use futures::{FutureExt, future::BoxFuture};
use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p::{
    Multiaddr,
    core::{
        Endpoint as Role,
        transport::{DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent},
    },
};
use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

impl From<LinkError> for TransportError<LinkError> {
    fn from(error: LinkError) -> Self {
        TransportError::Other(error)
    }
}

/// A handshake under way.
pub type Upgrade = BoxFuture<'static, Result<(libp2p::PeerId, Muxer), LinkError>>;
type Event = TransportEvent<Upgrade, LinkError>;

/// Listens and dials.
pub struct PangeaTransport {
    carrier: Arc<dyn Carrier>,
    registry: Arc<Registry>,
    handshake_timeout: Duration,
    /// Bound before the swarm exists, so that a taken port is an error of the start.
    bound: Vec<Arc<dyn Endpoint>>,
    listeners: Vec<Listener>,
    /// Client-only endpoints, IPv4 and IPv6, made when no listener can reach an address.
    dialers: [Option<Arc<dyn Endpoint>>; 2],
    events: VecDeque<Event>,
    waker: Option<Waker>,
}

/// One listening endpoint.
struct Listener {
    id: ListenerId,
    endpoint: Arc<dyn Endpoint>,
    local: SocketAddr,
    /// For a socket that listens everywhere: which addresses that means.
    interfaces: Option<IfWatcher>,
    accepting: BoxFuture<'static, Box<dyn Incoming>>,
}

impl PangeaTransport {
    /// A transport on endpoints that are already bound; each is used by the `listen_on` of its address.
    pub fn new(
        carrier: Arc<dyn Carrier>,
        registry: Arc<Registry>,
        handshake_timeout: Duration,
        bound: Vec<Arc<dyn Endpoint>>,
    ) -> Self {
        Self {
            carrier,
            registry,
            handshake_timeout,
            bound,
            listeners: Vec::new(),
            dialers: [None, None],
            events: VecDeque::new(),
            waker: None,
        }
    }

    fn endpoint_on(&mut self, address: SocketAddr) -> io::Result<Arc<dyn Endpoint>> {
        let known = self.bound.iter().position(|endpoint| endpoint.local_address().is_ok_and(|local| local == address));
        match known {
            Some(at) => Ok(self.bound.swap_remove(at)),
            None => self.carrier.bind(address, true),
        }
    }

    /// The listening socket that can reach `remote`, or a client-only one.
    fn endpoint_for(&mut self, remote: SocketAddr, port: PortUse) -> io::Result<Arc<dyn Endpoint>> {
        let reaches = |listener: &&Listener| {
            let local = listener.local.ip();
            let family = local.is_ipv4() == remote.is_ipv4() || local == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            family && (!local.is_loopback() || remote.ip().is_loopback())
        };
        if port == PortUse::Reuse
            && let Some(listener) = self.listeners.iter().find(reaches)
        {
            return Ok(Arc::clone(&listener.endpoint));
        }
        let any = match remote {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        if port == PortUse::New {
            return self.carrier.bind(any, false);
        }
        let slot = &mut self.dialers[usize::from(remote.is_ipv6())];
        if slot.is_none() {
            *slot = Some(self.carrier.bind(any, false)?);
        }
        slot.clone().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Decides about an incoming connection; `None` if it was turned away.
    fn on_incoming(&self, incoming: Box<dyn Incoming>, listener: ListenerId, local: SocketAddr) -> Option<Event> {
        let remote = incoming.remote_address();
        let seat = match self.registry.admit(remote.ip(), incoming.is_validated()) {
            Admission::Accept(seat) => seat,
            Admission::Retry => {
                incoming.retry();
                return None;
            }
            Admission::Refuse => {
                incoming.refuse();
                return None;
            }
        };
        let handshake = incoming.accept()?;
        Some(TransportEvent::Incoming {
            listener_id: listener,
            upgrade: upgrade(handshake, seat, Arc::clone(&self.registry), self.handshake_timeout),
            local_addr: address::to_multiaddr(local),
            send_back_addr: address::to_multiaddr(remote),
        })
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Transport for PangeaTransport {
    type Output = (libp2p::PeerId, Muxer);
    type Error = LinkError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<LinkError>> {
        let socket = address::to_socket(&address).ok_or(TransportError::MultiaddrNotSupported(address))?;
        let endpoint = self.endpoint_on(socket).map_err(LinkError::from)?;
        let local = endpoint.local_address().map_err(LinkError::from)?;
        let interfaces = if local.ip().is_unspecified() {
            Some(IfWatcher::new().map_err(LinkError::from)?)
        } else {
            self.events
                .push_back(TransportEvent::NewAddress { listener_id: id, listen_addr: address::to_multiaddr(local) });
            None
        };
        let accepting = accept(&endpoint);
        self.listeners.push(Listener { id, endpoint, local, interfaces, accepting });
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(at) = self.listeners.iter().position(|listener| listener.id == id) else { return false };
        // Connections of the endpoint live on; it only stops to accept.
        self.listeners.swap_remove(at).endpoint.stop_accepting();
        self.events.push_back(TransportEvent::ListenerClosed { listener_id: id, reason: Ok(()) });
        self.wake();
        true
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Upgrade, TransportError<LinkError>> {
        let remote = address::to_socket(&address).filter(|remote| remote.port() != 0 && !remote.ip().is_unspecified());
        let Some(remote) = remote.filter(|_| options.role == Role::Dialer) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let seat = self.registry.seat_for_dial().ok_or(LinkError::TooMany)?;
        let endpoint = self.endpoint_for(remote, options.port_use).map_err(LinkError::from)?;
        Ok(upgrade(endpoint.connect(remote), seat, Arc::clone(&self.registry), self.handshake_timeout))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let transport = &mut *self;
        if let Some(event) = transport.events.pop_front() {
            return Poll::Ready(event);
        }
        for at in 0..transport.listeners.len() {
            let listener = &mut transport.listeners[at];
            if let Some(event) = listener.poll_interfaces(cx) {
                return Poll::Ready(event);
            }
            while let Poll::Ready(incoming) = transport.listeners[at].accepting.poll_unpin(cx) {
                let listener = &mut transport.listeners[at];
                listener.accepting = accept(&listener.endpoint);
                let (id, local) = (listener.id, listener.local);
                if let Some(event) = transport.on_incoming(incoming, id, local) {
                    return Poll::Ready(event);
                }
            }
        }
        transport.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Listener {
    /// Addresses that came or went on a socket that listens everywhere.
    fn poll_interfaces(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        let (listener_id, local) = (self.id, self.local);
        let dual_stack = local.is_ipv6();
        while let Poll::Ready(event) = self.interfaces.as_mut()?.poll_if_event(cx) {
            let (up, ip) = match event {
                Ok(IfEvent::Up(net)) => (true, net.addr()),
                Ok(IfEvent::Down(net)) => (false, net.addr()),
                Err(error) => return Some(TransportEvent::ListenerError { listener_id, error: error.into() }),
            };
            let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            if link_local || !(dual_stack || ip.is_ipv4()) {
                continue;
            }
            let listen_addr = address::to_multiaddr(SocketAddr::new(ip, local.port()));
            return Some(match up {
                true => TransportEvent::NewAddress { listener_id, listen_addr },
                false => TransportEvent::AddressExpired { listener_id, listen_addr },
            });
        }
        None
    }
}

fn accept(endpoint: &Arc<dyn Endpoint>) -> BoxFuture<'static, Box<dyn Incoming>> {
    let accepting = endpoint.accept();
    async move {
        match accepting.await {
            Some(incoming) => incoming,
            // The endpoint is closed: nothing more will ever come, and asking again would spin.
            None => std::future::pending().await,
        }
    }
    .boxed()
}

fn upgrade(handshake: Handshake, seat: Seat, registry: Arc<Registry>, timeout: Duration) -> Upgrade {
    async move {
        let connection = tokio::time::timeout(timeout, handshake).await.map_err(|_| LinkError::Timeout(timeout))??;
        seat.handshake_done();
        let peer = connection.peer().ok_or(LinkError::Identity)?;
        let identity = address::to_libp2p(peer).ok_or(LinkError::Identity)?;
        Ok((identity, Muxer::new(Established { peer, connection, seat }, registry)))
    }
    .boxed()
}
