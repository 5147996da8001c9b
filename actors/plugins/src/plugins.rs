//! [`Plugins`]: the actor's core, a table of plugins. Not here: what becomes of one (`plugin`).

use crate::{
    api::{In, Out, Package, Refusal, Reply, Snapshot},
    extension,
    manifest::Manifest,
    plugin::{Fate, Plugin},
};
use pangea_kernel::{Core, Cx, planted};
use pangea_protocols::{
    PeerId,
    guest::{Command, Event},
    wire::{
        Frame, Message,
        extension::{Extension, Name},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Most plugins.
pub const PLUGINS_MAX: usize = 64;
/// How long a plugin may take to answer a user.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The plugins actor.
pub struct Plugins {
    table: BTreeMap<Name, Plugin>,
    shared: Shared,
    drain: Option<u64>,
    /// Messages of peers for plugins that are not here.
    unknown: u64,
}

/// What all plugins of a node have in common.
pub struct Shared {
    /// This node.
    pub me: PeerId,
    /// Peers that are there.
    pub connected: BTreeSet<PeerId>,
    /// Does everything come to an end?
    pub draining: bool,
    next: u64,
    /// Milliseconds since 1970 when the monotonic clock was at zero.
    zero_ms: u64,
}

impl Shared {
    /// A number that this node has not used in this life.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What a guest's `now` says: the calendar, with the milliseconds of the monotonic clock.
    pub fn unix_ms(&self, cx: &Cx<'_, Plugins>) -> u64 {
        self.zero_ms + cx.now().0 / 1_000_000
    }

    /// The calendar may be set meanwhile.
    fn look_at_the_calendar(&mut self, cx: &Cx<'_, Plugins>) {
        let calendar = cx.unix().0 * 1000;
        if calendar.abs_diff(self.unix_ms(cx)) > 2000 {
            self.zero_ms = calendar.saturating_sub(cx.now().0 / 1_000_000);
        }
    }
}

impl Plugins {
    /// Of the node `me`, without plugins.
    pub fn new(me: PeerId) -> Self {
        let shared = Shared { me, connected: BTreeSet::new(), draining: false, next: 0, zero_ms: 0 };
        Self { table: BTreeMap::new(), shared, drain: None, unknown: 0 }
    }

    /// Messages of peers for plugins that are not here.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Plugins that have failed in this life of the node, and why the last time.
    pub fn failures(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.table.iter().filter_map(|(name, plugin)| Some((name, plugin.last_failure()?)))
    }

    /// Peers that are there.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.shared.connected.iter().copied()
    }

    fn on_restore(&mut self, cx: &mut Cx<'_, Self>, package: Package, snapshot: Option<Snapshot>) {
        match package.open() {
            Ok(manifest) if !self.table.contains_key(&manifest.name) => {
                let name = manifest.name.clone();
                let snapshot = snapshot.filter(|_| !planted!("snapshot-not-restored"));
                let plugin = Plugin::new(cx, &mut self.shared, (manifest, package), snapshot, None);
                self.table.insert(name, plugin);
            }
            // It was installed again before this core was told of it.
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a plugin that was installed before cannot be restored"),
        }
    }

    fn on_install(&mut self, cx: &mut Cx<'_, Self>, request: u64, package: Package) -> Result<(), Refusal> {
        let manifest: Manifest = package.open()?;
        let name = manifest.name.clone();
        if self.shared.draining {
            return Err(Refusal::Ended(name));
        }
        if let Some(plugin) = self.table.get_mut(&name) {
            return plugin.install(cx, &mut self.shared, request, (manifest, package));
        }
        if self.table.len() >= PLUGINS_MAX {
            return Err(Refusal::Full(PLUGINS_MAX));
        }
        let plugin = Plugin::new(cx, &mut self.shared, (manifest, package), None, Some(request));
        self.table.insert(name, plugin);
        Ok(())
    }

    fn on_remove(&mut self, cx: &mut Cx<'_, Self>, name: &Name) -> Result<(), Refusal> {
        let plugin = self.table.remove(name).ok_or_else(|| self.no_such(name))?;
        plugin.close(cx, &mut self.shared);
        cx.emit(Out::Forget { name: name.clone() });
        Ok(())
    }

    fn no_such(&self, name: &Name) -> Refusal {
        Refusal::NoSuch { name: name.clone(), known: self.table.keys().cloned().collect() }
    }

    fn on_received(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, frame: Frame) {
        let Message::Extension(Extension::Message { name }) = frame.message else { return };
        match self.table.get_mut(&name) {
            Some(plugin) => {
                plugin.on_event(cx, &mut self.shared, extension::In::Message { peer, bytes: frame.body });
            }
            None => self.unknown += 1,
        }
    }

    fn on_presence(&mut self, cx: &mut Cx<'_, Self>, peer: PeerId, here: bool) {
        let changed = if here { self.shared.connected.insert(peer) } else { self.shared.connected.remove(&peer) };
        if !changed {
            return;
        }
        let event = if here { extension::In::Connected { peer } } else { extension::In::Disconnected { peer } };
        for plugin in self.table.values_mut() {
            plugin.on_event(cx, &mut self.shared, event.clone());
        }
    }

    /// Lets one plugin do something, and its entry go if it says so.
    fn with(
        &mut self,
        which: impl Fn(&Name, &Plugin) -> bool,
        work: impl FnOnce(&mut Plugin, &mut Shared) -> Fate,
    ) -> bool {
        let found = self.table.iter_mut().find(|(name, plugin)| which(name, plugin));
        let Some((name, plugin)) = found else { return false };
        if work(plugin, &mut self.shared) == Fate::Goes {
            let name = name.clone();
            self.table.remove(&name);
        }
        true
    }

    fn refused(cx: &mut Cx<'_, Self>, request: u64, result: Result<(), Refusal>) {
        if let Err(refusal) = result {
            cx.emit(Out::Reply { request, reply: Reply::Refused(refusal) });
        }
    }
}

impl Core for Plugins {
    type In = In;
    type Out = Out;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        // Numbers of a life before a panic mean nothing to this one.
        self.shared.next = cx.rng("numbers").u64() >> 1;
        cx.emit(Out::Guest(Command::CloseAll));
    }

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        self.shared.look_at_the_calendar(cx);
        match event {
            In::Restore { package, snapshot } => self.on_restore(cx, package, snapshot),
            In::Install { request, package } => {
                let result = self.on_install(cx, request, package);
                Self::refused(cx, request, result);
            }
            In::Remove { request, name } => {
                let reply = match self.on_remove(cx, &name) {
                    Ok(()) => Reply::Removed,
                    Err(refusal) => Reply::Refused(refusal),
                };
                cx.emit(Out::Reply { request, reply });
            }
            In::Ask { request, name, bytes } => {
                let result = match self.table.get_mut(&name) {
                    Some(plugin) => plugin.on_ask(cx, &mut self.shared, request, bytes),
                    None => Err(self.no_such(&name)),
                };
                Self::refused(cx, request, result);
            }
            In::List { request } => {
                let reply = Reply::List(self.table.values().map(Plugin::view).collect());
                cx.emit(Out::Reply { request, reply });
            }
            In::Lines { request, name } => {
                let reply = match self.table.get(&name) {
                    Some(plugin) => Reply::Lines(plugin.lines()),
                    None => Reply::Refused(self.no_such(&name)),
                };
                cx.emit(Out::Reply { request, reply });
            }
            In::Drain { request } => {
                self.shared.draining = true;
                self.drain = Some(request);
                self.table.values_mut().for_each(|plugin| plugin.advance(cx, &mut self.shared));
            }
            In::Received { peer, frame } => self.on_received(cx, peer, frame),
            In::Connected { peer } => self.on_presence(cx, peer, true),
            In::Disconnected { peer } => self.on_presence(cx, peer, false),
            In::To { name, event } => {
                let on = |plugin: &mut Plugin, shared: &mut Shared| {
                    plugin.on_answer(cx, shared, event);
                    Fate::Stays
                };
                self.with(|other, _| *other == name, on);
            }
            In::Saved { name, number, error } => {
                self.with(|other, _| *other == name, |plugin, shared| plugin.on_saved(cx, shared, number, error));
            }
            In::Guest(Event::Prepared { module, result }) => {
                let mut gone = Vec::new();
                for (name, plugin) in &mut self.table {
                    if plugin.on_prepared(cx, &mut self.shared, module, &result) == Fate::Goes {
                        gone.push(name.clone());
                    }
                }
                gone.iter().for_each(|name| _ = self.table.remove(name));
            }
            In::Guest(Event::Ended { instance, lines, result }) => {
                let found = self.with(
                    |_, plugin| plugin.has_instance(instance),
                    |plugin, shared| plugin.on_ended(cx, shared, lines, result),
                );
                if !found {
                    // Of a plugin that was removed meanwhile, or of a life before a panic.
                    cx.emit(Out::Guest(Command::Close { instance }));
                }
            }
            In::Guest(Event::Lost { reason }) => {
                self.table.values_mut().for_each(|plugin| plugin.on_lost(cx, &mut self.shared, &reason));
            }
            In::Timer { instance, id } => {
                let on = |plugin: &mut Plugin, shared: &mut Shared| {
                    plugin.on_timer(cx, shared, instance, id);
                    Fate::Stays
                };
                self.with(|_, plugin| plugin.has_instance(instance), on);
            }
            In::Rested { instance } => {
                let on = |plugin: &mut Plugin, shared: &mut Shared| {
                    plugin.on_rested(cx, shared, instance);
                    Fate::Stays
                };
                self.with(|_, plugin| plugin.has_instance(instance), on);
            }
            In::Late { request } => {
                let on = |plugin: &mut Plugin, _: &mut Shared| {
                    plugin.on_late(cx, request);
                    Fate::Stays
                };
                self.with(|_, plugin| plugin.has_ask(request), on);
            }
        }
        if self.drain.is_some()
            && self.table.values().all(Plugin::is_drained)
            && let Some(request) = self.drain.take()
        {
            cx.emit(Out::Reply { request, reply: Reply::Drained });
        }
    }
}
