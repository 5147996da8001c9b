//! The meter: what was computed for whom, summed up per peer. The actors say what they have accepted and signed for; this
//! adds up, and writes the sums down every [`WRITE_EVERY`] in which something was added, and at the end. What was added
//! in between is lost with a node that is killed. Not here: what is worth how much.

use super::job::{unix, write_whole};
use pangea_compute::api::Work;
use pangea_protocols::{
    PeerId,
    codec::{self, Limit},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Peers that are remembered; of more, the one with which nothing has happened for longest is forgotten. The totals of
/// all stay.
pub const PEERS_MAX: usize = 4096;
/// See the header.
pub const WRITE_EVERY: Duration = Duration::from_secs(10);
/// What the file starts with.
const MAGIC: &[u8] = b"pangea meter 1\n";

/// Something to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metered {
    /// A peer has done this for this node.
    By(PeerId, Work),
    /// This node has done this for a peer.
    For(PeerId, Work),
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What others did for this node.
    pub by: Work,
    /// What this node did for others.
    pub for_them: Work,
}

/// One peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub peer: PeerId,
    /// What was done.
    pub account: Account,
    /// When the last of it was, seconds since 1970.
    pub last_unix: u64,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Books {
    /// Of all peers, those that were forgotten among them.
    totals: Account,
    peers: BTreeMap<PeerId, (Account, u64)>,
}

/// Totals that others may look at.
pub(super) type Totals = Arc<Mutex<Account>>;

/// The sums, with their file.
#[derive(Debug)]
pub(super) struct Meter {
    path: PathBuf,
    books: Books,
    totals: Totals,
    /// Since when something has waited to be written.
    since: Option<Instant>,
}

impl Meter {
    /// Goes on with the file in `dir`. One that cannot be read is set aside, with a word in the log.
    pub(super) fn open(dir: &Path) -> Self {
        let path = dir.join("meter");
        let books = match fs::read(&path) {
            Ok(bytes) => bytes.strip_prefix(MAGIC).and_then(|body| codec::decode(body, Limit::Local).ok()),
            Err(_) => Some(Books::default()),
        };
        let books: Books = books.unwrap_or_else(|| {
            let aside = path.with_extension("damaged");
            tracing::warn!(file = %aside.display(), "the meter was damaged: it was set aside, and begins at nothing");
            let _ = fs::rename(&path, aside);
            Books::default()
        });
        let totals = Arc::new(Mutex::new(books.totals));
        Self { path, books, totals, since: None }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals.clone()
    }

    pub(super) fn add(&mut self, metered: Metered) {
        let now = unix();
        let (Metered::By(peer, work) | Metered::For(peer, work)) = metered;
        let into = |account: &mut Account| match metered {
            Metered::By(..) => account.by.add(&work),
            Metered::For(..) => account.for_them.add(&work),
        };
        into(&mut self.books.totals);
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = self.books.totals;
        let (account, last) = self.books.peers.entry(peer).or_default();
        into(account);
        *last = now;
        if self.books.peers.len() > PEERS_MAX {
            let others = self.books.peers.iter().filter(|(other, _)| **other != peer);
            if let Some(oldest) = others.min_by_key(|(_, (_, last))| *last).map(|(peer, _)| *peer) {
                self.books.peers.remove(&oldest);
            }
        }
        self.since.get_or_insert_with(Instant::now);
    }

    /// Writes down what has waited long enough.
    pub(super) fn write_if_due(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= WRITE_EVERY) {
            self.write();
        }
    }

    /// Writes down what there is to write.
    pub(super) fn write(&mut self) {
        if self.since.take().is_none() {
            return;
        }
        let written = codec::encode(&self.books, Limit::Local).map_err(super::job::failed).and_then(|body| {
            write_whole(&self.path, true, |file| {
                file.write_all(MAGIC)?;
                file.write_all(&body)
            })
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the meter was not written down; trying again later");
            self.since = Some(Instant::now());
        }
    }

    /// Every peer, the one with which something happened last first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |(peer, (account, last)): (&PeerId, &(Account, u64))| Row {
            peer: *peer,
            account: *account,
            last_unix: *last,
        };
        let mut rows: Vec<Row> = self.books.peers.iter().map(row).collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.last_unix), row.peer));
        rows
    }
}

/// Totals in Prometheus' text format.
pub(super) fn render(totals: &Totals) -> String {
    let Account { by, for_them } = *totals.lock().unwrap_or_else(PoisonError::into_inner);
    let columns = [
        ("tasks", "results of tasks", by.tasks, for_them.tasks),
        ("gas", "gas of those tasks", by.gas, for_them.gas),
        ("input_bytes", "bytes of their inputs", by.input_bytes, for_them.input_bytes),
        ("output_bytes", "bytes of their outputs", by.output_bytes, for_them.output_bytes),
        ("refused", "refusals", by.refused, for_them.refused),
        ("wrong", "jobs in which a peer was caught with a wrong result", by.wrong, for_them.wrong),
    ];
    let mut text = String::new();
    for (name, what, by_peers, for_peers) in columns {
        let metric = format!("pangea_compute_{name}_total");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {metric} Computed by peers for this node, and by it for peers: {what}.");
        let _ = writeln!(text, "# TYPE {metric} counter");
        let _ = writeln!(text, "{metric}{{direction=\"by_peers\"}} {by_peers}");
        let _ = writeln!(text, "{metric}{{direction=\"for_peers\"}} {for_peers}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> PeerId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    }

    fn work(tasks: u64) -> Work {
        Work { tasks, gas: 10 * tasks, ..Work::NONE }
    }

    #[test]
    fn sums_are_there_when_it_is_opened_again_and_a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let mut meter = Meter::open(dir.path());
        meter.write();
        assert!(!dir.path().join("meter").exists(), "nothing is written of nothing");
        meter.add(Metered::By(peer(1), work(2)));
        meter.add(Metered::By(peer(1), work(3)));
        meter.add(Metered::For(peer(2), work(7)));
        meter.write();
        let again = Meter::open(dir.path());
        assert_eq!(again.rows(), meter.rows());
        let by_one = again.rows().into_iter().find(|row| row.peer == peer(1)).unwrap().account;
        assert_eq!(by_one, Account { by: work(5), for_them: Work::NONE });
        let metrics = render(&again.totals());
        assert!(metrics.contains("pangea_compute_gas_total{direction=\"by_peers\"} 50\n"), "{metrics}");
        assert!(metrics.contains("pangea_compute_tasks_total{direction=\"for_peers\"} 7\n"), "{metrics}");
        fs::write(dir.path().join("meter"), b"pangea meter 1\nnonsense").unwrap();
        assert!(Meter::open(dir.path()).rows().is_empty());
        assert!(dir.path().join("meter.damaged").exists());
    }

    #[test]
    fn of_too_many_peers_the_one_that_was_quiet_for_longest_is_forgotten_and_its_work_stays_in_the_totals() {
        let dir = tempfile::tempdir().unwrap();
        let mut meter = Meter::open(dir.path());
        let all = u16::try_from(PEERS_MAX).unwrap();
        (0..all).for_each(|n| meter.add(Metered::By(peer(n), work(1))));
        meter.books.peers.get_mut(&peer(77)).unwrap().1 = 1;
        meter.add(Metered::By(peer(all), work(1)));
        assert_eq!(meter.books.peers.len(), PEERS_MAX);
        assert!(!meter.books.peers.contains_key(&peer(77)) && meter.books.peers.contains_key(&peer(all)));
        assert_eq!(meter.books.totals.by.tasks, u64::from(all) + 1);
    }
}
