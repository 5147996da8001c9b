//! Randomness as a function of (seed, node, actor, purpose, counter).
//!
//! Every purpose has a ChaCha20 stream of its own. Removing one node, one actor or one draw leaves all other streams
//! alone; without that, no failing simulation could be shrunk. In production the seed is 32 bytes of the operating
//! system's entropy, so the streams are fit for keys and nonces.

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use std::collections::BTreeMap;

/// The root of all randomness of one node.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// From the operating system's entropy, or from a simulation's seed.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The seed of a part: an independent stream for every label.
    pub fn derive(&self, label: &str) -> Self {
        Self(*blake3::keyed_hash(&self.0, label.as_bytes()).as_bytes())
    }

    /// The seed of one actor of the node whose seed this is, in one `life` of its core: 0 at first, one more after
    /// every restart. All hosts use it, so a core draws the same in each of them, and no draw twice.
    pub fn actor(&self, name: &str, life: u64) -> Self {
        self.derive("actor").derive(name).derive(&life.to_string())
    }

    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// One stream.
    pub fn draw(&self) -> Draw {
        Draw(ChaCha20Rng::from_seed(self.0))
    }
}

/// The streams of one actor, by purpose.
pub struct Draws {
    seed: Seed,
    /// Boxed: most actors have few, and a stream has a buffer.
    streams: BTreeMap<&'static str, Box<Draw>>,
}

impl Draws {
    /// `seed` is the node's seed derived for this actor.
    pub fn new(seed: Seed) -> Self {
        Self { seed, streams: BTreeMap::new() }
    }

    /// The stream for `purpose`, where it was left.
    pub fn stream(&mut self, purpose: &'static str) -> &mut Draw {
        self.streams.entry(purpose).or_insert_with(|| Box::new(self.seed.derive(purpose).draw()))
    }
}

/// One stream of randomness.
pub struct Draw(ChaCha20Rng);

impl Draw {
    /// A uniform 64-bit number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number in `0..bound`; 0 if `bound` is 0. The bias is below 2^-64 × bound (Lemire's method).
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A uniform number in `[0, 1)` with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Shuffles in place (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }

    /// Leaves `count` of `items`, or all if there are fewer: any choice of them in any order is as likely as another.
    pub fn sample<T>(&mut self, items: &mut Vec<T>, count: usize) {
        for at in 0..count.min(items.len()) {
            let other = usize::try_from(self.below((items.len() - at) as u64)).unwrap_or(0);
            items.swap(at, at + other);
        }
        items.truncate(count);
    }

    /// One of `items`, or `None` if there are none.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(usize::try_from(self.below(items.len() as u64)).unwrap_or(0))
    }
}
