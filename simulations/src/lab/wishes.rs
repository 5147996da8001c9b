//! What actors want: messages, and states on the disk.

use super::{
    Member, Note, Route,
    network::Network,
    queue::{Entry, Sender},
    trail::label,
};
use crate::record::{NodeId, What};
use std::time::Duration;

/// How long it takes a node to notice that a connection is broken.
const BREAKS_AFTER: Duration = Duration::from_secs(10);

impl<C: Member> Network<'_, C> {
    pub(super) fn carry_out(&mut self, at: usize, route: Route<C>) {
        match route {
            Route::Reliable(to, event) => self.send(at, to, event, true),
            Route::Datagram(to, event) => self.send(at, to, event, false),
            Route::Save(state) => self.save(at, state, None),
            Route::SaveThen(state, event) => self.save(at, state, Some(event)),
            Route::Note(what) => self.notes.push(Note { at: self.now, node: self.places[at].id, what }),
            Route::Ignore => {}
        }
    }

    fn save(&mut self, at: usize, state: C::Saved, then: Option<C::In>) {
        let place = &mut self.places[at];
        let (due, life) = (self.now + place.disk.sync, place.life);
        if let Some(save) = place.disk.save(state) {
            self.queue.add(due, Entry::Synced { at, life, save, then });
        }
    }

    fn send(&mut self, at: usize, to: NodeId, event: C::In, reliable: bool) {
        let (id, life, frame) = (self.places[at].id, self.places[at].life, self.trail.frame());
        let (bytes, sender) = (C::bytes(&event), Sender { at, id, life });
        self.trail.record(self.now, Some(id), || What::Sent { peer: to, frame, label: label(&event), bytes });
        let Some(receiver) = self.index.get(&to).copied() else { return };
        if reliable {
            let there = self.places[receiver].core.is_some();
            match self.links.message(self.now, id, to, bytes).filter(|_| there) {
                Some(arrival) => {
                    let life = Some(self.places[receiver].life);
                    self.queue.add(arrival, Entry::Hear { at: receiver, life, sender, frame, event });
                }
                None => self.break_connection(sender, to),
            }
            return;
        }
        let [first, second] = self.links.packet(self.now, id, to, bytes);
        if let Some(arrival) = second {
            let event = event.clone();
            self.queue.add(arrival, Entry::Hear { at: receiver, life: None, sender, frame, event });
        }
        if let Some(arrival) = first {
            self.queue.add(arrival, Entry::Hear { at: receiver, life: None, sender, frame, event });
        }
    }

    pub(super) fn break_connection(&mut self, sender: Sender, peer: NodeId) {
        if let Some(event) = C::broken(peer) {
            let Sender { at, life, .. } = sender;
            self.queue.add(self.now + BREAKS_AFTER, Entry::Own { at, life, event });
        }
    }
}
