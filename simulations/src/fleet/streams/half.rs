//! [`Half`]: one side of a line, its streams, and what it hears. Not here: how anything gets to the other half (`line`).

use bytes::Bytes;
use pangea::drivers::network::Closed;
use pangea_protocols::time::Time;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    task::{Context, Waker},
};

/// Bytes of datagrams that wait to be read; beyond it the oldest are dropped.
const DATAGRAMS_BYTES_MAX: usize = 4 << 20;

/// Names a stream on its line: what kind it is, who opened it, and which of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    pub(super) kind: Kind,
    pub(super) opener: u8,
    pub(super) number: u64,
}

/// Whether both sides write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Only the opener.
    Uni,
    /// Both.
    Bi,
}

/// What one half says to the other.
pub(super) enum Message {
    /// Bytes of a stream, which begins with its first.
    Bytes(StreamId, Bytes),
    /// The end of a stream.
    Fin(StreamId),
    /// All of a unidirectional stream has arrived.
    Delivered(StreamId),
    /// The writer gives up.
    Reset(StreamId),
    /// The reader gives up.
    Stop(StreamId),
    /// There is room again, for bytes or streams.
    Credit,
    Close(u32),
}

impl Message {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(_, bytes) => bytes,
            _ => &[],
        }
    }

    /// For the digest.
    pub(super) fn name(&self) -> &'static [u8] {
        match self {
            Self::Bytes(..) => b"bytes",
            Self::Fin(_) => b"fin",
            Self::Delivered(_) => b"delivered",
            Self::Reset(_) => b"reset",
            Self::Stop(_) => b"stop",
            Self::Credit => b"credit",
            Self::Close(_) => b"close",
        }
    }
}

/// Messages that travel together.
pub(super) struct Batch {
    pub(super) left: Time,
    pub(super) bytes: usize,
    pub(super) messages: Vec<Message>,
}

/// One side of a line.
pub(super) struct Half {
    /// As the other side sees it.
    pub(super) address: SocketAddr,
    pub(super) closed: Option<Closed>,
    /// Its node is dead.
    pub(super) dead: bool,
    pub(super) reading: BTreeMap<StreamId, Reading>,
    pub(super) writing: BTreeMap<StreamId, Writing>,
    /// Streams that the other side has opened and nobody has taken, by kind.
    pub(super) offered: [VecDeque<StreamId>; 2],
    pub(super) opened: [u64; 2],
    /// Streams of its own that the other side has not seen through, by kind.
    pub(super) open: [usize; 2],
    /// Bytes that it has sent and the other side has not read.
    pub(super) unread: usize,
    /// Batches on their way to the other side.
    pub(super) flying: VecDeque<Batch>,
    /// Batches that do not get through now.
    pub(super) held: VecDeque<Batch>,
    /// Batches that have arrived while its node was paused.
    pub(super) waiting: VecDeque<Batch>,
    pub(super) heard: u64,
    datagrams: VecDeque<Bytes>,
    datagram_bytes: usize,
    /// Streams of the other side that have been announced, by kind.
    seen: [u64; 2],
    /// Who waits for a stream of the other side, by kind.
    pub(super) accepting: [Waiters; 2],
    /// Who waits for anything else: the end, room, datagrams.
    pub(super) waiters: Waiters,
}

/// A stream that is read here.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) chunks: VecDeque<Bytes>,
    pub(super) end: Option<End>,
    pub(super) waiters: Waiters,
}

/// How a stream ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Whole.
    Fin,
    /// Given up.
    Reset,
}

/// A stream that is written here.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) finished: bool,
    pub(super) delivered: bool,
    pub(super) stopped: bool,
    pub(super) waiters: Waiters,
}

/// Tasks to be woken.
#[derive(Default)]
pub(super) struct Waiters(Vec<Waker>);

impl Waiters {
    pub(super) fn add(&mut self, cx: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.0.push(cx.waker().clone());
        }
    }

    pub(super) fn take(&mut self, into: &mut Vec<Waker>) {
        into.append(&mut self.0);
    }
}

impl Half {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            closed: None,
            dead: false,
            reading: BTreeMap::new(),
            writing: BTreeMap::new(),
            offered: Default::default(),
            opened: [0; 2],
            open: [0; 2],
            unread: 0,
            flying: VecDeque::new(),
            held: VecDeque::new(),
            waiting: VecDeque::new(),
            heard: 0,
            datagrams: VecDeque::new(),
            datagram_bytes: 0,
            seen: [0; 2],
            accepting: Default::default(),
            waiters: Waiters::default(),
        }
    }

    /// It is over: nothing is said or heard any more; returns who must know.
    pub(super) fn close(&mut self, reason: Closed) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.closed.get_or_insert(reason);
        self.waiters.take(&mut wakers);
        self.accepting.iter_mut().for_each(|waiters| waiters.take(&mut wakers));
        self.reading.values_mut().for_each(|reading| reading.waiters.take(&mut wakers));
        self.writing.values_mut().for_each(|writing| writing.waiters.take(&mut wakers));
        self.waiting.clear();
        wakers
    }

    pub(super) fn begin(&mut self, id: StreamId, wakers: &mut Vec<Waker>) {
        self.reading.insert(id, Reading::default());
        if id.kind == Kind::Bi {
            self.writing.insert(id, Writing::default());
        }
        self.offered[id.kind as usize].push_back(id);
        self.accepting[id.kind as usize].take(wakers);
    }

    /// A stream that the other side has just opened: they are opened in their order.
    pub(super) fn is_new(&mut self, id: StreamId) -> bool {
        let seen = &mut self.seen[id.kind as usize];
        let new = id.number >= *seen;
        *seen = (*seen).max(id.number + 1);
        new
    }

    /// Hears a message about a stream; returns the bytes that came for nobody.
    pub(super) fn hear(&mut self, message: Message, delivered: &mut Vec<StreamId>, wakers: &mut Vec<Waker>) -> usize {
        match message {
            Message::Bytes(id, bytes) => {
                let Some(reading) = self.reading.get_mut(&id) else { return bytes.len() };
                reading.chunks.push_back(bytes);
                reading.waiters.take(wakers);
            }
            Message::Fin(id) => {
                if id.kind == Kind::Uni {
                    delivered.push(id);
                }
                if let Some(reading) = self.reading.get_mut(&id) {
                    reading.end = Some(End::Fin);
                    reading.waiters.take(wakers);
                }
            }
            Message::Reset(id) => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    reading.end.get_or_insert(End::Reset);
                    reading.waiters.take(wakers);
                }
            }
            Message::Delivered(id) => {
                if let Some(writing) = self.writing.get_mut(&id) {
                    writing.delivered = true;
                    writing.waiters.take(wakers);
                }
            }
            Message::Stop(id) => {
                if let Some(writing) = self.writing.get_mut(&id) {
                    writing.stopped = true;
                    writing.waiters.take(wakers);
                }
            }
            Message::Credit => {
                self.waiters.take(wakers);
                self.writing.values_mut().for_each(|writing| writing.waiters.take(wakers));
            }
            Message::Close(_) => {}
        }
        0
    }

    pub(super) fn push_datagram(&mut self, bytes: Bytes) {
        self.heard += 1;
        self.datagram_bytes += bytes.len();
        self.datagrams.push_back(bytes);
        while self.datagram_bytes > DATAGRAMS_BYTES_MAX {
            self.pop_datagram();
        }
    }

    pub(super) fn pop_datagram(&mut self) -> Option<Bytes> {
        let bytes = self.datagrams.pop_front()?;
        self.datagram_bytes -= bytes.len();
        Some(bytes)
    }
}
