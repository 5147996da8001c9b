//! What the node does for its extensions: objects are stored, fetched and removed as they are for a user, with a few at a
//! time. Not here: who may ask for it (the plugins actor checks that).

use super::folder;
use crate::node::{
    NodeHandle,
    handle::{Get, Job, News, Put},
};
use bytes::{Bytes, BytesMut};
use pangea_ces::api::{Profile, Selection};
use pangea_plugins::extension::{FETCH_BYTES_MAX, In, Out};
use pangea_protocols::{
    files::{Sink, Source},
    job::{JobError, JobEvent, Outcome, Stored},
    ticket::Ticket,
};
use pangea_transfer::api::Redundancy;
use std::{path::Path, time::Duration};

/// A fetch that does not move for this long fails.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// How objects of extensions are stored.
#[derive(Clone, Copy, Debug)]
pub struct Storing {
    /// How hard to compress.
    pub profile: Profile,
    /// How long holders keep them.
    pub lease: Duration,
}

/// Does what an extension wants; the event answers it. `None` if it is nothing of these.
pub async fn serve(node: &NodeHandle, storing: Storing, folder: Option<String>, out: Out) -> Option<In> {
    let request = out.request()?;
    let result = match out {
        Out::Store { name, bytes, .. } => {
            let stored = store(node, storing, Source::Stream { name }, Some(bytes)).await;
            stored.map(|ticket| In::Stored { request, ticket })
        }
        Out::StoreFile { path, .. } => {
            let place = blocking(folder, move |folder| folder::file(folder, &path)).await;
            let stored = match place {
                Ok(place) => store(node, storing, Source::Path(place), None).await,
                Err(reason) => Err(reason),
            };
            stored.map(|ticket| In::Stored { request, ticket })
        }
        Out::Fetch { ticket, .. } => fetch(node, &ticket).await.map(|bytes| In::Fetched { request, bytes }),
        Out::Remove { ticket, .. } => remove(node, &ticket).await.map(|()| In::Removed { request }),
        Out::List { .. } => blocking(folder, folder::list).await.map(|files| In::Listed { request, files }),
        _ => return None,
    };
    Some(result.unwrap_or_else(|reason| In::Failed { request, reason }))
}

/// Looks at the folder on a thread that may wait for a disk; there is one at a time per permit of the desk.
async fn blocking<T: Send + 'static>(
    folder: Option<String>,
    look: impl FnOnce(&Path) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let folder = folder.ok_or("no folder is granted")?;
    let looked = tokio::task::spawn_blocking(move || look(Path::new(&folder))).await;
    looked.unwrap_or_else(|error| Err(format!("looking at the folder failed: {error}")))
}

fn told(error: JobError) -> String {
    error.to_string()
}

async fn store(node: &NodeHandle, storing: Storing, source: Source, bytes: Option<Bytes>) -> Result<String, String> {
    let Storing { profile, lease } = storing;
    let put = Put { source, redundancy: Redundancy::Auto, profile, lease };
    let mut job = node.put(put).await.map_err(told)?;
    if let Some(bytes) = bytes {
        node.feed(job.id, bytes).await.map_err(told)?;
        node.finish_feed(job.id).await.map_err(told)?;
    }
    match end(&mut job).await? {
        Outcome::Put(stored) => {
            let Stored { cid, key, .. } = stored;
            Ok(Ticket { cid, hints: Vec::new(), key }.to_string())
        }
        other => Err(format!("storing ended as {other:?}")),
    }
}

async fn fetch(node: &NodeHandle, ticket: &str) -> Result<Bytes, String> {
    let ticket: Ticket = ticket.parse().map_err(|error| format!("`{ticket}` is no ticket: {error}"))?;
    let get = Get { ticket, only: Selection::All, sink: Sink::Stream, timeout: FETCH_TIMEOUT };
    let mut job = node.get(get).await.map_err(told)?;
    let mut bytes = BytesMut::new();
    while let Some(part) = node.drain(job.id).await.map_err(told)? {
        if bytes.len() + part.len() > FETCH_BYTES_MAX {
            let _ = node.cancel(job.id).await;
            return Err(format!("the object has more than {FETCH_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&part);
    }
    end(&mut job).await?;
    Ok(bytes.freeze())
}

async fn remove(node: &NodeHandle, ticket: &str) -> Result<(), String> {
    let ticket: Ticket = ticket.parse().map_err(|error| format!("`{ticket}` is no ticket: {error}"))?;
    // It leaves the catalog also if holders cannot be reached: they forget it when the lease ends.
    let mut job = node.remove(ticket.cid, true).await.map_err(told)?;
    end(&mut job).await.map(|_| ())
}

async fn end(job: &mut Job) -> Result<Outcome, String> {
    while let Some(news) = job.news.recv().await {
        match news {
            News::Event(JobEvent::Done { outcome, .. }) => return Ok(outcome),
            News::Event(JobEvent::Failed { error, .. }) => return Err(told(error)),
            _ => {}
        }
    }
    Err("the node is shutting down".to_owned())
}
