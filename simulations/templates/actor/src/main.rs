//! A table that every node has a copy of: the last writer of a key wins, and copies spread by gossip. Below it, its lab:
//! ten nodes on a network where everything goes wrong that can.

use pangea_simulations::lab::{self, Core, Cx, Lab, Member, NodeId, Route, ensure};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, process::ExitCode, time::Duration};

/// How often a node tells another all it knows.
const GOSSIP_EVERY: Duration = Duration::from_secs(1);

/// What stands under a key: a value, the second in which it was written, and the node that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    value: u64,
    second: u64,
    writer: NodeId,
}

impl Entry {
    /// The last writer wins. Of two in the same second one must win as well, and the same one on every node.
    fn beats(&self, other: &Self) -> bool {
        (self.second, self.writer, self.value) > (other.second, other.writer, other.value)
    }
}

type Table = BTreeMap<u8, Entry>;

/// What a node can receive.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum In {
    /// A user writes.
    Write { key: u8, value: u64 },
    /// The disk has this write.
    Saved { key: u8, entry: Entry },
    /// Another node tells what it knows.
    Gossip(Table),
    /// It is time to gossip.
    Tick,
}

/// What a node can want.
#[derive(Debug)]
enum Out {
    Gossip(NodeId, Table),
    Save(Table),
    SaveWrite(Table, u8, Entry),
    /// The user may rely on it: it is on the disk.
    Acknowledged(u8, Entry),
}

/// The actor of one node.
struct Node {
    me: NodeId,
    peers: Vec<NodeId>,
    table: Table,
}

impl Node {
    /// Takes an entry unless it has a better one. True if that changed something.
    fn take(&mut self, key: u8, entry: Entry) -> bool {
        let better = self.table.get(&key).is_none_or(|old| entry.beats(old));
        if better {
            self.table.insert(key, entry);
        }
        better
    }
}

impl Core for Node {
    type In = In;
    type Out = Out;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        cx.after(GOSSIP_EVERY, In::Tick);
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Write { key, value } => {
                // Calendars go wrong: a write is later than what it replaces, whatever the calendar says.
                let after = self.table.get(&key).map_or(0, |old| old.second + 1);
                let entry = Entry { value, second: cx.unix().0.max(after), writer: self.me };
                self.take(key, entry);
                cx.emit(Out::SaveWrite(self.table.clone(), key, entry));
            }
            In::Saved { key, entry } => cx.emit(Out::Acknowledged(key, entry)),
            In::Gossip(table) => {
                let changed = table.into_iter().filter(|(key, entry)| self.take(*key, *entry)).count();
                if changed > 0 {
                    cx.emit(Out::Save(self.table.clone()));
                }
            }
            In::Tick => {
                if let Some(peer) = cx.rng("gossip").choose(&self.peers).copied() {
                    cx.emit(Out::Gossip(peer, self.table.clone()));
                }
                cx.after(GOSSIP_EVERY, In::Tick);
            }
        }
    }
}

impl Member for Node {
    type Saved = Table;

    fn new(me: NodeId, peers: &[NodeId], saved: Option<Table>) -> Self {
        Self { me, peers: peers.to_vec(), table: saved.unwrap_or_default() }
    }

    fn route(_me: NodeId, out: Out) -> Route<Self> {
        match out {
            Out::Gossip(peer, table) => Route::Datagram(peer, In::Gossip(table)),
            Out::Save(table) => Route::Save(table),
            Out::SaveWrite(table, key, entry) => Route::SaveThen(table, In::Saved { key, entry }),
            Out::Acknowledged(..) => Route::Note(out),
        }
    }
}

/// Ten nodes, thirty writes to four keys, and what must come of it.
fn lab() -> Lab<Node> {
    Lab::<Node>::new("NAME")
        .nodes(10)
        .asks(30, |draw| In::Write { key: draw.below(4) as u8, value: draw.below(100) })
        .eventually("all tables are the same", |net| {
            for key in 0..4 {
                let mut entries = net.cores().map(|(id, node)| (id, node.table.get(&key)));
                let Some((first, entry)) = entries.next() else { return Ok(()) };
                for (id, other) in entries {
                    ensure!(entry == other, "key {key}: node {first} has {entry:?}, node {id} has {other:?}");
                }
            }
            Ok(())
        })
        .eventually("no acknowledged write is lost to an older one", |net| {
            for note in net.notes() {
                let Out::Acknowledged(key, entry) = &note.what else { continue };
                for (id, node) in net.cores() {
                    let kept = node.table.get(key).is_some_and(|now| !entry.beats(now));
                    ensure!(kept, "node {id} has {:?} instead of {entry:?}", node.table.get(key));
                }
            }
            Ok(())
        })
        .sometimes("two nodes write a key in the same second", |net| {
            let writes = || {
                net.notes().iter().filter_map(|note| match note.what {
                    Out::Acknowledged(key, entry) => Some((key, entry)),
                    _ => None,
                })
            };
            let Some((key, new)) = net.new_notes().last().and(writes().next_back()) else { return false };
            writes().any(|(k, old)| k == key && old.second == new.second && old.writer != new.writer)
        })
}

fn main() -> ExitCode {
    lab::main(&lab())
}

#[test]
fn the_tables_converge_whatever_goes_wrong() {
    lab().seeds(0..200).check();
}
