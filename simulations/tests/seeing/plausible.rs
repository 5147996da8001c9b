//! Makes up runs of any size that look like runs: regions, churn, puts and gets, a partition, a byzantine holder.

use pangea_simulations::record::{NodeId, Record, What};
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;
const REGIONS: [&str; 6] = ["eu-west", "us-east", "ap-south", "us-west", "eu-north", "sa-east"];

/// What a made-up run is like.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub nodes: u32,
    pub seconds: u64,
    /// Operations of all nodes together.
    pub operations: u32,
    /// Messages of the background per node and second, times 100.
    pub chatter: u64,
    pub violated: bool,
}

struct Run {
    recipe: Recipe,
    records: Vec<Record>,
    frames: u64,
    state: u64,
    holds: BTreeMap<NodeId, (u64, u64)>,
    /// Who is cut off between which times.
    cut: Vec<(NodeId, u64, u64)>,
    down: Vec<(NodeId, u64, u64)>,
}

/// The run's records, by time.
pub fn run(recipe: Recipe) -> Vec<Record> {
    let mut run = Run {
        recipe,
        records: Vec::new(),
        frames: 0,
        state: u64::from(recipe.nodes) * 7 + recipe.seconds,
        holds: BTreeMap::new(),
        cut: Vec::new(),
        down: Vec::new(),
    };
    run.start();
    run.break_things();
    run.chat();
    for operation in 0..recipe.operations {
        run.operate(operation);
    }
    run.finish();
    run.records.sort_by_key(|record| record.at_ns);
    run.records
}

impl Run {
    /// A number below `end`.
    fn draw(&mut self, end: u64) -> u64 {
        // Splitmix64, Steele et al. 2014.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    fn any(&mut self) -> NodeId {
        u32::try_from(self.draw(u64::from(self.recipe.nodes))).unwrap()
    }

    fn part(&self, of_hundred: u64) -> u64 {
        self.recipe.seconds * 1_000 * MS / 100 * of_hundred
    }

    fn at(&mut self, at_ns: u64, node: impl Into<Option<NodeId>>, what: What) {
        self.records.push(Record { at_ns, node: node.into(), what });
    }

    fn region(&self, node: NodeId) -> usize {
        if self.recipe.nodes < 8 {
            return node as usize % 3;
        }
        // Regions differ in size.
        f64::from(node * 7919 % 36).sqrt() as usize
    }

    fn start(&mut self) {
        for node in 0..self.recipe.nodes {
            let at_ns = self.draw(self.part(4));
            let region = REGIONS[self.region(node)].to_owned();
            self.at(at_ns, node, What::Started { region });
            for _ in 0..3 {
                let peer = self.any();
                if peer != node {
                    self.at(at_ns + 200 * MS, node, What::Connected { peer });
                }
            }
        }
    }

    fn break_things(&mut self) {
        let island: Vec<NodeId> = (0..self.recipe.nodes).filter(|node| self.region(*node) == 1).collect();
        let (begin, end) = (self.part(28), self.part(46));
        self.cut.extend(island.iter().map(|node| (*node, begin, end)));
        self.fault(1, "partition: us-east | the rest", island, begin, end);
        let liar = self.recipe.nodes / 2;
        self.fault(2, "byzantine holder: withholds shards", vec![liar], self.part(52), self.part(72));
        self.fault(3, "loss of 5% everywhere", Vec::new(), self.part(50), self.part(62));
        for crash in 0..(self.recipe.nodes / 9).max(1) {
            let (node, begin) = (self.any(), self.part(20) + self.draw(self.part(45)));
            let end = begin + self.part(3) + self.draw(self.part(10));
            let disk = ["kept", "lost"][crash as usize % 2];
            self.at(begin, node, What::Crashed { disk: disk.into() });
            self.at(end, node, What::Started { region: REGIONS[self.region(node)].into() });
            self.down.push((node, begin, end));
        }
        let (node, begin) = (self.any(), self.part(35));
        self.at(begin, node, What::Paused { paused: true });
        self.at(begin + self.part(6), node, What::Paused { paused: false });
        self.at(self.part(76), None, What::Calm);
    }

    fn fault(&mut self, fault: u32, text: &str, nodes: Vec<NodeId>, begin: u64, end: u64) {
        self.at(begin, None, What::FaultBegan { fault, text: text.into(), nodes });
        self.at(end, None, What::FaultEnded { fault });
    }

    fn chat(&mut self) {
        let messages = u64::from(self.recipe.nodes) * self.recipe.seconds * self.recipe.chatter / 100;
        for _ in 0..messages {
            let (from, to, at_ns) = (self.any(), self.any(), self.part(5) + self.draw(self.part(95)));
            let label = ["find-node", "ping", "identify", "find-node"][self.draw(4) as usize];
            let bytes = 40 + self.draw(400);
            self.frame(at_ns, from, to, label, bytes);
        }
    }

    /// When it arrives, if it does.
    fn frame(&mut self, at_ns: u64, from: NodeId, to: NodeId, label: &str, bytes: u64) -> Option<u64> {
        let within = |spans: &[(NodeId, u64, u64)], node| {
            spans.iter().any(|(of, begin, end)| *of == node && (*begin..*end).contains(&at_ns))
        };
        if from == to || within(&self.down, from) {
            return None;
        }
        self.frames += 1;
        let frame = self.frames;
        let sent = What::Sent { peer: to, frame, label: label.into(), bytes };
        self.at(at_ns, from, sent);
        let apart = if self.region(from) == self.region(to) { 4 } else { 45 };
        let arrives = at_ns + apart * MS + self.draw(30 * MS) + bytes * 40;
        let cut = within(&self.cut, from) != within(&self.cut, to);
        let lossy = (self.part(50)..self.part(62)).contains(&at_ns) && self.draw(20) == 0;
        if cut || lossy || within(&self.down, to) {
            return None;
        }
        self.at(arrives, to, What::Arrived { peer: from, frame, label: label.into(), bytes });
        Some(arrives)
    }

    fn operate(&mut self, operation: u32) {
        let (node, begin) = (self.any(), self.part(8) + self.draw(self.part(82)));
        let is_put = self.draw(5) < 3;
        let size = 1 << (18 + self.draw(8));
        let verb = if is_put { "put" } else { "get" };
        let text = format!("{verb} photos-{operation}.tar ({} KiB)", size >> 10);
        self.at(begin, node, What::Asked { operation, text });
        let shards = u64::from(self.recipe.nodes.clamp(4, 14)) - 1;
        let (mut arrived, mut last) = (0, begin);
        for shard in 0..shards {
            let (peer, at_ns) = (self.any(), begin + shard * 30 * MS + self.draw(20 * MS));
            let (from, to) = if is_put { (node, peer) } else { (peer, node) };
            self.frame(at_ns, node, peer, if is_put { "offer-shard" } else { "get-shard" }, 180);
            let label = if is_put { "put-shard" } else { "shard" };
            let Some(there) = self.frame(at_ns + 60 * MS, from, to, label, size / shards) else { continue };
            arrived += 1;
            last = last.max(there);
            self.at(there, node, What::Progress { operation, done: arrived as f64 / shards as f64 });
            if is_put {
                let held = self.holds.entry(to).or_default();
                *held = (held.0 + 1, held.1 + size / shards);
                let (shards, bytes) = *held;
                self.at(there, to, What::Holds { shards, bytes });
                self.frame(there + 2 * MS, to, from, "receipt", 220);
            }
        }
        let ok = arrived * 3 >= shards * 2;
        let text = format!("{arrived} of {shards} shards");
        self.at(last + 80 * MS, node, What::Ended { operation, ok, text });
    }

    fn finish(&mut self) {
        for (goal, part) in [
            ("an upload is complete", 14),
            ("repair ran", 49),
            ("a hedge won", 58),
            ("a bad shard was blamed", 66),
            ("the DHT converged", 82),
        ] {
            self.at(self.part(part), None, What::Reached { goal: goal.into() });
        }
        if self.recipe.violated {
            let text = "photos-3.tar was acknowledged, and 6 of 9 needed shards are left".to_owned();
            let node = self.recipe.nodes / 2;
            self.at(self.part(88), node, What::Violated { oracle: "durability".into(), text });
        }
    }
}
