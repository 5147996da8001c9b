//! [`Tenant`]: how a node speaks to its extension: [`Hosted`] to the plugins actor, [`Native`] to a core over the types of
//! [`pangea_plugins::extension`].

use bytes::Bytes;
use pangea_kernel::Core;
use pangea_plugins::{
    Plugins,
    api::{self, Package, Reply, Snapshot},
    extension,
};
use pangea_protocols::{
    PeerId, guest,
    wire::{
        Frame, Message,
        extension::{Extension, Name},
    },
};
use std::{collections::BTreeMap, marker::PhantomData};

/// What a node tells its core.
pub enum Heard {
    Started { me: PeerId, snapshot: Option<Bytes> },
    Install { request: u64, package: Package },
    Restore { package: Package, snapshot: Option<Snapshot> },
    Message { name: Name, peer: PeerId, bytes: Bytes },
    Ask { request: u64, name: Name, bytes: Bytes },
    Connected(PeerId),
    Disconnected(PeerId),
    Saved { name: Name, number: u64, error: Option<String> },
    Node { name: Name, event: extension::In },
    Guest(guest::Event),
}

/// What a core wants of its node.
pub enum Wants {
    Send { name: Name, to: PeerId, bytes: Bytes },
    Guest(guest::Command),
    Save { name: Name, number: u64, package: Option<Package>, snapshot: Option<Snapshot> },
    Forget(Name),
    Node { name: Name, out: extension::Out },
    Answer { request: u64, result: Result<String, String> },
}

/// A kind of core that a [`super::Site`] can have.
pub trait Tenant: 'static {
    /// The core.
    type Core: Core;
    /// In its words; `None` for what it does not hear.
    fn hears(heard: Heard) -> Option<<Self::Core as Core>::In>;
    /// In ours; `None` for what nobody carries out.
    fn wants(out: <Self::Core as Core>::Out) -> Option<Wants>;
}

/// Plugins.
pub struct Hosted;

impl Tenant for Hosted {
    type Core = Plugins;

    fn hears(heard: Heard) -> Option<api::In> {
        Some(match heard {
            Heard::Started { .. } => return None,
            Heard::Install { request, package } => api::In::Install { request, package },
            Heard::Restore { package, snapshot } => api::In::Restore { package, snapshot },
            Heard::Message { name, peer, bytes } => {
                let frame = Frame { message: Message::Extension(Extension::Message { name }), body: bytes };
                api::In::Received { peer, frame }
            }
            Heard::Ask { request, name, bytes } => api::In::Ask { request, name, bytes },
            Heard::Connected(peer) => api::In::Connected { peer },
            Heard::Disconnected(peer) => api::In::Disconnected { peer },
            Heard::Saved { name, number, error } => api::In::Saved { name, number, error },
            Heard::Node { name, event } => api::In::To { name, event },
            Heard::Guest(event) => api::In::Guest(event),
        })
    }

    fn wants(out: api::Out) -> Option<Wants> {
        Some(match out {
            api::Out::Guest(command) => Wants::Guest(command),
            api::Out::From { name, out: extension::Out::Send { peer, bytes }, .. } => {
                Wants::Send { name, to: peer, bytes }
            }
            api::Out::From { name, out, .. } => Wants::Node { name, out },
            api::Out::Save { name, number, package, snapshot } => Wants::Save { name, number, package, snapshot },
            api::Out::Forget { name } => Wants::Forget(name),
            api::Out::Reply { request, reply } => {
                let result = match reply {
                    Reply::Answer(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                    Reply::Refused(refusal) => Err(refusal.to_string()),
                    _ => return None,
                };
                Wants::Answer { request, result }
            }
        })
    }
}

/// A native extension.
pub struct Native<C>(PhantomData<C>);

impl<C: Core<In = extension::In, Out = extension::Out>> Tenant for Native<C> {
    type Core = C;

    fn hears(heard: Heard) -> Option<extension::In> {
        Some(match heard {
            Heard::Started { me, snapshot } => {
                extension::In::Started { me, config: BTreeMap::new(), snapshot, peers: Vec::new() }
            }
            Heard::Message { peer, bytes, .. } => extension::In::Message { peer, bytes },
            Heard::Ask { request, bytes, .. } => extension::In::Ask { request, bytes },
            Heard::Connected(peer) => extension::In::Connected { peer },
            Heard::Disconnected(peer) => extension::In::Disconnected { peer },
            Heard::Saved { error, .. } => extension::In::Saved { error },
            Heard::Node { event, .. } => event,
            Heard::Install { .. } | Heard::Restore { .. } | Heard::Guest(_) => return None,
        })
    }

    fn wants(out: extension::Out) -> Option<Wants> {
        // A node has one of these: its name is not needed to find it.
        let name = || "native".parse().ok();
        Some(match out {
            extension::Out::Send { peer, bytes } => Wants::Send { name: name()?, to: peer, bytes },
            extension::Out::Answer { request, bytes } => {
                Wants::Answer { request, result: Ok(String::from_utf8_lossy(&bytes).into_owned()) }
            }
            extension::Out::Refuse { request, reason } => Wants::Answer { request, result: Err(reason) },
            extension::Out::Snapshot { bytes } => {
                let snapshot = Some(Snapshot { schema: 0, bytes });
                Wants::Save { name: name()?, number: 0, package: None, snapshot }
            }
            extension::Out::Log { .. } => return None,
            out => Wants::Node { name: name()?, out },
        })
    }
}
