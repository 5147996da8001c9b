//! Frames that wait, for room in their stream or for their acknowledgement: all of one connection, in one task.
//!
//! A frame that is sent is tried once by its sender ([`Flights::launch`]). What then waits is parked here, and the task
//! that reads the connection's streams looks after it ([`Flights::beside`]). So no task is made for a frame, and a packet
//! that brings an answer and acknowledgements with it wakes one task, once.
//!
//! Not here: what a frame waits for and what happens at its end (`outbound.rs`).

use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
};
use tokio::runtime::Handle;

/// A frame on its way.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The frames on their way over one connection. Bounded by the lanes that they come from.
#[derive(Default)]
pub struct Flights {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flights: BTreeMap<u64, Flight>,
    next_id: u64,
    /// Those to be looked at.
    ready: Vec<u64>,
    /// The task that looks.
    task: Option<Waker>,
    /// The task waits for the last.
    ending: bool,
    /// No task looks any more.
    closed: bool,
}

#[derive(Default)]
struct Flight {
    /// None while somebody polls it.
    parked: Option<Work>,
    /// Woken while it was polled.
    woken: bool,
}

impl Flights {
    /// Tries `work` at once, and parks it if it must wait. When nobody looks after the parked any more, it becomes a
    /// task on `runtime`.
    pub fn launch(self: &Arc<Self>, work: Work, runtime: &Handle) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            runtime.spawn(work);
            return;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.flights.insert(id, Flight::default());
        drop(state);
        self.attend(id, work);
    }

    /// Runs `main`, and whatever is parked when it is ready: first, as a receiver that hears of an acknowledgement is
    /// awake when the answer that came with it has been read.
    pub async fn beside<T>(self: &Arc<Self>, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        std::future::poll_fn(|cx| {
            self.poll(cx);
            main.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until all have ended; later ones look after themselves.
    pub async fn end(self: &Arc<Self>) {
        std::future::poll_fn(|cx| {
            self.poll(cx);
            let mut state = self.state();
            state.ending = true;
            state.closed = state.flights.is_empty();
            if state.closed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Gives up what is parked, when the task that looked after it is gone before its time.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.closed = true;
        let flights = std::mem::take(&mut state.flights);
        drop(state);
        drop(flights);
    }

    fn poll(self: &Arc<Self>, cx: &mut Context<'_>) {
        let mut state = self.state();
        if !state.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        let ready = std::mem::take(&mut state.ready);
        drop(state);
        for id in ready {
            let work = self.state().flights.get_mut(&id).and_then(|flight| flight.parked.take());
            if let Some(work) = work {
                self.attend(id, work);
            }
        }
    }

    /// Polls a flight that its place in the table is kept for, and parks it again unless it has ended.
    fn attend(self: &Arc<Self>, id: u64, mut work: Work) {
        let waker = Waker::from(Arc::new(Call { flights: Arc::downgrade(self), id }));
        let ended = work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.state();
        if ended {
            state.flights.remove(&id);
            state.on_ended();
        } else if let Some(flight) = state.flights.get_mut(&id) {
            flight.parked = Some(work);
            if std::mem::take(&mut flight.woken) {
                state.call(id);
            }
            return;
        }
        // What it holds takes locks of its own when it is dropped.
        drop(state);
        drop(work);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that panics runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn call(&mut self, id: u64) {
        self.ready.push(id);
        self.wake();
    }

    fn on_ended(&self) {
        if self.ending && self.flights.is_empty() {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }
}

/// Wakes one flight.
struct Call {
    flights: Weak<Flights>,
    id: u64,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(flights) = self.flights.upgrade() else { return };
        let mut state = flights.state();
        match state.flights.get_mut(&self.id) {
            Some(flight) if flight.parked.is_some() => state.call(self.id),
            Some(flight) => flight.woken = true,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    /// Counts when `until` is told.
    fn counting(ended: &Arc<AtomicUsize>, until: oneshot::Receiver<()>) -> Work {
        let ended = Arc::clone(ended);
        Box::pin(async move {
            let _ = until.await;
            ended.fetch_add(1, Ordering::Relaxed);
        })
    }

    #[tokio::test]
    async fn a_flight_that_waits_ends_beside_the_work_of_the_task_that_looks_after_it() {
        let (flights, ended) = (Arc::<Flights>::default(), Arc::<AtomicUsize>::default());
        let (tell, told) = oneshot::channel();
        flights.launch(counting(&ended, told), &Handle::current());
        tell.send(()).unwrap();
        assert_eq!(ended.load(Ordering::Relaxed), 0, "it was driven by whoever woke it");
        flights.beside(tokio::task::yield_now()).await;
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn the_end_waits_for_all_and_later_flights_become_tasks() {
        let (flights, ended) = (Arc::<Flights>::default(), Arc::<AtomicUsize>::default());
        let (tells, tolds): (Vec<_>, Vec<_>) = (0..10).map(|_| oneshot::channel()).unzip();
        for told in tolds {
            flights.launch(counting(&ended, told), &Handle::current());
        }
        let tell = async { tells.into_iter().for_each(|tell| tell.send(()).unwrap()) };
        tokio::join!(flights.end(), tell);
        assert_eq!(ended.load(Ordering::Relaxed), 10);
        let (tell, told) = oneshot::channel();
        flights.launch(counting(&ended, told), &Handle::current());
        tell.send(()).unwrap();
        while ended.load(Ordering::Relaxed) < 11 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_flight_that_is_woken_while_it_is_polled_is_polled_again() {
        let flights = Arc::<Flights>::default();
        let mut polls = 0;
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let work = std::future::poll_fn(move |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == 5
                && let Some(tell) = tell.take()
            {
                let _ = tell.send(());
            }
            if polls == 5 { Poll::Ready(()) } else { Poll::Pending }
        });
        flights.launch(Box::pin(work), &Handle::current());
        flights.beside(told).await.unwrap();
        flights.end().await;
    }

    #[tokio::test]
    async fn abandoned_flights_are_dropped() {
        let flights = Arc::<Flights>::default();
        let (mut tell, told) = oneshot::channel();
        flights.launch(counting(&Arc::default(), told), &Handle::current());
        flights.abandon();
        tell.closed().await;
    }
}
