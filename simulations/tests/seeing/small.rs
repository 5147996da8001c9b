//! A story of three nodes, short enough to read its trace in a test.

use pangea_simulations::record::{NodeId, Record, What};

const MS: u64 = 1_000_000;

fn at(at_ms: u64, node: NodeId, what: What) -> Record {
    Record { at_ns: at_ms * MS, node: Some(node), what }
}

fn everywhere(at_ms: u64, what: What) -> Record {
    Record { at_ns: at_ms * MS, node: None, what }
}

fn sent(at_ms: u64, node: NodeId, peer: NodeId, frame: u64, label: &str) -> Record {
    at(at_ms, node, What::Sent { peer, frame, label: label.into(), bytes: 65_536 })
}

fn arrived(at_ms: u64, node: NodeId, peer: NodeId, frame: u64, label: &str) -> Record {
    at(at_ms, node, What::Arrived { peer, frame, label: label.into(), bytes: 65_536 })
}

/// Node 0 puts a file on 1 and 2. The first copy for 2 is lost; 1 crashes, and a later get fails.
pub fn story() -> Vec<Record> {
    let started = |at_ms, node, region: &str| at(at_ms, node, What::Started { region: region.into() });
    vec![
        started(0, 0, "eu"),
        started(1, 1, "eu"),
        started(2, 2, "us"),
        at(10, 0, What::Connected { peer: 2 }),
        at(20, 0, What::Asked { operation: 1, text: "put 128 KiB".into() }),
        sent(21, 0, 1, 1, "put-shard"),
        sent(22, 0, 2, 2, "put-shard"),
        arrived(41, 1, 0, 1, "put-shard"),
        at(41, 1, What::Holds { shards: 1, bytes: 65_536 }),
        everywhere(50, What::FaultBegan { fault: 7, text: "partition of us".into(), nodes: vec![2] }),
        sent(90, 0, 2, 3, "put-shard"),
        at(95, 0, What::Progress { operation: 1, done: 0.5 }),
        everywhere(100, What::FaultEnded { fault: 7 }),
        arrived(130, 2, 0, 3, "put-shard"),
        at(140, 0, What::Ended { operation: 1, ok: true, text: "2 shards".into() }),
        everywhere(141, What::Reached { goal: "a shard was sent again".into() }),
        at(150, 1, What::Crashed { disk: "lost".into() }),
        at(151, 2, What::Paused { paused: true }),
        everywhere(160, What::Calm),
        at(170, 2, What::Paused { paused: false }),
        at(200, 0, What::Asked { operation: 2, text: "get 128 KiB".into() }),
        sent(201, 0, 1, 4, "get-shard"),
        at(260, 0, What::Disconnected { peer: 1, reason: "timeout".into() }),
        at(300, 0, What::Ended { operation: 2, ok: false, text: "1 of 2 shards".into() }),
        at(301, 0, What::Violated { oracle: "durable".into(), text: "an acknowledged file is gone".into() }),
    ]
}
