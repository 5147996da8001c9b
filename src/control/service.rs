//! Each call of the schema's `Control`, answered by asking the node.

use super::{
    JOBS_PER_CONNECTION_MAX, LIST_PAGE, computations, decode,
    decode::DecodeError,
    encode,
    jobs::{Canceller, FeedServer, JobServer, Slots, stream_out},
    plugins,
};
use crate::{
    drivers::jobs::JobsHandle,
    node::{
        NodeHandle,
        handle::{Get, Job, Put},
    },
};
use bytes::Bytes;
use pangea_ces::api::Selection;
use pangea_plugins::api::Package;
use pangea_protocols::{
    Address, Cid, JobId, PeerId,
    files::{Sink, Source},
    generated::control_capnp::{self as schema, answer, byte_sink, control, job, listing},
    job::{ErrorKind, JobError, Stored},
    ticket::Ticket,
    wire::extension::Name,
};
use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};
use tokio::sync::oneshot;

/// What one client may call.
pub(super) struct Service {
    node: NodeHandle,
    computations: JobsHandle,
    canceller: Canceller,
    slots: Slots,
}

type Answer<'a, T> = answer::Builder<'a, T>;

/// What a client sent makes no sense: its user is told, the connection stays.
pub(super) fn bad(error: DecodeError) -> JobError {
    JobError::new(ErrorKind::Usage, error.to_string())
}

fn broken(error: capnp::Error) -> JobError {
    bad(error.into())
}

/// Fills `answer` with the result of a call.
pub(super) fn respond<T: capnp::traits::Owned, R>(
    answer: Answer<'_, T>,
    result: Result<R, JobError>,
    fill: impl FnOnce(Answer<'_, T>, R) -> capnp::Result<()>,
) -> capnp::Result<()> {
    match result {
        Ok(value) => fill(answer, value),
        Err(error) => {
            encode::failure(answer.init_failed(), &error);
            Ok(())
        }
    }
}

pub(super) fn respond_nothing(
    answer: Answer<'_, schema::nothing::Owned>,
    result: Result<(), JobError>,
) -> capnp::Result<()> {
    respond(answer, result, |answer, ()| {
        answer.init_ok();
        Ok(())
    })
}

impl Service {
    pub(super) fn new(node: NodeHandle, computations: JobsHandle, canceller: Canceller) -> Self {
        Self { node, computations, canceller, slots: Slots::default() }
    }

    async fn start_put(
        &self,
        params: control::PutParams,
    ) -> Result<(job::Client, Option<byte_sink::Client>), JobError> {
        let (put, detach) = read_put(&params).map_err(bad)?;
        let streams = matches!(put.source, Source::Stream { .. });
        refuse_detached_stream(detach, streams)?;
        let slot = self.slots.take(JOBS_PER_CONNECTION_MAX)?;
        let started = self.node.put(put).await?;
        let feed = streams.then(|| FeedServer::new(self.node.clone(), started.id, self.canceller.clone()));
        let server = JobServer::new(self.node.clone(), started, self.canceller.clone(), detach, slot);
        Ok((capnp_rpc::new_client(server), feed.map(capnp_rpc::new_client)))
    }

    async fn start_get(&self, params: control::GetParams) -> Result<job::Client, JobError> {
        let (get, stream, detach) = read_get(&params).map_err(bad)?;
        refuse_detached_stream(detach, stream.is_some())?;
        let slot = self.slots.take(JOBS_PER_CONNECTION_MAX)?;
        let started = self.node.get(get).await?;
        let id = started.id;
        let server = JobServer::new(self.node.clone(), started, self.canceller.clone(), detach, slot);
        let Some(sink) = stream else { return Ok(capnp_rpc::new_client(server)) };
        let (done, streamed) = oneshot::channel();
        tokio::task::spawn_local(stream_out(self.node.clone(), id, sink, done));
        Ok(capnp_rpc::new_client(server.wait_for_stream(streamed)))
    }

    async fn start_info(&self, params: control::InfoParams) -> Result<job::Client, JobError> {
        let (ticket, timeout) = read_info(&params).map_err(bad)?;
        let slot = self.slots.take(JOBS_PER_CONNECTION_MAX)?;
        let get = Get { ticket, only: Selection::Info, sink: Sink::Stream, timeout };
        let started = self.node.get(get).await?;
        Ok(self.job(started, false, slot))
    }

    async fn start_remove(&self, params: control::RemoveParams) -> Result<job::Client, JobError> {
        let params = params.get().map_err(broken)?;
        let cid = params.get_cid().map_err(broken).and_then(|cid| decode::parse::<Cid>(cid).map_err(bad))?;
        let slot = self.slots.take(JOBS_PER_CONNECTION_MAX)?;
        let started = self.node.remove(cid, params.get_forget()).await?;
        Ok(self.job(started, params.get_detach(), slot))
    }

    fn job(&self, started: Job, detach: bool, slot: super::jobs::Slot) -> job::Client {
        capnp_rpc::new_client(JobServer::new(self.node.clone(), started, self.canceller.clone(), detach, slot))
    }
}

fn refuse_detached_stream(detach: bool, streams: bool) -> Result<(), JobError> {
    if detach && streams {
        return Err(JobError::new(ErrorKind::Usage, "a job with a stream cannot go on without its client"));
    }
    Ok(())
}

fn read_put(params: &control::PutParams) -> Result<(Put, bool), DecodeError> {
    use schema::source::Which;
    let params = params.get()?;
    let options = params.get_options()?;
    let source = match params.get_source()?.which()? {
        Which::Path(path) => Source::Path(decode::path(path?)?),
        Which::Ticket(_) => {
            return Err(DecodeError::Field("a ticket cannot be stored: it names what is stored already"));
        }
        Which::Stream(name) => Source::Stream { name: name?.to_str()?.to_owned() },
    };
    let (redundancy, profile, lease) = decode::put_options(options)?;
    Ok((Put { source, redundancy, profile, lease }, options.get_detach()))
}

fn read_get(params: &control::GetParams) -> Result<(Get, Option<byte_sink::Client>, bool), DecodeError> {
    use schema::sink::Which;
    let params = params.get()?;
    let options = params.get_options()?;
    let to = params.get_sink()?;
    let (sink, stream) = match to.which()? {
        Which::Path(path) => (Sink::Path { path: decode::path(path?)?, overwrite: to.get_overwrite() }, None),
        Which::Stream(stream) => (Sink::Stream, Some(stream?)),
    };
    let get = Get {
        ticket: decode::parse(params.get_ticket()?)?,
        only: decode::selection(params.get_selection()?)?,
        sink,
        timeout: Duration::from_millis(options.get_timeout_ms()),
    };
    Ok((get, stream, options.get_detach()))
}

fn read_info(params: &control::InfoParams) -> Result<(Ticket, Duration), DecodeError> {
    let params = params.get()?;
    let timeout = Duration::from_millis(params.get_options()?.get_timeout_ms());
    Ok((decode::parse(params.get_ticket()?)?, timeout))
}

fn read_peer(params: &control::AddPeerParams) -> Result<(PeerId, Vec<Address>), DecodeError> {
    let params = params.get()?;
    Ok((decode::parse(params.get_peer()?)?, decode::parse_all(params.get_addresses()?)?))
}

fn read_ban(params: &control::BanParams) -> Result<(PeerId, String), DecodeError> {
    let params = params.get()?;
    Ok((decode::parse(params.get_peer()?)?, params.get_reason()?.to_str()?.to_owned()))
}

impl control::Server for Service {
    async fn status(self: Rc<Self>, _: control::StatusParams, mut to: control::StatusResults) -> capnp::Result<()> {
        let result = self.node.status().await;
        respond(to.get().init_answer(), result, |answer, status| {
            encode::status(answer.init_ok(), &status);
            Ok(())
        })
    }

    async fn peers(self: Rc<Self>, _: control::PeersParams, mut to: control::PeersResults) -> capnp::Result<()> {
        let result = self.node.peers().await;
        respond(to.get().init_answer(), result, |answer, peers| {
            encode::peers(answer.initn_ok(u32::try_from(peers.len()).unwrap_or(u32::MAX)), &peers);
            Ok(())
        })
    }

    async fn add_peer(
        self: Rc<Self>,
        params: control::AddPeerParams,
        mut to: control::AddPeerResults,
    ) -> capnp::Result<()> {
        let result = match read_peer(&params) {
            Ok((peer, addresses)) => self.node.add_peer(peer, addresses).await,
            Err(error) => Err(bad(error)),
        };
        respond_nothing(to.get().init_answer(), result)
    }

    async fn ban(self: Rc<Self>, params: control::BanParams, mut to: control::BanResults) -> capnp::Result<()> {
        let result = match read_ban(&params) {
            Ok((peer, reason)) => self.node.ban(peer, reason).await,
            Err(error) => Err(bad(error)),
        };
        respond_nothing(to.get().init_answer(), result)
    }

    async fn unban(self: Rc<Self>, params: control::UnbanParams, mut to: control::UnbanResults) -> capnp::Result<()> {
        let result = match decode::parse::<PeerId>(params.get()?.get_peer()?) {
            Ok(peer) => self.node.unban(peer).await,
            Err(error) => Err(bad(error)),
        };
        respond_nothing(to.get().init_answer(), result)
    }

    async fn put(self: Rc<Self>, params: control::PutParams, mut to: control::PutResults) -> capnp::Result<()> {
        let result = self.start_put(params).await;
        respond(to.get().init_answer(), result, |answer, (job, feed)| {
            let mut started = answer.init_ok();
            started.set_job(job);
            if let Some(feed) = feed {
                started.set_feed(feed);
            }
            Ok(())
        })
    }

    async fn get(self: Rc<Self>, params: control::GetParams, mut to: control::GetResults) -> capnp::Result<()> {
        let result = self.start_get(params).await;
        respond(to.get().init_answer(), result, |mut answer, job| answer.set_ok(job))
    }

    async fn info(self: Rc<Self>, params: control::InfoParams, mut to: control::InfoResults) -> capnp::Result<()> {
        let result = self.start_info(params).await;
        respond(to.get().init_answer(), result, |mut answer, job| answer.set_ok(job))
    }

    async fn remove(
        self: Rc<Self>,
        params: control::RemoveParams,
        mut to: control::RemoveResults,
    ) -> capnp::Result<()> {
        let result = self.start_remove(params).await;
        respond(to.get().init_answer(), result, |mut answer, job| answer.set_ok(job))
    }

    async fn cancel(
        self: Rc<Self>,
        params: control::CancelParams,
        mut to: control::CancelResults,
    ) -> capnp::Result<()> {
        let result = self.node.cancel(JobId(params.get()?.get_job())).await;
        respond_nothing(to.get().init_answer(), result)
    }

    async fn list(self: Rc<Self>, _: control::ListParams, mut to: control::ListResults) -> capnp::Result<()> {
        let result = self.node.list().await;
        respond(to.get().init_answer(), result, |mut answer, objects| {
            let listing: listing::Client = capnp_rpc::new_client(Listing { objects: RefCell::new(objects.into()) });
            answer.set_ok(listing)
        })
    }

    async fn find(self: Rc<Self>, params: control::FindParams, mut to: control::FindResults) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?.to_owned();
        let result = self.node.find(name).await;
        respond(to.get().init_answer(), result, |answer, stored| {
            encode::stored(answer.init_ok(), &stored);
            Ok(())
        })
    }

    async fn ticket(
        self: Rc<Self>,
        params: control::TicketParams,
        mut to: control::TicketResults,
    ) -> capnp::Result<()> {
        let result = match decode::parse::<Cid>(params.get()?.get_cid()?) {
            Ok(cid) => self.node.ticket(cid).await,
            Err(error) => Err(bad(error)),
        };
        respond(to.get().init_answer(), result, |mut answer, ticket| answer.set_ok(ticket.to_string().as_str()))
    }

    async fn metrics(self: Rc<Self>, _: control::MetricsParams, mut to: control::MetricsResults) -> capnp::Result<()> {
        let result = self.node.metrics().await;
        respond(to.get().init_answer(), result, |mut answer, text| answer.set_ok(text.as_str()))
    }

    async fn computations(
        self: Rc<Self>,
        _: control::ComputationsParams,
        mut to: control::ComputationsResults,
    ) -> capnp::Result<()> {
        let service = computations::Service { node: self.node.clone(), jobs: self.computations.clone() };
        respond(to.get().init_answer(), Ok(service), |mut answer, service| {
            answer.set_ok(capnp_rpc::new_client::<schema::computations::Client, _>(service))
        })
    }

    async fn shutdown(
        self: Rc<Self>,
        _: control::ShutdownParams,
        mut to: control::ShutdownResults,
    ) -> capnp::Result<()> {
        respond_nothing(to.get().init_answer(), self.node.shutdown().await)
    }

    async fn install_plugin(
        self: Rc<Self>,
        params: control::InstallPluginParams,
        mut to: control::InstallPluginResults,
    ) -> capnp::Result<()> {
        let result = match read_package(&params) {
            Ok(package) => match self.node.extensions() {
                Ok(extensions) => extensions.install(package).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(bad(error)),
        };
        respond(to.get().init_answer(), result, |answer, (view, replaced)| {
            let mut installed = answer.init_ok();
            plugins::encode(installed.reborrow().init_plugin(), &view);
            installed.set_replaced(replaced.as_deref().unwrap_or_default());
            Ok(())
        })
    }

    async fn remove_plugin(
        self: Rc<Self>,
        params: control::RemovePluginParams,
        mut to: control::RemovePluginResults,
    ) -> capnp::Result<()> {
        let result = match decode::parse::<Name>(params.get()?.get_name()?) {
            Ok(name) => match self.node.extensions() {
                Ok(extensions) => extensions.remove(name).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(bad(error)),
        };
        respond_nothing(to.get().init_answer(), result)
    }

    async fn plugins(self: Rc<Self>, _: control::PluginsParams, mut to: control::PluginsResults) -> capnp::Result<()> {
        let result = match self.node.extensions() {
            Ok(extensions) => extensions.list().await,
            Err(error) => Err(error),
        };
        respond(to.get().init_answer(), result, |answer, views| {
            let mut list = answer.initn_ok(encode::length(views.len()));
            for (n, view) in (0..list.len()).zip(&views) {
                plugins::encode(list.reborrow().get(n), view);
            }
            Ok(())
        })
    }

    async fn ask_plugin(
        self: Rc<Self>,
        params: control::AskPluginParams,
        mut to: control::AskPluginResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let result = match decode::parse::<Name>(params.get_name()?) {
            Ok(name) => match self.node.extensions() {
                Ok(extensions) => extensions.command(name, Bytes::copy_from_slice(params.get_bytes()?)).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(bad(error)),
        };
        respond(to.get().init_answer(), result, |mut answer, bytes| answer.set_ok(&bytes[..]))
    }

    async fn plugin_log(
        self: Rc<Self>,
        params: control::PluginLogParams,
        mut to: control::PluginLogResults,
    ) -> capnp::Result<()> {
        let result = match decode::parse::<Name>(params.get()?.get_name()?) {
            Ok(name) => match self.node.extensions() {
                Ok(extensions) => extensions.lines(name).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(bad(error)),
        };
        respond(to.get().init_answer(), result, |answer, lines| {
            let mut list = answer.initn_ok(encode::length(lines.len()));
            for (n, line) in (0..list.len()).zip(&lines) {
                let mut to = list.reborrow().get(n);
                to.set_level(line.level);
                to.set_text(line.text.as_str());
            }
            Ok(())
        })
    }
}

fn read_package(params: &control::InstallPluginParams) -> Result<Package, DecodeError> {
    let params = params.get()?;
    let manifest = params.get_manifest()?.to_str()?.to_owned();
    Ok(Package { manifest, module: Bytes::copy_from_slice(params.get_module()?) })
}

/// A snapshot of the catalog that is handed out page by page.
struct Listing {
    objects: RefCell<VecDeque<Stored>>,
}

impl listing::Server for Listing {
    async fn next(self: Rc<Self>, _: listing::NextParams, mut to: listing::NextResults) -> capnp::Result<()> {
        let page: Vec<Stored> = {
            let mut objects = self.objects.borrow_mut();
            let len = objects.len().min(LIST_PAGE);
            objects.drain(..len).collect()
        };
        let mut answer = to.get().init_answer().initn_ok(u32::try_from(page.len()).unwrap_or(u32::MAX));
        for (n, stored) in (0..answer.len()).zip(&page) {
            encode::stored(answer.reborrow().get(n), stored);
        }
        Ok(())
    }
}
