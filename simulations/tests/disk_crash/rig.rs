//! [`Rig`]: a virtual disk with the real shard disk on it, a model beside it, and one stream of draws for everything.

use crate::{
    commands::{append, body, growth, number, shard, tag},
    figures::Figures,
    model::{Model, OWNERS, SHARDS},
};
use pangea::drivers::disk::{InlineDisk, OpenError, Options};
use pangea_kernel::{Draw, Port, Seed};
use pangea_protocols::{
    PeerId,
    disk::{Command, Event, Usage},
    time::Time,
};
use pangea_simulations::virtual_disk::{Fate, VirtualVolume};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A disk with its history.
pub struct Rig {
    pub volume: VirtualVolume,
    pub draw: Draw,
    pub model: Model,
    pub options: Options,
    pub figures: Figures,
    /// False while the disk is not one that keeps what was synced: then only bytes and panics are checked.
    pub strict: bool,
    /// Nothing was wrong from the beginning to the end of a group.
    healthy: bool,
    /// The disk was open once.
    opened: bool,
    disk: Option<InlineDisk>,
    events: Arc<Mutex<Vec<Event>>>,
    now: Time,
    usage: Usage,
    next_tag: u64,
}

impl Rig {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let seed = Seed::new(bytes);
        let options = Options {
            segment_bytes: 24 << 10,
            compact_bytes_min: 3 << 10,
            commit_bytes: 16 << 10,
            commit_interval: Duration::from_secs(2),
            ..Options::default()
        };
        Self {
            volume: VirtualVolume::new(&seed),
            draw: seed.derive("history").draw(),
            model: Model::default(),
            options,
            figures: Figures::default(),
            strict: true,
            healthy: true,
            opened: false,
            disk: None,
            events: Arc::default(),
            now: Time(0),
            usage: Usage::default(),
            next_tag: 0,
        }
    }

    /// Sends one command on its own.
    pub fn append(&mut self, number: u64) {
        self.next_tag += 1;
        self.send(vec![append(self.next_tag, PeerId([0; 32]), number, 500)]);
    }

    /// Sends one command on its own.
    pub fn delete(&mut self, number: u64) {
        self.next_tag += 1;
        self.send(vec![Command::Delete { tag: self.next_tag, owner: PeerId([0; 32]), shards: vec![shard(number)] }]);
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw.below(bound)
    }

    /// Opens the disk and compares everything on it with the model.
    pub fn open(&mut self) -> Result<(), OpenError> {
        self.events.lock().unwrap().clear();
        let events = Arc::clone(&self.events);
        let port = Port::new(move |event| {
            events.lock().unwrap().push(event);
            Ok(())
        });
        let disk = InlineDisk::open(self.volume.mount(), self.options, port, self.now)?;
        // What is torn while it is being made may have to be made again.
        let rebuilt = self.volume.indexes_put_aside() > self.figures.indexes_rebuilt;
        assert!(!(rebuilt && self.strict && self.opened), "an index that was in use is lost");
        self.opened = true;
        self.figures.indexes_rebuilt = self.volume.indexes_put_aside();
        self.usage = disk.usage();
        self.disk = Some(disk);
        assert!(matches!(self.take_events().first(), Some(Event::Opened { .. })), "Opened is the first event");
        self.check_usage();
        self.check();
        Ok(())
    }

    /// The next open may have to rebuild the index.
    pub fn damaged(&mut self) {
        self.opened = false;
    }

    /// Writes everything down.
    pub fn close(&mut self) {
        self.disk.take().into_iter().for_each(InlineDisk::close);
    }

    pub fn crash(&mut self, fate: Fate) {
        let disk = self.disk.take();
        self.volume.crash(fate, &mut self.draw);
        // Later than the crash, as its destructors must not reach what the next life sees.
        drop(disk);
        self.figures.rounds += 1;
    }

    /// Some groups of commands; ends when the volume goes down.
    pub fn work(&mut self, groups: u64) {
        for _ in 0..groups {
            if self.disk.is_none() || self.volume.is_down() {
                return;
            }
            let commands = self.draw_group();
            self.send(commands);
        }
    }

    /// Sends a group and compares its answers with the model.
    pub fn send(&mut self, commands: Vec<Command>) {
        self.now = self.now + Duration::from_millis(self.draw.below(1500));
        let before = self.usage;
        let growth: u64 = commands.iter().map(growth).sum();
        let asked: BTreeMap<u64, Command> = commands.iter().map(|command| (tag(command), command.clone())).collect();
        self.healthy = self.is_healthy();
        let Some(disk) = &mut self.disk else { return };
        disk.on_commands(commands, self.now);
        self.healthy &= self.is_healthy();
        self.answers(asked);
        self.usage = self.disk.as_ref().map_or(self.usage, InlineDisk::usage);
        // What a failed write leaves behind counts too.
        let healthy = self.healthy;
        let lawful = |usage: Usage, spare| !healthy || usage.disk_bytes <= before.disk_bytes + growth + spare;
        assert!(lawful(self.usage, 0), "{before:?} + {growth} -> {:?}", self.usage);
        for _ in 0..self.draw.below(4) {
            let Some(disk) = &mut self.disk else { return };
            disk.idle(self.now);
            self.usage = disk.usage();
            let (usage, spare) = (self.usage, self.options.maintenance_bytes());
            assert!(lawful(usage, spare), "{before:?} + {growth} -> {usage:?}");
        }
        self.check_usage();
        if self.disk.as_ref().is_some_and(InlineDisk::is_stopped) {
            assert!(!self.strict, "the disk has panicked");
            self.figures.stopped += 1;
            self.disk = None;
        }
    }

    /// Takes the answers to a group. They come in another order than what they answer, which is the one that counts.
    fn answers(&mut self, asked: BTreeMap<u64, Command>) {
        let mut done = BTreeMap::new();
        let mut answered = |tag, durable| assert!(done.insert(tag, durable).is_none(), "{tag} is answered twice");
        for event in self.take_events() {
            match event {
                Event::Appended { tags, usage } => {
                    self.usage = usage;
                    tags.into_iter().for_each(|tag| answered(tag, true));
                }
                Event::Deleted { tag, usage, count, .. } => {
                    self.usage = usage;
                    self.figures.deleted += u64::from(count);
                    answered(tag, true);
                }
                Event::AppendFailed { tag, .. } | Event::DeleteFailed { tag, .. } => {
                    assert!(!self.healthy, "{event:?} on a healthy disk");
                    self.figures.failed += 1;
                    answered(tag, false);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        let stopped = self.disk.as_ref().is_some_and(InlineDisk::is_stopped);
        for (tag, command) in asked {
            let durable = done.remove(&tag);
            assert!(durable.is_some() || stopped, "no answer to {command:?}");
            self.record(command, durable.unwrap_or(false));
        }
        assert!(done.is_empty(), "answers to nothing: {done:?}");
    }

    fn record(&mut self, command: Command, durable: bool) {
        match command {
            Command::Append { shard, meta, body, .. } => {
                self.figures.acknowledged_bytes += if durable { body.len() as u64 } else { 0 };
                self.model.append(number(shard), meta.owner.0[0], meta.expires_unix, durable);
            }
            Command::Delete { owner, shards, .. } => {
                shards.iter().for_each(|shard| self.model.delete(number(*shard), owner.0[0], durable));
            }
            // Leases that could not be ended are left for the next round, so a failure looks the same.
            Command::Expire { now_unix, .. } => self.model.expire(now_unix, durable && self.healthy),
            Command::Read { .. } | Command::Contains { .. } => {}
        }
    }

    /// Reads everything.
    pub fn check(&mut self) {
        for number in 0..SHARDS {
            let read = Command::Read { tag: 0, shard: shard(number) };
            let Some(disk) = &mut self.disk else { return };
            disk.on_commands(vec![read], self.now);
            let events = self.take_events();
            let [answer] = events.as_slice() else { panic!("one answer: {events:?}") };
            self.figures.reads += 1;
            if self.strict {
                let seen = self.model.observe(number, answer, &body(number));
                seen.unwrap_or_else(|wrong| panic!("{wrong}"));
                continue;
            }
            match answer {
                Event::Read { body: found, .. } => assert_eq!(*found, body(number), "wrong bytes of shard {number}"),
                Event::Corrupt { .. } | Event::ReadFailed { .. } => self.figures.corrupt += 1,
                Event::Missing { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn check_usage(&self) {
        let files: u64 = self.volume.files().iter().map(|(_, bytes)| bytes).sum();
        let told = self.usage.disk_bytes + self.options.maintenance_bytes();
        assert!(!self.strict || files <= told, "{files} bytes on disk, {:?} told", self.usage);
    }

    fn is_healthy(&self) -> bool {
        self.strict && !self.volume.is_down() && !self.volume.is_faulty()
    }

    fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    fn draw_group(&mut self) -> Vec<Command> {
        (0..1 + self.below(6)).map(|_| self.draw_command()).collect()
    }

    fn draw_command(&mut self) -> Command {
        self.next_tag += 1;
        let tag = self.next_tag;
        let owner = PeerId([self.below(u64::from(OWNERS)) as u8; 32]);
        match self.below(16) {
            0..10 => append(tag, owner, self.below(SHARDS), 1 + self.below(1000)),
            10..15 => {
                let shards = (0..1 + self.below(8)).map(|_| shard(self.below(SHARDS))).collect();
                Command::Delete { tag, owner, shards }
            }
            _ => Command::Expire { tag, now_unix: self.below(300) },
        }
    }
}
