//! `status`, `stop`, `completions`, and the arguments of the commands that run a node or need none: `init`, `node`,
//! `id`, `config`, `demo`, `bench`.

use super::{CliError, catalog::facts, format, output::Output, session::Session};
use pangea_protocols::job::ErrorKind;
use serde_json::json;
use std::{path::PathBuf, time::Duration};

/// A node that stops flushes its disk first; one that takes longer is stuck.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Between two questions to a node whose peers are waited for.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Make a node's directory: its identity and a commented settings file
#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing that exists is overwritten.

Examples:
  pangea init
  pangea init --home /srv/pangea")]
pub(crate) struct InitArgs {}

/// Run a node until it is stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Stop it with Ctrl-C or `pangea stop`. Settings: `pangea config show --effective`.

Examples:
  pangea node
  pangea node --listen /ip4/0.0.0.0/udp/4001/quic-v1 --quota 50GiB
  pangea node --bootstrap /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp
  pangea node --set log.level=debug")]
pub(crate) struct NodeArgs {
    /// Listen here instead of where the settings say; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Stay connected to this peer, beside those of the settings; may be repeated
    #[arg(long, value_name = "ADDRESS/p2p/ID")]
    pub bootstrap: Vec<String>,
    /// Keep at most this much for others, such as 50GiB
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<String>,
    /// Any other setting, as SECTION.KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Print the id of this node
#[derive(Debug, clap::Args)]
#[command(after_help = "Works whether the node runs or not.

Examples:
  pangea id
  pangea id --json")]
pub(crate) struct IdArgs {}

/// Tell what the running node does
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea status
  pangea status --wait 5 --timeout 2m   # for scripts: until 5 peers are connected
  pangea status --json")]
pub(crate) struct StatusArgs {
    /// Wait until the node runs and has this many peers connected, at most --timeout
    #[arg(long, value_name = "PEERS")]
    pub wait: Option<u32>,
}

/// Stop the running node and wait until it has stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea stop
  pangea stop --home /srv/pangea")]
pub(crate) struct StopArgs {}

/// Check or show the settings
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub action: ConfigAction,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigAction {
    /// Tell whether the settings are valid, and if not, which line is wrong
    #[command(after_help = "Examples:
  pangea config check
  pangea config check pangea.toml")]
    Check {
        /// A settings file [default: that of the node]
        file: Option<PathBuf>,
    },
    /// Print the settings
    #[command(after_help = "Examples:
  pangea config show
  pangea config show --effective   # with defaults and environment, and where each value comes from")]
    Show {
        /// All settings as they take effect, and where each comes from
        #[arg(long)]
        effective: bool,
    },
}

/// Run a small network on this machine: store something, lose nodes, get it back
#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing is left behind.

Examples:
  pangea demo
  pangea demo --nodes 21 ~/Documents")]
pub(crate) struct DemoArgs {
    /// Nodes, each a process of its own
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(4..=40))]
    pub nodes: u16,
    /// Files and directories to store [default: a generated file, and the sources of this program]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Simulate whole networks: runs the program `pangea-sim` with these arguments
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
#[command(after_help = "Examples:
  pangea sim list
  pangea sim run flash-crowd --seed 7")]
pub(crate) struct SimArgs {
    /// See `pangea sim --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub arguments: Vec<std::ffi::OsString>,
}

/// Measure this machine: compression, encryption, coding, disk and loopback
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea bench
  pangea bench --size 64MiB --json")]
pub(crate) struct BenchArgs {
    /// Bytes to work on
    #[arg(long, default_value = "64MiB", value_name = "SIZE", value_parser = format::parse_size)]
    pub size: u64,
}

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea completions bash > ~/.local/share/bash-completion/completions/pangea
  pangea completions zsh
  pangea completions fish")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Print the meaning of the exit codes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pangea exit-codes")]
pub(crate) struct ExitCodesArgs {}

pub(crate) async fn status(session: &Session<'_>, args: StatusArgs) -> Result<(), CliError> {
    let mut status = session.answer(session.client.status()).await?;
    let enough = |connected: u32| args.wait.is_none_or(|peers| connected >= peers);
    let waiting = async {
        while !enough(status.peers_connected) {
            tokio::time::sleep(ASK_AGAIN).await;
            status = session.answer(session.client.status()).await?;
        }
        Ok::<(), CliError>(())
    };
    match tokio::time::timeout(session.timeout, waiting).await {
        Ok(waited) => waited?,
        Err(_) => {
            let (peers, wait) = (format::count(status.peers_connected.into(), "peer"), args.wait.unwrap_or_default());
            let message = format!("{peers} connected after {}, not {wait}", format::span(session.timeout));
            return Err(CliError::new(ErrorKind::Unreachable, message).help("see who is known with `pangea peers`"));
        }
    }
    let chunks = &status.chunks;
    if session.output.json {
        return session.output.value(&json!({
            "peer": status.peer.to_string(), "version": status.version, "home": status.home.display().to_string(),
            "addresses": status.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "uptime_seconds": status.uptime.as_secs(), "peers_connected": status.peers_connected,
            "objects": status.objects, "jobs": status.jobs,
            "chunks": {
                "shards": chunks.usage.shards, "disk_bytes": chunks.usage.disk_bytes,
                "free_bytes": chunks.usage.free_bytes, "reserved_bytes": chunks.reserved_bytes,
                "quota_bytes": chunks.quota_bytes, "stored": chunks.stored, "served": chunks.served,
                "refused": chunks.refused,
            },
        }));
    }
    let mut lines = vec![
        ("peer", status.peer.to_string()),
        ("home", status.home.display().to_string()),
        ("version", format!("{}, up {}", format::printable(&status.version), format::span(status.uptime))),
        ("peers", format!("{} connected", status.peers_connected)),
        (
            "catalog",
            format!(
                "{}, {} running",
                format::count(status.objects, "object"),
                format::count(status.jobs.into(), "job")
            ),
        ),
        (
            "for others",
            format!(
                "{} in {} of {}, {} reserved",
                format::count(chunks.usage.shards, "shard"),
                format::size(chunks.usage.disk_bytes),
                format::size(chunks.quota_bytes),
                format::size(chunks.reserved_bytes),
            ),
        ),
        ("disk", format!("{} free", format::size(chunks.usage.free_bytes))),
        ("served", format!("{} stored, {} served, {} refused", chunks.stored, chunks.served, chunks.refused)),
    ];
    lines.extend(status.addresses.iter().map(|address| ("address", format!("{address}/p2p/{}", status.peer))));
    session.output.text(&facts(&lines))
}

pub(crate) async fn stop(session: &Session<'_>) -> Result<(), CliError> {
    session.answer(session.client.shutdown()).await?;
    session.output.say("stopping");
    // The connection ends before the disk is synced and the directory is free for the next node.
    let gone = async {
        session.client.closed().await;
        while session.home.is_in_use() {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    let gone = tokio::time::timeout(STOP_TIMEOUT, gone).await;
    gone.map_err(|_| CliError::new(ErrorKind::Unreachable, "the node has not stopped yet").help("look at its log"))?;
    if session.output.json {
        return session.output.value(&json!({ "stopped": true }));
    }
    session.output.say("stopped");
    Ok(())
}

pub(crate) fn completions(
    args: &CompletionsArgs,
    command: &mut clap::Command,
    output: &Output,
) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "pangea", &mut script);
    output.text(&String::from_utf8_lossy(&script))
}
