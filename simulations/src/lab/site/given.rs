//! What a node gives its extensions, modelled: a store of objects that only this node reads, and a folder.

use super::{
    Cast, In, Out, Site,
    tenant::{Heard, Tenant},
};
use crate::lab::Cx;
use pangea_plugins::extension::{File, In as Event, Out as Want};
use pangea_protocols::{Hash, wire::extension::Name};
use std::time::Duration;

impl<P: Cast> Site<P> {
    /// Does what an extension wants of the node, which takes up to a second, or fails.
    pub(super) fn give(&mut self, cx: &mut Cx<'_, Self>, name: Name, out: Want) {
        let fails = P::failures() > 0 && cx.rng("failures").below(P::failures()) == 0;
        let event = match out {
            Want::List { request } => {
                let file = |(path, (bytes, modified)): (&String, &(bytes::Bytes, u64))| File {
                    path: path.clone(),
                    bytes: bytes.len() as u64,
                    modified_ms: *modified,
                };
                Event::Listed { request, files: self.disk.files.iter().map(file).collect() }
            }
            Want::Store { request, .. }
            | Want::StoreFile { request, .. }
            | Want::Fetch { request, .. }
            | Want::Remove { request, .. }
                if fails =>
            {
                Event::Failed { request, reason: "too few peers".to_owned() }
            }
            Want::Store { request, bytes, .. } => self.store(request, bytes),
            Want::StoreFile { request, path } => match self.disk.files.get(&path).cloned() {
                Some((bytes, _)) => self.store(request, bytes),
                None => Event::Failed { request, reason: format!("there is no {path}") },
            },
            Want::Fetch { request, ticket } => match self.disk.objects.get(&ticket).cloned() {
                Some(bytes) => Event::Fetched { request, bytes },
                None => Event::Failed { request, reason: "no such object".to_owned() },
            },
            Want::Remove { request, ticket } => match self.disk.objects.remove(&ticket) {
                Some(_) => Event::Removed { request },
                None => Event::Failed { request, reason: "no such object".to_owned() },
            },
            Want::Send { .. }
            | Want::Answer { .. }
            | Want::Refuse { .. }
            | Want::Snapshot { .. }
            | Want::Log { .. } => {
                return;
            }
        };
        cx.emit(Out::Save(self.disk.clone()));
        let took = Duration::from_millis(50 + cx.rng("given").below(950));
        if let Some(event) = P::Tenant::hears(Heard::Node { name, event }) {
            cx.after(took, In::Core(event));
        }
    }

    fn store(&mut self, request: u64, bytes: bytes::Bytes) -> Event {
        let ticket = format!("{}-{}", Hash::of(&bytes), self.number());
        self.disk.objects.insert(ticket.clone(), bytes);
        Event::Stored { request, ticket }
    }
}
