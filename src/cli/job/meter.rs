//! `job meter`: who has computed how much for whom.

use crate::{
    cli::{CliError, catalog, format, session::Session, table::Table},
    drivers::jobs::meter::Row,
};
use pangea_compute::api::Work;
use serde_json::{Value, json};

/// Tell how much was computed for whom
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What peers computed for this node is counted when it was accepted, what this node computed for them when it was
signed for. What this node computes for itself is not counted. The node remembers the 4096 peers of the latest work; the
totals of all are among its metrics.

Examples:
  pangea job meter
  pangea job meter c6iDEp
  pangea job meter --json"
)]
pub(super) struct MeterArgs {
    /// Only of this peer: its id, or the end of it
    peer: Option<String>,
}

pub(super) async fn meter(session: &Session<'_>, args: MeterArgs) -> Result<(), CliError> {
    let computations = session.answer(session.client.computations()).await?;
    let mut rows = session.answer(computations.meter()).await?;
    if let Some(end) = &args.peer {
        rows.retain(|row| row.peer.to_string().ends_with(end));
        if rows.is_empty() {
            let error = format!("nothing was computed for or by a peer whose id ends with `{end}`");
            return Err(CliError::new(pangea_protocols::job::ErrorKind::NotFound, error));
        }
    }
    if session.output.json {
        return session.output.text(&rows.iter().map(|row| format!("{}\n", value(row))).collect::<String>());
    }
    if rows.is_empty() {
        session.output.say("nothing was computed for or by others yet: try `pangea job run MODULE INPUT`");
        return Ok(());
    }
    let now = catalog::now_unix();
    let header = ["PEER", "WORK", "TASKS", "GAS", "INPUT", "OUTPUT", "REFUSED", "WRONG", "LAST"];
    let mut table = Table::new(&header, 0, &[2, 3, 4, 5, 6, 7]);
    for row in &rows {
        for (direction, work) in [("by it", &row.account.by), ("for it", &row.account.for_them)] {
            if *work == Work::NONE {
                continue;
            }
            table.row(vec![
                row.peer.to_string(),
                direction.to_owned(),
                work.tasks.to_string(),
                work.gas.to_string(),
                format::size(work.input_bytes),
                format::size(work.output_bytes),
                work.refused.to_string(),
                work.wrong.to_string(),
                format::age(row.last_unix, now),
            ]);
        }
    }
    table.print(session.output)
}

fn value(row: &Row) -> Value {
    let work = |work: &Work| {
        json!({ "tasks": work.tasks, "gas": work.gas, "input_bytes": work.input_bytes,
                "output_bytes": work.output_bytes, "refused": work.refused, "wrong": work.wrong })
    };
    json!({ "peer": row.peer.to_string(), "by": work(&row.account.by), "for": work(&row.account.for_them),
            "last_unix": row.last_unix })
}
