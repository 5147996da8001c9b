//! Compress-Encrypt-Shard: bytes in, self-healing encrypted shards out, and back.
//!
//! An object is a stream of 1 MiB frames. Each frame is compressed, encrypted and cut into k data and m parity shards;
//! any k of them give it back. Frames are independent, so any range of an object is read without the rest.
//!
//! | module | what it holds |
//! |---|---|
//! | [`api`] | what the actor receives and emits |
//! | [`ces`] | [`Ces`]: the actor's core, a table of jobs |
//! | `encoder`, `decoder`, `window` | one job each way; which stripes are asked for, and in what order they leave |
//! | [`index`] | a directory's index: is it sound, and which bytes does a selection need |
//! | [`work`] | [`work::Work`]: what a cpu worker runs, [`work::Done`]: what it answers |
//! | [`frame`] | one frame to one stripe and back: the pure library, usable without any actor |
//! | [`compress`], [`encrypt`], [`private`] | the parts of a frame, and the encrypted part of a manifest |
//! | [`erasure`], `matrix`, `dot`, `fft` | parity and recovery; by a cached matrix and its vector kernels, or by FFT |
//! | [`scratch`] | buffers that a worker keeps between frames |
//!
//! # Messages
//!
//! Encode: `Encode` → open the source, read 1 MiB at a time while the uploader gives `Credit` → one `Work` a frame →
//! `Encoded` strictly in order → `EncodedAll`. Decode: `Decode` and `Root` in either order → for a directory, the
//! stripes of its index → `Need` the stripes of the selection in a sliding window → one `Work` a stripe → `Write`
//! strictly in order → `Consumed` when the sink has taken it → `Done`.
//!
//! # Limits
//!
//! [`ces::JOBS_MAX`] jobs, beyond it a job is refused; [`encoder::AHEAD_MAX`] frames of an encode job between source
//! and uploader; [`window::STRIPES_AHEAD_MAX`] stripes of a decode job beyond the last consumed one;
//! [`decoder::WRITES_MAX`] writes that the sink has not taken; [`index::INDEX_BYTES_MAX`] and
//! [`index::ENTRIES_MAX`] for a directory.
//!
//! # Invariants
//!
//! - Equal bytes under an equal key, object and index give equal shards, on every machine.
//! - A frame never grows by more than a nonce, a tag and padding: what does not compress is stored.
//! - No bytes from a peer or from whoever made a ticket panic, allocate beyond a frame, or reach the sink unverified.
//! - Whoever has keys of single frames ([`api::Key`]) reads those, and needs the read key for nothing.
//! - The core never blocks and computes nothing heavy: frames are worked on by the cpu driver.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod ces;
pub mod compress;
pub mod decoder;
mod dot;
pub mod encoder;
pub mod encrypt;
pub mod erasure;
mod fft;
pub mod frame;
pub mod index;
mod matrix;
pub mod private;
pub mod scratch;
pub mod window;
pub mod work;

pub use ces::Ces;
pub use frame::{FrameError, Place, decode_frame, encode_frame};
pub use scratch::Scratch;
