//! Where each thing goes that an actor emits.

use super::{
    FOR_COORDINATOR, FOR_UPLOADS, Routes, TAG_BITS, TO_COORDINATOR, TO_DOWNLOADS, TO_UPLOADS, delivery::counted,
};
use crate::{
    drivers::jobs::meter::Metered,
    node::{
        extensions::{self, DeskIn},
        hub::HubIn,
    },
};
use pangea_ces::api as ces;
use pangea_chunks::api as chunks;
use pangea_compute::{
    api::{News, ReadNews, coordinator, worker},
    reading::is_read,
    worker::is_passed_on,
};
use pangea_kernel::planted;
use pangea_peers::api as peers;
use pangea_plugins::{api as plugins, extension};
use pangea_protocols::{
    JobId,
    job::JobEvent,
    net::{self, Class},
    peers::Report,
    wire::extension::Name,
};
use pangea_sandbox::api as sandbox;
use pangea_transfer::api::{download, upload};

impl Routes {
    pub(super) fn on_ces(&self, out: ces::Out) {
        match out {
            ces::Out::Files(command) if is_read(command.job()) => self.on_read_files(command),
            ces::Out::Files(command) => self.files(command),
            ces::Out::Work(work) => {
                let job = work.job();
                self.of_job(job, self.drivers.cpu.send(work));
            }
            ces::Out::Encoded { job, index, stripe } => {
                let ces::Stripe { record, shards } = stripe;
                self.of_job(job, self.actors.uploads.send(upload::In::Encoded { job, index, record, shards }));
            }
            ces::Out::EncodedAll { job, end } => {
                self.of_job(job, self.actors.uploads.send(upload::In::EncodedAll { job, end }));
            }
            ces::Out::Need { job, stripes } => {
                self.of_job(job, self.actors.downloads.send(download::In::Need { job, stripes }));
            }
            ces::Out::Consumed { job, index } => {
                self.of_job(job, self.actors.downloads.send(download::In::Consumed { job, index }));
            }
            ces::Out::Stop { job } => {
                self.of_job(job, self.actors.downloads.send(download::In::Close { job }));
            }
            ces::Out::Index { job, index } => {
                self.hub(HubIn::Index { job, index });
            }
            ces::Out::Job(event) => {
                let job = event.job();
                match event {
                    JobEvent::Failed { .. } => {
                        self.of_job(job, self.actors.uploads.send(upload::In::SourceFailed { job }));
                        self.of_job(job, self.actors.downloads.send(download::In::Close { job }));
                    }
                    JobEvent::Done { .. } if !planted!("close-not-passed") => {
                        self.of_job(job, self.actors.downloads.send(download::In::Close { job }));
                    }
                    _ => {}
                }
                self.job_news(event);
            }
        }
    }

    pub(super) fn on_uploads(&self, out: upload::Out) {
        match out {
            upload::Out::Candidates { request, count, bytes, exclude } => {
                let request = request << 1 | FOR_UPLOADS;
                self.peers(peers::In::Candidates { request, count, bytes, exclude });
            }
            upload::Out::Encode { job, source, k, m, profile } => {
                self.of_job(job, self.actors.ces.send(ces::In::Encode { job, source, k, m, profile }));
            }
            upload::Out::Credit { job, stripes } => {
                self.of_job(job, self.actors.ces.send(ces::In::Credit { job, stripes }));
            }
            upload::Out::CancelEncode { job } => {
                self.of_job(job, self.actors.ces.send(ces::In::Cancel { job }));
            }
            upload::Out::Send { peer, tag, class, frame } => {
                self.send_tagged(peer, tag << TAG_BITS | TO_UPLOADS, class, frame);
            }
            upload::Out::CancelSend { peer, tag } => {
                self.network(net::Command::CancelSend { peer, tag: tag << TAG_BITS | TO_UPLOADS });
            }
            upload::Out::Report { peer, report } => {
                self.peers(peers::In::Report { peer, report });
            }
            upload::Out::Job(event) => self.hub(HubIn::Job(event)),
        }
    }

    pub(super) fn on_downloads(&self, out: download::Out) {
        match out {
            download::Out::Root { job, root } => {
                self.of_job(job, self.actors.ces.send(ces::In::Root { job, root }));
            }
            download::Out::Stripe { job, index, record, shards } => {
                self.of_job(job, self.actors.ces.send(ces::In::Stripe { job, index, record, shards }));
            }
            download::Out::CancelDecode { job } => {
                self.of_job(job, self.actors.ces.send(ces::In::Cancel { job }));
            }
            download::Out::Rank { job, peers } => self.peers(peers::In::Rank { request: job.0, peers }),
            download::Out::Net(net::Command::Send { peer, tag, class, frame }) => {
                self.send_tagged(peer, tag << TAG_BITS | TO_DOWNLOADS, class, frame);
            }
            download::Out::Net(net::Command::CancelSend { peer, tag }) => {
                self.network(net::Command::CancelSend { peer, tag: tag << TAG_BITS | TO_DOWNLOADS });
            }
            download::Out::Net(command) => self.network(command),
            download::Out::Report { peer, report } => {
                self.peers(peers::In::Report { peer, report });
            }
            download::Out::Surveyed { job, root, placement } => self.hub(HubIn::Surveyed { job, root, placement }),
            download::Out::Tally { job, shards, own, .. } if is_read(job) => {
                self.tell_reader(job, ReadNews::Tally { shards, own });
            }
            download::Out::Tally { job, shards, healed, hedged, .. } => {
                self.hub(HubIn::Tally { job, shards, healed, hedged });
            }
            download::Out::Job(event) => self.job_news(event),
        }
    }

    pub(super) fn on_coordinator(&self, out: coordinator::Out) {
        use coordinator::Out;
        match out {
            Out::Want { job, .. } | Out::Save { job, .. } | Out::Forget { job } | Out::News { job, .. }
                if is_passed_on(job) =>
            {
                self.on_passed_on(job, out);
            }
            Out::Trace { job, .. } | Out::Log { job, .. } if is_passed_on(job) => {}
            Out::Read { read, input } => self.read(read, *input),
            Out::StopReading { read } => self.stop_reading(read),
            Out::Send { peer, tag, class, frame } => {
                self.send_tagged(peer, tag << TAG_BITS | TO_COORDINATOR, class, frame);
            }
            Out::Candidates { request, count, exclude } => {
                let request = request << 1 | FOR_COORDINATOR;
                self.peers(peers::In::Candidates { request, count, bytes: 0, exclude });
            }
            Out::Report { peer, report } => self.peers(peers::In::Report { peer, report }),
            Out::Metered { peer, work } => counted("meter", self.drivers.meter.send(Metered::By(peer, work))),
            Out::Trace { .. } | Out::Log { .. } | Out::News { news: News::Progress(_) | News::Queued { .. }, .. } => {
                // They may be lost: when a large job is restored, more come at once than there is room for.
                let _ = self.drivers.jobs.send(out);
            }
            Out::Began => {
                counted("worker", self.actors.worker.send(worker::In::CoordinatorBegan));
                counted("jobs", self.drivers.jobs.send(out));
            }
            Out::Want { job, .. } | Out::Save { job, .. } | Out::Forget { job } | Out::News { job, .. } => {
                if self.drivers.jobs.send(out).is_err() {
                    let reason = "the node is overloaded: run fewer jobs at once".to_owned();
                    counted("coordinator", self.actors.coordinator.send(coordinator::In::InputFailed { job, reason }));
                }
            }
        }
    }

    /// A job of this node's worker: nothing of it is kept in files.
    pub(super) fn on_passed_on(&self, job: JobId, out: coordinator::Out) {
        use coordinator::Out;
        let message = match out {
            Out::Want { index, .. } => worker::In::Want { job, index },
            Out::News { news: News::Done { outputs, receipt, .. }, .. } => {
                let receipts = receipt.results.iter().map(|claim| claim.receipt);
                worker::In::Returned { job, results: Some(outputs.into_iter().zip(receipts).collect()) }
            }
            Out::News { news: News::Failed(_), .. } => worker::In::Returned { job, results: None },
            _ => return,
        };
        counted("worker", self.actors.worker.send(message));
    }

    pub(super) fn on_worker(&self, out: worker::Out) {
        match out {
            worker::Out::PassOn { job, spec } => {
                if self.actors.coordinator.send(coordinator::In::Submit { job, spec }).is_err() {
                    counted("worker", self.actors.worker.send(worker::In::Returned { job, results: None }));
                }
            }
            worker::Out::Input { job, index, bytes } => {
                counted("coordinator", self.actors.coordinator.send(coordinator::In::Input { job, index, bytes }));
            }
            worker::Out::Stored { job, index, input } => {
                let stored = coordinator::In::Stored { job, index, input, local: Vec::new() };
                counted("coordinator", self.actors.coordinator.send(stored));
            }
            worker::Out::Read { read, input } => self.read(read, *input),
            worker::Out::StopReading { read } => self.stop_reading(read),
            worker::Out::TakeBack { job } => {
                counted("coordinator", self.actors.coordinator.send(coordinator::In::Cancel { job }));
            }
            worker::Out::Send { peer, class, frame, .. } => self.send(peer, class, frame),
            worker::Out::Install { module, bytes } => self.sandbox(sandbox::In::Install { module, bytes }),
            worker::Out::Run(run) => self.sandbox(sandbox::In::Run(run)),
            worker::Out::Cancel { task } => self.sandbox(sandbox::In::Cancel { task }),
            worker::Out::Report { peer, report } => self.peers(peers::In::Report { peer, report }),
            worker::Out::Metered { peer, work } => {
                counted("meter", self.drivers.meter.send(Metered::For(peer, work)));
            }
        }
    }

    pub(super) fn on_sandbox(&self, out: sandbox::Out) {
        use sandbox::Out;
        let message = match out {
            Out::Work(work) => return self.work(work),
            Out::Began => worker::In::Began,
            Out::Installed { module, result } => worker::In::Installed { module, result },
            Out::Done { task, outcome, receipt, .. } => worker::In::Done { task, outcome, receipt },
            Out::Refused { task, refusal } => worker::In::Refused { task, refusal },
            Out::Stopped { task, why: sandbox::Stop::Late } => worker::In::Late { task },
            Out::Line { task, line } => worker::In::Line { task, line },
            Out::Started { .. } | Out::Stopped { why: sandbox::Stop::Cancelled, .. } => return,
        };
        counted("worker", self.actors.worker.send(message));
    }

    pub(super) fn on_chunks(&self, out: chunks::Out) {
        match out {
            chunks::Out::Disk(command) => self.disk(command),
            chunks::Out::Send { peer, class, frame } => self.send(peer, class, frame),
            chunks::Out::Provide { cid } => self.network(net::Command::Provide { cid }),
            chunks::Out::Unprovide { cid } => self.network(net::Command::Unprovide { cid }),
            chunks::Out::Violation { peer, what } => {
                tracing::warn!(peer = %peer, what, "protocol violation");
                self.peers(peers::In::Report { peer, report: Report::Violation });
            }
            chunks::Out::Status { request, status } => self.hub(HubIn::Chunks { request, status }),
        }
    }

    pub(super) fn on_peers(&self, out: peers::Out) {
        match out {
            peers::Out::Net(net::Command::Send { peer, class, frame, .. }) => self.send(peer, class, frame),
            peers::Out::Net(command) => self.network(command),
            peers::Out::Candidates { request, candidates } => {
                let (of, request) = (request & 1, request >> 1);
                if of == FOR_COORDINATOR {
                    let found = coordinator::In::Candidates { request, candidates };
                    counted("coordinator", self.actors.coordinator.send(found));
                } else {
                    counted("uploads", self.actors.uploads.send(upload::In::Candidates { request, candidates }));
                }
            }
            peers::Out::Ranked { request, candidates } => {
                let ranked = download::In::Ranked { job: JobId(request), candidates };
                counted("downloads", self.actors.downloads.send(ranked));
            }
            peers::Out::Allow { .. } if planted!("allow-not-passed") => {}
            peers::Out::Allow { peer, allowed } => {
                counted("chunks", self.actors.chunks.send(chunks::In::Allow { peer, allowed }));
                counted("worker", self.actors.worker.send(worker::In::Allow { peer, allowed }));
            }
            peers::Out::Save { records } => self.hub(HubIn::SavePeers { records }),
            peers::Out::Listed { request, peers } => self.hub(HubIn::Peers { request, peers }),
            peers::Out::Connected { count } => self.hub(HubIn::Connected { count }),
        }
    }

    pub(super) fn on_plugins(&self, out: plugins::Out) {
        match out {
            plugins::Out::Guest(command) => counted("guests", self.drivers.guests.send(command)),
            plugins::Out::From { name, out: extension::Out::Send { peer, bytes }, .. } => {
                self.send(peer, Class::Control, extensions::frame(name, bytes));
            }
            out => {
                let Err(rejected) = self.drivers.desk.send(DeskIn::Plugins(out)) else { return };
                // A plugin waits for these: it hears that nothing came of them.
                let overloaded = || "the node is overloaded".to_owned();
                let event = match rejected.into_inner() {
                    DeskIn::Plugins(plugins::Out::Save { name, number, .. }) => {
                        plugins::In::Saved { name, number, error: Some(overloaded()) }
                    }
                    DeskIn::Plugins(plugins::Out::From { name, out, .. }) => {
                        let Some(request) = out.request() else { return };
                        plugins::In::To { name, event: extension::In::Failed { request, reason: overloaded() } }
                    }
                    _ => return,
                };
                counted("plugins", self.actors.extensions.plugins.send(event));
            }
        }
    }

    pub(super) fn on_native(&self, name: &Name, out: extension::Out) {
        match out {
            extension::Out::Send { peer, bytes } => {
                self.send(peer, Class::Control, extensions::frame(name.clone(), bytes));
            }
            out => counted("desk", self.drivers.desk.send(DeskIn::Native { name: name.clone(), out })),
        }
    }
}
