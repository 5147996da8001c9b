//! Plugins: actors of anybody, in WebAssembly; and the small interface that native ones are written against, too.
//!
//! **Job.** Keep a table of plugins, each an instance in the sandbox that is called with one event at a time; carry out
//! what it may do and refuse the rest; contain it when it crashes, runs away or floods; replace it while it runs.
//!
//! | module | what it holds |
//! |---|---|
//! | [`extension`] | what any extension of a node hears and wants, in WebAssembly or native |
//! | [`api`] | what the actor receives and emits |
//! | [`plugins`] | [`Plugins`]: the actor's core, a table of plugins |
//! | [`manifest`] | [`manifest::Manifest`]: what a plugin is, needs and may use |
//! | [`envelope`] | the same events and actions as CBOR, for guests of any language |
//! | [`template`] | what a new plugin begins as |
//! | `plugin` | one plugin: its calls, its failures, its replacement |
//! | `mailbox` | what waits for one plugin |
//!
//! # A plugin's life
//!
//! ```text
//! Install ─▶ compiled ─▶ opened: `started` ─▶ ready ⇄ called ─▶ saved, if it asked for a snapshot
//!                           ▲                      │
//!                           └─── pause ◀── trapped, over a quota, did what it may not ──▶ disabled, the sixth time
//! Install again ─▶ compiled ─▶ the old one: `drain`, saved ─▶ the new one: `started` ─▶ the old one is closed
//!                                                                      └── trapped ─▶ the new one is closed
//! ```
//!
//! # Limits
//!
//! [`plugins::PLUGINS_MAX`] plugins; of one, its manifest's, at most those of [`manifest`]. A mailbox that is full drops
//! what comes last, and counts it; a peer has a quarter of it, all peers together three quarters. Who asks a plugin whose
//! mailbox is full hears so. Answers that do not come are refused after [`plugins::ANSWER_WITHIN`].
//!
//! # Invariants
//!
//! - A plugin reaches nothing but what its manifest names: actions are checked here, imports by the sandbox.
//! - Whatever a plugin does costs itself: its call is undone as far as others see it, since actions leave when a call has
//!   ended well and its snapshot is durable.
//! - A plugin is called with one event at a time.
//! - An upgrade that does not start leaves the old one running with all its state.
//!
//! Deliberately absent: who may install a plugin (who reaches the control socket may); payment; what payloads mean.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod envelope;
pub mod extension;
mod mailbox;
pub mod manifest;
mod plugin;
pub mod plugins;
pub mod template;

pub use extension::{In, Out};
pub use manifest::Manifest;
pub use pangea_protocols::PeerId;
pub use plugins::Plugins;
