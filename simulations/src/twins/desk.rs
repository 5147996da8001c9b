//! The desk: what plugins keep, which outlives the process, and the mouth of users who ask them. Nothing is stored or fetched
//! for plugins here: they hear that it failed.

use crate::timeline::Timeline;
use pangea::node::extensions::DeskIn;
use pangea_kernel::{Port, Rejected};
use pangea_plugins::{
    api::{In, Out, Package, Snapshot},
    extension,
};
use pangea_protocols::wire::extension::Name;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a write to the node store takes.
const SAVE: Duration = Duration::from_millis(2);
/// Until a message is offered again to a full mailbox, as the driver does.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);

/// The plugins that one node keeps, in all its lives. Clones are the same.
#[derive(Clone)]
pub struct Desk {
    timeline: Timeline,
    kept: Arc<Mutex<BTreeMap<Name, Kept>>>,
}

#[derive(Clone)]
struct Kept {
    package: Package,
    snapshot: Option<Snapshot>,
}

impl Desk {
    /// Without any.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, kept: Arc::default() }
    }

    /// Tells the plugins actor of a new life what is installed.
    pub fn restore(&self, plugins: &Port<In>) {
        for Kept { package, snapshot } in self.kept().values().cloned() {
            // A mailbox that nothing has been sent to yet has room.
            let _ = plugins.send(In::Restore { package, snapshot });
        }
    }

    /// The desk's port in one life of the node; `plugins` hears its answers.
    pub fn open(&self, plugins: Port<In>) -> Port<DeskIn> {
        let desk = self.clone();
        Port::new(move |message| {
            if desk.timeline.is_closed() {
                return Err(Rejected::Closed(message));
            }
            if let DeskIn::Plugins(out) = message {
                desk.on(&plugins, out);
            }
            Ok(())
        })
    }

    fn on(&self, plugins: &Port<In>, out: Out) {
        match out {
            Out::Save { name, number, package, snapshot } => {
                let (desk, plugins) = (self.clone(), plugins.clone());
                self.timeline.after(SAVE, move || {
                    desk.keep(&name, package, snapshot);
                    offer(&desk.timeline, &plugins, In::Saved { name, number, error: None });
                });
            }
            Out::Forget { name } => _ = self.kept().remove(&name),
            Out::From { name, out, .. } => {
                let Some(request) = out.request() else { return };
                let reason = "nothing is stored for plugins here".to_owned();
                offer(&self.timeline, plugins, In::To { name, event: extension::In::Failed { request, reason } });
            }
            // Whoever watches hears of replies, and the wiring sends commands elsewhere.
            Out::Reply { .. } | Out::Guest(_) => {}
        }
    }

    /// Both, or what there is of them, as the node store does.
    fn keep(&self, name: &Name, package: Option<Package>, snapshot: Option<Snapshot>) {
        let mut kept = self.kept();
        match (kept.get_mut(name), package) {
            (Some(kept), package) => {
                kept.package = package.unwrap_or_else(|| kept.package.clone());
                kept.snapshot = snapshot.or_else(|| kept.snapshot.take());
            }
            (None, Some(package)) => _ = kept.insert(name.clone(), Kept { package, snapshot }),
            (None, None) => {}
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Name, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn offer(timeline: &Timeline, plugins: &Port<In>, message: In) {
    if let Err(Rejected::Full(message)) = plugins.send(message) {
        let (again, plugins) = (timeline.clone(), plugins.clone());
        timeline.after(MAILBOX_RETRY, move || offer(&again, &plugins, message));
    }
}
