//! How what an actor emits gets to where it goes, and what happens when there is no room.

use super::{Routes, TO_NOBODY};
use crate::node::hub::HubIn;
use pangea_ces::api as ces;
use pangea_chunks::api as chunks;
use pangea_compute::api::worker;
use pangea_kernel::Rejected;
use pangea_peers::api as peers;
use pangea_protocols::{
    JobId, PeerId, disk, files,
    job::{ErrorKind, JobError, JobEvent},
    net::{self, Class},
    task::Refusal,
    wire::Frame,
};
use pangea_sandbox::{
    api as sandbox,
    work::{Done, State, Work as SandboxWork},
};
use pangea_transfer::api::{download, upload};

impl Routes {
    /// A frame whose fate nobody waits for: an answer to a peer, which asks again if it is lost.
    pub(super) fn send(&self, peer: PeerId, class: Class, frame: Frame) {
        self.network(net::Command::Send { peer, tag: TO_NOBODY, class, frame });
    }

    /// A frame whose sender hears how it went, also if the network's queue is full.
    pub(super) fn send_tagged(&self, peer: PeerId, tag: u64, class: Class, frame: Frame) {
        if peer == self.me {
            self.to_myself(tag, frame);
        } else if self.drivers.network.send(net::Command::Send { peer, tag, class, frame }).is_err() {
            let error = net::SendError::QueueFull;
            counted("sender", self.actors.on_sent(net::Event::SendFailed { peer, tag, error }));
        }
    }

    pub(super) fn network(&self, command: net::Command) {
        match command {
            net::Command::Send { peer, tag, frame, .. } if peer == self.me => self.to_myself(tag, frame),
            net::Command::Dial { peer, .. } if peer == self.me => {
                counted("downloads", self.actors.downloads.send(download::In::Connected { peer }));
            }
            command => counted("network", self.drivers.network.send(command)),
        }
    }

    /// A node may hold shards of what it reads: such frames take the same way as a peer's, without a socket.
    pub(super) fn to_myself(&self, tag: u64, frame: Frame) {
        let peer = self.me;
        if self.actors.on_frame(net::Event::Received { peer, frame }).is_err() {
            let error = net::SendError::QueueFull;
            counted("self", self.actors.on_sent(net::Event::SendFailed { peer, tag, error }));
        } else {
            counted("self", self.actors.on_sent(net::Event::Sent { peer, tag }));
        }
    }

    pub(super) fn disk(&self, command: disk::Command) {
        // A full disk queue: the chunk store hears of it as a failed append or read, and tells the peer "busy".
        let Err(rejected) = self.drivers.disk.send(command) else { return };
        let busy = || disk::Failure::Io("the disk queue is full".to_owned());
        let event = match rejected.into_inner() {
            disk::Command::Append { tag, .. } => disk::Event::AppendFailed { tag, error: busy() },
            disk::Command::Read { tag, .. } => disk::Event::ReadFailed { tag, error: busy() },
            disk::Command::Contains { tag, shards } => {
                disk::Event::Contains { tag, present: vec![0; shards.len().div_ceil(8)] }
            }
            disk::Command::Delete { tag, .. } => disk::Event::DeleteFailed { tag, error: busy() },
            // Leases are looked at again at the next interval.
            disk::Command::Expire { .. } => return,
        };
        counted("chunks", self.actors.chunks.send(chunks::In::Disk(event)));
    }

    pub(super) fn files(&self, command: files::Command) {
        self.of_job(command.job(), self.drivers.files.send(command));
    }

    pub(super) fn peers(&self, message: peers::In) {
        counted("peers", self.actors.peers.send(message));
    }

    /// What the sandbox cannot take is refused in its name, so that no task waits for ever.
    pub(super) fn sandbox(&self, message: sandbox::In) {
        let Err(rejected) = self.actors.sandbox.send(message) else { return };
        let refusal = Refusal::Busy { waiting: 0 };
        let answer = match rejected.into_inner() {
            sandbox::In::Run(run) => worker::In::Refused { task: run.task, refusal },
            sandbox::In::Install { module, .. } => worker::In::Installed { module, result: Err(refusal) },
            _ => return,
        };
        counted("worker", self.actors.worker.send(answer));
    }

    /// The same for what the workers of the sandbox cannot take.
    pub(super) fn work(&self, work: SandboxWork) {
        let Err(rejected) = self.drivers.sandbox.send(work) else { return };
        let refusal = Refusal::Node { message: "the queue of the sandbox is full".to_owned() };
        let work = rejected.into_inner();
        let done = match (work.task(), work) {
            (Some(task), SandboxWork::Begin(_) | SandboxWork::Continue { .. }) => {
                Done::Sliced { task, lines: Vec::new(), state: State::Refused(refusal) }
            }
            (_, SandboxWork::Prepare { module, .. }) => Done::Prepared { module, result: Err(refusal) },
            _ => return,
        };
        counted("sandbox", self.actors.sandbox.send(sandbox::In::Worked(done)));
    }

    pub(super) fn hub(&self, message: HubIn) {
        counted("hub", self.drivers.hub.send(message));
    }

    /// Delivers a message of a job. If its receiver cannot take it, the job could hang: it fails instead.
    pub(super) fn of_job<M>(&self, job: JobId, sent: Result<(), Rejected<M>>) {
        if sent.is_err() {
            self.overloaded(job);
        }
    }

    /// A mailbox was full in the middle of a job: everyone is told to let go of it, and the user hears why.
    pub(super) fn overloaded(&self, job: JobId) {
        counted("ces", self.actors.ces.send(ces::In::Cancel { job }));
        counted("uploads", self.actors.uploads.send(upload::In::SourceFailed { job }));
        counted("downloads", self.actors.downloads.send(download::In::Close { job }));
        let error = JobError::new(ErrorKind::Failed, "the node is overloaded: run fewer jobs at once");
        self.job_news(JobEvent::Failed { job, error });
    }
}

/// Counts and logs what a full mailbox refused; the sender can do nothing about it.
pub(super) fn counted<M>(receiver: &'static str, sent: Result<(), Rejected<M>>) {
    if let Err(Rejected::Full(_)) = sent {
        tracing::warn!(receiver, "mailbox full: message dropped");
    }
}
