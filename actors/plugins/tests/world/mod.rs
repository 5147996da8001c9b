//! [`World`]: the actor on a virtual clock with a real sandbox, a store and a user; [`Guest`]: a plugin for every purpose,
//! written as text.

#![allow(dead_code, reason = "every test file uses another part")]

use bytes::Bytes;
use pangea_kernel::testbed::Testbed;
use pangea_plugins::{
    Out as Want, Plugins,
    api::{In, Out, Package, Reply, Snapshot, View},
    extension,
};
use pangea_protocols::{
    PeerId,
    cbor::Writer,
    guest::{Command, Event},
    task::Refusal,
    wire::{
        Frame, Message,
        extension::{Extension, Name},
    },
};
use pangea_sandbox::{Guests, engine::Wasmi};
use std::{collections::BTreeMap, fmt, time::Duration};

/// A writer of CBOR.
pub fn cbor() -> Writer {
    Writer::default()
}

/// What an ask came to, as text.
pub fn text(reply: Option<Reply>) -> Result<String, String> {
    match reply {
        Some(Reply::Answer(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Some(Reply::Refused(refusal)) => Err(refusal.to_string()),
        other => Err(format!("no answer: {other:?}")),
    }
}

/// What the store has of a plugin.
#[derive(Clone, Debug)]
pub struct Kept {
    pub package: Package,
    pub snapshot: Option<Snapshot>,
}

pub struct World {
    bed: Testbed<Plugins>,
    guests: Guests,
    store: BTreeMap<Name, Kept>,
    replies: BTreeMap<u64, Reply>,
    next: u64,
    held: Vec<Command>,
    /// Calls of guests do not end.
    pub hold: bool,
    /// Nothing can be saved.
    pub disk_fails: bool,
    /// Nothing is said of what has been saved, until [`World::disk_answers`].
    pub disk_waits: bool,
    saved: Vec<In>,
    /// Messages to peers: whom, what.
    pub sent: Vec<(u8, String)>,
    /// What plugins wanted of the node, as text.
    pub wanted: Vec<String>,
    questions: Vec<(Name, Want)>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.replies, self.sent)
    }
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            bed: Testbed::new(Plugins::new(PeerId([99; 32]))),
            guests: Guests::new(Wasmi::new().unwrap(), u64::MAX),
            store: BTreeMap::new(),
            replies: BTreeMap::new(),
            next: 0,
            held: Vec::new(),
            hold: false,
            disk_fails: false,
            disk_waits: false,
            saved: Vec::new(),
            sent: Vec::new(),
            wanted: Vec::new(),
            questions: Vec::new(),
        };
        world.run(Duration::ZERO);
        world
    }

    pub fn actor(&self) -> &Plugins {
        &self.bed.core
    }

    /// The node ends abruptly and starts again.
    pub fn restart(&mut self) {
        self.bed = Testbed::with_seed(Plugins::new(PeerId([99; 32])), self.next);
        self.run(Duration::ZERO);
        for kept in self.store.clone().into_values() {
            self.send(In::Restore { package: kept.package, snapshot: kept.snapshot });
        }
    }

    pub fn send(&mut self, event: In) {
        let out = self.bed.send(event);
        self.carry_out(out);
    }

    pub fn run(&mut self, duration: Duration) {
        // In small steps, so that what is answered in between sets its timers.
        let mut left = duration;
        loop {
            let step = left.min(Duration::from_millis(5));
            let out = self.bed.advance(step);
            self.carry_out(out);
            left -= step;
            if left.is_zero() {
                return;
            }
        }
    }

    fn carry_out(&mut self, out: Vec<Out>) {
        for out in out {
            match out {
                Out::Guest(command) if self.hold => self.held.push(command),
                Out::Guest(command) => self.guest(command),
                Out::From { name, out: Want::Send { peer, bytes }, .. } => {
                    let _ = name;
                    self.sent.push((peer.0[0], String::from_utf8_lossy(&bytes).into_owned()));
                }
                Out::From { name, out, .. } => {
                    self.wanted.push(match &out {
                        Want::Store { name, bytes, .. } => format!("store {name} {}", String::from_utf8_lossy(bytes)),
                        Want::Fetch { ticket, .. } => format!("fetch {ticket}"),
                        other => format!("{other:?}"),
                    });
                    self.questions.push((name, out));
                }
                Out::Save { name, number, package, snapshot } => {
                    let error = self.disk_fails.then(|| "full".to_owned());
                    if error.is_none() {
                        self.keep(&name, package, snapshot);
                    }
                    let saved = In::Saved { name, number, error };
                    if self.disk_waits { self.saved.push(saved) } else { self.send(saved) }
                }
                Out::Forget { name } => _ = self.store.remove(&name),
                Out::Reply { request, reply } => {
                    assert!(self.replies.insert(request, reply).is_none(), "{request} is answered twice");
                }
            }
        }
    }

    fn keep(&mut self, name: &Name, package: Option<Package>, snapshot: Option<Snapshot>) {
        if let Some(package) = package {
            let old = self.store.remove(name).and_then(|kept| kept.snapshot);
            self.store.insert(name.clone(), Kept { package, snapshot: snapshot.or(old) });
        } else if let Some(kept) = self.store.get_mut(name) {
            kept.snapshot = snapshot;
        }
    }

    fn guest(&mut self, command: Command) {
        if let Some(event) = self.guests.finish(command) {
            self.send(In::Guest(event));
        }
    }

    /// Where guests run is gone. Of what is held back, so much was being done; the rest waits.
    pub fn lose_guests(&mut self, at_it: usize) {
        self.guests = Guests::new(Wasmi::new().unwrap(), u64::MAX);
        let failed: Vec<Command> = self.held.drain(..at_it).collect();
        let killed = || Refusal::Node { message: "killed".to_owned() };
        for command in failed {
            self.send(In::Guest(match command {
                Command::Prepare { module, .. } => Event::Prepared { module, result: Err(killed()) },
                Command::Call { instance, .. } => Event::Ended { instance, lines: Vec::new(), result: Err(killed()) },
                other => panic!("{other:?} is not answered"),
            }));
        }
        self.send(In::Guest(Event::Lost { reason: "killed".to_owned() }));
    }

    /// What was held back is done, and what comes of that.
    pub fn let_go(&mut self) {
        self.hold = false;
        for command in std::mem::take(&mut self.held) {
            self.guest(command);
        }
    }

    /// Does the oldest of what was held back.
    pub fn step(&mut self) {
        let command = self.held.remove(0);
        self.guest(command);
    }

    /// The disk says what it has saved.
    pub fn disk_answers(&mut self) {
        self.disk_waits = false;
        std::mem::take(&mut self.saved).into_iter().for_each(|saved| self.send(saved));
    }

    /// Answers what plugins wanted of the node.
    pub fn answer_wanted(&mut self) {
        for (name, out) in std::mem::take(&mut self.questions) {
            let request = out.request().unwrap();
            let event = match out {
                Want::Fetch { .. } => extension::In::Fetched { request, bytes: "object".into() },
                _ => extension::In::Stored { request, ticket: "ticket".to_owned() },
            };
            self.send(In::To { name, event });
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn install_only(&mut self, manifest: &str, module: &[u8]) -> u64 {
        let request = self.number();
        let package = Package { manifest: manifest.to_owned(), module: Bytes::copy_from_slice(module) };
        self.send(In::Install { request, package });
        request
    }

    pub fn install(&mut self, manifest: &str, module: &[u8]) -> Reply {
        let request = self.install_only(manifest, module);
        self.reply(request).expect("an install is answered")
    }

    /// Installs what will not be, and returns why not.
    pub fn refused(&mut self, manifest: &str, guest: &Guest) -> String {
        let reply = self.install(manifest, &guest.wasm());
        assert!(self.list().is_empty() && self.instances() == 0 && self.store.is_empty());
        text(Some(reply)).unwrap_err()
    }

    pub fn remove(&mut self, name: &str) {
        let request = self.number();
        self.send(In::Remove { request, name: name.parse().unwrap() });
        assert_eq!(self.reply(request), Some(Reply::Removed));
    }

    pub fn ask_only(&mut self, name: &str, bytes: &str) -> u64 {
        let request = self.number();
        self.send(In::Ask { request, name: name.parse().unwrap(), bytes: Bytes::copy_from_slice(bytes.as_bytes()) });
        if !self.hold {
            self.let_go();
        }
        request
    }

    pub fn ask(&mut self, name: &str, bytes: &str) -> Result<String, String> {
        let request = self.ask_only(name, bytes);
        text(self.reply(request))
    }

    pub fn reply(&self, request: u64) -> Option<Reply> {
        self.replies.get(&request).cloned()
    }

    pub fn drain(&mut self) -> Option<Reply> {
        let request = self.number();
        self.send(In::Drain { request });
        self.reply(request)
    }

    pub fn list(&mut self) -> Vec<View> {
        let request = self.number();
        self.send(In::List { request });
        match self.reply(request) {
            Some(Reply::List(views)) => views,
            other => panic!("{other:?}"),
        }
    }

    pub fn view(&mut self, name: &str) -> View {
        self.list().into_iter().find(|view| view.name.as_str() == name).unwrap()
    }

    pub fn connect(&mut self, peer: u8) {
        self.send(In::Connected { peer: PeerId([peer; 32]) });
    }

    pub fn hear(&mut self, name: &str, peer: u8, payload: &str) {
        let message = Message::Extension(Extension::Message { name: name.parse().unwrap() });
        let frame = Frame { message, body: Bytes::copy_from_slice(payload.as_bytes()) };
        self.send(In::Received { peer: PeerId([peer; 32]), frame });
    }

    /// Instances in the sandbox.
    pub fn instances(&self) -> usize {
        self.guests.instances()
    }

    /// What the store has of the only plugin.
    pub fn kept(&self) -> Option<&Kept> {
        self.store.values().next()
    }
}

/// A plugin, as text: what it does on which event.
#[derive(Clone, Default)]
pub struct Guest {
    imports: String,
    data: String,
    at: usize,
    bodies: String,
    returns: String,
}

impl Guest {
    /// It does nothing.
    pub fn new() -> Self {
        Self { at: 1024, ..Self::default() }
    }

    pub fn import(mut self, name: &str, function: &str) -> Self {
        self.imports += &format!("(import \"pangea\" \"{name}\" {function})");
        self
    }

    /// Runs `wat` when an event of this name comes.
    pub fn body(mut self, event: &str, wat: &str) -> Self {
        self.bodies += &format!("(if {} (then {wat}))\n", is(event));
        self
    }

    pub fn traps(self, event: &str) -> Self {
        self.body(event, "unreachable")
    }

    /// Sends these actions when an event of this name comes.
    pub fn does(mut self, event: &str, actions: &[&[u8]]) -> Self {
        let mut body = String::new();
        for action in actions {
            let hex: String = action.iter().map(|byte| format!("\\{byte:02x}")).collect();
            self.data += &format!("(data (i32.const {}) \"{hex}\")", self.at);
            body += &format!("(call $send (i32.const {}) (i32.const {}))", self.at, action.len());
            self.at += action.len();
        }
        self.body(event, &body)
    }

    /// Returns `len` bytes at `at` for an event of this name.
    pub fn answers(mut self, event: &str, at: u64, len: u64) -> Self {
        self.returns += &format!("(if {} (then (return (i64.const {}))))", is(event), at << 32 | len);
        self
    }

    pub fn manifest(&self, more: &str) -> String {
        let capabilities = if more.contains("capabilities") { "" } else { "capabilities = ['send']\n" };
        format!("name = 'guest'\nversion = '1'\nmodule = 'guest.wasm'\n{capabilities}{more}")
    }

    pub fn wasm(&self) -> Vec<u8> {
        let Self { imports, data, bodies, returns, .. } = self;
        let text = format!(
            r#"(module (import "pangea" "send" (func $send (param i32 i32))) {imports}
                (memory (export "memory") 2) {data}
                (global $id (mut i32) (i32.const 0))
                ;; ["timer", id, 1], with another id each time.
                (data (i32.const 512) "\83\65timer\18\00\01")
                (func $timers
                    (global.set $id (i32.add (global.get $id) (i32.const 1)))
                    (i32.store8 (i32.const 520) (i32.add (global.get $id) (i32.const 24)))
                    (call $send (i32.const 512) (i32.const 10)))
                (func (export "alloc") (param i32) (result i32) (i32.const 65536))
                (func (export "handle") (param $ptr i32) (param $len i32) (result i64) (local $i i32)
                    {bodies} {returns} (i64.const 0)))"#
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

/// Is this the event? Two letters tell.
fn is(event: &str) -> String {
    let letters = event.as_bytes();
    // Its name begins at 2; the third letter tells `started` from `stored`.
    let at = |n: usize| format!("(i32.eq (i32.load8_u offset={} (local.get $ptr)) (i32.const {}))", n + 2, letters[n]);
    format!("(i32.and {} (i32.and {} {}))", at(0), at(1), at(2))
}
