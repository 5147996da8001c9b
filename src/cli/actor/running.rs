//! `install`, `ls`, `logs`, `rm`, `ask`, `dev`: plugins of the running node.

use super::{AskArgs, DevArgs, InstallArgs, LogsArgs, LsArgs, RmArgs, package};
use crate::{
    cli::{CliError, format, progress::Kind, session::Session, table::Table},
    control::plugins::word,
    node::handle::Get,
};
use pangea_ces::api::Selection;
use pangea_plugins::{
    Manifest,
    api::{Package, State, View},
};
use pangea_protocols::{files::Sink, guest::Line, job::ErrorKind, ticket::Ticket};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::time;

/// How often `dev` looks at the files, and `logs --follow` at the log.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A plugin that is asked has longer than the node itself.
const ASK_TIMEOUT: Duration = Duration::from_secs(40);

pub(super) async fn install(session: &Session<'_>, args: InstallArgs) -> Result<(), CliError> {
    let (package, manifest) = match args.from.parse::<Ticket>() {
        Ok(ticket) => fetch(session, ticket, &args.settings).await?,
        Err(_) => package::read(Path::new(&args.from), &args.settings)?,
    };
    put_in(session, &package, &manifest).await
}

async fn put_in(session: &Session<'_>, package: &Package, manifest: &Manifest) -> Result<(), CliError> {
    // A compilation and the first call of the plugin may take longer than a question.
    let installed = time::timeout(session.timeout, session.client.install_plugin(package)).await;
    let (view, replaced) =
        installed.map_err(|_| CliError::new(ErrorKind::Unreachable, "the plugin has not started in time"))??;
    if session.output.json {
        return session.output.value(&json!({ "installed": shown(&view), "replaced": replaced }));
    }
    let what = match replaced {
        Some(old) => format!("{} {} runs, instead of {old}", view.name, view.version),
        None => format!("{} {} runs", view.name, view.version),
    };
    session.output.line(&format::printable(&what))?;
    if let Some(command) = manifest.commands.keys().next() {
        session.output.say(&format!("ask it: pangea actor ask {} {command}", view.name));
    }
    Ok(())
}

/// Gets a stored directory with a manifest and its module.
async fn fetch(
    session: &Session<'_>,
    ticket: Ticket,
    settings: &package::Settings,
) -> Result<(Package, Manifest), CliError> {
    let dir = session.home.dir().join(format!("install-{}", std::process::id()));
    let sink = Sink::Path { path: dir.clone(), overwrite: true };
    let get = Get { ticket, only: Selection::All, sink, timeout: session.timeout };
    let job = session.client.get(&get, false).await?;
    let got = session.follow(&job, Kind::Get).await;
    let read = got.and_then(|_| read_fetched(session, &dir, settings));
    let _ = std::fs::remove_dir_all(&dir).or_else(|_| std::fs::remove_file(&dir));
    read
}

fn read_fetched(
    session: &Session<'_>,
    dir: &Path,
    settings: &package::Settings,
) -> Result<(Package, Manifest), CliError> {
    let entries = std::fs::read_dir(dir).map_err(|error| CliError::io("what was fetched", &error))?;
    let is_manifest = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_manifest).collect();
    let [manifest] = found.as_slice() else {
        let message = format!("{} manifests (*.toml) are in what was fetched; there must be one", found.len());
        return Err(CliError::new(ErrorKind::NotFound, message));
    };
    let (package, manifest) = package::read(manifest, settings)?;
    let granted = manifest.capabilities();
    let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
    let question = format!("run {} {}, which may use {granted}?", manifest.name, manifest.version);
    session.output.confirm(&format::printable(&question))?;
    Ok((package, manifest))
}

pub(super) async fn ls(session: &Session<'_>, args: LsArgs) -> Result<(), CliError> {
    let mut views = session.answer(session.client.plugins()).await?;
    if let Some(name) = &args.name {
        views.retain(|view| view.name == *name);
        if views.is_empty() {
            return Err(CliError::new(ErrorKind::NotFound, format!("there is no plugin `{name}`")));
        }
    }
    if session.output.json {
        let lines: String = views.iter().map(|view| format!("{}\n", shown(view))).collect();
        return session.output.text(&lines);
    }
    if let (Some(_), [view]) = (&args.name, views.as_slice()) {
        return details(session, view);
    }
    if views.is_empty() {
        session.output.say("no plugin is installed: try `pangea actor new hello`");
        return Ok(());
    }
    let header = ["NAME", "VERSION", "STATE", "WAITING", "HANDLED", "DROPPED", "RESTARTS", "MEMORY", "ABOUT"];
    let mut table = Table::new(&header, 8, &[3, 4, 5, 6, 7]);
    for view in &views {
        table.row(vec![
            view.name.to_string(),
            format::printable(&view.version),
            word(&view.state).to_owned(),
            view.waiting.to_string(),
            view.handled.to_string(),
            view.dropped.to_string(),
            view.restarts.to_string(),
            format::size(view.memory_bytes),
            format::printable(view.last_failure.as_deref().unwrap_or(&view.about)),
        ]);
    }
    table.print(session.output)
}

fn details(session: &Session<'_>, view: &View) -> Result<(), CliError> {
    let say = |line: String| session.output.line(&format::printable(&line));
    say(format!("{} {}: {}", view.name, view.version, view.about))?;
    say(match &view.state {
        State::Disabled(reason) => format!("disabled: {reason}"),
        state => word(state).to_owned(),
    })?;
    if let Some(failure) = &view.last_failure {
        say(format!("last failure: {failure}"))?;
    }
    say(format!("may use {}", view.capabilities.join(", ")))?;
    say(format!(
        "{} events, {} waiting, {} dropped, {} restarts, {} gas, {} of memory, snapshot of {}",
        view.handled,
        view.waiting,
        view.dropped,
        view.restarts,
        view.gas,
        format::size(view.memory_bytes),
        format::size(view.snapshot_bytes)
    ))?;
    view.commands.iter().try_for_each(|(name, about)| say(format!("  {name}  {about}")))
}

/// A plugin as JSON.
fn shown(view: &View) -> Value {
    json!({
        "name": view.name.as_str(), "version": view.version, "about": view.about, "state": word(&view.state),
        "capabilities": view.capabilities, "commands": view.commands.iter().cloned().collect::<BTreeMap<_, _>>(),
        "waiting": view.waiting, "handled": view.handled, "dropped": view.dropped, "restarts": view.restarts,
        "gas": view.gas, "busy_us": u64::try_from(view.busy.as_micros()).unwrap_or(u64::MAX),
        "memory_bytes": view.memory_bytes, "snapshot_bytes": view.snapshot_bytes, "failure": view.last_failure,
    })
}

pub(super) async fn ask(session: &Session<'_>, args: AskArgs) -> Result<(), CliError> {
    let bytes = match args.words.as_slice() {
        [one] if one == "-" => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| CliError::io("standard input", &error))?;
            bytes
        }
        words => words.join(" ").into_bytes(),
    };
    let answer = time::timeout(ASK_TIMEOUT, session.client.ask_plugin(&args.name, &bytes)).await;
    let answer = answer.map_err(|_| CliError::new(ErrorKind::Unreachable, "the node does not answer"))??;
    if session.output.json {
        return session.output.value(&json!({ "answer": String::from_utf8_lossy(&answer) }));
    }
    let mut out = io::stdout().lock();
    let written =
        out.write_all(&answer).and_then(|()| if answer.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") });
    written.map_err(|error| CliError::io("standard output", &error))
}

pub(super) async fn rm(session: &Session<'_>, args: RmArgs) -> Result<(), CliError> {
    session.output.confirm(&format!("remove {} and all that it kept?", args.name))?;
    session.answer(session.client.remove_plugin(&args.name)).await?;
    session.output.say(&format!("{} is gone", args.name));
    Ok(())
}

pub(super) async fn logs(session: &Session<'_>, args: LogsArgs) -> Result<(), CliError> {
    let mut seen = Vec::new();
    loop {
        let lines = session.answer(session.client.plugin_log(&args.name)).await?;
        tell(session, &lines[overlap(&seen, &lines)..])?;
        seen = lines;
        if !args.follow {
            return Ok(());
        }
        time::sleep(LOOK_EVERY).await;
    }
}

fn tell(session: &Session<'_>, lines: &[Line]) -> Result<(), CliError> {
    for line in lines {
        let level = match line.level {
            0 => "error",
            1 => "warning",
            2 => "info",
            _ => "debug",
        };
        if session.output.json {
            session.output.value(&json!({ "level": level, "text": line.text }))?;
        } else {
            session.output.line(&format!("{level}: {}", format::printable(&line.text)))?;
        }
    }
    Ok(())
}

/// How many of `lines`, which are the last that were logged, have been `seen`.
fn overlap(seen: &[Line], lines: &[Line]) -> usize {
    (0..=seen.len().min(lines.len())).rev().find(|count| seen[seen.len() - count..] == lines[..*count]).unwrap_or(0)
}

/// Installs again and again, until Ctrl-C.
pub(super) async fn dev(session: &Session<'_>, args: DevArgs) -> Result<(), CliError> {
    let (mut installed, mut seen) = (None, Vec::new());
    loop {
        let saved = last_saved(&args.manifest);
        if installed != Some(saved) {
            installed = Some(saved);
            // What is wrong is said, and may be right after the next save.
            if let Err(error) = again(session, &args).await {
                session.output.error(&error);
            }
        }
        if let Ok((_, manifest)) = package::manifest(&args.manifest)
            && let Ok(lines) = session.client.plugin_log(&manifest.name).await
        {
            tell(session, &lines[overlap(&seen, &lines)..])?;
            seen = lines;
        }
        time::sleep(LOOK_EVERY).await;
    }
}

async fn again(session: &Session<'_>, args: &DevArgs) -> Result<(), CliError> {
    let (_, manifest) = package::manifest(&args.manifest)?;
    package::make(&args.manifest, &manifest)?;
    let (package, manifest) = package::read(&args.manifest, &args.settings)?;
    package::check(&package, &manifest)?;
    put_in(session, &package, &manifest).await
}

/// When a file beside the manifest was saved last, except the module if it is made of the others.
fn last_saved(manifest: &Path) -> Option<SystemTime> {
    let found = package::manifest(manifest).ok().filter(|(_, found)| !found.build.is_empty());
    let made = found.map(|(_, found)| package::module_path(manifest, &found));
    let dir = manifest.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = files.filter(|entry| made.as_ref().and_then(|made| made.file_name()) != Some(&entry.file_name()));
    files.filter_map(|entry| entry.metadata().ok().filter(|found| found.is_file())?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_lines_are_shown() {
        let lines = |texts: &[&str]| -> Vec<Line> {
            texts.iter().map(|text| Line { level: 2, text: (*text).to_owned() }).collect()
        };
        for (seen, now, expected) in [
            (lines(&[]), lines(&["a"]), 0),
            (lines(&["a"]), lines(&["a", "b"]), 1),
            (lines(&["a", "b"]), lines(&["b", "c"]), 1),
            (lines(&["a", "a"]), lines(&["a", "a", "a"]), 2),
            (lines(&["a"]), lines(&["b"]), 0),
        ] {
            assert_eq!(overlap(&seen, &now), expected);
        }
    }
}
