//! One stream on the server: the worker that holds its receiver, its calls in flight, and its queued replies.
//!
//! A stream has a few workers. One worker holds the receiver: it receives a message and polls its handler once. If the
//! handler is not done then, the worker hands the receiver over to another worker and finishes the call by itself. So a
//! handler that is done at once needs no hand-over, and a handler that waits delays no other message.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::server::in_flight::InFlight;
use crate::server::limits::send_budget::{CountedBytes, SendBudget};
use crate::server::recv::Receiver;
use crate::server::worker_slots::{Unparked, WorkerSlots};
use crate::sync::{Mutex, MutexGuard, get_mut, lock};
use crate::transport::write_buffer::WriteBuffer;
use crate::transport::{SendStream, Stopped, close};

/// Maximum number of bytes in one write.
const PIECE_BYTES: usize = 64 << 10;

/// The stream has received or sent bytes since the last check.
const ACTIVE: u8 = 0;
/// The stream has not received or sent bytes since the last check.
const IDLE: u8 = 1;
/// The same as [`IDLE`], and the stream's buffers are released.
const RELEASED: u8 = 2;

/// A stream, shared by its workers.
pub(super) struct ServerStream {
    /// `None` for datagrams, and for messages without a stream.
    id: Option<u64>,
    state: Mutex<StreamState>,
    /// The calls whose handlers are waiting.
    pub(super) in_flight: InFlight,
    /// Notified when replies have been written that a task waits for, and when the stream is reset.
    progress: Notify,
    send_budget: Arc<SendBudget>,
    is_bidirectional: bool,
    /// Number of calls with items that run on the stream.
    streaming_calls: AtomicUsize,
    /// One of [`ACTIVE`], [`IDLE`] and [`RELEASED`].
    activity: AtomicU8,
    has_sent_items: AtomicBool,
    /// The code with which the stream was reset; 0 while it is open.
    reset_code: AtomicU32,
}

#[derive(Default)]
struct StreamState {
    replies: WriteBuffer,
    /// The sending half. A worker takes it while it writes. `None` for good once the stream is over.
    send: Option<SendStream>,
    /// `true` while a worker is writing and holds the sending half.
    is_writing: bool,
    /// `true` if a task waits until some replies have been written.
    is_awaited: bool,
    /// Number of bytes in `replies` that belong to items.
    queued_items: usize,
    /// Number of bytes that are being written, and number of those that belong to items.
    writing_bytes: usize,
    writing_items: usize,
    /// The bytes of this stream that the connection's budgets count.
    counted: CountedBytes,
    /// Resolves when the peer stops the stream, or has received all of a finished stream.
    stopped: Option<Stopped>,
    workers: WorkerSlots,
    /// `true` if the worker that holds the receiver must release its buffers.
    release_buffers: bool,
    /// `true` if no further request follows.
    is_ended: bool,
    /// `true` if this side reset the stream, so that replies may be missing.
    is_truncated: bool,
    /// `true` if the peer read no replies in time.
    has_write_timed_out: bool,
}

/// What a worker finds when it flushes the queued bytes.
enum Queued {
    /// Bytes to write, and the sending half.
    Chunk(SendStream, Bytes),
    /// Nothing is queued, or another worker writes and will write it.
    Few,
    /// Another worker writes, and too many bytes are queued.
    Full,
}

/// The reason why a parked worker stops waiting without a receiver.
pub(super) enum WorkerExit {
    /// The stream was idle, and has other workers.
    Idle,
    /// The stream is over.
    Over,
}

/// The reason why the worker that holds the receiver stops waiting for bytes.
pub(super) enum Interruption {
    /// The connection is idle, so buffers can be released.
    Idle,
    /// The peer stopped the stream while replies are outstanding.
    Stopped,
}

impl ServerStream {
    /// Creates a stream of a connection. One worker is counted as busy: the worker that is started for the stream next.
    pub(super) fn new(
        id: Option<u64>,
        send: Option<SendStream>,
        send_budget: Arc<SendBudget>,
    ) -> Arc<Self> {
        let is_bidirectional = send.is_some();
        let mut state = StreamState {
            stopped: send.as_ref().map(SendStream::stopped),
            send,
            ..StreamState::default()
        };
        state.workers.busy = 1;
        Self::with(id, state, send_budget, is_bidirectional)
    }

    /// Creates a stream for messages that were received without a connection. No replies are queued on it.
    pub(super) fn detached(send_budget: Arc<SendBudget>) -> Arc<Self> {
        Self::with(None, StreamState::default(), send_budget, true)
    }

    fn with(
        id: Option<u64>,
        state: StreamState,
        send_budget: Arc<SendBudget>,
        is_bidirectional: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            state: Mutex::new(state),
            in_flight: InFlight::default(),
            progress: Notify::new(),
            send_budget,
            is_bidirectional,
            streaming_calls: AtomicUsize::new(0),
            activity: AtomicU8::new(ACTIVE),
            has_sent_items: AtomicBool::new(false),
            reset_code: AtomicU32::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, StreamState> {
        lock(&self.state)
    }

    /// Returns the ID of the stream (RFC 9000, section 2.1).
    pub(super) fn id(&self) -> Option<u64> {
        self.id
    }

    /// Returns `true` if replies can be sent on the stream.
    pub(super) fn is_bidirectional(&self) -> bool {
        self.is_bidirectional
    }
}

/// Workers.
impl ServerStream {
    /// Adds a new worker and returns its slot.
    pub(super) fn enter_worker(&self) -> usize {
        self.state().workers.enter()
    }

    /// Hands the receiver over to a parked worker. Returns the receiver if no worker is parked.
    pub(super) fn hand_over(&self, receiver: Box<Receiver>) -> Option<Box<Receiver>> {
        let handed_over = self.state().workers.hand_over(receiver);
        match handed_over {
            Ok(waker) => {
                waker.into_iter().for_each(std::task::Waker::wake);
                None
            }
            Err(receiver) => Some(receiver),
        }
    }

    /// Parks the worker of `slot` until it gets the receiver or must end.
    ///
    /// When no request follows, parked workers detect that the peer stops the stream while calls still run.
    pub(super) async fn park(&self, slot: usize) -> Result<Box<Receiver>, WorkerExit> {
        {
            let mut state = self.state();
            state.workers.park(slot);
            state.finish_if_over();
        }
        poll_fn(|cx| {
            let mut state = self.state();
            match state.workers.unpark(slot) {
                Some(Unparked::Receiver(receiver)) => return Poll::Ready(Ok(receiver)),
                Some(Unparked::Dismissed) => return Poll::Ready(Err(WorkerExit::Idle)),
                None => {}
            }
            if state.is_over() {
                return Poll::Ready(Err(WorkerExit::Over));
            }
            if state.is_ended && state.poll_stopped(cx).is_ready() {
                self.reset_locked(&mut state, close::CANCELLED);
            }
            state.workers.set_waker(slot, cx);
            Poll::Pending
        })
        .await
    }

    /// Records that the stream has received bytes, or will send some.
    pub(super) fn record_activity(&self) {
        if self.activity.load(Ordering::Relaxed) != ACTIVE {
            self.activity.store(ACTIVE, Ordering::Relaxed);
        }
    }

    /// Ends the parked workers that were not used since the last call. Releases all buffers if nothing happened on the
    /// stream.
    pub(super) fn release_unused(&self) {
        let mut state = self.state();
        let watching = usize::from(state.is_ended);
        state.workers.dismiss_unused(watching);
        match self.activity.load(Ordering::Relaxed) {
            ACTIVE => self.activity.store(IDLE, Ordering::Relaxed),
            IDLE => {
                self.activity.store(RELEASED, Ordering::Relaxed);
                state.release_buffers = true;
            }
            _ => {}
        }
        state.workers.wake_all();
    }

    /// Ends parked workers, and lets the worker that holds the receiver release its buffers.
    pub(super) fn release_idle_buffers(&self) {
        let mut state = self.state();
        // If no worker holds the receiver any more, a parked worker must detect that the peer stops the stream.
        let watching = usize::from(state.is_ended);
        state.workers.dismiss_parked(watching);
        // Buffers that were released and not used again are not released again, since that would wake the worker.
        state.release_buffers |= self.activity.swap(RELEASED, Ordering::Relaxed) != RELEASED;
        state.workers.wake_all();
        drop(state);
        self.in_flight.release_idle_buffers();
    }

    /// Resolves when the worker of `slot`, which holds the receiver, has a reason to stop waiting for bytes.
    pub(super) async fn interruption(&self, slot: usize) -> Interruption {
        poll_fn(|cx| {
            let mut state = self.state();
            if std::mem::take(&mut state.release_buffers) {
                state.replies.shrink();
                self.count(&mut state);
                return Poll::Ready(Interruption::Idle);
            }
            // While other workers are busy, the peer may stop the stream on which they will reply.
            if state.workers.busy > 1 && state.poll_stopped(cx).is_ready() {
                return Poll::Ready(Interruption::Stopped);
            }
            state.workers.set_waker(slot, cx);
            Poll::Pending
        })
        .await
    }
}

/// Replies.
impl ServerStream {
    /// Queues a reply, if the peer can receive it. Returns `true` if too many bytes are queued.
    pub(super) fn push(&self, reply: &[u8]) -> bool {
        if reply.is_empty() {
            return false;
        }
        let mut state = self.state();
        if (state.send.is_some() || state.is_writing) && !self.is_reset() {
            self.record_activity();
            state.replies.push(reply);
            state.replies.push(b"\n");
            self.count(&mut state);
            if state.writing_items > 0 {
                // The items before this reply must now be written within the write timeout.
                self.progress.notify_waiters();
            }
        }
        state.replies.len() >= self.send_budget.max_stream_bytes
    }

    /// Queues lines of items.
    pub(super) fn push_items(&self, lines: &[u8]) {
        let mut state = self.state();
        if (state.send.is_some() || state.is_writing) && !self.is_reset() {
            self.record_activity();
            state.replies.push(lines);
            state.queued_items += lines.len();
            self.count(&mut state);
        }
    }

    /// Reports the held bytes to the connection's budgets. Unread items delay only their own producer, so they count as held
    /// and not as unsent.
    fn count(&self, state: &mut StreamState) {
        let all = state.replies.len() + state.writing_bytes;
        let buffer_bytes = state.replies.buffer_bytes();
        if state.counted.is_of(all, buffer_bytes) {
            return;
        }
        let unsent = all - state.queued_items - state.writing_items;
        let held = all.max(state.replies.retained_bytes());
        self.send_budget.count(&mut state.counted, unsent, held);
        state.counted.set_small(all, buffer_bytes);
    }

    /// Resolves when a reply is queued behind the items that are being written.
    async fn has_replies_behind_items(&self) {
        loop {
            let progress = self.progress.notified();
            {
                let state = self.state();
                if state.writing_bytes > state.writing_items
                    || state.replies.len() > state.queued_items
                {
                    return;
                }
            }
            progress.await;
        }
    }

    /// Writes the queued bytes, unless another worker is writing. Waits while too many bytes are queued.
    pub(super) async fn flush(&self) {
        self.flush_until(std::future::pending()).await;
    }

    /// Flushes as [`flush`](Self::flush) does, and resets the stream if the peer resets it meanwhile.
    pub(super) async fn flush_while_receiving(&self, receiver: &mut Receiver) {
        self.flush_until(receiver.was_reset()).await;
    }

    /// Flushes, and resets the stream if `reset` resolves meanwhile.
    async fn flush_until(&self, reset: impl Future<Output = ()>) {
        let mut reset = pin!(reset);
        let mut queued = self.state().take_queued(self.send_budget.max_stream_bytes);
        loop {
            queued = match queued {
                Queued::Few => return,
                Queued::Chunk(mut send, chunk) => {
                    let written = self.write(&mut send, chunk, reset.as_mut()).await;
                    self.put_back(send, written)
                }
                Queued::Full => {
                    tokio::select! {
                        biased;
                        () = self.has_room() => {}
                        () = reset.as_mut() => self.reset(),
                    }
                    self.state().take_queued(self.send_budget.max_stream_bytes)
                }
            };
        }
    }

    /// Waits while too many bytes are queued.
    async fn has_room(&self) {
        while self.is_full() {
            let progress = self.progress.notified();
            if self.is_full() {
                progress.await;
            }
        }
    }

    fn is_full(&self) -> bool {
        let mut state = self.state();
        let is_full = state.replies.len() >= self.send_budget.max_stream_bytes;
        state.is_awaited |= is_full;
        is_full
    }

    /// Writes a chunk in pieces, so that the timeout depends on the peer's reading and not on the size of a reply. Fails
    /// with the code with which to reset the stream. A write is not dropped before it is complete, unless the stream is
    /// reset.
    async fn write(
        &self,
        send: &mut SendStream,
        mut chunk: Bytes,
        mut reset: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), u32> {
        let is_streaming = self.is_streaming();
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(PIECE_BYTES));
            let written = tokio::select! {
                biased;
                written = send.write_chunk(piece) => written,
                code = self.write_failed(is_streaming, reset.as_mut()) => return Err(code),
            };
            written.map_err(|_| close::CANCELLED)?;
        }
        Ok(())
    }

    /// Resolves when a write that waits must end, with the code with which to reset the stream. If the write may hold
    /// items, the peer may read it at any speed, unless replies wait behind it.
    async fn write_failed(&self, is_streaming: bool, reset: impl Future<Output = ()>) -> u32 {
        let timeout = async {
            if is_streaming {
                self.has_replies_behind_items().await;
            }
            tokio::time::sleep(self.send_budget.write_timeout).await;
        };
        tokio::select! {
            biased;
            () = timeout => close::TIMEOUT,
            // By another worker. From then on the bytes of this write are not counted.
            () = self.was_reset() => close::CANCELLED,
            () = reset => close::CANCELLED,
        }
    }

    /// Returns the sending half after a write. Takes what was queued meanwhile.
    fn put_back(&self, send: SendStream, written: Result<(), u32>) -> Queued {
        let mut state = self.state();
        state.is_writing = false;
        state.writing_bytes = 0;
        state.writing_items = 0;
        state.send = Some(send);
        match written {
            Ok(()) if !self.is_reset() => self.count(&mut state),
            Ok(()) => self.reset_locked(&mut state, close::CANCELLED),
            Err(code) => {
                state.is_truncated |= code == close::TIMEOUT;
                state.has_write_timed_out |= code == close::TIMEOUT;
                self.reset_locked(&mut state, code);
            }
        }
        if std::mem::take(&mut state.is_awaited) {
            self.progress.notify_waiters();
        }
        state.take_queued(self.send_budget.max_stream_bytes)
    }
}

/// Streams of items.
impl ServerStream {
    /// Records that a call with items runs. The peer may read items at any speed, since no more items are produced
    /// meanwhile.
    pub(super) fn begin_streaming(&self) {
        self.streaming_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Reverses [`begin_streaming`](Self::begin_streaming) after the last item and the reply were sent.
    pub(super) fn end_streaming(&self) {
        self.streaming_calls.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_streaming(&self) -> bool {
        self.streaming_calls.load(Ordering::Relaxed) > 0
    }

    /// Records that items were sent.
    pub(super) fn record_sent_items(&self) {
        self.has_sent_items.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_sent_items(&self) -> bool {
        self.has_sent_items.load(Ordering::Relaxed)
    }
}

/// The end of a stream.
impl ServerStream {
    /// Records that no further request follows. Running calls are finished and their replies sent.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_ended = true;
        state.workers.wake_all();
    }

    /// Resets the stream because the peer stopped or reset it, or the connection was lost. Running calls are cancelled.
    pub(super) fn reset(&self) {
        self.reset_locked(&mut self.state(), close::CANCELLED);
    }

    /// Resets the stream with `code`, even if the peer waits for replies.
    pub(super) fn reset_with(&self, code: u32) {
        let mut state = self.state();
        state.is_truncated = true;
        self.reset_locked(&mut state, code);
    }

    fn reset_locked(&self, state: &mut StreamState, code: u32) {
        // The code of the first reset is kept.
        let former =
            self.reset_code
                .compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        state.is_ended = true;
        state.replies.clear();
        state.replies.shrink();
        state.queued_items = 0;
        state.writing_bytes = 0;
        state.writing_items = 0;
        self.count(state);
        if let Some(mut send) = state.send.take() {
            send.reset(former.err().unwrap_or(code));
        }
        state.workers.wake_all();
        self.in_flight.cancel_all();
        self.progress.notify_waiters();
    }

    /// Returns `true` if the stream was reset, by either side.
    pub(super) fn is_reset(&self) -> bool {
        self.reset_code.load(Ordering::Relaxed) != 0
    }

    /// Returns `true` if this side reset the stream although the peer may wait for replies.
    pub(super) fn is_truncated(&self) -> bool {
        self.state().is_truncated
    }

    /// Returns `true` if this side reset the stream because the peer read no replies in time.
    pub(super) fn has_write_timed_out(&self) -> bool {
        self.state().has_write_timed_out
    }

    /// Resolves when the stream is reset, by either side.
    pub(super) async fn was_reset(&self) {
        while !self.is_reset() {
            let progress = self.progress.notified();
            if !self.is_reset() {
                progress.await;
            }
        }
    }

    /// Resolves when the peer stops the stream. Never resolves if the stream has no sending half.
    pub(super) async fn stopped(&self) {
        poll_fn(|cx| self.state().poll_stopped(cx)).await;
    }

    /// Finishes the stream, even if the peer may send more. Resolves when all replies have arrived.
    pub(super) async fn close(&self) {
        let unacked = loop {
            let progress = self.progress.notified();
            self.flush().await;
            if self.finish() {
                break self.unacked();
            }
            progress.await;
        };
        if let Some(stopped) = unacked {
            stopped.await;
        }
    }

    /// Finishes the sending half. Returns `false` while a worker writes.
    fn finish(&self) -> bool {
        let mut state = self.state();
        if state.is_writing && !self.is_reset() {
            state.is_awaited = true;
            return false;
        }
        state.is_ended = true;
        state.workers.wake_all();
        if let Some(mut send) = state.send.take() {
            send.finish();
        }
        true
    }

    /// Returns a future that resolves when all replies of a finished stream have arrived. Returns `None` if the future was
    /// taken before, or if the stream was reset.
    pub(super) fn unacked(&self) -> Option<Stopped> {
        let stopped = self.state().stopped.take();
        stopped.filter(|_| !self.is_reset())
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        let state = get_mut(&mut self.state);
        self.send_budget.count(&mut state.counted, 0, 0);
    }
}

impl StreamState {
    /// Takes the queued bytes and the sending half, unless another worker is writing.
    fn take_queued(&mut self, max_bytes: usize) -> Queued {
        if self.replies.is_empty() {
            return Queued::Few;
        }
        let Some(send) = self.send.take() else {
            return match self.replies.len() >= max_bytes {
                true => Queued::Full,
                false => Queued::Few,
            };
        };
        let chunk = self.replies.take();
        self.is_writing = true;
        self.writing_bytes = chunk.len();
        self.writing_items = std::mem::take(&mut self.queued_items);
        Queued::Chunk(send, chunk)
    }

    /// Returns `true` if the last request has been answered.
    fn is_over(&self) -> bool {
        self.is_ended && self.workers.busy == 0
    }

    fn finish_if_over(&mut self) {
        if self.is_over() {
            self.workers.wake_all();
            if let Some(mut send) = self.send.take() {
                send.finish();
            }
        }
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stopped) = &mut self.stopped else {
            return Poll::Pending;
        };
        let polled = stopped.as_mut().poll(cx);
        if polled.is_ready() {
            self.stopped = None;
        }
        polled
    }
}
