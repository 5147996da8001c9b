//! [`Stored`]: an input that lies in a stored object, of which only the manifest was read. It tells which frames are which
//! chunk, with a key for each of them, and who holds how much of it: the read key stays here.
//!
//! Kept beside the job in a file that only its owner can read, until the job ends.

use super::input::CHUNKS_MAX;
use pangea_ces::{frame::opening_key, private};
use pangea_compute::split::Cut;
use pangea_protocols::{
    Address, Cid, PeerId,
    codec::{self, Limit},
    job::{ErrorKind, JobError},
    manifest::{Content, FRAME_BYTES, Kind, NO_HOLDER, RootBody},
    stored::{FRAMES_MAX, StoredInput},
    ticket::Ticket,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use zeroize::Zeroizing;

const FRAME: u64 = FRAME_BYTES as u64;
/// Holders that a worker is told of, if the ticket names none.
const HINTS: usize = 4;

/// What the manifest of an object says.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Its root.
    pub root: RootBody,
    /// For every data shard of every stripe, the place of its holder in the root.
    pub placement: Vec<u8>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    ticket: Ticket,
    object: [u8; 16],
    raw_len: u64,
    /// Data shards of a stripe.
    k: u8,
    /// Frames of a chunk.
    frames: u32,
    holders: Vec<PeerId>,
    placement: Vec<u8>,
}

/// Frames of a chunk, if chunks are whole frames that a task can take.
pub fn frames(cut: Cut, split: bool) -> Option<u32> {
    let Cut::Bytes(bytes) = cut else { return None };
    let frames = u32::try_from(bytes / FRAME).ok()?;
    let fits = bytes.is_multiple_of(FRAME) && (1..=FRAMES_MAX as u32).contains(&frames);
    (fits && !split).then_some(frames)
}

impl Stored {
    /// Of the object of a ticket, in chunks of so many frames. `None` if it has to be fetched: it is a directory, or so small
    /// that it is in its root.
    ///
    /// # Errors
    /// The key does not open the object; there are too many chunks.
    pub fn new(mut ticket: Ticket, survey: Survey, frames: u32) -> Result<Option<Self>, JobError> {
        let Survey { root, placement } = survey;
        let private = private::open(&ticket.key, &root.object, &root.private, root.raw_len)
            .map_err(|error| JobError::new(ErrorKind::Integrity, error.to_string()))?;
        let in_stripes = matches!(root.content, Content::Stripes(_) | Content::Tree { .. });
        if !in_stripes || !matches!(private.kind, Kind::File { .. }) || frames == 0 {
            return Ok(None);
        }
        let chunks = root.stripes().div_ceil(frames.into());
        if chunks > CHUNKS_MAX as u64 {
            let text = format!("the input has more than {CHUNKS_MAX} chunks: make them larger");
            return Err(JobError::new(ErrorKind::Usage, text));
        }
        if ticket.hints.is_empty() {
            let known = |holder: &pangea_protocols::manifest::Holder| Some((holder.peer, holder.address.clone()?));
            ticket.hints = root.holders.iter().filter_map(known).take(HINTS).collect::<Vec<(PeerId, Address)>>();
        }
        let holders = root.holders.iter().map(|holder| holder.peer).collect();
        let (object, raw_len, k) = (root.object, root.raw_len, root.k);
        Ok(Some(Self { ticket, object, raw_len, k, frames, holders, placement }))
    }

    /// The object.
    pub fn cid(&self) -> Cid {
        self.ticket.cid
    }

    /// Bytes of the object.
    pub fn len(&self) -> u64 {
        self.raw_len
    }

    /// False: what is empty has no stripes.
    pub fn is_empty(&self) -> bool {
        self.raw_len == 0
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.raw_len.div_ceil(FRAME * u64::from(self.frames))).unwrap_or(u32::MAX)
    }

    /// One of them, and the bytes of it that each holder has.
    pub fn chunk(&self, index: u32) -> Option<(StoredInput, Vec<(PeerId, u64)>)> {
        let first = u64::from(index) * u64::from(self.frames);
        let start = first * FRAME;
        let len = u32::try_from(self.raw_len.checked_sub(start)?.min(FRAME * u64::from(self.frames))).ok()?;
        let count = u64::from(len).div_ceil(FRAME);
        let Ticket { cid, hints, key } = &self.ticket;
        let keys = (first..first + count).map(|frame| opening_key(key, &self.object, frame)).collect();
        let mut local: BTreeMap<PeerId, u64> = BTreeMap::new();
        for frame in first..first + count {
            let raw = (self.raw_len - frame * FRAME).min(FRAME);
            for holder in self.holders_of(frame) {
                *local.entry(holder).or_default() += raw / u64::from(self.k.max(1));
            }
        }
        let input = StoredInput { cid: *cid, hints: hints.clone(), first, len, keys, head: Vec::new() };
        (len > 0).then(|| (input, local.into_iter().collect()))
    }

    /// Who has the data shards of a frame, one by one.
    fn holders_of(&self, frame: u64) -> impl Iterator<Item = PeerId> {
        let k = usize::from(self.k);
        let at = usize::try_from(frame).unwrap_or(usize::MAX).saturating_mul(k);
        let places = self.placement.get(at..at.saturating_add(k)).unwrap_or_default();
        let known = places.iter().filter(|place| **place != NO_HOLDER);
        known.filter_map(|place| self.holders.get(usize::from(*place)).copied())
    }

    /// Writes it down, readable by the owner of the node only.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let bytes = codec::encode(self, Limit::Local).map_err(io::Error::other)?;
        let bytes = Zeroizing::new(bytes);
        let part = path.with_extension("part");
        let _ = fs::remove_file(&part);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&part, path)
    }

    /// Reads it again.
    ///
    /// # Errors
    /// The file system's; it is damaged.
    pub fn load(path: &Path) -> io::Result<Self> {
        let bytes = Zeroizing::new(fs::read(path)?);
        codec::decode(&bytes, Limit::Local).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_ces::{Place, Scratch, api::Profile, decode_frame, encode_frame, frame::Opening};
    use pangea_protocols::{
        Hash,
        manifest::{Erasure, Holder, Private, VERSION},
        ticket::ReadKey,
    };
    use std::os::unix::fs::PermissionsExt;

    const OBJECT: [u8; 16] = [7; 16];

    fn key() -> ReadKey {
        ReadKey([3; 32])
    }

    /// An object of four stripes and a half, whose data shards are at the holders 0, 0, 1 and nobody.
    fn survey(kind: Kind, content: Content) -> Survey {
        let raw_len = 4 * FRAME + FRAME / 2;
        let private = private::seal(&key(), &OBJECT, &Private { name: "data".to_owned(), kind }).unwrap();
        let holder =
            |n| Holder { peer: PeerId([n; 32]), address: Some("/ip4/192.0.2.1/udp/4411/quic-v1".parse().unwrap()) };
        let root = RootBody {
            version: VERSION,
            erasure: Erasure::ReedSolomon16,
            k: 4,
            m: 2,
            object: OBJECT,
            raw_len,
            content,
            holders: vec![holder(1), holder(2)],
            private,
            owner: PeerId([9; 32]),
            sealed_unix: 0,
        };
        Survey { root, placement: [0, 0, 1, NO_HOLDER].repeat(5) }
    }

    fn file() -> Kind {
        Kind::File { executable: false, modified_unix: 0 }
    }

    fn ticket() -> Ticket {
        Ticket { cid: Cid(Hash::of(b"root")), hints: Vec::new(), key: key() }
    }

    fn stored(frames: u32) -> Stored {
        Stored::new(ticket(), survey(file(), Content::Stripes(Vec::new())), frames).unwrap().unwrap()
    }

    #[test]
    fn chunks_cover_the_object_with_a_key_for_each_frame_and_tell_who_holds_what() {
        for (frames, lens) in
            [(1, vec![FRAME, FRAME, FRAME, FRAME, FRAME / 2]), (2, vec![2 * FRAME, 2 * FRAME, FRAME / 2])]
        {
            let stored = stored(frames);
            assert_eq!(stored.chunks() as usize, lens.len());
            let mut at = 0;
            for (index, len) in lens.into_iter().enumerate() {
                let (input, local) = stored.chunk(index as u32).unwrap();
                assert!(input.fits());
                assert_eq!(input.range(), at..at + len);
                assert_eq!(input.hints.len(), 2, "of holders, as the ticket has none");
                assert_eq!(local, [(PeerId([1; 32]), len / 2), (PeerId([2; 32]), len / 4)]);
                at += len;
            }
            assert!(stored.chunk(stored.chunks()).is_none() && stored.chunk(u32::MAX).is_none());
        }
    }

    #[test]
    fn who_has_the_keys_of_a_chunk_reads_it_and_neither_the_next_one_nor_the_name() {
        let stored = stored(1);
        let scratch = &mut Scratch::new();
        let raw = vec![5; FRAME_BYTES];
        let sealed = |scratch: &mut Scratch, index| {
            encode_frame(scratch, Place { key: &key(), object: &OBJECT, index }, &raw, (4, 2), Profile::Fast).unwrap()
        };
        let (third, fourth) = (sealed(scratch, 3), sealed(scratch, 4));
        let given = stored.chunk(3).unwrap().0;
        let open = |scratch: &mut Scratch, index, stripe: &pangea_ces::api::Stripe| {
            let shards: Vec<_> = stripe.shards.iter().zip(0..).map(|((bytes, _), at)| (at, bytes.clone())).collect();
            let opening = Opening { key: given.keys[0].clone(), object: &OBJECT, index };
            decode_frame(scratch, opening, &stripe.record, (4, 2), &shards)
        };
        assert_eq!(open(scratch, 3, &third).unwrap(), raw);
        assert!(open(scratch, 4, &fourth).is_err() && open(scratch, 3, &fourth).is_err());
        // Nothing that leaves the owner has the read key in it, and the frame's key does not open the private part.
        let wire = codec::encode(&given, Limit::Message).unwrap();
        assert!(!wire.windows(32).any(|window| window == key().0));
        let survey = survey(file(), Content::Stripes(Vec::new()));
        let read_key = ReadKey(given.keys[0].0);
        assert!(private::open(&read_key, &OBJECT, &survey.root.private, survey.root.raw_len).is_err());
    }

    #[test]
    fn what_is_no_file_of_stripes_is_left_to_be_fetched_and_a_wrong_key_is_told() {
        let inline =
            Content::Inline { codec: pangea_protocols::manifest::Codec::Store, raw_len: 9, ciphertext: vec![0; 49] };
        for (kind, content) in [
            (file(), Content::Empty),
            (file(), inline),
            (Kind::Directory { index_len: 10 }, Content::Stripes(Vec::new())),
        ] {
            assert_eq!(Stored::new(ticket(), survey(kind, content), 1), Ok(None));
        }
        let wrong = Ticket { key: ReadKey([4; 32]), ..ticket() };
        let error = Stored::new(wrong, survey(file(), Content::Stripes(Vec::new())), 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Integrity);
        for (cut, split, expected) in [
            (Cut::Bytes(FRAME), false, Some(1)),
            (Cut::Bytes(15 * FRAME), false, Some(15)),
            (Cut::Bytes(16 * FRAME), false, None),
            (Cut::Bytes(FRAME + 1), false, None),
            (Cut::Bytes(0), false, None),
            (Cut::Bytes(4 * FRAME), true, None),
            (Cut::Lines(FRAME), false, None),
            (Cut::Whole, false, None),
        ] {
            assert_eq!(frames(cut, split), expected, "{cut} {split}");
        }
    }

    #[test]
    fn it_is_kept_in_a_file_that_only_its_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stored");
        stored(2).save(&path).unwrap();
        stored(1).save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Stored::load(&path).unwrap(), stored(1));
        fs::write(&path, b"something else").unwrap();
        assert!(Stored::load(&path).is_err());
    }
}
