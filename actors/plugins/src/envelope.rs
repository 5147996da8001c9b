//! Events and actions as CBOR (RFC 8949), for guests of any language: arrays of definite length that begin with a text.
//!
//! ```text
//! events, the input of `handle`                     actions, one for every call of `send`
//! ["started", me, snapshot│null, config, [peer…]]   ["send", peer, bytes]  ["tell", bytes]
//! ["message", peer, bytes]                          ["answer", request, bytes]
//! ["ask", request, bytes]                           ["refuse", request, text]
//! ["connected", peer]  ["disconnected", peer]       ["timer", id, milliseconds]  ["cancel", id]
//! ["timer", id]                                     ["snapshot", bytes]
//! ["drain"]                                         ["store", request, name, bytes]
//! ["stored", request, ticket]                       ["store-file", request, path]
//! ["fetched", request, length]                      ["fetch", request, ticket]
//! ["removed", request]                              ["remove", request, ticket]
//! ["listed", request, [[path, bytes, modified]…]]   ["list", request]
//! ["failed", request, reason]
//! ```
//! A peer is 32 bytes; `tell` is for all that are connected; `config` is a map of texts; what was fetched is the chunk 0 of `chunk_read`. What `handle` returns
//! for an `ask`, if it is not empty, answers it.

use crate::extension::{In, Out};
use bytes::Bytes;
use pangea_protocols::{
    PeerId,
    cbor::{Reader, Writer},
};
use std::time::Duration;

/// What a guest wants: an [`Out`]; or what a native extension does by itself, with the peers it knows and with its `Cx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Something of the node.
    Out(Out),
    /// Say this to the same plugin of every peer that is connected.
    Tell { bytes: Bytes },
    /// An event `timer` after that long; it replaces the timer of the same number.
    Timer { id: u64, after: Duration },
    /// Not any more.
    Cancel { id: u64 },
}

/// The input of `handle`, and the chunks beside it.
pub fn write(event: &In) -> (Bytes, Vec<Bytes>) {
    let mut to = Writer::default();
    let mut chunks = Vec::new();
    match event {
        In::Started { me, config, snapshot, peers } => {
            to.array(5).text("started").bytes(&me.0);
            match snapshot {
                Some(bytes) => to.bytes(bytes),
                None => to.null(),
            };
            to.map(config.len());
            for (key, value) in config {
                to.text(key).text(value);
            }
            to.array(peers.len());
            for peer in peers {
                to.bytes(&peer.0);
            }
        }
        In::Message { peer, bytes } => _ = to.array(3).text("message").bytes(&peer.0).bytes(bytes),
        In::Ask { request, bytes } => _ = to.array(3).text("ask").uint(*request).bytes(bytes),
        In::Connected { peer } => _ = to.array(2).text("connected").bytes(&peer.0),
        In::Disconnected { peer } => _ = to.array(2).text("disconnected").bytes(&peer.0),
        In::Timer { id } => _ = to.array(2).text("timer").uint(*id),
        In::Drain => _ = to.array(1).text("drain"),
        In::Saved { .. } => _ = to.array(1).text("saved"),
        In::Stored { request, ticket } => _ = to.array(3).text("stored").uint(*request).text(ticket),
        In::Fetched { request, bytes } => {
            to.array(3).text("fetched").uint(*request).uint(bytes.len() as u64);
            chunks.push(bytes.clone());
        }
        In::Removed { request } => _ = to.array(2).text("removed").uint(*request),
        In::Listed { request, files } => {
            to.array(3).text("listed").uint(*request).array(files.len());
            for file in files {
                to.array(3).text(&file.path).uint(file.bytes).uint(file.modified_ms);
            }
        }
        In::Failed { request, reason } => _ = to.array(3).text("failed").uint(*request).text(reason),
    }
    (to.finish(), chunks)
}

/// Reads an action. `None` for anything else.
pub fn read(bytes: &Bytes) -> Option<Action> {
    let mut from = Reader::new(bytes);
    let items = from.array()?;
    let name = from.text()?;
    let action = match (name.as_str(), items) {
        ("send", 3) => Out::Send { peer: peer(&mut from)?, bytes: from.bytes()? }.into(),
        ("tell", 2) => Action::Tell { bytes: from.bytes()? },
        ("answer", 3) => Out::Answer { request: from.uint()?, bytes: from.bytes()? }.into(),
        ("refuse", 3) => Out::Refuse { request: from.uint()?, reason: from.text()? }.into(),
        ("timer", 3) => Action::Timer { id: from.uint()?, after: Duration::from_millis(from.uint()?) },
        ("cancel", 2) => Action::Cancel { id: from.uint()? },
        ("snapshot", 2) => Out::Snapshot { bytes: from.bytes()? }.into(),
        ("store", 4) => Out::Store { request: from.uint()?, name: from.text()?, bytes: from.bytes()? }.into(),
        ("store-file", 3) => Out::StoreFile { request: from.uint()?, path: from.text()? }.into(),
        ("fetch", 3) => Out::Fetch { request: from.uint()?, ticket: from.text()? }.into(),
        ("remove", 3) => Out::Remove { request: from.uint()?, ticket: from.text()? }.into(),
        ("list", 2) => Out::List { request: from.uint()? }.into(),
        _ => return None,
    };
    from.is_done().then_some(action)
}

fn peer(from: &mut Reader<'_>) -> Option<PeerId> {
    from.bytes()?.as_ref().try_into().ok().map(PeerId)
}

impl From<Out> for Action {
    fn from(out: Out) -> Self {
        Self::Out(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::File;
    use proptest::prelude::*;

    const ME: PeerId = PeerId([7; 32]);

    fn shown(event: &In) -> Vec<u8> {
        write(event).0.to_vec()
    }

    #[test]
    fn events_have_the_bytes_that_guests_are_written_for() {
        let seven = [&b"\x58\x20"[..], &[7; 32]].concat();
        let peer = |head: &[u8], tail: &[u8]| [head, &seven, tail].concat();
        assert_eq!(shown(&In::Message { peer: ME, bytes: "hi".into() }), peer(b"\x83\x67message", b"\x42hi"));
        assert_eq!(shown(&In::Ask { request: 500, bytes: "q".into() }), b"\x83\x63ask\x19\x01\xf4\x41q");
        assert_eq!(shown(&In::Connected { peer: ME }), peer(b"\x82\x69connected", b""));
        assert_eq!(shown(&In::Timer { id: 3 }), b"\x82\x65timer\x03");
        assert_eq!(shown(&In::Drain), b"\x81\x65drain");
        let config = [("a".to_owned(), "b".to_owned())].into();
        let started = In::Started { me: ME, config, snapshot: None, peers: vec![ME] };
        assert_eq!(shown(&started), peer(&peer(b"\x85\x67started", b"\xf6\xa1\x61a\x61b\x81"), b""));
        let files = vec![File { path: "x".to_owned(), bytes: 1, modified_ms: 2 }];
        assert_eq!(shown(&In::Listed { request: 1, files }), b"\x83\x66listed\x01\x81\x83\x61x\x01\x02");
        let (bytes, chunks) = write(&In::Fetched { request: 1, bytes: "all".into() });
        assert_eq!((&bytes[..], &chunks[..]), (&b"\x83\x67fetched\x01\x03"[..], &[Bytes::from("all")][..]));
    }

    #[test]
    fn actions_are_read_whole_or_not_at_all() {
        let mut to = Writer::default();
        let send = to.array(3).text("send").bytes(&ME.0).bytes(b"x").finish();
        assert_eq!(read(&send), Some(Out::Send { peer: ME, bytes: "x".into() }.into()));
        let timer = to.array(3).text("timer").uint(1).uint(250).finish();
        assert_eq!(read(&timer), Some(Action::Timer { id: 1, after: Duration::from_millis(250) }));
        for wrong in [
            send.slice(..send.len() - 1),
            [&send[..], b"\x00"].concat().into(),
            to.array(3).text("send").bytes(&[7; 31]).bytes(b"x").finish(),
            to.array(2).text("send").bytes(&ME.0).finish(),
            to.array(1).text("exit").finish(),
            Bytes::new(),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_action_or_not(bytes: Vec<u8>) {
            let _ = read(&bytes.into());
        }
    }
}
