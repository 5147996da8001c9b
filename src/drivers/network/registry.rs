//! Which connections exist: a seat for every handshake and connection (limits), a link for every connection that the
//! swarm has taken on, and whether anybody uses it (keep-alive).
//!
//! Not the swarm's own list: unidirectional streams and datagrams do not pass through the swarm, so whoever moves
//! them finds the connection here.

use super::{
    config::Limits,
    connection::{Closed, Connection},
    flights::Flights,
    metrics::Counters,
};
use pangea_protocols::PeerId;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

/// All connections of a node.
pub struct Registry {
    limits: Limits,
    counters: Arc<Counters>,
    state: Mutex<State>,
    changes: mpsc::UnboundedSender<Change>,
}

#[derive(Default)]
struct State {
    /// Of every peer, oldest first.
    links: BTreeMap<PeerId, Vec<Arc<Link>>>,
    next_link: u64,
    activities: BTreeMap<PeerId, Arc<Activity>>,
    seats: usize,
    seats_by_group: BTreeMap<IpGroup, usize>,
    handshakes: usize,
}

/// A connection came or went. At most two for each connection, so their number is bounded by the limit on those.
pub enum Change {
    /// The swarm has taken a connection on.
    Up(Arc<Link>),
    /// It is closed, and nothing that came over it is still being read.
    Down(Arc<Link>, Closed),
}

/// What to do with an incoming connection.
pub enum Admission {
    /// Go on.
    Accept(Seat),
    /// Ask it to prove its address first.
    Retry,
    /// A limit is reached.
    Refuse,
}

impl Registry {
    /// An empty registry, and where it tells of changes.
    pub fn new(limits: Limits, counters: Arc<Counters>) -> (Arc<Self>, mpsc::UnboundedReceiver<Change>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { limits, counters, state: Mutex::default(), changes }), receiver)
    }

    /// Decides about an incoming connection before any cryptography; `validated` if it has proven its address.
    pub fn admit(self: &Arc<Self>, ip: IpAddr, validated: bool) -> Admission {
        let mut state = self.state();
        let group = IpGroup::of(ip);
        let of_group = group.and_then(|group| state.seats_by_group.get(&group)).copied().unwrap_or(0);
        let full = state.seats >= self.limits.connections_max
            || of_group >= self.limits.connections_per_ip_max
            || state.handshakes >= self.limits.handshakes_max;
        if full {
            self.counters.connections_refused.add(1);
            return Admission::Refuse;
        }
        if state.handshakes >= self.limits.handshakes_retry_from && !validated {
            self.counters.connections_retried.add(1);
            return Admission::Retry;
        }
        state.handshakes += 1;
        Admission::Accept(self.seat(state, group, true))
    }

    /// A seat for an outgoing connection; `None` if all are taken.
    pub fn seat_for_dial(self: &Arc<Self>) -> Option<Seat> {
        let state = self.state();
        (state.seats < self.limits.connections_max).then(|| self.seat(state, None, false))
    }

    fn seat(self: &Arc<Self>, mut state: MutexGuard<'_, State>, group: Option<IpGroup>, handshake: bool) -> Seat {
        state.seats += 1;
        if let Some(group) = group {
            *state.seats_by_group.entry(group).or_default() += 1;
        }
        Seat { registry: Arc::clone(self), group, handshake: AtomicBool::new(handshake) }
    }

    /// Enters a connection that the swarm has taken on and tells the driver.
    pub fn adopt(&self, established: Established) {
        let mut state = self.state();
        let id = state.next_link;
        state.next_link += 1;
        let link = Arc::new(Link {
            id,
            peer: established.peer,
            remote: established.connection.remote_address(),
            inbound: established.connection.is_inbound(),
            pangea: established.connection.speaks_pangea(),
            since: Instant::now(),
            activity: Arc::clone(state.activities.entry(established.peer).or_default()),
            connection: established.connection,
            uses: AtomicUsize::new(0),
            quiet: Notify::new(),
            retiring: AtomicBool::new(false),
            datagrams_taken: AtomicBool::new(false),
            flights: Arc::default(),
            _seat: established.seat,
        });
        state.links.entry(link.peer).or_default().push(Arc::clone(&link));
        self.counters.connections.add(1);
        self.counters.connections_opened.add(1);
        // Fails only while the node shuts down.
        let _ = self.changes.send(Change::Up(link));
    }

    /// Tells the driver that a connection is over.
    pub fn closed(&self, link: Arc<Link>, reason: Closed) {
        if self.state().remove(&link) {
            self.counters.connections.sub(1);
        }
        let _ = self.changes.send(Change::Down(link, reason));
    }

    /// The `pangea/1` connection that new streams to a peer go over: the newest that stays. A peer that crashed and
    /// dials again leaves a connection behind that looks alive until its silence has lasted long enough.
    pub fn link(&self, peer: PeerId) -> Option<Arc<Link>> {
        let state = self.state();
        let links = || state.links.get(&peer).into_iter().flatten().rev().filter(|link| link.pangea);
        links().find(|link| !link.is_retiring()).or_else(|| links().next()).cloned()
    }

    /// All connections.
    pub fn links(&self) -> Vec<Arc<Link>> {
        self.state().links.values().flatten().cloned().collect()
    }

    /// The shared keep-alive of all connections to a peer.
    pub fn activity(&self, peer: PeerId) -> Arc<Activity> {
        Arc::clone(self.state().activities.entry(peer).or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that panics runs under this lock; a poisoned one still holds consistent counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// False if it was not there.
    fn remove(&mut self, link: &Link) -> bool {
        let Some(links) = self.links.get_mut(&link.peer) else { return false };
        let before = links.len();
        links.retain(|other| other.id != link.id);
        let removed = links.len() < before;
        if links.is_empty() {
            self.links.remove(&link.peer);
        }
        removed
    }
}

/// One address, as far as limits go: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct IpGroup([u8; 9]);

impl IpGroup {
    /// `None` for loopback, which is exempt.
    fn of(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        let mut group = [0; 9];
        match ip {
            _ if ip.is_loopback() => return None,
            IpAddr::V4(ip) => group[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => {
                group[0] = 6;
                group[1..].copy_from_slice(&ip.octets()[..8]);
            }
        }
        Some(Self(group))
    }
}

/// Counts one handshake or connection against the limits until dropped.
pub struct Seat {
    registry: Arc<Registry>,
    group: Option<IpGroup>,
    handshake: AtomicBool,
}

impl Seat {
    /// The handshake is over; the connection keeps its seat.
    pub fn handshake_done(&self) {
        if self.handshake.swap(false, Ordering::Relaxed) {
            self.registry.state().handshakes -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.handshake_done();
        let mut state = self.registry.state();
        state.seats -= 1;
        if let Some(group) = self.group
            && let Some(count) = state.seats_by_group.get_mut(&group)
        {
            *count -= 1;
            if *count == 0 {
                state.seats_by_group.remove(&group);
            }
        }
        // Activities are made per peer and forgotten with its last connection.
        state.activities.retain(|_, activity| Arc::strong_count(activity) > 1);
    }
}

/// A connection whose handshake is done and that the swarm has not yet taken on.
pub struct Established {
    /// Who.
    pub peer: PeerId,
    /// The connection.
    pub connection: Arc<dyn Connection>,
    /// Its place under the limits.
    pub seat: Seat,
}

/// A connection that the swarm has taken on.
pub struct Link {
    /// Names the connection within this node.
    pub id: u64,
    /// Who.
    pub peer: PeerId,
    /// Where, at the beginning.
    pub remote: SocketAddr,
    /// The peer dialled.
    pub inbound: bool,
    /// Negotiated `pangea/1`: unidirectional streams and datagrams may be used.
    pub pangea: bool,
    /// When the swarm took it on.
    pub since: Instant,
    /// The connection.
    pub connection: Arc<dyn Connection>,
    activity: Arc<Activity>,
    uses: AtomicUsize,
    quiet: Notify,
    retiring: AtomicBool,
    datagrams_taken: AtomicBool,
    /// Frames on their way over it.
    pub(super) flights: Arc<Flights>,
    _seat: Seat,
}

impl Link {
    /// Holds the connection open until dropped.
    pub fn hold(self: &Arc<Self>) -> Use {
        self.uses.fetch_add(1, Ordering::AcqRel);
        self.activity.begin();
        Use(Arc::clone(self))
    }

    /// Waits until no stream or datagram port uses the connection.
    pub async fn unused(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.uses.load(Ordering::Acquire) == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// New streams avoid the connection: another one to the same peer stays.
    pub fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Acquire)
    }

    pub(super) fn set_retiring(&self, retiring: bool) {
        self.retiring.store(retiring, Ordering::Release);
    }

    /// Claims the datagrams of the connection; false if they are claimed.
    pub(super) fn take_datagrams(&self) -> bool {
        !self.datagrams_taken.swap(true, Ordering::AcqRel)
    }

    pub(super) fn return_datagrams(&self) {
        self.datagrams_taken.store(false, Ordering::Release);
    }
}

/// Somebody uses a link.
pub struct Use(Arc<Link>);

impl Drop for Use {
    fn drop(&mut self) {
        if self.0.uses.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
        self.0.activity.end();
    }
}

/// Whether a peer's connections are in use, for the swarm's idle timer.
#[derive(Default)]
pub struct Activity {
    uses: AtomicUsize,
    wakers: Mutex<BTreeMap<usize, Watch>>,
    next_watch: AtomicUsize,
}

/// What one connection's task has seen of the activity.
#[derive(Default)]
struct Watch {
    waker: Option<Waker>,
    /// There was use since the task looked.
    touched: bool,
    /// The task looked and saw use: it has no timer running and must be woken.
    held: bool,
}

impl Activity {
    /// A place for the task of one connection.
    pub fn watch(&self) -> usize {
        let id = self.next_watch.fetch_add(1, Ordering::Relaxed);
        self.watches().insert(id, Watch::default());
        id
    }

    /// The task of the connection is over.
    pub fn unwatch(&self, id: usize) {
        self.watches().remove(&id);
    }

    /// Remembers how to wake the task.
    pub fn register(&self, id: usize, waker: &Waker) {
        let mut watches = self.watches();
        let watch = watches.entry(id).or_default();
        if !watch.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            watch.waker = Some(waker.clone());
        }
    }

    /// Whether the connection must stay. True once more after the last use, so that the idle time counts from there.
    pub fn holds(&self, id: usize) -> bool {
        let mut watches = self.watches();
        let watch = watches.entry(id).or_default();
        if self.uses.load(Ordering::Acquire) > 0 {
            watch.held = true;
            return true;
        }
        watch.held = false;
        let touched = std::mem::take(&mut watch.touched);
        if touched && let Some(waker) = &watch.waker {
            // Looked at again at once, it answers no, and the idle timer starts anew.
            waker.wake_by_ref();
        }
        touched
    }

    fn begin(&self) {
        self.uses.fetch_add(1, Ordering::AcqRel);
    }

    fn end(&self) {
        if self.uses.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        for watch in self.watches().values_mut() {
            watch.touched = true;
            if watch.held
                && let Some(waker) = &watch.waker
            {
                waker.wake_by_ref();
            }
        }
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<usize, Watch>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
