//! Retiring stripes, filing their records, storing the tree, sealing the root, and the end.

use super::{
    Env,
    group::{Group, GroupId, State},
    job::{Job, Phase, Verdict},
};
use bytes::Bytes;
use pangea_kernel::planted;
use pangea_protocols::{
    Cid, Hash,
    codec::{self, BLOCK_BYTES_MAX, Limit},
    job::{ErrorKind, Stored},
    manifest::{self, Content, Erasure, Holder, NO_HOLDER, RootBody, StripeRecord, VERSION},
    wire::store::ShardKind,
};

/// What the signature and the lengths around the body add to a root block, rounded up.
const SEAL_BYTES: usize = 96;

impl Job {
    /// Frees groups that are settled; fails the job if one can no longer be.
    pub fn retire(&mut self, env: &mut Env<'_, '_>) {
        let states: Vec<_> = self.groups.iter().map(|(id, group)| (*id, group.state())).collect();
        for (id, state) in states {
            match state {
                State::Open => {}
                State::Settled => self.retire_group(id),
                State::Doomed => return self.fail_group(id),
            }
        }
        self.store_blocks(env);
    }

    fn retire_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else { return };
        if let (GroupId::Stripe(index), Some(record)) = (id, group.record) {
            let listed = |holder: usize| self.holders[holder].listed.unwrap_or(NO_HOLDER);
            let placement: Vec<u8> = group.slots.iter().map(|slot| slot.stored_by.map_or(NO_HOLDER, listed)).collect();
            self.tally.missing_shards += group.slots.len().saturating_sub(group.stored) as u64;
            if planted!("progress-forgets-retired") {
                self.tally.progress.done_bytes -= u64::from(record.raw_len);
            }
            self.file(index, StripeRecord { placement, ..record });
        } else if group.kind == ShardKind::Root {
            self.root_holders = group.slots.iter().filter_map(|slot| slot.stored_by).collect();
        }
    }

    fn fail_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        let what = match id {
            GroupId::Stripe(index) => format!("stripe {index}"),
            GroupId::Block(_) => "a manifest block".to_owned(),
        };
        let text = format!(
            "no peer is left that would take more: {what} has {} of {} receipts and needs {} that survive the loss of \
             a peer; {}",
            group.stored,
            group.slots.len(),
            group.needed,
            self.how_far()
        );
        self.fail(self.blame(), text);
    }

    /// Files the final record of a stripe.
    pub fn file(&mut self, index: u64, record: StripeRecord) {
        if let Err(error) = self.ledger.retire(index, record, self.encoded) {
            self.fail(ErrorKind::Failed, format!("the manifest could not be made: {error}"));
        }
    }

    fn store_blocks(&mut self, env: &mut Env<'_, '_>) {
        while let Some(block) = self.ledger.take_block() {
            self.store_block(ShardKind::Block, block.hash, block.bytes.into(), block.own, env);
        }
    }

    fn store_block(&mut self, kind: ShardKind, hash: Hash, bytes: Bytes, own: bool, env: &mut Env<'_, '_>) {
        let usable = self.holders.iter().filter(|holder| holder.usable()).count();
        let lonely = planted!("root-on-one-holder") && kind == ShardKind::Root;
        let copies = self.code.copies(usable).max(1);
        let needed = self.code.copies_needed(copies.max(self.code.copies(self.seats.len())));
        let (copies, needed) = if lonely { (1, 1) } else { (copies.max(needed), needed) };
        let group = Group::block(kind, hash, &bytes, own, copies, needed);
        let number = self.blocks;
        self.blocks += 1;
        self.add_group(GroupId::Block(number), group, number, env);
    }

    /// Goes on to the next phase when this one is done.
    pub fn advance_phase(&mut self, env: &mut Env<'_, '_>) {
        if self.verdict.is_some() {
            return;
        }
        if matches!(self.phase, Phase::Streaming) && self.end.is_some() && self.all_stripes_filed() {
            match self.finish_content() {
                Ok(content) => self.phase = Phase::Sealing(content),
                Err(error) => return self.fail(ErrorKind::Failed, format!("the manifest could not be made: {error}")),
            }
            self.store_blocks(env);
        }
        if !self.groups.is_empty() {
            return;
        }
        match &mut self.phase {
            Phase::Sealing(content) => {
                let content = std::mem::replace(content, Content::Empty);
                self.seal(content, env);
            }
            Phase::Rooting(cid, sealed_unix) => {
                let (cid, sealed_unix) = (*cid, *sealed_unix);
                self.conclude(cid, sealed_unix, env);
            }
            _ => {}
        }
    }

    fn all_stripes_filed(&self) -> bool {
        self.groups.values().all(|group| group.record.is_none())
    }

    fn finish_content(&mut self) -> Result<Content, manifest::ManifestError> {
        let Some(end) = &self.end else { return Ok(Content::Empty) };
        if let Some((codec, ciphertext)) = &end.inline {
            let raw_len = u32::try_from(end.raw_len)
                .map_err(|_| manifest::ManifestError::Invalid("inline content longer than a frame"))?;
            return Ok(Content::Inline { codec: *codec, raw_len, ciphertext: ciphertext.clone() });
        }
        if end.stripes == 0 {
            return Ok(Content::Empty);
        }
        let bare = self.root_body(Content::Empty, Default::default(), 0);
        let fits = |content: &Content| {
            let body = codec::encode(content, Limit::Block).map(|bytes| bytes.len());
            let rest = codec::encode(&bare, Limit::Block).map(|bytes| bytes.len());
            matches!((body, rest), (Ok(body), Ok(rest)) if body + rest + SEAL_BYTES <= BLOCK_BYTES_MAX)
        };
        self.ledger.finish(end.stripes, fits)
    }

    /// A holder as the manifest names it.
    fn named(&self, holder: usize) -> Holder {
        let peer = self.holders[holder].peer;
        Holder { peer, address: self.places.get(&peer).cloned() }
    }

    fn root_body(&self, content: Content, owner: [u8; 32], sealed_unix: u64) -> RootBody {
        let end = self.end.as_ref();
        RootBody {
            version: VERSION,
            erasure: Erasure::ReedSolomon16,
            k: u8::try_from(self.code.k).unwrap_or(u8::MAX),
            m: u8::try_from(self.code.m).unwrap_or(u8::MAX),
            object: end.map_or([0; 16], |end| end.object),
            raw_len: end.map_or(0, |end| end.raw_len),
            content,
            holders: self.listed.iter().map(|holder| self.named(*holder)).collect(),
            private: end.map_or_else(Vec::new, |end| end.private.clone()),
            owner: pangea_protocols::PeerId(owner),
            sealed_unix,
        }
    }

    fn seal(&mut self, content: Content, env: &mut Env<'_, '_>) {
        let sealed_unix = env.cx.unix().0;
        let body = self.root_body(content, env.me.0, sealed_unix);
        match manifest::seal(&body, env.key) {
            Ok((cid, block)) => {
                self.phase = Phase::Rooting(cid, sealed_unix);
                self.store_block(ShardKind::Root, cid.0, block.into(), true, env);
            }
            Err(error) => self.fail(ErrorKind::Failed, format!("the manifest could not be sealed: {error}")),
        }
    }

    fn conclude(&mut self, cid: Cid, sealed_unix: u64, env: &mut Env<'_, '_>) {
        let Some(end) = self.end.take() else { return };
        if end.inline.is_some() {
            self.tally.progress.done_bytes = end.raw_len;
            self.tally.progress.full_bytes = end.raw_len;
        }
        let roots = self.root_holders.iter().chain(self.listed.iter().filter(|h| !self.root_holders.contains(h)));
        let holders = roots.map(|holder| self.holders[*holder].peer).collect();
        // The last progress must not be swallowed by the limit on their rate.
        if self.tally.unreported() {
            let progress = self.tally.progress;
            let event = pangea_protocols::job::JobEvent::Progress { job: self.put.job, progress };
            env.cx.emit(crate::api::upload::Out::Job(event));
        }
        self.verdict = Some(Verdict::Stored(Box::new(Stored {
            cid,
            key: end.key,
            name: end.name,
            directory: end.directory,
            raw_bytes: end.raw_len,
            stored_bytes: self.tally.stored_bytes,
            stripes: end.stripes,
            k: u8::try_from(self.code.k).unwrap_or(u8::MAX),
            m: u8::try_from(self.code.m).unwrap_or(u8::MAX),
            holders,
            missing_shards: self.tally.missing_shards,
            sealed_unix,
            skipped: end.skipped,
        })));
    }
}
