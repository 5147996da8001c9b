//! Durable progress: what is shown as done is safe.
//!
//! A put has two kinds of done. **Readable** bytes have enough receipts to be read back from the network if this
//! machine burns down; **full** bytes have all their receipts. The bar shows full as `█`, readable as `▒`. An object of
//! one stripe is shown by its shards instead: `18/20 shards, readable since 12`.
//!
//! [`State`] and its rendering are pure; [`Drawing`] draws with indicatif on a terminal, prints a line every 10 % when
//! standard error goes elsewhere, JSON lines with `--json --progress`, and nothing with `--quiet`.

use super::{format, output::Output};
use crate::node::handle::News;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pangea_protocols::{
    job::{JobEvent, Progress},
    manifest::FRAME_BYTES,
};
use serde_json::json;
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

const BAR_CELLS: usize = 24;
/// Lines of a log are this many percent apart.
const LOG_STEP_PERCENT: u64 = 10;

/// What kind of job is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is shown.
    Silent,
    /// Bytes go to the network.
    Put,
    /// Bytes come from it.
    Get,
}

/// All that is known of a running job.
#[derive(Clone, Debug)]
pub struct State {
    kind: Kind,
    progress: Progress,
    /// Data and parity shards per stripe, once known.
    code: Option<(u8, u8)>,
}

impl State {
    /// A job of which nothing is known.
    pub fn new(kind: Kind) -> Self {
        Self { kind, progress: Progress::default(), code: None }
    }

    /// The same, of `bytes` bytes if that is known before the network tells.
    fn expecting(mut self, bytes: Option<u64>) -> Self {
        self.progress.total_bytes = bytes;
        self
    }

    /// Learns from news.
    pub fn on_news(&mut self, news: &News) {
        match news {
            News::Event(JobEvent::Placed { k, m, .. }) => self.code = Some((*k, *m)),
            News::Event(JobEvent::Opened { raw_len, k, m, .. }) => {
                self.code = Some((*k, *m));
                self.progress.total_bytes.get_or_insert(*raw_len);
            }
            News::Event(JobEvent::Progress { progress, .. }) => {
                let total = progress.total_bytes.or(self.progress.total_bytes);
                self.progress = Progress { total_bytes: total, ..*progress };
            }
            _ => {}
        }
    }

    /// Whole percent that are done, if the end is known.
    pub fn percent(&self) -> Option<u64> {
        let total = self.progress.total_bytes.filter(|total| *total > 0)?;
        Some((u128::from(self.progress.done_bytes.min(total)) * 100 / u128::from(total)) as u64)
    }

    /// One line: bar or shards, amounts, speed, time to go.
    pub fn render(&self, elapsed: Duration) -> String {
        let mut parts = vec![match self.kind {
            Kind::Put if self.counts_shards() => self.shards(),
            _ => self.amounts(),
        }];
        let seconds = elapsed.as_secs_f64();
        if seconds >= 0.5 && self.progress.done_bytes > 0 {
            let rate = self.progress.done_bytes as f64 / seconds;
            parts.push(format::rate(rate));
            let left = self.progress.total_bytes.map_or(0, |total| total.saturating_sub(self.progress.done_bytes));
            // A time that does not fit a duration is not worth showing.
            if let Ok(left) = Duration::try_from_secs_f64(left as f64 / rate)
                && left.as_secs() > 0
            {
                parts.push(format!("{} left", format::span(left)));
            }
        }
        // Of a put: shards that went to another holder. Of a get: shards that had to come from another.
        let healed = if self.kind == Kind::Put { "moved" } else { "healed" };
        for (number, what) in [(self.progress.healed, healed), (self.progress.hedged, "hedged")] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        parts.join("  ")
    }

    /// One stripe is. An object that is kept whole is readable without shards.
    fn counts_shards(&self) -> bool {
        let Some((k, _)) = self.code else { return false };
        let kept_whole = self.progress.done_bytes > 0 && self.progress.shards < u64::from(k);
        !kept_whole && self.progress.total_bytes.is_some_and(|total| total <= FRAME_BYTES as u64)
    }

    fn shards(&self) -> String {
        let (k, m) = self.code.unwrap_or_default();
        let (k, all, have) = (u64::from(k), u64::from(k) + u64::from(m), self.progress.shards);
        let bar = bar(have.min(all), if have >= k { all.min(have) } else { 0 }, all);
        match have {
            have if have >= all => format!("{bar} {have}/{all} shards, complete"),
            have if have >= k => format!("{bar} {have}/{all} shards, readable since {k}"),
            have => format!("{bar} {have}/{all} shards, readable from {k}"),
        }
    }

    fn amounts(&self) -> String {
        let Progress { done_bytes, full_bytes, total_bytes, .. } = self.progress;
        let full = if self.kind == Kind::Put { full_bytes.min(done_bytes) } else { done_bytes };
        let what = if self.kind == Kind::Put { "readable" } else { "verified" };
        let Some(total) = total_bytes else {
            let done = format!("{} {what}", format::size(done_bytes));
            return if full < done_bytes { format!("{done}, {} full", format::size(full)) } else { done };
        };
        let percent = self.percent().unwrap_or(100);
        let sizes = format!("{} of {}", format::size(done_bytes), format::size(total));
        let tail = if full < done_bytes { format!(", {} full", format::size(full)) } else { String::new() };
        format!("{} {percent:>3}%  {sizes} {what}{tail}", bar(done_bytes, full, total))
    }

    /// The same as one JSON object.
    pub fn json(&self, elapsed: Duration) -> serde_json::Value {
        let Progress { done_bytes, full_bytes, total_bytes, shards, healed, hedged } = self.progress;
        json!({ "event": "progress", "done_bytes": done_bytes, "full_bytes": full_bytes, "total_bytes": total_bytes,
                "shards": shards, "healed": healed, "hedged": hedged, "elapsed_ms": elapsed.as_millis() as u64 })
    }
}

/// `full` of `total` as `█`, `done` beyond that as `▒`, the rest as `·`. A cell is filled only when it is reached.
pub(crate) fn bar(done: u64, full: u64, total: u64) -> String {
    let cells = |amount: u64| match total {
        0 => BAR_CELLS,
        total => (u128::from(amount.min(total)) * BAR_CELLS as u128 / u128::from(total)) as usize,
    };
    let (full, done) = (cells(full.min(done)), cells(done));
    "█".repeat(full) + &"▒".repeat(done - full) + &"·".repeat(BAR_CELLS - done)
}

/// Where progress goes.
enum Drawn {
    Bar(ProgressBar),
    /// Percent at which the next line is due.
    Log {
        next: u64,
    },
    Json,
    Nothing,
}

/// Draws the progress of one job, whatever it consists of.
pub(crate) struct Drawing {
    drawn: Drawn,
    started: Instant,
}

impl Drawing {
    /// `message` is shown until there is progress.
    pub(crate) fn new(output: &Output, silent: bool, message: &'static str) -> Self {
        let drawn = match (silent, output.json_progress, output.quiet || output.json) {
            (true, ..) => Drawn::Nothing,
            (_, true, _) => Drawn::Json,
            (_, _, true) => Drawn::Nothing,
            _ if std::io::stderr().is_terminal() => Drawn::Bar(progress_bar(output, message)),
            _ => Drawn::Log { next: LOG_STEP_PERCENT },
        };
        #[allow(clippy::disallowed_methods, reason = "speed is shown to a person; no core sees this clock")]
        let started = Instant::now();
        Self { drawn, started }
    }

    /// Shows what there is now: as a line for people or as JSON, both given the time since the start.
    pub(crate) fn show(
        &mut self,
        percent: Option<u64>,
        line: impl FnOnce(Duration) -> String,
        json: impl FnOnce(Duration) -> Option<serde_json::Value>,
    ) {
        let elapsed = self.started.elapsed();
        match &mut self.drawn {
            Drawn::Bar(bar) => bar.set_message(line(elapsed)),
            Drawn::Log { next } => {
                if let Some(percent) = percent.filter(|percent| *percent >= *next) {
                    *next = percent / LOG_STEP_PERCENT * LOG_STEP_PERCENT + LOG_STEP_PERCENT;
                    eprintln_quietly(&line(elapsed));
                }
            }
            Drawn::Json => {
                if let Some(json) = json(elapsed) {
                    eprintln_quietly(&json.to_string());
                }
            }
            Drawn::Nothing => {}
        }
    }

    pub(crate) fn finish(self) {
        if let Drawn::Bar(bar) = self.drawn {
            bar.finish_and_clear();
        }
    }
}

/// Shows the progress of a put or a get.
pub(crate) struct Display {
    state: State,
    drawing: Drawing,
}

impl Display {
    pub(crate) fn new(output: &Output, kind: Kind, bytes: Option<u64>) -> Self {
        let drawing = Drawing::new(output, kind == Kind::Silent, "looking for peers");
        Self { state: State::new(kind).expecting(bytes), drawing }
    }

    pub(crate) fn on_news(&mut self, news: &News) {
        self.state.on_news(news);
        let (state, is_progress) = (&self.state, matches!(news, News::Event(JobEvent::Progress { .. })));
        let json = |elapsed| is_progress.then(|| state.json(elapsed));
        self.drawing.show(state.percent(), |elapsed| state.render(elapsed), json);
    }

    pub(crate) fn finish(self) {
        self.drawing.finish();
    }
}

fn progress_bar(output: &Output, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = if output.colors_err() { "{spinner:.cyan} {wide_msg}" } else { "{spinner} {wide_msg}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Progress is not worth an error when nobody reads it.
fn eprintln_quietly(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::JobId;

    const JOB: JobId = JobId(1);
    const MIB: u64 = 1 << 20;

    fn put(progress: Progress) -> State {
        let mut state = State::new(Kind::Put);
        state.on_news(&News::Event(JobEvent::Placed { job: JOB, k: 12, m: 8, holders: vec![] }));
        state.on_news(&News::Event(JobEvent::Progress { job: JOB, progress }));
        state
    }

    fn bytes(done: u64, full: u64, total: Option<u64>) -> Progress {
        Progress { done_bytes: done, full_bytes: full, total_bytes: total, ..Progress::default() }
    }

    #[test]
    fn a_small_put_is_shown_by_its_shards() {
        for (shards, want) in [
            (5, "▒▒▒▒▒▒·················· 5/20 shards, readable from 12"),
            (18, "█████████████████████··· 18/20 shards, readable since 12"),
            (20, "████████████████████████ 20/20 shards, complete"),
        ] {
            let progress = Progress { shards, ..bytes(0, 0, Some(1000)) };
            assert_eq!(put(progress).render(Duration::ZERO), want);
        }
    }

    #[test]
    fn an_object_that_is_kept_whole_is_shown_by_its_bytes() {
        let line = put(bytes(1000, 1000, Some(1000))).render(Duration::ZERO);
        assert_eq!(line, "████████████████████████ 100%  1000 B of 1000 B readable");
    }

    #[test]
    fn a_put_of_a_file_has_an_end_before_the_network_tells_it() {
        let mut state = State::new(Kind::Put).expecting(Some(100 * MIB));
        state.on_news(&News::Event(JobEvent::Progress { job: JOB, progress: bytes(50 * MIB, 50 * MIB, None) }));
        assert_eq!(state.percent(), Some(50));
    }

    #[test]
    fn shards_are_solid_once_the_object_is_readable() {
        let line = |shards| put(Progress { shards, ..bytes(0, 0, Some(1000)) }).render(Duration::ZERO);
        assert!(line(11).starts_with("▒▒▒▒▒▒▒▒▒▒▒▒▒···"), "{}", line(11));
        assert!(line(12).starts_with("██████████████···"), "{}", line(12));
    }

    #[test]
    fn a_large_put_tells_readable_and_full_bytes_apart() {
        let line = put(bytes(50 * MIB, 25 * MIB, Some(100 * MIB))).render(Duration::from_secs(10));
        let bar = "██████▒▒▒▒▒▒············";
        assert_eq!(line, format!("{bar}  50%  50 MiB of 100 MiB readable, 25 MiB full  5.0 MiB/s  10s left"));
    }

    #[test]
    fn a_put_of_unknown_length_shows_amounts_without_an_end() {
        let line = put(bytes(50 * MIB, 25 * MIB, None)).render(Duration::from_secs(10));
        assert_eq!(line, "50 MiB readable, 25 MiB full  5.0 MiB/s");
    }

    #[test]
    fn a_get_shows_verified_bytes_and_what_was_healed_and_hedged() {
        let mut state = State::new(Kind::Get);
        let (name, directory) = ("x".to_owned(), false);
        state.on_news(&News::Event(JobEvent::Opened { job: JOB, name, directory, raw_len: 4 * MIB, k: 12, m: 8 }));
        let progress = Progress { done_bytes: MIB, healed: 2, hedged: 1, ..Progress::default() };
        state.on_news(&News::Event(JobEvent::Progress { job: JOB, progress }));
        let want = "██████··················  25%  1.0 MiB of 4.0 MiB verified  1.0 MiB/s  3s left  2 healed  1 hedged";
        assert_eq!(state.render(Duration::from_secs(1)), want);
    }

    #[test]
    fn nothing_is_divided_by_zero_and_no_count_overflows_the_bar() {
        for (done, full, total) in [
            (0, 0, Some(0)),
            (9, 9, Some(3)),
            (u64::MAX, u64::MAX, Some(u64::MAX)),
            (1, 5, None),
            (1, 1, Some(u64::MAX)),
        ] {
            for kind in [Kind::Put, Kind::Get] {
                let mut state = State::new(kind);
                let progress = Progress { shards: u64::MAX, ..bytes(done, full, total) };
                state.on_news(&News::Event(JobEvent::Progress { job: JOB, progress }));
                assert!(!state.render(Duration::ZERO).is_empty());
                assert!(!state.render(Duration::MAX).is_empty());
                assert!(state.percent().is_none_or(|percent| percent <= 100));
            }
        }
    }
}
