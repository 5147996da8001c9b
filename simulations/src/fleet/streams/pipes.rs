//! The two ends of a stream as the network driver wants them.

use super::{
    half::{End, Half, StreamId},
    line::{Line, Side, WINDOW_BYTES},
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use pangea::drivers::network::{ReadError, RecvStream, SendStream, WriteError};
use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

/// A stream that is written.
pub(super) struct Writer {
    line: Arc<Line>,
    side: Side,
    id: StreamId,
}

impl Writer {
    pub(super) fn new(line: &Arc<Line>, side: Side, id: StreamId) -> Self {
        Self { line: Arc::clone(line), side, id }
    }

    /// Ready if bytes may be written now.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), WriteError>> {
        self.line.with(self.side, |half| {
            if half.closed.is_some() {
                return Poll::Ready(Err(WriteError::Lost));
            }
            let full = half.unread >= WINDOW_BYTES;
            let Some(writing) = half.writing.get_mut(&self.id) else { return Poll::Ready(Err(WriteError::Lost)) };
            if writing.stopped {
                return Poll::Ready(Err(WriteError::Stopped));
            }
            if writing.finished {
                return Poll::Ready(Err(WriteError::Lost));
            }
            if full {
                writing.waiters.add(cx);
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl SendStream for Writer {
    fn set_priority(&mut self, _: i32) {
        // There is no queue in front of the line that anything could pass by.
    }

    fn poll_write_chunks(&mut self, cx: &mut Context<'_>, chunks: &mut [Bytes]) -> Poll<Result<usize, WriteError>> {
        std::task::ready!(self.poll_room(cx))?;
        for chunk in &mut *chunks {
            self.line.write(self.side, self.id, std::mem::take(chunk));
        }
        Poll::Ready(Ok(chunks.len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, WriteError>> {
        std::task::ready!(self.poll_room(cx))?;
        self.line.write(self.side, self.id, Bytes::copy_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let begun = self.line.with(self.side, |half| {
            let writing = half.writing.get_mut(&self.id)?;
            (!std::mem::replace(&mut writing.finished, true)).then_some(())
        });
        begun.ok_or(WriteError::Lost)?;
        self.line.finish(self.side, self.id);
        Ok(())
    }

    fn reset(&mut self, _: u32) {
        self.line.leave_writing(self.side, self.id, true);
    }

    fn delivered(&self) -> BoxFuture<'static, Result<(), WriteError>> {
        let (line, side, id) = (Arc::clone(&self.line), self.side, self.id);
        poll_fn(move |cx| {
            line.with(side, |half| {
                let closed = half.closed.is_some();
                let Some(writing) = half.writing.get_mut(&id) else { return Poll::Ready(Err(WriteError::Lost)) };
                match () {
                    () if writing.stopped => Poll::Ready(Err(WriteError::Stopped)),
                    () if writing.delivered => Poll::Ready(Ok(())),
                    () if closed => Poll::Ready(Err(WriteError::Lost)),
                    () => {
                        writing.waiters.add(cx);
                        Poll::Pending
                    }
                }
            })
        })
        .boxed()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.line.leave_writing(self.side, self.id, false);
    }
}

/// A stream that is read.
pub(super) struct Reader {
    line: Arc<Line>,
    side: Side,
    id: StreamId,
}

impl Reader {
    pub(super) fn new(line: &Arc<Line>, side: Side, id: StreamId) -> Self {
        Self { line: Arc::clone(line), side, id }
    }

    /// Takes from what has arrived; what `take` returns is how many bytes those were.
    fn poll_take(
        &self,
        cx: &Context<'_>,
        take: impl FnOnce(&mut VecDeque<Bytes>) -> usize,
    ) -> Poll<Result<bool, ReadError>> {
        let taken = self.line.with(self.side, |half: &mut Half| {
            let closed = half.closed.is_some();
            let Some(reading) = half.reading.get_mut(&self.id) else { return Poll::Ready(Err(ReadError)) };
            if reading.end == Some(End::Reset) || closed && reading.end.is_none() && reading.chunks.is_empty() {
                return Poll::Ready(Err(ReadError));
            }
            if !reading.chunks.is_empty() {
                return Poll::Ready(Ok(take(&mut reading.chunks)));
            }
            if reading.end.is_some() {
                return Poll::Ready(Ok(0));
            }
            reading.waiters.add(cx);
            Poll::Pending
        });
        let bytes = std::task::ready!(taken)?;
        if bytes > 0 {
            self.line.was_read(self.side, bytes);
        }
        Poll::Ready(Ok(bytes > 0))
    }
}

impl RecvStream for Reader {
    fn poll_read_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut [Bytes],
    ) -> Poll<Result<Option<usize>, ReadError>> {
        let mut count = 0;
        let some = std::task::ready!(self.poll_take(cx, |arrived| {
            count = arrived.len().min(chunks.len());
            let mut bytes = 0;
            for (place, chunk) in chunks.iter_mut().zip(arrived.drain(..count)) {
                bytes += chunk.len();
                *place = chunk;
            }
            bytes
        }))?;
        Poll::Ready(Ok(some.then_some(count)))
    }

    fn poll_read_chunk(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Result<Option<Bytes>, ReadError>> {
        let mut chunk = Bytes::new();
        let some = std::task::ready!(self.poll_take(cx, |arrived| {
            chunk = take_front(arrived, bytes_max);
            chunk.len()
        }))?;
        Poll::Ready(Ok(some.then_some(chunk)))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, ReadError>> {
        let mut count = 0;
        std::task::ready!(self.poll_take(cx, |arrived| {
            while count < bytes.len() && !arrived.is_empty() {
                let chunk = take_front(arrived, bytes.len() - count);
                bytes[count..count + chunk.len()].copy_from_slice(&chunk);
                count += chunk.len();
            }
            count
        }))?;
        Poll::Ready(Ok(count))
    }

    fn stop(&mut self, _: u32) {
        self.line.leave_reading(self.side, self.id);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.line.leave_reading(self.side, self.id);
    }
}

fn take_front(arrived: &mut VecDeque<Bytes>, bytes_max: usize) -> Bytes {
    let Some(first) = arrived.front_mut() else { return Bytes::new() };
    if first.len() > bytes_max {
        return first.split_to(bytes_max);
    }
    arrived.pop_front().unwrap_or_default()
}
