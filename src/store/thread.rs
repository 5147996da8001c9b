//! [`StoreThread`]: the thread that works on the [`NodeStore`], so that nobody else waits for its syncs.

use super::{NodeStore, StoreError};
use pangea_kernel::contain;
use pangea_protocols::job::{ErrorKind, JobError};
use std::{
    io,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};
use tokio::sync::oneshot;

/// Questions that may wait. Beyond it, the asker is told that the node is overloaded.
const QUEUE_MAX: usize = 1024;

type Task = Box<dyn FnOnce(&NodeStore) + Send>;

/// Why the store could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum StoreThreadError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread.
    #[error("cannot start the store's thread: {0}")]
    Thread(#[from] io::Error),
}

/// Asks the node store. Cheap to clone.
#[derive(Clone)]
pub struct StoreThread {
    tasks: SyncSender<Option<Task>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl StoreThread {
    /// Opens the store at `file` and starts its thread.
    ///
    /// # Errors
    /// See [`StoreThreadError`].
    pub fn start(file: &Path) -> Result<Self, StoreThreadError> {
        let store = NodeStore::open(file)?;
        for aside in store.set_aside() {
            tracing::warn!(file = %aside.display(), "a damaged node store was set aside; it may hold read keys");
        }
        let (tasks, queue) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new().name("pangea-store".to_owned()).spawn(move || work(&store, &queue))?;
        Ok(Self { tasks, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Runs `task` on the store's thread; nobody waits for it.
    pub fn run(&self, task: impl FnOnce(&NodeStore) + Send + 'static) {
        if let Err(TrySendError::Full(_)) = self.tasks.try_send(Some(Box::new(task))) {
            tracing::warn!("the store's queue is full: a task was dropped");
        }
    }

    /// Asks the store and waits for its answer.
    ///
    /// # Errors
    /// The store's, with a kind; or the node is stopping or overloaded.
    pub async fn call<T: Send + 'static>(
        &self,
        question: impl FnOnce(&NodeStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, JobError> {
        let (reply, answer) = oneshot::channel();
        self.run(move |store| {
            let _ = reply.send(question(store));
        });
        match answer.await {
            Ok(result) => result.map_err(|error| JobError::new(kind_of(&error), error.to_string())),
            Err(_) => Err(JobError::new(
                ErrorKind::Failed,
                "the node store gave no answer: the node is stopping or overloaded",
            )),
        }
    }

    /// As [`StoreThread::call`], for a thread that may block.
    ///
    /// # Errors
    /// As [`StoreThread::call`].
    pub fn call_blocking<T: Send + 'static>(
        &self,
        question: impl FnOnce(&NodeStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, JobError> {
        let (reply, answer) = sync_channel(1);
        self.run(move |store| {
            let _ = reply.send(question(store));
        });
        match answer.recv() {
            Ok(result) => result.map_err(|error| JobError::new(kind_of(&error), error.to_string())),
            Err(_) => Err(JobError::new(
                ErrorKind::Failed,
                "the node store gave no answer: the node is stopping or overloaded",
            )),
        }
    }

    /// Finishes what is queued and ends the thread; later questions are answered with an error.
    pub fn close(&self) {
        let _ = self.tasks.send(None);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread panicked");
        }
    }
}

fn work(store: &NodeStore, queue: &Receiver<Option<Task>>) {
    while let Ok(Some(task)) = queue.recv() {
        // A task that panics (in the database, on damaged pages) costs its asker the answer, not the node its store.
        if let Err(reason) = contain(|| task(store)) {
            tracing::error!(reason, "the store panicked; check the disk that holds it");
        }
    }
}

fn kind_of(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::NotFound(_) => ErrorKind::NotFound,
        StoreError::Ambiguous { .. } => ErrorKind::Usage,
        StoreError::Corrupt { .. } | StoreError::Stuck { .. } | StoreError::Unreadable { .. } => ErrorKind::Integrity,
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => ErrorKind::Quota,
        _ => ErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_its_question_and_the_next_one_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let thread = StoreThread::start(&dir.path().join("node.redb")).unwrap();
        let failed = thread.call_blocking(|_| -> Result<(), StoreError> { panic!("boom") }).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Failed);
        assert_eq!(thread.call_blocking(|store| store.load_peers()).unwrap(), []);
        thread.close();
    }
}
