//! Oracles: what must be true of every run, whatever goes wrong. One file each.
//!
//! | oracle | claim | module |
//! |---|---|---|
//! | `bytes` | what a get returns is what was stored, byte for byte | [`crate::run`] |
//! | `recoverable` | an acknowledged object is read back while k shards of each stripe live | [`ledger`], [`crate::run`] |
//! | `receipts` | a receipt is sent after the disk has synced what it promises | [`receipts`] |
//! | `durable` | what a receipt has promised is there after any crash of an honest disk | [`receipts`] |
//! | `ends` | everything that is asked ends | [`crate::run`] |
//! | `fault-free` | without faults, or with harmless ones, everything that is asked succeeds | [`crate::run`] |
//! | `quota` | a disk never takes more than its quota, index included | [`quota`] |
//! | `secrecy` | no plaintext and no read key reaches the wire or another's disk | [`secrecy`] |
//! | `blame` | nobody is quarantined or banned without cause | [`blame`] |
//! | `panics` | no actor panics | [`panics`] |
//! | `progress` | what is shown as done never shrinks, and is whole when a job is done | [`progress`] |
//! | `computed` | the results of a computation are right, and its receipt verifies | [`crate::run`] |
//! | `plugins` | a plugin knows what it has acknowledged, after the calm on every node that has it; versions that must be refused are, and lose nothing | [`crate::run`] |
//! | `removed` | what all holders have said they forgot is gone from their disks | [`ledger`], [`crate::run`] |
//! | `converged` | after the calm the living nodes are one connected network | [`converged`] |
//! | `wire` | every frame can be written, within its limits, and reads back as it was | [`wire`] |
//! | `manifest` | holders named in a manifest have signed, the loss of any one is survived, nothing shows what repeats | [`manifest`] |
//! | `leases` | what no lease covers any longer is soon gone | [`receipts`] |
//! | `shunned` | who is quarantined or banned gets no room and no shards | [`shunned`] |
//! | `restraint` | who does not answer is not dialled again and again | [`restraint`] |
//! | `sound` | what has been verified can be decrypted | [`sound`] |
//! | `prompt` | a read ends within the time that its scenario promises | [`crate::run`] |
//!
//! A scenario may say that one does not apply (`without`), and must have a reason.

pub mod blame;
pub mod converged;
pub mod goals;
pub mod ledger;
pub mod manifest;
pub mod panics;
pub mod progress;
pub mod quota;
pub mod receipts;
pub mod restraint;
pub mod secrecy;
pub mod shunned;
pub mod sound;
pub mod wire;

use crate::{
    observer::{Observer, Watch},
    plan::{Act, Conduct, Plan},
    record::NodeId,
};
use ledger::Ledger;
use std::collections::BTreeSet;

/// Lets all oracles that apply to a plan watch.
pub fn watch(observer: &Observer, plan: &Plan, ledger: &Ledger) {
    observer.add(ledger.clone());
    observer.add(goals::Goals::default());
    add(observer, plan, quota::Quota::new(plan));
    add(observer, plan, secrecy::Secrecy::default());
    add(observer, plan, blame::Blame::new(plan));
    add(observer, plan, panics::Panics);
    add(observer, plan, progress::Progress::default());
    add(observer, plan, converged::Converged::new(plan));
    add(observer, plan, wire::Wire);
    add(observer, plan, manifest::Manifest::new(plan));
    add(observer, plan, shunned::Shunned::new(plan));
    add(observer, plan, restraint::Restraint::default());
    add(observer, plan, sound::Sound);
}

fn add(observer: &Observer, plan: &Plan, oracle: impl Watch + 'static) {
    if !plan.without.iter().any(|name| name == oracle.name()) {
        observer.add(oracle);
    }
}

/// Nodes that a plan makes break the protocol, ever.
pub fn misbehaving(plan: &Plan) -> BTreeSet<NodeId> {
    let acts = plan.faults.iter().map(|fault| &fault.act);
    acts.filter_map(|act| match act {
        Act::Byzantine { nodes, how } if *how != Conduct::Older => Some(nodes),
        Act::Eclipse { nodes, .. } => Some(nodes),
        _ => None,
    })
    .flatten()
    .copied()
    .collect()
}

/// Nodes whose disks a plan makes lose or garble what was synced, ever.
pub fn forgetful(plan: &Plan) -> BTreeSet<NodeId> {
    use crate::plan::{DiskFate, DiskFault};
    let acts = plan.faults.iter().map(|fault| &fault.act);
    acts.filter_map(|act| match act {
        Act::Crash { nodes, disk: DiskFate::Old | DiskFate::Wiped } => Some(nodes),
        Act::Disk {
            nodes,
            how: DiskFault::LyingSync | DiskFault::Misdirected | DiskFault::Rot { .. } | DiskFault::Errors,
        } => Some(nodes),
        _ => None,
    })
    .flatten()
    .copied()
    .collect()
}
