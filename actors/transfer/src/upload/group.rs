//! Shards that belong together: a stripe, or the copies of one manifest block.
//!
//! Each shard is a [`Slot`]; it has at most a few [`Copy`]s under way (one, and a hedge) and ends stored or given up.
//! Only state and arithmetic; decisions are in [`super::placing`].

use super::code::Code;
use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::{
    Hash, ShardId, manifest::StripeRecord, merkle::StripeProof, time::Time, wire::store::ShardKind,
};
use std::collections::{BTreeMap, BTreeSet};

/// Names a group within its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupId {
    /// Stripe number.
    Stripe(u64),
    /// Block number in the order of making.
    Block(u64),
}

/// A shard on its way to one holder.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Index of the holder in its job.
    pub holder: usize,
    /// When it was given to this holder's queue.
    pub placed: Time,
    /// Tag and time of the send; `None` while it waits.
    pub sent: Option<(u64, Time)>,
}

/// One shard.
#[derive(Debug)]
pub struct Slot {
    /// Its name.
    pub id: ShardId,
    /// Its bytes; freed when it is stored.
    pub body: Bytes,
    /// How many there were.
    pub len: usize,
    /// Ties it to the stripe root.
    pub proof: StripeProof,
    /// On their way.
    pub copies: Vec<Copy>,
    /// The holder that signed for it first.
    pub stored_by: Option<usize>,
    /// Holders that would not take it.
    pub tried: BTreeSet<usize>,
    /// How often it was placed anew.
    pub moves: u8,
    /// True if no holder is left that may take it.
    pub given_up: bool,
}

impl Slot {
    fn new(id: ShardId, body: Bytes, proof: StripeProof) -> Self {
        let (len, copies, tried) = (body.len(), Vec::new(), BTreeSet::new());
        Self { id, body, len, proof, copies, stored_by: None, tried, moves: 0, given_up: false }
    }

    /// True while there is something to be done.
    pub fn open(&self) -> bool {
        self.stored_by.is_none() && !self.given_up
    }
}

/// How a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Receipts may still come.
    Open,
    /// All receipts are there, or all that can be and they are enough.
    Settled,
    /// Too few receipts, and no more can come.
    Doomed,
}

/// A stripe, or the copies of a block.
#[derive(Debug)]
pub struct Group {
    /// What a holder is told it is.
    pub kind: ShardKind,
    /// True if no other object can have the same bytes, so that they may be dropped with this one.
    pub own: bool,
    /// The stripe's record; `None` for a block.
    pub record: Option<StripeRecord>,
    /// Its shards.
    pub slots: Vec<Slot>,
    /// Receipts.
    pub stored: usize,
    /// Receipts that make it readable.
    pub readable_at: usize,
    /// Receipts without which the put is not done.
    pub needed: usize,
    /// Most shards at one holder.
    pub cap: usize,
    /// Most shards at one holder when there are too few holders.
    pub cap_relaxed: usize,
    /// True if the loss of one holder must leave it readable.
    pub survives_one: bool,
}

impl Group {
    /// A stripe whose shards are in the order of their index.
    pub fn stripe(record: StripeRecord, shards: Vec<(Bytes, StripeProof)>, code: &Code) -> Self {
        let slots = (0u16..).zip(shards).map(|(index, (body, proof))| Slot::new(record.shard(index), body, proof));
        Self {
            kind: ShardKind::Data,
            own: true,
            slots: slots.collect(),
            record: Some(record),
            stored: 0,
            readable_at: code.k,
            needed: code.k + code.happy(),
            cap: code.cap,
            cap_relaxed: code.cap_relaxed(),
            survives_one: code.survives_one(),
        }
    }

    /// `copies` copies of a block, each for another holder.
    pub fn block(kind: ShardKind, hash: Hash, body: &Bytes, own: bool, copies: usize, needed: usize) -> Self {
        let slot = || Slot::new(ShardId::block(hash), body.clone(), StripeProof::block());
        Self {
            kind,
            own,
            slots: (0..copies).map(|_| slot()).collect(),
            record: None,
            stored: 0,
            readable_at: 1,
            needed,
            cap: 1,
            cap_relaxed: 1,
            survives_one: false,
        }
    }

    /// Shards of this group at each holder, stored or on their way.
    pub fn loads(&self) -> BTreeMap<usize, usize> {
        let mut loads = BTreeMap::new();
        for slot in &self.slots {
            let copies = if planted!("loads-forget-in-flight") { &[][..] } else { &slot.copies };
            let on_their_way = copies.iter().map(|copy: &Copy| copy.holder);
            for holder in on_their_way.chain(slot.stored_by) {
                *loads.entry(holder).or_default() += 1;
            }
        }
        loads
    }

    /// How it stands. Without all receipts it settles only if no more can come, there are as many as needed, and (if
    /// the code promises that) no single holder's loss would make it unreadable.
    pub fn state(&self) -> State {
        let lacking = if planted!("settled-one-short") { 1 } else { 0 };
        if self.stored + lacking >= self.slots.len() {
            return State::Settled;
        }
        if self.slots.iter().any(Slot::open) {
            return State::Open;
        }
        let most = self.loads().into_values().max().unwrap_or(0);
        let survives = !self.survives_one || self.stored >= self.readable_at + most;
        if self.stored >= self.needed && survives { State::Settled } else { State::Doomed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::manifest::Codec;

    fn group(stored_by: &[usize], given_up: usize) -> Group {
        let code = Code { k: 4, m: 4, cap: 2 };
        let record = StripeRecord {
            codec: Codec::Store,
            raw_len: 1,
            ct_len: 17,
            shard_len: 64,
            root: Hash([7; 32]),
            placement: vec![],
        };
        let shards = vec![(Bytes::from_static(b"x"), StripeProof::block()); code.shards()];
        let mut group = Group::stripe(record, shards, &code);
        for (slot, holder) in group.slots.iter_mut().zip(stored_by) {
            slot.stored_by = Some(*holder);
        }
        group.stored = stored_by.len();
        group.slots.iter_mut().rev().take(given_up).for_each(|slot| slot.given_up = true);
        group
    }

    #[test]
    fn a_stripe_settles_only_with_all_receipts_or_enough_that_are_spread() {
        let table: &[(&[usize], usize, State)] = &[
            (&[0, 0, 1, 1, 2, 2, 3, 3], 0, State::Settled),
            (&[0, 0, 1, 1, 2, 2, 3], 0, State::Open),
            (&[0, 0, 1, 1, 2, 2], 2, State::Settled),
            (&[0, 0, 1, 1, 2], 3, State::Doomed),
            (&[0, 0, 0, 1, 1, 1], 2, State::Doomed),
        ];
        for (stored_by, given_up, state) in table {
            assert_eq!(group(stored_by, *given_up).state(), *state, "{stored_by:?}");
        }
    }
}
