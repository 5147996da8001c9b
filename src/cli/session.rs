//! [`Session`]: a command that talks to the running node, its jobs, and Ctrl-C.
//!
//! The first Ctrl-C cancels the job and waits for its end, so that holders release what they promised; the second ends
//! the process at once.

use super::{
    CliError, Global,
    output::Output,
    progress::{Display, Kind},
};
use crate::{
    control::{Client, ControlError, client::RemoteJob},
    home::Home,
    node::handle::News,
};
use pangea_protocols::{
    job::{ErrorKind, JobError, JobEvent, Outcome, Stored},
    manifest::DirectoryIndex,
};
use std::{path::Path, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
    time,
};

/// A node answers within this, or something is wrong with it. Jobs have limits of their own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two attempts to reach a node that starts.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// What a command needs.
pub(crate) struct Session<'a> {
    pub client: Client,
    pub output: &'a Output,
    /// Whose node it is.
    pub home: Home,
    /// From `--timeout`.
    pub timeout: Duration,
}

/// What a job told before it ended.
#[derive(Default)]
pub(crate) struct Story {
    pub opened: Option<Opened>,
    pub index: Option<DirectoryIndex>,
}

/// The manifest of an object that is read.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub name: String,
    pub directory: bool,
    pub raw_len: u64,
    pub k: u8,
    pub m: u8,
}

/// Connects to the node and runs `command`.
pub(crate) fn run(
    global: &Global,
    output: &Output,
    command: impl AsyncFnOnce(&Session<'_>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    run_after(Duration::ZERO, global, output, command)
}

/// The same for a node that may need up to `patience` to start.
pub(crate) fn run_after(
    patience: Duration,
    global: &Global,
    output: &Output,
    command: impl AsyncFnOnce(&Session<'_>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let home = Home::resolve(global.home.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("cannot start", &error))?;
    LocalSet::new().block_on(&runtime, async {
        let client = match time::timeout(patience, connect_when_it_runs(home.dir())).await {
            Ok(client) => client?,
            Err(_) => Client::connect(home.dir()).await?,
        };
        command(&Session { client, output, home, timeout: global.timeout }).await
    })
}

async fn connect_when_it_runs(home: &Path) -> Result<Client, ControlError> {
    loop {
        match Client::connect(home).await {
            Err(ControlError::NoNode { .. }) => time::sleep(CONNECT_AGAIN).await,
            done => return done,
        }
    }
}

impl Session<'_> {
    /// A question that needs no network.
    pub(crate) async fn answer<T>(&self, question: impl Future<Output = Result<T, JobError>>) -> Result<T, CliError> {
        match time::timeout(ANSWER_TIMEOUT, question).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(CliError::new(ErrorKind::Unreachable, "the node does not answer")
                .help("is its machine overloaded? stop it and start it again if it stays silent")),
        }
    }

    /// A catalog entry.
    pub(crate) async fn find(&self, name: &str) -> Result<Stored, CliError> {
        let found = self.answer(self.client.find(name)).await;
        found.map_err(|error| match error.kind {
            ErrorKind::NotFound => error.help("see what there is with `pangea ls`"),
            _ => error,
        })
    }

    /// Follows a job to its end, shows its progress and tells what it achieved.
    pub(crate) async fn follow(&self, job: &RemoteJob, kind: Kind) -> Result<(Outcome, Story), CliError> {
        self.follow_bytes(job, kind, None).await
    }

    /// The same for a job of which this side knows how many bytes it will be.
    pub(crate) async fn follow_bytes(
        &self,
        job: &RemoteJob,
        kind: Kind,
        bytes: Option<u64>,
    ) -> Result<(Outcome, Story), CliError> {
        let mut display = Display::new(self.output, kind, bytes);
        let result = self.follow_quietly(job, |news| display.on_news(news)).await;
        display.finish();
        result
    }

    async fn follow_quietly(&self, job: &RemoteJob, mut show: impl FnMut(&News)) -> Result<(Outcome, Story), CliError> {
        let mut story = Story::default();
        let mut cancelled = false;
        // One listener for the whole job: a press between two news must not be lost.
        let interrupts = signal(SignalKind::interrupt());
        let mut interrupts = interrupts.map_err(|error| CliError::io("cannot listen for Ctrl-C", &error))?;
        let next = job.next();
        tokio::pin!(next);
        loop {
            let news = tokio::select! {
                news = &mut next => news?,
                _ = interrupts.recv() => {
                    if std::mem::replace(&mut cancelled, true) {
                        std::process::exit(i32::from(ErrorKind::Interrupted.exit_code()));
                    }
                    self.output.say("cancelling; press Ctrl-C again to leave at once");
                    job.cancel().await?;
                    continue;
                }
            };
            next.set(job.next());
            let Some(news) = news else { return Err(CliError::failed("the job ended without a result")) };
            show(&news);
            match news {
                News::Index(index) => story.index = Some(index),
                News::Event(JobEvent::Opened { name, directory, raw_len, k, m, .. }) => {
                    story.opened = Some(Opened { name, directory, raw_len, k, m });
                }
                News::Event(JobEvent::Done { outcome, .. }) => return Ok((outcome, story)),
                News::Event(JobEvent::Failed { error, .. }) => return Err(error.into()),
                News::Event(JobEvent::Placed { .. } | JobEvent::Progress { .. }) => {}
            }
        }
    }

    /// Opens an object without reading it.
    pub(crate) async fn open(
        &self,
        ticket: pangea_protocols::ticket::Ticket,
    ) -> Result<(Opened, Option<DirectoryIndex>), CliError> {
        let job = self.client.info(ticket, self.timeout).await?;
        let (_, story) = self.follow(&job, Kind::Silent).await?;
        let opened = story.opened.ok_or_else(|| CliError::failed("the node did not tell what the object is"))?;
        Ok((opened, story.index))
    }
}
