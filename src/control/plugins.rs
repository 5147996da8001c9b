//! Plugins between the node's types and the schema's structs, both ways.

use super::{
    decode::{DecodeError, parse},
    encode::{length, texts},
};
use pangea_plugins::api::{State, View};
use pangea_protocols::{generated::control_capnp as schema, guest::Line};
use std::time::Duration;

const STARTING: &str = "starting";
const RUNNING: &str = "running";
const PAUSING: &str = "pausing";
const DISABLED: &str = "disabled";

/// The word for a state.
pub fn word(state: &State) -> &'static str {
    match state {
        State::Starting => STARTING,
        State::Running => RUNNING,
        State::Pausing => PAUSING,
        State::Disabled(_) => DISABLED,
    }
}

pub(super) fn encode(mut to: schema::plugin::Builder<'_>, from: &View) {
    to.set_name(from.name.as_str());
    to.set_version(from.version.as_str());
    to.set_about(from.about.as_str());
    let mut commands = to.reborrow().init_commands(length(from.commands.len()));
    for (n, (name, about)) in (0..commands.len()).zip(&from.commands) {
        let mut command = commands.reborrow().get(n);
        command.set_name(name.as_str());
        command.set_about(about.as_str());
    }
    texts(to.reborrow().init_capabilities(length(from.capabilities.len())), &from.capabilities);
    to.set_state(word(&from.state));
    to.set_waiting(from.waiting);
    to.set_handled(from.handled);
    to.set_dropped(from.dropped);
    to.set_restarts(from.restarts);
    to.set_gas(from.gas);
    to.set_busy_us(u64::try_from(from.busy.as_micros()).unwrap_or(u64::MAX));
    to.set_memory_bytes(from.memory_bytes);
    to.set_snapshot_bytes(from.snapshot_bytes);
    to.set_failure(from.last_failure.as_deref().unwrap_or_default());
}

pub(super) fn decode(from: schema::plugin::Reader<'_>) -> Result<View, DecodeError> {
    let text = |text: capnp::text::Reader<'_>| Ok::<_, DecodeError>(text.to_str()?.to_owned());
    let commands = from.get_commands()?.iter().map(|one| Ok((text(one.get_name()?)?, text(one.get_about()?)?)));
    let failure = Some(text(from.get_failure()?)?).filter(|failure| !failure.is_empty());
    let state = match text(from.get_state()?)?.as_str() {
        STARTING => State::Starting,
        RUNNING => State::Running,
        PAUSING => State::Pausing,
        DISABLED => State::Disabled(failure.clone().unwrap_or_default()),
        _ => return Err(DecodeError::Field("a state of a plugin that this version does not know")),
    };
    Ok(View {
        name: parse(from.get_name()?)?,
        version: text(from.get_version()?)?,
        about: text(from.get_about()?)?,
        commands: commands.collect::<Result<_, DecodeError>>()?,
        capabilities: from.get_capabilities()?.iter().map(|one| text(one?)).collect::<Result<_, _>>()?,
        state,
        waiting: from.get_waiting(),
        handled: from.get_handled(),
        dropped: from.get_dropped(),
        restarts: from.get_restarts(),
        gas: from.get_gas(),
        busy: Duration::from_micros(from.get_busy_us()),
        memory_bytes: from.get_memory_bytes(),
        snapshot_bytes: from.get_snapshot_bytes(),
        last_failure: failure,
    })
}

pub(super) fn decode_line(from: schema::line::Reader<'_>) -> Result<Line, DecodeError> {
    Ok(Line { level: from.get_level(), text: from.get_text()?.to_str()?.to_owned() })
}
