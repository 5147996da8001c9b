//! Records, terms and progress of computations, from and to the schema's structs. What is read was written by another
//! program: every field is checked.

use crate::{
    control::{
        decode::{self, DecodeError},
        encode::{self, NONE},
    },
    drivers::jobs::{
        handle::File,
        meter::{Account, Row},
        record::{Computation, State, Terms},
    },
};
use pangea_compute::{
    api::{Progress, Work},
    split::Cut,
};
use pangea_protocols::{
    Hash, PeerId,
    generated::control_capnp::{self as schema, computation, computation_progress, metered, terms, work},
    receipt_job::{Stage, Verification},
    task::Limits,
};
use std::time::Duration;

/// Stands for "unknown" in 32 bits.
const NONE_32: u32 = u32::MAX;

pub(super) fn file_of(file: schema::ComputationFile) -> File {
    match file {
        schema::ComputationFile::Output => File::Output,
        schema::ComputationFile::Receipt => File::Receipt,
        schema::ComputationFile::Log => File::Log,
        schema::ComputationFile::Trace => File::Trace,
    }
}

pub(super) fn write(mut to: computation::Builder<'_>, from: &Computation) {
    to.set_name(from.name.as_str());
    to.set_module(from.module.to_string().as_str());
    to.set_module_name(from.module_name.as_str());
    to.set_input_name(from.input_name.as_str());
    to.set_input_bytes(from.input_bytes);
    to.set_chunks(from.chunks);
    write_terms(to.reborrow().init_terms(), &from.terms);
    to.set_state(match from.state {
        State::Receiving => schema::ComputationState::Receiving,
        State::Running => schema::ComputationState::Running,
        State::Done => schema::ComputationState::Done,
        State::Failed => schema::ComputationState::Failed,
        State::Cancelled => schema::ComputationState::Cancelled,
    });
    to.set_ahead(from.ahead.unwrap_or(NONE_32));
    write_progress(to.reborrow().init_progress(), &from.progress);
    to.set_output_bytes(from.output_bytes);
    if let Some(error) = &from.error {
        encode::failure(to.reborrow().init_failure(), error);
    }
    to.set_submitted_unix(from.submitted_unix);
    to.set_ended_unix(from.ended_unix.unwrap_or(NONE));
    to.set_took_ms(from.took.map_or(NONE, encode::millis));
}

pub(super) fn read(from: computation::Reader<'_>) -> Result<Computation, DecodeError> {
    let known = |value: u64| (value != NONE).then_some(value);
    Ok(Computation {
        name: from.get_name()?.to_str()?.to_owned(),
        module: decode::parse::<Hash>(from.get_module()?)?,
        module_name: from.get_module_name()?.to_str()?.to_owned(),
        input_name: from.get_input_name()?.to_str()?.to_owned(),
        input_bytes: from.get_input_bytes(),
        chunks: from.get_chunks(),
        terms: read_terms(from.get_terms()?)?,
        state: match from.get_state()? {
            schema::ComputationState::Receiving => State::Receiving,
            schema::ComputationState::Running => State::Running,
            schema::ComputationState::Done => State::Done,
            schema::ComputationState::Failed => State::Failed,
            schema::ComputationState::Cancelled => State::Cancelled,
        },
        ahead: Some(from.get_ahead()).filter(|ahead| *ahead != NONE_32),
        progress: read_progress(from.get_progress()?)?,
        output_bytes: from.get_output_bytes(),
        error: from.has_failure().then(|| decode::failure(from.get_failure()?)).transpose()?,
        submitted_unix: from.get_submitted_unix(),
        ended_unix: known(from.get_ended_unix()),
        took: known(from.get_took_ms()).map(Duration::from_millis),
    })
}

pub(super) fn write_metered(mut to: metered::Builder<'_>, from: &Row) {
    to.set_peer(from.peer.to_string().as_str());
    write_work(to.reborrow().init_by(), &from.account.by);
    write_work(to.reborrow().init_for(), &from.account.for_them);
    to.set_last_unix(from.last_unix);
}

pub(super) fn read_metered(from: metered::Reader<'_>) -> Result<Row, DecodeError> {
    Ok(Row {
        peer: decode::parse::<PeerId>(from.get_peer()?)?,
        account: Account { by: read_work(from.get_by()?), for_them: read_work(from.get_for()?) },
        last_unix: from.get_last_unix(),
    })
}

fn write_work(mut to: work::Builder<'_>, from: &Work) {
    to.set_tasks(from.tasks);
    to.set_gas(from.gas);
    to.set_input_bytes(from.input_bytes);
    to.set_output_bytes(from.output_bytes);
    to.set_refused(from.refused);
    to.set_wrong(from.wrong);
}

fn read_work(from: work::Reader<'_>) -> Work {
    Work {
        tasks: from.get_tasks(),
        gas: from.get_gas(),
        input_bytes: from.get_input_bytes(),
        output_bytes: from.get_output_bytes(),
        refused: from.get_refused(),
        wrong: from.get_wrong(),
    }
}

fn write_progress(mut to: computation_progress::Builder<'_>, from: &Progress) {
    to.set_stage(from.stage.map_or("", stage_name));
    to.set_done(from.done);
    to.set_total(from.total);
    to.set_running(from.running);
    to.set_hosts(from.hosts);
    to.set_executions(from.executions);
    to.set_audited(from.audited);
    to.set_retried(from.retried);
    to.set_restored(from.restored);
    to.set_speculated(from.speculated);
    to.set_banned(from.banned);
    to.set_busy_hosts(from.busy_hosts);
    to.set_busy_waiting(from.busy_waiting);
    to.set_eta_ms(from.eta.map_or(NONE, encode::millis));
    to.set_read_bytes(from.read_bytes);
    to.set_own_bytes(from.own_bytes);
}

fn stage_name(stage: Stage) -> &'static str {
    crate::drivers::jobs::stage(stage)
}

fn read_progress(from: computation_progress::Reader<'_>) -> Result<Progress, DecodeError> {
    let stage = from.get_stage()?.to_str()?;
    Ok(Progress {
        stage: [Stage::Split, Stage::Execute, Stage::Merge].into_iter().find(|known| stage_name(*known) == stage),
        done: from.get_done(),
        total: from.get_total(),
        running: from.get_running(),
        hosts: from.get_hosts(),
        executions: from.get_executions(),
        audited: from.get_audited(),
        retried: from.get_retried(),
        restored: from.get_restored(),
        speculated: from.get_speculated(),
        banned: from.get_banned(),
        read_bytes: from.get_read_bytes(),
        own_bytes: from.get_own_bytes(),
        busy_hosts: from.get_busy_hosts(),
        busy_waiting: from.get_busy_waiting(),
        eta: Some(from.get_eta_ms()).filter(|ms| *ms != NONE).map(Duration::from_millis),
    })
}

pub(super) fn write_terms(mut to: terms::Builder<'_>, from: &Terms) {
    let mut cut = to.reborrow().init_cut();
    match from.cut {
        Cut::Whole => cut.set_whole(()),
        Cut::Bytes(size) => cut.set_bytes(size),
        Cut::Lines(size) => cut.set_lines(size),
        Cut::Records { record, chunk } => {
            let mut records = cut.init_records();
            records.set_record(record);
            records.set_chunk(chunk);
        }
    }
    to.set_split(from.split);
    to.set_merge(from.merge);
    let mut verification = to.reborrow().init_verification();
    match from.verification {
        Verification::None => verification.set_none(()),
        Verification::Audit { per_mille } => verification.set_audit(per_mille),
        Verification::Quorum { hosts } => verification.set_quorum(hosts),
    }
    to.set_priority(from.priority);
    to.set_timeout_ms(from.timeout.map_or(NONE, encode::millis));
    to.set_gas(from.limits.gas);
    to.set_memory_bytes(from.limits.memory_bytes);
    to.set_table_elements(from.limits.table_elements);
    to.set_stack_slots(from.limits.stack_slots);
    to.set_output_bytes(from.limits.output_bytes);
    to.set_log_bytes(from.limits.log_bytes);
    to.set_depth(from.depth);
}

pub(super) fn read_terms(from: terms::Reader<'_>) -> Result<Terms, DecodeError> {
    use schema::terms::{cut, verification};
    Ok(Terms {
        cut: match from.get_cut().which()? {
            cut::Whole(()) => Cut::Whole,
            cut::Bytes(size) => Cut::Bytes(size),
            cut::Lines(size) => Cut::Lines(size),
            cut::Records(records) => Cut::Records { record: records.get_record(), chunk: records.get_chunk() },
        },
        split: from.get_split(),
        merge: from.get_merge(),
        verification: match from.get_verification().which()? {
            verification::Audit(per_mille) => Verification::Audit { per_mille },
            verification::Quorum(hosts) => Verification::Quorum { hosts },
            verification::None(()) => Verification::None,
        },
        priority: from.get_priority(),
        depth: from.get_depth(),
        timeout: Some(from.get_timeout_ms()).filter(|ms| *ms != NONE).map(Duration::from_millis),
        limits: Limits {
            gas: from.get_gas(),
            memory_bytes: from.get_memory_bytes(),
            table_elements: from.get_table_elements(),
            stack_slots: from.get_stack_slots(),
            output_bytes: from.get_output_bytes(),
            log_bytes: from.get_log_bytes(),
        },
    })
}
