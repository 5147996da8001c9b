//! [`Desk`]: the place where what extensions want of the node, and what users want of extensions, meet their answers. The
//! hub of extensions: one task that never waits; slow work runs in tasks of its own.

use super::{
    Extensions,
    services::{self, Storing},
};
use crate::{node::NodeHandle, store::StoreThread};
use bytes::Bytes;
use pangea_kernel::{Port, Rejected};
use pangea_plugins::{
    api::{self, Package, Refusal, Reply, Snapshot, View},
    extension::{In, Out},
};
use pangea_protocols::{
    PeerId,
    guest::Line,
    job::{ErrorKind, JobError},
    net,
    wire::extension::Name,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Messages of actors that may wait for the desk.
const INBOX_MAX: usize = 8192;
/// Questions of users that may wait for the desk, and for answers.
const QUESTIONS_MAX: usize = 1024;
/// Objects that are stored, fetched or removed for extensions at a time.
const SERVICES_MAX: usize = 8;
/// Those that wait, beyond what the plugins actor bounds: of native extensions.
const WAITING_MAX: usize = 4096;
/// How often the desk looks at what waits …
const ROUND: Duration = Duration::from_secs(1);
/// … and how many rounds a question waits. Longer than the plugins actor gives a plugin.
const QUESTION_ROUNDS: u64 = 35;
/// Lines of a native extension that are kept.
const LINES_MAX: usize = 256;

/// What actors tell the desk.
#[derive(Clone, Debug)]
pub enum DeskIn {
    /// From the plugins actor.
    Plugins(api::Out),
    /// From a native extension.
    Native { name: Name, out: Out },
    /// The core of an actor panicked and is rebuilt: what it knew is gone.
    Restarted { actor: &'static str },
}

/// What users ask.
#[derive(Debug)]
enum Question {
    Install(Package),
    Remove(Name),
    Ask { name: Name, bytes: Bytes },
    List,
    Lines(Name),
    Drain,
}

type Asked = (Question, oneshot::Sender<Reply>);

/// Asks about extensions.
#[derive(Clone, Debug)]
pub struct ExtensionsHandle {
    questions: mpsc::Sender<Asked>,
}

/// The desk's ends of its queues, before it runs.
pub struct Inboxes {
    messages: mpsc::Receiver<DeskIn>,
    questions: mpsc::Receiver<Asked>,
}

/// The port for actors, the handle for users, and what the desk will read.
pub fn queues() -> (Port<DeskIn>, ExtensionsHandle, Inboxes) {
    let (sender, messages) = mpsc::channel(INBOX_MAX);
    let (asker, questions) = mpsc::channel(QUESTIONS_MAX);
    let port = Port::new(move |message| {
        sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message) => Rejected::Full(message),
            mpsc::error::TrySendError::Closed(message) => Rejected::Closed(message),
        })
    });
    (port, ExtensionsHandle { questions: asker }, Inboxes { messages, questions })
}

impl ExtensionsHandle {
    async fn ask(&self, question: Question) -> Result<Reply, JobError> {
        let (reply, answer) = oneshot::channel();
        let stopped = |_| JobError::new(ErrorKind::Failed, "the node is shutting down");
        self.questions.send((question, reply)).await.map_err(|_| stopped(()))?;
        let lost = |_| JobError::new(ErrorKind::Failed, "the node gave no answer: it is overloaded or shutting down");
        match answer.await.map_err(lost)? {
            Reply::Refused(refusal) => Err(JobError::new(kind_of(&refusal), refusal.to_string())),
            reply => Ok(reply),
        }
    }

    /// Runs a plugin, or replaces the one of that name. Returns it, and the version that it has replaced.
    ///
    /// # Errors
    /// Every method fails with [`JobError`]: the plugins actor's refusal, or "shutting down" once the node stops.
    pub async fn install(&self, package: Package) -> Result<(View, Option<String>), JobError> {
        match self.ask(Question::Install(package)).await? {
            Reply::Installed { view, replaced } => Ok((view, replaced)),
            other => Err(strange(&other)),
        }
    }

    /// Stops a plugin, and forgets it and all that it kept.
    pub async fn remove(&self, name: Name) -> Result<(), JobError> {
        self.ask(Question::Remove(name)).await.map(|_| ())
    }

    /// Asks an extension, native or not.
    pub async fn command(&self, name: Name, bytes: Bytes) -> Result<Bytes, JobError> {
        match self.ask(Question::Ask { name, bytes }).await? {
            Reply::Answer(bytes) => Ok(bytes),
            other => Err(strange(&other)),
        }
    }

    /// All plugins.
    pub async fn list(&self) -> Result<Vec<View>, JobError> {
        match self.ask(Question::List).await? {
            Reply::List(views) => Ok(views),
            other => Err(strange(&other)),
        }
    }

    /// What an extension has logged lately, oldest first.
    pub async fn lines(&self, name: Name) -> Result<Vec<Line>, JobError> {
        match self.ask(Question::Lines(name)).await? {
            Reply::Lines(lines) => Ok(lines),
            other => Err(strange(&other)),
        }
    }

    /// Has all of them save what they know; nothing is started after it.
    pub async fn drain(&self) -> Result<(), JobError> {
        self.ask(Question::Drain).await.map(|_| ())
    }
}

fn strange(reply: &Reply) -> JobError {
    JobError::new(ErrorKind::Failed, format!("the plugins gave another answer than was asked for: {reply:?}"))
}

fn kind_of(refusal: &Refusal) -> ErrorKind {
    match refusal {
        Refusal::NoSuch { .. } => ErrorKind::NotFound,
        Refusal::Manifest(_) | Refusal::NoCommand { .. } | Refusal::Schema { .. } => ErrorKind::Usage,
        Refusal::Module(_) => ErrorKind::Denied,
        Refusal::Full(_) => ErrorKind::Quota,
        Refusal::Late { .. } => ErrorKind::Unreachable,
        _ => ErrorKind::Failed,
    }
}

/// See the module.
pub struct Desk {
    me: PeerId,
    extensions: Extensions,
    network: Port<net::Command>,
    node: NodeHandle,
    store: StoreThread,
    storing: Storing,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Who waits for which number, and since which round.
    pending: BTreeMap<u64, (u64, oneshot::Sender<Reply>)>,
    lines: BTreeMap<Name, VecDeque<Line>>,
    round: u64,
    next: u64,
}

impl Desk {
    /// The desk of a node.
    pub fn new(
        me: PeerId,
        extensions: Extensions,
        network: Port<net::Command>,
        node: NodeHandle,
        store: StoreThread,
        storing: Storing,
    ) -> Self {
        Self {
            me,
            extensions,
            network,
            node,
            store,
            storing,
            permits: Arc::new(Semaphore::new(SERVICES_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            pending: BTreeMap::new(),
            lines: BTreeMap::new(),
            round: 0,
            next: 0,
        }
    }

    /// Runs until the node has stopped.
    pub async fn run(mut self, inboxes: Inboxes) {
        let Inboxes { mut messages, mut questions } = inboxes;
        self.restore();
        for name in self.extensions.natives().cloned().collect::<Vec<_>>() {
            self.begin(name);
        }
        let mut rounds = tokio::time::interval(ROUND);
        loop {
            tokio::select! {
                _ = rounds.tick() => {
                    self.round += 1;
                    let round = self.round;
                    self.pending.retain(|_, (asked, _)| round - *asked <= QUESTION_ROUNDS);
                }
                message = messages.recv() => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                Some((question, reply)) = questions.recv() => self.on_question(question, reply),
            }
        }
    }

    /// Tells the plugins actor what is installed.
    fn restore(&self) {
        let plugins = self.extensions.plugins.clone();
        self.store.run(move |store| match store.load_plugins() {
            Ok(all) => {
                for (package, snapshot) in all {
                    if plugins.send(api::In::Restore { package, snapshot }).is_err() {
                        tracing::error!("the mailbox of the plugins actor is full: a plugin is not started");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "plugins could not be read"),
        });
    }

    /// The first event of a native extension.
    fn begin(&self, name: Name) {
        let (me, extensions) = (self.me, self.extensions.clone());
        self.store.run(move |store| {
            let snapshot = store.load_snapshot(name.as_str()).unwrap_or_else(|error| {
                tracing::error!(%error, "the snapshot of an actor could not be read");
                None
            });
            let snapshot = snapshot.map(|snapshot| snapshot.bytes);
            let started = In::Started { me, config: BTreeMap::new(), snapshot, peers: Vec::new() };
            let _ = extensions.native(&name, started);
        });
    }

    fn on_message(&mut self, message: DeskIn) {
        match message {
            DeskIn::Plugins(out) => self.on_plugins(out),
            DeskIn::Native { name, out } => self.on_native(name, out),
            DeskIn::Restarted { actor } if actor == crate::node::wiring::PLUGINS => {
                self.restore();
                let _ = self.network.send(net::Command::WhoIsConnected);
            }
            DeskIn::Restarted { actor } => {
                if let Some(name) = self.extensions.natives().find(|name| name.as_str() == actor).cloned() {
                    self.begin(name);
                    let _ = self.network.send(net::Command::WhoIsConnected);
                }
            }
        }
    }

    fn on_plugins(&mut self, out: api::Out) {
        match out {
            api::Out::From { name, folder, out } => {
                let plugins = self.extensions.plugins.clone();
                self.serve(folder, out, move |event| {
                    let _ = plugins.send(api::In::To { name, event });
                });
            }
            api::Out::Save { name, number, package, snapshot } => {
                let plugins = self.extensions.plugins.clone();
                self.store.run(move |store| {
                    let saved = store.save_plugin(&name, package.as_ref(), snapshot.as_ref());
                    let error = saved.err().map(|error| error.to_string());
                    let _ = plugins.send(api::In::Saved { name, number, error });
                });
            }
            api::Out::Forget { name } => self.store.run(move |store| {
                if let Err(error) = store.forget_plugin(&name) {
                    tracing::error!(%error, plugin = %name, "a plugin could not be forgotten");
                }
            }),
            api::Out::Reply { request, reply } => self.reply(request, reply),
            // The wiring sends them elsewhere.
            api::Out::Guest(_) => {}
        }
    }

    fn on_native(&mut self, name: Name, out: Out) {
        match out {
            Out::Answer { request, bytes } => self.reply(request, Reply::Answer(bytes)),
            Out::Refuse { request, reason } => self.reply(request, Reply::Refused(Refusal::Plugin(reason))),
            Out::Snapshot { bytes } => {
                let extensions = self.extensions.clone();
                self.store.run(move |store| {
                    let saved = store.save_plugin(&name, None, Some(&Snapshot { schema: 0, bytes }));
                    let error = saved.err().map(|error| error.to_string());
                    let _ = extensions.native(&name, In::Saved { error });
                });
            }
            Out::Log { level, text } => {
                tracing::debug!(target: "pangea::extension", actor = %name, level, "{text}");
                let lines = self.lines.entry(name).or_default();
                if lines.len() == LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(Line { level, text });
            }
            // The wiring sends it to the network.
            Out::Send { .. } => {}
            out => {
                let extensions = self.extensions.clone();
                self.serve(None, out, move |event| {
                    let _ = extensions.native(&name, event);
                });
            }
        }
    }

    /// Does something slow, a few at a time.
    fn serve(&self, folder: Option<String>, out: Out, tell: impl FnOnce(In) + Send + 'static) {
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            if let Some(request) = out.request() {
                tell(In::Failed { request, reason: "the node is overloaded".to_owned() });
            }
            return;
        };
        let (node, storing, permits) = (self.node.clone(), self.storing, Arc::clone(&self.permits));
        tokio::spawn(async move {
            let _permit = permits.acquire().await;
            if let Some(event) = services::serve(&node, storing, folder, out).await {
                tell(event);
            }
            drop(place);
        });
    }

    /// Passes a question on. Who asks beyond the limit hears at once that there is no answer.
    fn on_question(&mut self, question: Question, reply: oneshot::Sender<Reply>) {
        if self.pending.len() >= QUESTIONS_MAX {
            return;
        }
        self.next += 1;
        let request = self.next;
        let plugins = &self.extensions.plugins;
        let sent = match question {
            Question::Install(package) => plugins.send(api::In::Install { request, package }).is_ok(),
            Question::Remove(name) => plugins.send(api::In::Remove { request, name }).is_ok(),
            Question::Ask { name, bytes } => {
                match self.extensions.native(&name, In::Ask { request, bytes: bytes.clone() }) {
                    Some(sent) => sent.is_ok(),
                    None => plugins.send(api::In::Ask { request, name, bytes }).is_ok(),
                }
            }
            Question::List => plugins.send(api::In::List { request }).is_ok(),
            Question::Lines(name) if self.extensions.natives().any(|native| *native == name) => {
                let lines = self.lines.get(&name).into_iter().flatten().cloned().collect();
                let _ = reply.send(Reply::Lines(lines));
                return;
            }
            Question::Lines(name) => plugins.send(api::In::Lines { request, name }).is_ok(),
            Question::Drain => {
                for name in self.extensions.natives() {
                    let _ = self.extensions.native(name, In::Drain);
                }
                plugins.send(api::In::Drain { request }).is_ok()
            }
        };
        if sent {
            self.pending.insert(request, (self.round, reply));
        }
    }

    fn reply(&mut self, request: u64, reply: Reply) {
        if let Some((_, waiting)) = self.pending.remove(&request) {
            let _ = waiting.send(reply);
        }
    }
}
