//! `top`: what every actor and plugin of the node is doing, from its metrics.

use super::{CliError, format, session::Session, table::Table};
use crate::control::plugins::word;
use pangea_plugins::api::View;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, stdout},
    time::{Duration, Instant},
};
use tokio::time;

/// Show what every actor and plugin of the node is doing
#[derive(Debug, clap::Args)]
#[command(after_help = "Events and busy time are those of the last interval; with --once, those since the start.

Examples:
  pangea top
  pangea top --once
  pangea top --every 5s --json")]
pub(crate) struct TopArgs {
    /// Print one table, and end
    #[arg(long)]
    once: bool,
    /// Between two tables
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = format::parse_span)]
    every: Duration,
}

/// An actor, as its metrics tell.
#[derive(Clone, Debug, Default, PartialEq)]
struct Actor {
    up: bool,
    waiting: u64,
    handled: u64,
    restarts: u64,
    rejected: u64,
    busy_s: f64,
}

/// What is shown of an actor or a plugin.
struct Row {
    name: String,
    kind: &'static str,
    state: String,
    waiting: u64,
    handled: u64,
    busy: Duration,
    restarts: u64,
    dropped: u64,
}

pub(crate) async fn top(session: &Session<'_>, args: TopArgs) -> Result<(), CliError> {
    let mut before: BTreeMap<String, (u64, Duration)> = BTreeMap::new();
    let mut since = None;
    loop {
        let metrics = session.answer(session.client.metrics()).await?;
        let plugins = session.answer(session.client.plugins()).await?;
        let rows = rows(&actors(&metrics), &plugins);
        let now = now();
        let elapsed = since.map(|since| now - since);
        if session.output.json {
            let lines: String = rows.iter().map(|row| format!("{}\n", json_of(row))).collect();
            session.output.text(&lines)?;
        } else {
            if elapsed.is_some() && stdout().is_terminal() {
                session.output.text("\x1b[H\x1b[2J")?;
            }
            table(&rows, &before, elapsed).print(session.output)?;
        }
        if args.once {
            return Ok(());
        }
        before = rows.into_iter().map(|row| (row.name, (row.handled, row.busy))).collect();
        since = Some(now);
        time::sleep(args.every).await;
    }
}

#[allow(clippy::disallowed_methods, reason = "an interval that is shown to a person; no core sees this clock")]
fn now() -> Instant {
    Instant::now()
}

/// Actors by name, from the text format of Prometheus.
fn actors(metrics: &str) -> BTreeMap<String, Actor> {
    let mut actors: BTreeMap<String, Actor> = BTreeMap::new();
    for line in metrics.lines() {
        let Some((metric, rest)) = line.strip_prefix("pangea_actor_").and_then(|line| line.split_once("{actor=\""))
        else {
            continue;
        };
        let Some((name, value)) = rest.split_once("\"} ").filter(|(name, _)| !name.contains('"')) else { continue };
        let actor = actors.entry(name.to_owned()).or_default();
        let number = || value.parse().unwrap_or(0);
        match metric {
            "up" => actor.up = value == "1",
            "mailbox_depth" => actor.waiting = number(),
            "handled_total" => actor.handled = number(),
            "restarts_total" => actor.restarts = number(),
            "rejected_total" => actor.rejected = number(),
            "handle_seconds_sum" => actor.busy_s = value.parse().unwrap_or(0.0),
            _ => {}
        }
    }
    actors
}

fn rows(actors: &BTreeMap<String, Actor>, plugins: &[View]) -> Vec<Row> {
    let of_actor = |(name, actor): (&String, &Actor)| Row {
        name: name.clone(),
        kind: "actor",
        state: if actor.up { "running" } else { "stopped" }.to_owned(),
        waiting: actor.waiting,
        handled: actor.handled,
        busy: Duration::try_from_secs_f64(actor.busy_s).unwrap_or_default(),
        restarts: actor.restarts,
        dropped: actor.rejected,
    };
    let of_plugin = |view: &View| Row {
        name: view.name.to_string(),
        kind: "plugin",
        state: word(&view.state).to_owned(),
        waiting: view.waiting,
        handled: view.handled,
        busy: view.busy,
        restarts: view.restarts,
        dropped: view.dropped,
    };
    actors.iter().map(of_actor).chain(plugins.iter().map(of_plugin)).collect()
}

fn json_of(row: &Row) -> Value {
    json!({
        "name": row.name, "kind": row.kind, "state": row.state, "waiting": row.waiting, "handled": row.handled,
        "busy_us": u64::try_from(row.busy.as_micros()).unwrap_or(u64::MAX), "restarts": row.restarts,
        "dropped": row.dropped,
    })
}

/// What is new since `before`, or all of it.
fn table(rows: &[Row], before: &BTreeMap<String, (u64, Duration)>, elapsed: Option<Duration>) -> Table {
    let header = ["NAME", "KIND", "STATE", "WAITING", "EVENTS", "BUSY", "RESTARTS", "DROPPED"];
    let mut table = Table::new(&header, 0, &[3, 4, 5, 6, 7]);
    for row in rows {
        let (handled, busy) = before.get(&row.name).copied().unwrap_or_default();
        let (events, busy) = (row.handled.saturating_sub(handled), row.busy.saturating_sub(busy));
        let busy = match elapsed {
            Some(elapsed) if elapsed > Duration::ZERO => {
                format!("{:.1}%", busy.as_secs_f64() / elapsed.as_secs_f64() * 100.0)
            }
            _ => format::latency(busy),
        };
        table.row(vec![
            format::printable(&row.name),
            row.kind.to_owned(),
            row.state.clone(),
            row.waiting.to_string(),
            events.to_string(),
            busy,
            row.restarts.to_string(),
            row.dropped.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_back() {
        let text = "# HELP pangea_actor_up 1 while the actor runs\n# TYPE pangea_actor_up gauge\n\
            pangea_actor_up{actor=\"peers\"} 1\npangea_actor_mailbox_depth{actor=\"peers\"} 3\n\
            pangea_actor_handled_total{actor=\"peers\"} 70\npangea_actor_restarts_total{actor=\"peers\"} 2\n\
            pangea_actor_rejected_total{actor=\"peers\"} 5\n\
            pangea_actor_handle_seconds_bucket{actor=\"peers\",le=\"+Inf\"} 70\n\
            pangea_actor_handle_seconds_sum{actor=\"peers\"} 0.25\nsomething_else 1\n";
        let peers = Actor { up: true, waiting: 3, handled: 70, restarts: 2, rejected: 5, busy_s: 0.25 };
        assert_eq!(actors(text), [("peers".to_owned(), peers)].into());
    }
}
