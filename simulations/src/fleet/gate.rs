//! [`Gate`]: what makes a node stand still. While it is shut, the node's actors do not run and its drivers' answers
//! wait in front of them; when it opens, everything happens in its order.

use pangea_kernel::{Port, Rejected};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use tokio::task::LocalSet;

/// The gate of one life. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    shut: bool,
    closed: bool,
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
    waker: Option<Waker>,
}

impl Gate {
    /// Stops the node.
    pub(super) fn shut(&self) {
        self.state().shut = true;
    }

    /// Lets it go on.
    pub(super) fn open(&self) {
        let mut state = self.state();
        state.shut = false;
        let (waiting, waker) = (std::mem::take(&mut state.waiting), state.waker.take());
        drop(state);
        waiting.into_iter().for_each(|deliver| deliver());
        waker.into_iter().for_each(Waker::wake);
    }

    /// The life is over: what waits, and what comes, is for nobody.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }

    /// A port whose messages wait while the gate is shut. What the receiver then has no room for is lost.
    pub(super) fn port<M: Send + 'static>(&self, to: Port<M>) -> Port<M> {
        let gate = self.clone();
        Port::new(move |message| {
            let mut state = gate.state();
            if state.closed {
                return Err(Rejected::Closed(message));
            }
            if !state.shut {
                drop(state);
                return to.send(message);
            }
            let to = to.clone();
            state.waiting.push_back(Box::new(move || {
                let _ = to.send(message);
            }));
            Ok(())
        })
    }

    /// A port that has no room while the gate is shut: for a sender that tries again, and slows others down meanwhile.
    pub(super) fn door<M: Send + 'static>(&self, to: Port<M>) -> Port<M> {
        let gate = self.clone();
        Port::new(move |message| {
            let (closed, shut) = {
                let state = gate.state();
                (state.closed, state.shut)
            };
            match (closed, shut) {
                (true, _) => Err(Rejected::Closed(message)),
                (false, true) => Err(Rejected::Full(message)),
                (false, false) => to.send(message),
            }
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks of a node, polled while its gate is open.
pub(super) struct Gated {
    tasks: LocalSet,
    gate: Gate,
}

impl Gated {
    pub(super) fn new(tasks: LocalSet, gate: Gate) -> Self {
        Self { tasks, gate }
    }
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.gate.state();
        if state.shut {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Pin::new(&mut self.tasks).poll(cx)
    }
}
