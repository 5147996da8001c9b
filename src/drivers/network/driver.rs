//! The task that owns the swarm, serves commands and orders everything the actors hear.
//!
//! | what | where |
//! |---|---|
//! | commands, connections, frames that end | here |
//! | dialling | `dialing.rs` |
//! | the DHT, identify, ping, mDNS | `discovery.rs` |
//!
//! **Invariant.** `Connected` goes out before the first stream of a peer is read, `Disconnected` after the last one
//! was delivered; both once per peer, however many connections there are.

use super::{
    address,
    addresses::AddressBook,
    behaviour::{Behaviour, BehaviourEvent},
    codes,
    config::NetworkConfig,
    connection::{Closed, Endpoint},
    dialing::Dials,
    discovery::Discovery,
    inbound::Inbound,
    lanes::Ended,
    metrics::Counters,
    outbound::{Outbound, Report},
    outbox::{Outbox, RETRY_MIN},
    registry::{Change, Link, Registry},
};
use futures::StreamExt;
use libp2p::{Swarm, swarm::SwarmEvent};
use pangea_protocols::{
    PeerId,
    net::{Class, Command, Event, SendError},
    wire::Frame,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

/// Two connections this close to each other come from a simultaneous dial.
const SIMULTANEOUS: Duration = Duration::from_secs(10);
/// A superfluous connection is closed this long after the other side must know of its replacement.
const RETIRE_AFTER: Duration = Duration::from_millis(500);
/// How often an older connection is looked at for a sign of life.
const ALIVE_POLL: Duration = Duration::from_millis(50);
/// How long a shutdown may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// What the driver is made of; see [`super::start`].
pub(super) struct Parts {
    pub local: PeerId,
    pub config: NetworkConfig,
    pub swarm: Swarm<Behaviour>,
    pub endpoints: Vec<Arc<dyn Endpoint>>,
    pub registry: Arc<Registry>,
    pub counters: Arc<Counters>,
    pub outbox: Outbox,
    pub outbound: Arc<Outbound>,
    pub reports: mpsc::UnboundedReceiver<Report>,
    pub commands: mpsc::Receiver<Command>,
    pub changes: mpsc::UnboundedReceiver<Change>,
    pub shutdown: mpsc::Receiver<oneshot::Sender<()>>,
}

/// The network driver.
pub(super) struct Driver {
    local: PeerId,
    pub(super) config: NetworkConfig,
    pub(super) swarm: Swarm<Behaviour>,
    endpoints: Vec<Arc<dyn Endpoint>>,
    registry: Arc<Registry>,
    pub(super) counters: Arc<Counters>,
    pub(super) outbox: Outbox,
    inbound: Arc<Inbound>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) book: AddressBook,
    pub(super) dials: Dials,
    pub(super) discovery: Discovery,
    /// The `pangea/1` connections of every peer the actors know as connected.
    links: BTreeMap<PeerId, Vec<Arc<Link>>>,
    commands: mpsc::Receiver<Command>,
    changes: mpsc::UnboundedReceiver<Change>,
    reports: mpsc::UnboundedReceiver<Report>,
    shutdown: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let limits = parts.config.limits.clone();
        let inbound = Inbound::new(
            parts.outbox.deliveries(),
            limits.clone(),
            Arc::clone(&parts.counters),
            Arc::clone(&parts.registry),
        );
        Self {
            local: parts.local,
            discovery: Discovery::new(&parts.config),
            config: parts.config,
            swarm: parts.swarm,
            endpoints: parts.endpoints,
            registry: parts.registry,
            counters: parts.counters,
            outbox: parts.outbox,
            inbound: Arc::new(inbound),
            outbound: parts.outbound,
            book: AddressBook::new(limits.remembered_peers_max),
            dials: Dials::default(),
            links: BTreeMap::new(),
            commands: parts.commands,
            changes: parts.changes,
            reports: parts.reports,
            shutdown: parts.shutdown,
        }
    }

    /// Runs until it is asked to stop, or nobody can send commands any more.
    pub(super) async fn run(mut self) {
        for address in self.config.external.clone() {
            self.outbox.push(Event::Listening { address });
        }
        self.fill_routing_table();
        loop {
            if !self.config.walks {
                self.end_walks();
            }
            let open = !self.outbox.is_full();
            let announce_at = self.discovery.next_announcement();
            tokio::select! {
                asked = self.shutdown.recv() => return self.on_shutdown(asked).await,
                report = self.reports.recv() => if let Some(report) = report { self.on_report(report) },
                change = self.changes.recv(), if open => if let Some(change) = change { self.on_change(change) },
                command = self.commands.recv(), if open => match command {
                    Some(command) => self.on_command(command),
                    None => return self.on_shutdown(None).await,
                },
                event = self.swarm.select_next_some(), if open => self.on_swarm_event(event),
                () = sleep(RETRY_MIN), if self.outbox.is_blocked() => { self.outbox.flush(); }
                () = sleep_until(announce_at), if open && announce_at.is_some() => self.on_announcement_due(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { peer, addresses } => self.on_dial(peer, addresses),
            Command::Hangup { peer } => self.on_hangup(peer),
            Command::Send { peer, tag, class, frame } => self.on_send(peer, tag, class, frame),
            Command::CancelSend { peer, tag } => {
                let ended = self.outbound.cancel(peer, tag);
                self.report_ended(peer, ended);
            }
            Command::Provide { cid } => self.on_provide(cid),
            Command::Unprovide { cid } => self.on_unprovide(cid),
            Command::FindProviders { query, cid } => self.on_find_providers(query, cid),
            Command::WhoIsConnected => self.on_who_is_connected(),
            Command::Learn { peer, addresses } => {
                let addresses = addresses.iter().filter_map(address::from_address);
                let addresses = address::believable(addresses, self.discovery.believes_loopback());
                self.book.learn(peer, addresses);
            }
        }
    }

    fn on_send(&mut self, peer: PeerId, tag: u64, class: Class, frame: Frame) {
        if peer == self.local {
            return self.outbox.push(Event::SendFailed { peer, tag, error: SendError::Unreachable });
        }
        if let Err(error) = self.outbound.push(peer, tag, class, frame) {
            self.counters.frames_failed.add(1);
            if error == SendError::QueueFull {
                self.counters.frames_queue_full.add(1);
            }
            return self.outbox.push(Event::SendFailed { peer, tag, error });
        }
        self.pump(peer);
    }

    /// Gives waiting frames to the connection to their peer, or sees to one.
    fn pump(&mut self, peer: PeerId) {
        if self.outbound.pump(peer) {
            return;
        }
        if self.is_stock(peer) {
            self.fail_waiting(peer, SendError::NotPangea);
        } else {
            self.dial_for_frames(peer);
        }
    }

    fn on_who_is_connected(&mut self) {
        for link in self.links.values().filter_map(|links| links.first()) {
            if let Some(address) = address::to_address(&address::to_multiaddr(link.remote)) {
                self.outbox.push(Event::Connected { peer: link.peer, address, inbound: link.inbound });
            }
        }
    }

    fn on_hangup(&mut self, peer: PeerId) {
        self.give_up_dial(peer);
        self.fail_waiting(peer, SendError::ConnectionLost);
        if let Some(peer) = address::to_libp2p(peer) {
            // An error means that there is no connection.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Untold(event) => self.outbox.push(event),
            Report::Stranded { peer } => self.pump(peer),
            Report::Ended { peer, id, link, outcome } => {
                let other = self.registry.link(peer).filter(|other| other.id != link.id);
                // A frame that was under way on a superfluous connection takes the one that stays. The peer may have
                // received it before: a frame is sent at least once in this case, exactly once in all others.
                let retry = other.is_some() && was_duplicate(&link);
                let ended = self.outbound.on_ended(peer, id, outcome, retry);
                self.report_ended(peer, ended);
                self.pump(peer);
            }
        }
    }

    pub(super) fn report_ended(&mut self, peer: PeerId, ended: impl IntoIterator<Item = Ended>) {
        for Ended { tag, bytes, outcome } in ended {
            match outcome {
                Ok(()) => {
                    self.counters.frames_sent.add(1);
                    self.counters.bytes_sent.add(bytes);
                    self.outbox.push(Event::Sent { peer, tag });
                }
                Err(error) => {
                    self.counters.frames_failed.add(1);
                    self.outbox.push(Event::SendFailed { peer, tag, error });
                }
            }
        }
    }

    pub(super) fn fail_waiting(&mut self, peer: PeerId, error: SendError) {
        let ended = self.outbound.fail(peer, error);
        self.report_ended(peer, ended);
    }

    /// Connected, but only with a peer that does not speak `pangea/1`.
    pub(super) fn is_stock(&self, peer: PeerId) -> bool {
        !self.is_connected(peer) && self.registry.links().iter().any(|link| link.peer == peer && !link.pangea)
    }

    pub(super) fn is_connected(&self, peer: PeerId) -> bool {
        self.links.contains_key(&peer)
    }

    /// The address of a connection to the peer.
    pub(super) fn remote_of(&self, peer: PeerId) -> Option<std::net::SocketAddr> {
        self.registry.links().iter().find(|link| link.peer == peer).map(|link| link.remote)
    }

    fn on_change(&mut self, change: Change) {
        match change {
            Change::Up(link) => self.on_link_up(link),
            Change::Down(link, reason) => self.on_link_down(&link, &reason),
        }
    }

    fn on_link_up(&mut self, link: Arc<Link>) {
        let peer = link.peer;
        tracing::debug!(%peer, remote = %link.remote, inbound = link.inbound, pangea = link.pangea, "connected");
        if !link.pangea {
            tokio::spawn(Arc::clone(&self.inbound).serve(link));
            return self.on_stock_peer(peer);
        }
        self.dial_succeeded(peer);
        let links = self.links.entry(peer).or_default();
        links.push(Arc::clone(&link));
        if links.len() > 1 {
            self.merge(peer);
        } else if let Some(address) = address::to_address(&address::to_multiaddr(link.remote)) {
            self.outbox.push(Event::Connected { peer, address, inbound: link.inbound });
        }
        tokio::spawn(Arc::clone(&self.inbound).serve(link));
        self.outbound.pump(peer);
    }

    fn on_link_down(&mut self, link: &Arc<Link>, reason: &Closed) {
        let peer = link.peer;
        tracing::debug!(%peer, %reason, "disconnected");
        let Some(links) = self.links.get_mut(&peer) else { return };
        links.retain(|other| other.id != link.id);
        if let Some(last) = links.last() {
            if links.iter().all(|link| link.is_retiring()) {
                last.set_retiring(false);
            }
            self.outbound.pump(peer);
            return;
        }
        if link.pangea && self.links.remove(&peer).is_some() {
            let dismissed = codes::is_dismissal(reason);
            self.outbox.push(Event::Disconnected { peer, reason: reason.to_string(), dismissed });
            self.fail_waiting(peer, SendError::ConnectionLost);
        }
    }

    /// Leaves one connection to a peer. After a simultaneous dial both sides keep the one that the smaller peer id
    /// dialled; otherwise the newest stays, because whoever dials again believes the old one dead. Of two that the
    /// same side dialled, only that side closes one, so that both cannot close different ones.
    fn merge(&mut self, peer: PeerId) {
        let Some(links) = self.links.get(&peer) else { return };
        let Some(stays) = links.iter().reduce(|one, other| self.better(one, other)).cloned() else { return };
        stays.set_retiring(false);
        let superfluous = links.iter().filter(|link| link.id != stays.id && !link.is_retiring());
        for link in superfluous.filter(|link| link.inbound != stays.inbound || !link.inbound) {
            self.counters.connections_merged.add(1);
            tokio::spawn(retire(Arc::clone(link), Arc::clone(&stays)));
        }
    }

    fn better<'a>(&self, older: &'a Arc<Link>, newer: &'a Arc<Link>) -> &'a Arc<Link> {
        let crossed = older.inbound != newer.inbound && newer.since.duration_since(older.since) < SIMULTANEOUS;
        let dialled_by_smaller = |link: &Link| link.inbound == (link.peer < self.local);
        if crossed && dialled_by_smaller(older) { older } else { newer }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(address) = address::to_address(&address) {
                    self.outbox.push(Event::Listening { address });
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Some(address) = address::to_address(&address) {
                    self.outbox.push(Event::NotListening { address });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id: Some(peer), error } => {
                self.on_dial_error(&peer, connection_id, &error);
            }
            // Closed before it was taken on: the attempt is over, and nobody else says so.
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.on_dial_error(&peer_id, connection_id, &libp2p::swarm::DialError::Aborted);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener failed"),
            _ => {}
        }
    }

    /// Says goodbye to everybody, and answers when that is done or has taken too long.
    async fn on_shutdown(mut self, done: Option<oneshot::Sender<()>>) {
        self.outbound.close();
        for link in self.registry.links() {
            link.connection.close(codes::SHUTDOWN);
        }
        for peer in self.outbound.peers() {
            self.fail_waiting(peer, SendError::ConnectionLost);
        }
        for endpoint in &self.endpoints {
            endpoint.close(codes::SHUTDOWN);
        }
        let endpoints = std::mem::take(&mut self.endpoints);
        let farewell = async {
            futures::future::join_all(endpoints.iter().map(|endpoint| endpoint.idle())).await;
            // Flying frames end with their connections; the actors hear of each.
            while !self.outbound.peers().is_empty() {
                let Some(report) = self.reports.recv().await else { break };
                self.on_report(report);
            }
            while !self.links.is_empty() {
                let Some(change) = self.changes.recv().await else { break };
                self.on_change(change);
            }
            while !self.outbox.flush() {
                sleep(RETRY_MIN).await;
            }
        };
        if timeout(SHUTDOWN_MAX, farewell).await.is_err() {
            tracing::warn!("the network was stopped before everything had ended");
        }
        drop(self);
        if let Some(done) = done {
            // Fails only if nobody waits for the answer.
            let _ = done.send(());
        }
    }
}

/// Closes a superfluous connection once nobody uses it and the other side must have seen its replacement.
///
/// An older connection must prove first that it is alive: a peer that crashed and dialled again soon looks like one
/// that dialled at the same time, and its old connection says nothing more. Keep-alives make a living one talk.
async fn retire(link: Arc<Link>, stays: Arc<Link>) {
    let heard = stays.connection.heard();
    while stays.id < link.id && stays.connection.heard() == heard {
        if stays.connection.why_closed().is_some() || link.connection.why_closed().is_some() {
            return;
        }
        sleep(ALIVE_POLL).await;
    }
    if stays.is_retiring() {
        return;
    }
    link.set_retiring(true);
    sleep(RETIRE_AFTER.max(link.connection.rtt() * 4)).await;
    link.unused().await;
    if link.is_retiring() {
        link.connection.close(codes::DUPLICATE);
    }
}

/// The connection was closed because another one stays.
fn was_duplicate(link: &Link) -> bool {
    link.connection.why_closed().is_some_and(|reason| codes::is_duplicate(&reason, link.is_retiring()))
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
