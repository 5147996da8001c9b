//! Plugins: the events that one hears, and what it may want of its node. What each means, and when what is wanted is done,
//! stands in `docs/plugins.md` of Pangea. In `cargo test` what is wanted is in
//! [`native`](https://docs.rs/pangea-guest/latest/pangea_guest/native), as messages that were sent.

use crate::__alloc::vec::Vec;
use crate::data::{ARRAY, Argument, BYTES, Chunk, MAP, TEXT, UINT, bytes, head, put_head, string};

const NULL: u8 = 0xf6;

/// Who a node is.
pub type Peer = [u8; 32];

/// What a plugin hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The first event of every life: who this node is, the last snapshot, the settings, who is connected.
    Started { me: Peer, snapshot: Option<&'a [u8]>, config: Vec<(&'a str, &'a str)>, peers: Vec<Peer> },
    /// The same plugin of another node says this.
    Message { peer: Peer, bytes: &'a [u8] },
    /// A user of this node asks. What the function returns, if it is not empty, is the answer.
    Ask { request: u64, bytes: &'a [u8] },
    /// A peer is there.
    Connected { peer: Peer },
    /// It is gone.
    Disconnected { peer: Peer },
    /// A timer is due.
    Timer { id: u64 },
    /// The node stops, or another version comes: the last chance for a snapshot.
    Drain,
    /// Answers [`store`] and [`store_file`].
    Stored { request: u64, ticket: &'a str },
    /// Answers [`fetch`]: read it with [`chunk_read`](crate::chunk_read), as chunk 0.
    Fetched { request: u64, length: u64 },
    /// Answers [`remove`].
    Removed { request: u64 },
    /// Answers [`list`].
    Listed { request: u64, files: Vec<File<'a>> },
    /// Answers any of these.
    Failed { request: u64, reason: &'a str },
    /// One that this version of the crate does not know: to be passed over.
    Other,
}

/// A file of the granted folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// Below the folder, with `/` between names.
    pub path: &'a str,
    /// Its length.
    pub bytes: u64,
    /// When it was changed, milliseconds since 1970.
    pub modified_ms: u64,
}

impl<'a> Argument<'a> for Event<'a> {
    fn from_chunk(chunk: Chunk<'a>) -> Result<Self, &'static str> {
        Event::read(chunk.bytes).ok_or("the input is no event of a plugin")
    }
}

impl<'a> Event<'a> {
    /// Reads an event in CBOR. `None` if it is anything else.
    pub fn read(input: &'a [u8]) -> Option<Self> {
        let (_, rest) = head(input, ARRAY)?;
        let (name, rest) = string(rest, TEXT)?;
        let mut from = Items(rest);
        let event = match name {
            b"started" => Self::Started {
                me: from.peer()?,
                snapshot: from.bytes_or_null()?,
                config: from.many(MAP, |from| Some((from.text()?, from.text()?)))?,
                peers: from.many(ARRAY, Items::peer)?,
            },
            b"message" => Self::Message { peer: from.peer()?, bytes: from.bytes()? },
            b"ask" => Self::Ask { request: from.uint()?, bytes: from.bytes()? },
            b"connected" => Self::Connected { peer: from.peer()? },
            b"disconnected" => Self::Disconnected { peer: from.peer()? },
            b"timer" => Self::Timer { id: from.uint()? },
            b"drain" => Self::Drain,
            b"stored" => Self::Stored { request: from.uint()?, ticket: from.text()? },
            b"fetched" => Self::Fetched { request: from.uint()?, length: from.uint()? },
            b"removed" => Self::Removed { request: from.uint()? },
            b"listed" => Self::Listed { request: from.uint()?, files: from.many(ARRAY, Items::file)? },
            b"failed" => Self::Failed { request: from.uint()?, reason: from.text()? },
            _ => return Some(Self::Other),
        };
        from.0.is_empty().then_some(event)
    }
}

/// What is left to read.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    fn uint(&mut self) -> Option<u64> {
        let (value, rest) = head(self.0, UINT)?;
        self.0 = rest;
        Some(value)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (bytes, rest) = bytes(self.0)?;
        self.0 = rest;
        Some(bytes)
    }

    fn bytes_or_null(&mut self) -> Option<Option<&'a [u8]>> {
        match self.0.split_first()? {
            (&NULL, rest) => {
                self.0 = rest;
                Some(None)
            }
            _ => self.bytes().map(Some),
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let (text, rest) = string(self.0, TEXT)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }

    fn peer(&mut self) -> Option<Peer> {
        self.bytes()?.try_into().ok()
    }

    fn file(&mut self) -> Option<File<'a>> {
        let (3, rest) = head(self.0, ARRAY)? else { return None };
        self.0 = rest;
        Some(File { path: self.text()?, bytes: self.uint()?, modified_ms: self.uint()? })
    }

    /// No memory is taken for more than there is.
    fn many<T>(&mut self, major: u8, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let (count, rest) = head(self.0, major)?;
        self.0 = rest;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(item(self)?);
        }
        Some(all)
    }
}

/// Something that is wanted, in CBOR.
struct Action(Vec<u8>);

impl Action {
    fn new(items: u64, name: &str) -> Self {
        let mut action = Self(Vec::new());
        put_head(&mut action.0, ARRAY, items);
        action.string(TEXT, name.as_bytes())
    }

    fn string(mut self, major: u8, bytes: &[u8]) -> Self {
        put_head(&mut self.0, major, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.string(BYTES, bytes)
    }

    fn text(self, text: &str) -> Self {
        self.string(TEXT, text.as_bytes())
    }

    fn uint(mut self, value: u64) -> Self {
        put_head(&mut self.0, UINT, value);
        self
    }

    fn send(self) {
        crate::send(&self.0);
    }
}

/// Says something of up to 64 KiB to the same plugin of a peer. It may be lost.
pub fn send_to(peer: &Peer, bytes: &[u8]) {
    Action::new(3, "send").bytes(peer).bytes(bytes).send();
}

/// Says it to the same plugin of every peer that is connected.
pub fn tell(bytes: &[u8]) {
    Action::new(2, "tell").bytes(bytes).send();
}

/// Answers a user that asked, now or earlier.
pub fn answer(request: u64, bytes: &[u8]) {
    Action::new(3, "answer").uint(request).bytes(bytes).send();
}

/// Tells a user that asked why there is no answer.
pub fn refuse(request: u64, reason: &str) {
    Action::new(3, "refuse").uint(request).text(reason).send();
}

/// Has an [`Event::Timer`] come after so many milliseconds, instead of an earlier one of that number.
pub fn timer(id: u64, after_ms: u64) {
    Action::new(3, "timer").uint(id).uint(after_ms).send();
}

/// Has it not come.
pub fn cancel(id: u64) {
    Action::new(2, "cancel").uint(id).send();
}

/// Keeps this for the next life, instead of the last snapshot.
pub fn snapshot(bytes: &[u8]) {
    Action::new(2, "snapshot").bytes(bytes).send();
}

/// Stores an object in the network; answered by [`Event::Stored`].
pub fn store(request: u64, name: &str, bytes: &[u8]) {
    Action::new(4, "store").uint(request).text(name).bytes(bytes).send();
}

/// Stores a file of the granted folder; answered by [`Event::Stored`].
pub fn store_file(request: u64, path: &str) {
    Action::new(3, "store-file").uint(request).text(path).send();
}

/// Reads an object of up to 1 MiB; answered by [`Event::Fetched`].
pub fn fetch(request: u64, ticket: &str) {
    Action::new(3, "fetch").uint(request).text(ticket).send();
}

/// Has an object of this node forgotten; answered by [`Event::Removed`].
pub fn remove(request: u64, ticket: &str) {
    Action::new(3, "remove").uint(request).text(ticket).send();
}

/// Lists the granted folder; answered by [`Event::Listed`].
pub fn list(request: u64) {
    Action::new(2, "list").uint(request).send();
}

/// The first word of what a user asks, and what follows the space behind it.
pub fn words(asked: &[u8]) -> (&str, &[u8]) {
    let at = asked.iter().position(|byte| *byte == b' ').unwrap_or(asked.len());
    let rest = asked.get(at + 1..).unwrap_or_default();
    (core::str::from_utf8(&asked[..at]).unwrap_or_default(), rest)
}

/// What has been wanted since this was called the last time, one action after the other, each as its name and the rest in
/// CBOR: for tests.
#[cfg(not(target_arch = "wasm32"))]
pub fn wanted() -> Vec<(std::string::String, Vec<u8>)> {
    let sent = crate::native::with(|native| core::mem::take(&mut native.sent));
    let read = |action: Vec<u8>| {
        let (_, rest) = head(&action, ARRAY)?;
        let (name, rest) = string(rest, TEXT)?;
        Some((std::string::String::from_utf8_lossy(name).into_owned(), rest.into()))
    };
    sent.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_have_the_bytes_that_the_node_writes() {
        let seven = [&b"\x58\x20"[..], &[7; 32]].concat();
        let read = |head: &[u8], tail: &[u8]| {
            let bytes = std::boxed::Box::leak([head, &seven, tail].concat().into_boxed_slice());
            Event::read(bytes)
        };
        assert_eq!(read(b"\x83\x67message", b"\x42hi"), Some(Event::Message { peer: [7; 32], bytes: b"hi" }));
        assert_eq!(read(b"\x82\x69connected", b""), Some(Event::Connected { peer: [7; 32] }));
        assert_eq!(read(b"\x82\x69connected", b"\x00"), None, "something is left");
        let config = std::vec![("a", "b")];
        let started = Event::Started { me: [7; 32], snapshot: None, config, peers: Vec::new() };
        assert_eq!(read(b"\x85\x67started", b"\xf6\xa1\x61a\x61b\x80"), Some(started));
        assert_eq!(Event::read(b"\x83\x63ask\x19\x01\xf4\x41q"), Some(Event::Ask { request: 500, bytes: b"q" }));
        let files = std::vec![File { path: "x", bytes: 1, modified_ms: 2 }];
        assert_eq!(Event::read(b"\x83\x66listed\x01\x81\x83\x61x\x01\x02"), Some(Event::Listed { request: 1, files }));
        assert_eq!(Event::read(b"\x81\x65drain"), Some(Event::Drain));
        assert_eq!(Event::read(b"\x81\x65later"), Some(Event::Other));
    }

    #[test]
    fn what_is_wanted_has_the_bytes_that_the_node_reads() {
        tell(b"hi");
        timer(1, 1000);
        store(2, "n", b"b");
        let sent = crate::native::with(|native| core::mem::take(&mut native.sent));
        assert_eq!(
            sent,
            [&b"\x82\x64tell\x42hi"[..], b"\x83\x65timer\x01\x19\x03\xe8", b"\x84\x65store\x02\x61n\x41b"]
        );
        assert_eq!(words(b"say a b"), ("say", &b"a b"[..]));
        assert_eq!((words(b"show"), words(b"")), (("show", &b""[..]), ("", &b""[..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Event::read(&bytes);
            let _ = Event::read(&[b"\x83\x66listed\x01", &bytes[..]].concat());
        }
    }
}
