//! [`Ces`]: the actor's core, a table of jobs. Not here: what a job does (`encoder`, `decoder`).

use crate::{
    api::{In, Out, Profile},
    decoder::Decoder,
    encoder::Encoder,
    work::{Done, Output},
};
use pangea_kernel::{Core, Cx};
use pangea_protocols::{
    JobId,
    files::{Command, Event, Source},
    job::{ErrorKind, JobError, JobEvent},
    manifest::SHARDS_MAX,
};
use std::collections::BTreeMap;

/// Jobs at once; one more is refused.
pub const JOBS_MAX: usize = 64;

/// The CES actor.
#[derive(Default)]
pub struct Ces {
    jobs: BTreeMap<JobId, Job>,
}

enum Job {
    Encode(Box<Encoder>),
    Decode(Box<Decoder>),
}

/// What became of a job in one event.
pub(crate) enum Flow {
    /// It goes on.
    Going,
    /// It ended well and has said so.
    Ended,
    /// It cannot go on.
    Failed(JobError),
}

impl Ces {
    /// Without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Jobs that are under way.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    fn on_encode(&mut self, cx: &mut Cx<'_, Self>, job: JobId, source: Source, code: (u8, u8), profile: Profile) {
        if !self.admit(cx, job) {
            return;
        }
        if code.0 == 0 || usize::from(code.0) + usize::from(code.1) > SHARDS_MAX {
            let (k, m) = code;
            let message =
                format!("{k} data and {m} parity shards: there must be 1 to {SHARDS_MAX} shards, one of data");
            return fail(cx, job, JobError::new(ErrorKind::Usage, message));
        }
        let encoder = Encoder::new(cx, job, code, profile);
        self.jobs.insert(job, Job::Encode(Box::new(encoder)));
        cx.emit(Out::Files(Command::OpenSource { job, source }));
    }

    /// Is there room for a new job? If not, it is told. A job id that is in use is left alone.
    ///
    /// A manifest whose `Decode` never came (the user gave up meanwhile) makes room first, oldest id first.
    fn admit(&mut self, cx: &mut Cx<'_, Self>, job: JobId) -> bool {
        if self.jobs.contains_key(&job) {
            tracing::warn!(job = job.0, "a job id was used twice; the second use is ignored");
            return false;
        }
        if self.jobs.len() >= JOBS_MAX {
            let unwanted = |job: &Job| matches!(job, Job::Decode(decoder) if !decoder.is_wanted());
            if let Some(old) = self.jobs.iter().find(|(_, job)| unwanted(job)).map(|(old, _)| *old) {
                self.jobs.remove(&old);
            }
        }
        if self.jobs.len() >= JOBS_MAX {
            let message = format!("{JOBS_MAX} jobs are under way already: try again when one has ended");
            fail(cx, job, JobError::new(ErrorKind::Failed, message));
            return false;
        }
        true
    }

    /// The decode job of this id, made if there is none.
    fn decoder(&mut self, cx: &mut Cx<'_, Self>, job: JobId) -> Option<&mut Decoder> {
        if !self.jobs.contains_key(&job) {
            if !self.admit(cx, job) {
                return None;
            }
            self.jobs.insert(job, Job::Decode(Box::new(Decoder::new(job))));
        }
        match self.jobs.get_mut(&job) {
            Some(Job::Decode(decoder)) => Some(decoder),
            _ => None,
        }
    }

    fn on_files(&mut self, cx: &mut Cx<'_, Self>, event: Event) {
        let job = match &event {
            Event::SourceOpened { job, .. }
            | Event::Read { job, .. }
            | Event::SinkOpened { job, .. }
            | Event::Written { job, .. }
            | Event::Finished { job }
            | Event::Failed { job, .. } => *job,
        };
        let flow = match self.jobs.get_mut(&job) {
            Some(Job::Encode(encoder)) => encoder.on_files(cx, event),
            Some(Job::Decode(decoder)) => decoder.on_files(cx, event),
            None => Flow::Going,
        };
        self.settle(cx, job, flow);
    }

    fn on_worked(&mut self, cx: &mut Cx<'_, Self>, Done { job, index, result }: Done) {
        let flow = match (self.jobs.get_mut(&job), result) {
            (Some(Job::Encode(encoder)), Ok(output)) => encoder.on_worked(cx, index, output),
            (Some(Job::Encode(_)), Err(error)) => {
                Flow::Failed(JobError::new(ErrorKind::Failed, format!("part {index} could not be encoded: {error}")))
            }
            (Some(Job::Decode(decoder)), Ok(Output::Raw(raw))) => decoder.on_decoded(cx, index, raw),
            (Some(Job::Decode(decoder)), Err(error)) => decoder.on_undecodable(index, &error),
            (Some(Job::Decode(_)), Ok(_)) | (None, _) => Flow::Going,
        };
        self.settle(cx, job, flow);
    }

    fn on_cancel(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        if self.jobs.remove(&job).is_some() {
            cx.emit(Out::Files(Command::Close { job }));
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_, Self>, job: JobId, flow: Flow) {
        match (flow, self.jobs.get(&job)) {
            (Flow::Going, _) | (_, None) => return,
            (Flow::Ended, Some(_)) => cx.emit(Out::Files(Command::Close { job })),
            (Flow::Failed(error), Some(state)) => {
                cx.emit(Out::Files(Command::Close { job }));
                if matches!(state, Job::Decode(_)) {
                    cx.emit(Out::Stop { job });
                }
                fail(cx, job, error);
            }
        }
        self.jobs.remove(&job);
    }
}

impl Core for Ces {
    type In = In;
    type Out = Out;

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Encode { job, source, k, m, profile } => self.on_encode(cx, job, source, (k, m), profile),
            In::Credit { job, stripes } => {
                let flow = match self.jobs.get_mut(&job) {
                    Some(Job::Encode(encoder)) => encoder.on_credit(cx, stripes),
                    _ => Flow::Going,
                };
                self.settle(cx, job, flow);
            }
            In::Decode { job, key, only, sink } => {
                let Some(decoder) = self.decoder(cx, job) else { return };
                let flow = decoder.on_decode(cx, key, only, sink);
                self.settle(cx, job, flow);
            }
            In::Root { job, root } => {
                let Some(decoder) = self.decoder(cx, job) else { return };
                let flow = decoder.on_root(cx, root);
                self.settle(cx, job, flow);
            }
            In::Stripe { job, index, record, shards } => {
                let flow = match self.jobs.get_mut(&job) {
                    Some(Job::Decode(decoder)) => decoder.on_stripe(cx, index, record, shards),
                    _ => Flow::Going,
                };
                self.settle(cx, job, flow);
            }
            In::Cancel { job } => self.on_cancel(cx, job),
            In::Files(event) => self.on_files(cx, event),
            In::Worked(done) => self.on_worked(cx, done),
        }
    }
}

fn fail(cx: &mut Cx<'_, Ces>, job: JobId, error: JobError) {
    cx.emit(Out::Job(JobEvent::Failed { job, error }));
}
