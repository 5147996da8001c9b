//! The planted bugs (`pangea_kernel::planted`): what each is, and which scenarios must find it within how many seeds.
//! `pangea-sim mutants` hunts them; the table in `docs/simulation.md` says how that went.
//!
//! Each is a mistake that somebody could have made. Not here: mistakes that change nothing but speed, or that something
//! else makes good in every case; `docs/simulation.md` names those that were tried and left out.

use crate::plan::TierName;

/// A planted bug.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// As its sites name it.
    pub name: &'static str,
    /// The part of the code it is in.
    pub place: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// Scenarios that must find it, tried in this order; `NAME@fleet` runs on that tier.
    pub scenarios: &'static [&'static str],
    /// Seeds within which one of them does.
    pub seeds: u64,
}

const fn mutant(
    name: &'static str,
    place: &'static str,
    what: &'static str,
    scenarios: &'static [&'static str],
    seeds: u64,
) -> Mutant {
    Mutant { name, place, what, scenarios, seeds }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    mutant("effects-last-first", "kernel", "the effects of an event are carried out in reverse", &["edges"], 3),
    mutant(
        "cancel-next-timer",
        "kernel",
        "cancelling a timer cancels the one set after it",
        &["lost-bootstrap", "split-brain", "chaos"],
        10,
    ),
    mutant(
        "mailbox-place-kept",
        "kernel",
        "a message that was handled still takes a place in the mailbox",
        &["edges@fleet"],
        3,
    ),
    mutant("receipt-unverified", "upload", "a receipt counts whoever signed it", &["forged-receipts"], 3),
    mutant(
        "receipt-for-whole-stripe",
        "upload",
        "a receipt counts for all shards of its stripe under way to that holder",
        &["few-holders", "bad-network", "slow-and-removed"],
        20,
    ),
    mutant("settled-one-short", "upload", "a stripe counts as stored one receipt early", &["edges"], 3),
    mutant(
        "loads-forget-in-flight",
        "upload",
        "shards that find a new holder all go to the same one",
        &["few-holders"],
        10,
    ),
    mutant("moved-shard-forgotten", "upload", "a shard whose holder was lost finds no new one", &["few-holders"], 10),
    mutant("root-on-one-holder", "upload", "the root block is stored once only", &["edges"], 3),
    mutant("progress-forgets-retired", "upload", "what is shown as done shrinks when a stripe is done", &["edges"], 3),
    mutant(
        "hedge-not-withdrawn",
        "upload",
        "both receipts of a shard sent twice are counted",
        &["slow-and-removed"],
        10,
    ),
    mutant(
        "orphans-kept",
        "upload",
        "holders that were too slow are not told to drop their copy",
        &["slow-and-removed"],
        10,
    ),
    mutant("shard-unverified", "download", "bytes are used without a look at their hash", &["corrupting-holders"], 3),
    mutant("download-never-hedges", "download", "nobody else is asked while an answer is late", &["bad-holders"], 3),
    mutant(
        "missing-asked-again",
        "download",
        "a holder that does not have a shard is asked for it again",
        &["bad-holders"],
        3,
    ),
    mutant("last-stripe-not-wanted", "download", "the last stripe of an object is never asked for", &["edges"], 3),
    mutant(
        "wrong-peer-blamed",
        "download",
        "a bad shard is blamed on whoever was asked last",
        &["corrupting-holders"],
        10,
    ),
    mutant(
        "window-never-freed",
        "download",
        "stripes that were consumed still count as under way",
        &["large-object"],
        3,
    ),
    mutant(
        "root-not-removed",
        "download",
        "a removal leaves the root block",
        &["slow-and-removed", "quota-pressure"],
        3,
    ),
    mutant("receipt-before-sync", "chunks", "a receipt is sent before the disk has answered", &["edges"], 3),
    mutant("stored-unverified", "chunks", "shards are kept without a look at their proof", &["forged-receipts"], 3),
    mutant("promises-not-counted", "chunks", "room that is promised and not yet used is promised again", &["brim"], 10),
    mutant("grant-never-released", "chunks", "room that is handed back stays reserved", &["busy-node"], 3),
    mutant("lease-ends-early", "chunks", "leases end a day early", &["short-leases"], 3),
    mutant("lease-never-ends", "chunks", "the disk is not told that leases have ended", &["short-leases"], 3),
    mutant("root-not-announced", "chunks", "the DHT does not hear of a new root block", &["wide"], 3),
    mutant("frame-index-not-sealed", "ces", "neither key nor tag of a frame covers its position", &["edges"], 3),
    mutant("padding-not-cleared", "ces", "what was in a buffer before pads a frame", &["edges", "chaos"], 10),
    mutant(
        "padded-after-parity",
        "ces",
        "parity is computed over what was in the padding before",
        &["few-holders", "bad-holders"],
        10,
    ),
    mutant("range-end-floored", "ces", "a range ends at the last whole frame", &["edges"], 3),
    mutant("whole-tail-frame-lost", "ces", "a file that ends with a whole frame loses it", &["edges"], 3),
    mutant("condemned-still-candidate", "peers", "a quarantined peer is still proposed as a holder", &["shunned"], 10),
    mutant(
        "timeout-quarantines",
        "peers",
        "a peer that did not answer in time is quarantined",
        &["withholding-holders", "split-brain", "chaos"],
        10,
    ),
    mutant("dialled-without-backoff", "peers", "an unreachable peer is dialled every second", &["lost-bootstrap"], 3),
    mutant(
        "peers-not-restored",
        "peers",
        "the peers that were saved are not read back",
        &["lost-bootstrap", "lost-bootstrap@fleet", "power-failure"],
        10,
    ),
    mutant("dead-session-kept", "peers", "a peer whose connection ended counts as connected", &["split-brain"], 3),
    mutant(
        "snapshot-not-restored",
        "plugins",
        "a plugin is started without its snapshot when its node starts",
        &["plugins"],
        10,
    ),
    mutant("snapshot-not-saved", "plugins", "a snapshot does not reach the disk", &["plugins"], 10),
    mutant(
        "schema-unchecked",
        "plugins",
        "a version that does not read the snapshot replaces the old one",
        &["plugins"],
        3,
    ),
    mutant("rollback-keeps-new", "plugins", "a version that did not start stays", &["plugins"], 10),
    mutant("presence-not-passed", "wiring", "plugins do not hear which peers are there", &["plugins"], 3),
    mutant("audit-not-drawn", "compute", "what a proven host signs for is never run again", &["computing"], 3),
    mutant("newcomer-believed", "compute", "the first results of a new host are not run again", &["cheaters"], 3),
    mutant("first-vote-believed", "compute", "where two hosts differ, the first is believed", &["cheaters"], 3),
    mutant("ban-keeps-results", "compute", "what only a caught host vouches for is believed", &["rare-cheaters"], 10),
    mutant("voter-asked-again", "compute", "a host may confirm its own result", &["computing"], 3),
    mutant("missing-output-awaited", "compute", "an output that does not come is waited for", &["computing"], 10),
    mutant("cached-for-any-input", "compute", "results are kept by module and limits only", &["computing"], 3),
    mutant("done-keeps-slot", "compute", "a task that is done still takes a slot of its worker", &["computing"], 3),
    mutant(
        "output-of-last-claim",
        "compute",
        "all outputs of a batch are sent as those of its last task",
        &["computing"],
        3,
    ),
    mutant("close-not-passed", "wiring", "the downloader does not hear that a job is over", &["busy-node"], 3),
    mutant("providers-not-passed", "wiring", "the downloader does not hear what the DHT knows", &["wide"], 3),
    mutant(
        "disconnected-not-passed",
        "wiring",
        "the uploader does not hear that a connection has ended",
        &["few-holders", "chaos"],
        5,
    ),
    mutant(
        "send-failed-swallowed",
        "wiring",
        "the uploader does not hear that a frame was not sent",
        &["few-holders", "chaos"],
        5,
    ),
    mutant("allow-not-passed", "wiring", "the chunk store does not hear who is quarantined", &["shunned"], 10),
];

/// Name and tier of what a bug's list of scenarios says.
pub fn scenario_and_tier(text: &str) -> (&str, Option<TierName>) {
    text.strip_suffix("@fleet").map_or((text, None), |name| (name, Some(TierName::Fleet)))
}

/// A bug by its name.
pub fn find(name: &str) -> Option<&'static Mutant> {
    MUTANTS.iter().find(|mutant| mutant.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;
    use std::collections::BTreeSet;

    #[test]
    fn every_bug_has_a_name_of_its_own_and_scenarios_that_exist() {
        let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        assert!(MUTANTS.len() >= 24);
        for mutant in MUTANTS {
            assert!(!mutant.scenarios.is_empty() && mutant.seeds > 0, "{}", mutant.name);
            for name in mutant.scenarios {
                assert!(scenario::find(scenario_and_tier(name).0).is_ok(), "{name}");
            }
        }
    }
}
