//! Manifest blocks with their right hash but any content: refused or within every limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pangea_protocols::{
    Cid, Hash,
    manifest::{self, CHILDREN_MAX, Node, RECORDS_MAX},
};

fuzz_target!(|data: &[u8]| {
    let _ = manifest::open(Cid(Hash::of(data)), data);
    match manifest::open_node(Hash::of(data), data, 20) {
        Ok(Node::Leaf(records)) => {
            assert!((1..=RECORDS_MAX).contains(&records.len()));
            assert!(records.iter().all(|record| record.raw_len > 0 && record.raw_len <= 1 << 20));
        }
        Ok(Node::Inner(children)) => assert!((1..=CHILDREN_MAX).contains(&children.len())),
        Err(_) => {}
    }
});
