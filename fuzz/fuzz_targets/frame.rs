//! A frame that reads must write back to the same bytes or be refused; nothing panics.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pangea_protocols::wire::{Frame, Message, fetch::Fetch, pex::Pex, store::Store};

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = Frame::read(&Bytes::copy_from_slice(data)) else { return };
    let head = frame.head().expect("what was read is within its limits");
    let again = Frame::read(&[&head[..], &frame.body[..]].concat().into()).expect("what was written reads back");
    assert_eq!(again, frame);
    match &frame.message {
        Message::Store(Store::Stored { receipt, .. }) => drop(receipt.verify()),
        Message::Store(Store::Put { shard, proof, .. }) => {
            let whole = pangea_protocols::merkle::RangeProof::whole(frame.body.len() as u32);
            drop(pangea_protocols::merkle::verify(*shard, proof, &whole, &frame.body));
        }
        Message::Fetch(Fetch::Found { shard, stripe, range, .. }) => {
            drop(pangea_protocols::merkle::verify(*shard, stripe, range, &frame.body));
        }
        Message::Pex(Pex::Peers { records }) => drop(records.iter().map(|record| record.verify()).collect::<Vec<_>>()),
        _ => {}
    }
});
