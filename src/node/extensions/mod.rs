//! Extensions of a node: native actors that were added when it was built, and plugins. What both hear and want stands in
//! [`pangea_plugins::extension`].
//!
//! | file | its job |
//! |---|---|
//! | `mod.rs` | [`Extensions`]: how to send to all of them; [`Native`]: an actor that is added |
//! | `desk.rs` | [`desk::Desk`]: what they ask of the node, and who asks them |
//! | `services.rs` | storing, fetching and removing objects for them |
//! | `folder.rs` | the folder that one of them may see |

pub mod desk;
mod folder;
pub mod services;

pub use desk::{DeskIn, ExtensionsHandle};

use bytes::Bytes;
use pangea_kernel::{Core, Host, Options, Port, Rejected, Slot, planted};
use pangea_plugins::{
    api,
    extension::{In, Out},
};
use pangea_protocols::{
    PeerId,
    wire::{
        Frame, Message,
        extension::{BadName, Extension, Name},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Frames of peers that may wait for a native extension.
const FRAMES_WAITING_MAX: usize = 256;

/// Carries what a native extension wants to where it goes.
pub type Outlet = Box<dyn FnMut(Out) + Send>;

/// A native extension before its node starts.
pub struct Native<H> {
    name: Name,
    /// Makes its mailbox.
    slot: Mount<H>,
}

type Mount<H> = Box<dyn FnOnce(&H) -> (Line, Start<H>) + Send>;
type Start<H> = Box<dyn FnOnce(&H, Outlet)>;

/// A native extension that has its mailbox.
pub struct Mounted<H> {
    name: Name,
    line: Line,
    start: Start<H>,
}

#[derive(Clone)]
struct Line {
    port: Port<In>,
    /// The same, for what peers say.
    frames: Port<In>,
}

/// Why an actor cannot be added to a node.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// It has no proper name.
    #[error("`{name}` cannot be the name of an actor: {error}")]
    Name { name: &'static str, error: BadName },
    /// The name is taken.
    #[error("two actors of the node are called `{0}`")]
    Twice(Name),
}

impl<H: Host + 'static> Native<H> {
    /// An actor over the types of extensions. `name` is what it is called in metrics, on the wire and at the control API;
    /// `build` makes its core, and makes it again after a panic.
    ///
    /// # Errors
    /// [`NativeError::Name`].
    pub fn new<C: Core<In = In, Out = Out>>(
        name: &'static str,
        build: impl FnMut() -> C + Send + 'static,
    ) -> Result<Self, NativeError> {
        let checked = name.parse().map_err(|error| NativeError::Name { name, error })?;
        let slot = move |host: &H| {
            let slot: H::Slot<C> = host.slot(name, Options::default());
            let line = Line { port: slot.port(), frames: slot.port_up_to(FRAMES_WAITING_MAX) };
            let start: Start<H> = Box::new(move |host: &H, outlet| host.start(slot, build, outlet));
            (line, start)
        };
        Ok(Self { name: checked, slot: Box::new(slot) })
    }

    /// Makes the mailboxes of all; each must have a name that no other actor of the node has.
    ///
    /// # Errors
    /// [`NativeError::Twice`].
    pub fn mount(natives: Vec<Self>, host: &H, others: &[&str]) -> Result<Vec<Mounted<H>>, NativeError> {
        let mut names: BTreeSet<String> = others.iter().map(|name| (*name).to_owned()).collect();
        let mut mounted = Vec::new();
        for Self { name, slot } in natives {
            if !names.insert(name.to_string()) {
                return Err(NativeError::Twice(name));
            }
            let (line, start) = slot(host);
            mounted.push(Mounted { name, line, start });
        }
        Ok(mounted)
    }
}

impl<H> Mounted<H> {
    /// Starts the actor. `outlet` gets its name with everything that it wants.
    pub fn start(self, host: &H, outlet: impl Fn(&Name, Out) + Send + 'static) {
        let Self { name, start, .. } = self;
        start(host, Box::new(move |out| outlet(&name, out)));
    }
}

/// How to send to every extension.
#[derive(Clone)]
pub struct Extensions {
    /// The plugins actor.
    pub plugins: Port<api::In>,
    plugin_frames: Port<api::In>,
    natives: Arc<BTreeMap<Name, Line>>,
}

impl Extensions {
    /// Of these; peers get a part of each mailbox only.
    pub fn new<H>(plugins: Port<api::In>, plugin_frames: Port<api::In>, natives: &[Mounted<H>]) -> Self {
        let natives = natives.iter().map(|native| (native.name.clone(), native.line.clone())).collect();
        Self { plugins, plugin_frames, natives: Arc::new(natives) }
    }

    /// Names of the native ones.
    pub fn natives(&self) -> impl Iterator<Item = &Name> {
        self.natives.keys()
    }

    /// Sends to a native one; `None` if there is none of that name.
    pub fn native(&self, name: &Name, event: In) -> Option<Result<(), Rejected<In>>> {
        Some(self.natives.get(name)?.port.send(event))
    }

    /// A peer is there, or gone.
    pub fn on_presence(&self, peer: PeerId, here: bool) {
        let plugins = if here { api::In::Connected { peer } } else { api::In::Disconnected { peer } };
        if !planted!("presence-not-passed") {
            counted("plugins", self.plugins.send(plugins));
        }
        for line in self.natives.values() {
            let event = if here { In::Connected { peer } } else { In::Disconnected { peer } };
            counted("native", line.port.send(event));
        }
    }

    /// A frame goes to the native extension of its name, or to the plugins. When a mailbox is full it is dropped: what
    /// extensions say to each other may be lost, and must not hold up what the node says.
    pub fn on_frame(&self, peer: PeerId, frame: Frame) {
        let Message::Extension(Extension::Message { name }) = &frame.message else { return };
        match self.natives.get(name) {
            Some(line) => counted("native", line.frames.send(In::Message { peer, bytes: frame.body })),
            None => counted("plugins", self.plugin_frames.send(api::In::Received { peer, frame })),
        }
    }
}

/// What an extension says to the same one of a peer.
pub fn frame(name: Name, bytes: Bytes) -> Frame {
    Frame { message: Message::Extension(Extension::Message { name }), body: bytes }
}

fn counted<M>(receiver: &'static str, sent: Result<(), Rejected<M>>) {
    if let Err(Rejected::Full(_)) = sent {
        tracing::debug!(receiver, "mailbox full: a message for an extension was dropped");
    }
}
