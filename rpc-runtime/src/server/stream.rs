//! One stream on the server: who reads it, who works on it, and what waits to be sent.
//!
//! A lane has a few workers. One of them leads: it holds the reading half, cuts a message and polls its handler once.
//! When that does not finish at once, the leader hands the reading half to another worker and ends the call on its
//! own. So a handler that is done at once costs no hand-over, and one that waits stops nobody.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::server::in_flight::InFlight;
use crate::server::limits::send_budget::SendBudget;
use crate::server::recv::Receiver;
use crate::sync::{Mutex, MutexGuard};
use crate::transport::write_buffer::WriteBuffer;
use crate::transport::{SendStream, Stopped, close};

/// How much is written at once.
const PIECE: usize = 64 << 10;

pub(super) struct ServerStream {
    state: Mutex<StreamState>,
    /// InFlight that wait for their handlers, by id.
    pub(super) calls: InFlight,
    /// Replies have left and there is room for more.
    drained: Notify,
    backlog: Arc<SendBudget>,
    way_back: bool,
    /// InFlight with items that run on it: their caller may take its time.
    patience: AtomicUsize,
    has_sent_items: AtomicBool,
    /// The code it was given up with: nothing more of it is wanted. 0 is none.
    given_up: AtomicU32,
}

#[derive(Default)]
struct StreamState {
    replies: WriteBuffer,
    /// The sending half; away while a worker writes, and for good once the stream is over.
    send: Option<SendStream>,
    /// Whether a worker has the sending half and will bring it back.
    flushing: bool,
    /// Bytes that are being written.
    writing: usize,
    /// Bytes that the connection's backlog knows of.
    counted: usize,
    /// Resolves when the other side wants no more replies.
    stopped: Option<Stopped>,
    seats: Vec<WorkerSlot>,
    /// Seats that nobody sits on.
    vacant: Vec<usize>,
    /// Seats of workers that wait to lead; the last one is the warmest.
    idle: Vec<usize>,
    /// Buffers are to be given back.
    quiet: bool,
    /// Workers in the middle of a message, the leader included.
    busy: usize,
    /// No request follows.
    ended: bool,
    /// It was given up though the other side had not: replies may be missing.
    cut_off: bool,
}

/// A worker's place.
#[derive(Default)]
struct WorkerSlot {
    reader: Option<Box<Receiver>>,
    waker: Option<Waker>,
    dismissed: bool,
}

/// Why a worker that has nothing to do is to go.
pub(super) enum Leave {
    /// There was nothing to do for a while, and others are left.
    Dismissed,
    /// The stream is over.
    Over,
}

/// Why the leader does not wait for bytes any longer.
pub(super) enum Interruption {
    /// The lane is quiet: buffers can be given back.
    IdleWatch,
    /// The other side wants no more replies, while there are some to come.
    Stopped,
}

impl ServerStream {
    pub(super) fn new(send: Option<SendStream>, backlog: Arc<SendBudget>) -> Arc<Self> {
        let way_back = send.is_some();
        let stopped = send.as_ref().map(SendStream::stopped);
        Self::with(
            StreamState {
                send,
                stopped,
                busy: 1,
                ..StreamState::default()
            },
            backlog,
            way_back,
        )
    }

    /// A lane without a stream, whose replies somebody else takes care of.
    pub(super) fn answered_elsewhere(backlog: Arc<SendBudget>) -> Arc<Self> {
        Self::with(StreamState::default(), backlog, true)
    }

    fn with(state: StreamState, backlog: Arc<SendBudget>, way_back: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            calls: InFlight::default(),
            drained: Notify::new(),
            backlog,
            way_back,
            patience: AtomicUsize::new(0),
            has_sent_items: AtomicBool::new(false),
            given_up: AtomicU32::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new worker.
    pub(super) fn sit(&self) -> usize {
        let mut state = self.state();
        state.vacant.pop().unwrap_or_else(|| {
            state.seats.push(WorkerSlot::default());
            state.seats.len() - 1
        })
    }

    /// Hands the reading half to a worker that has nothing to do; gives it back if there is none.
    pub(super) fn hand_on(&self, reader: Box<Receiver>) -> Option<Box<Receiver>> {
        let mut state = self.state();
        state.busy += 1;
        let Some(seat) = state.idle.pop() else {
            return Some(reader);
        };
        state.seats[seat].reader = Some(reader);
        let waker = state.seats[seat].waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        None
    }

    /// Waits until it is this worker's turn to lead, or says why it is to go.
    ///
    /// When no request follows, those who wait here watch for the other side to lose interest in what still runs.
    pub(super) async fn rest(&self, seat: usize) -> Result<Box<Receiver>, Leave> {
        {
            let mut state = self.state();
            state.busy -= 1;
            state.idle.push(seat);
            self.end_if_over(&mut state);
        }
        poll_fn(|cx| {
            let mut state = self.state();
            if let Some(reader) = state.seats[seat].reader.take() {
                return Poll::Ready(Ok(reader));
            }
            if state.seats[seat].dismissed {
                state.seats[seat] = WorkerSlot::default();
                state.vacant.push(seat);
                return Poll::Ready(Err(Leave::Dismissed));
            }
            if state.ended && state.busy == 0 {
                return Poll::Ready(Err(Leave::Over));
            }
            if state.ended && state.poll_stopped(cx).is_ready() {
                self.abandon(&mut state, close::CANCELLED);
            }
            state.seats[seat].wait(cx);
            Poll::Pending
        })
        .await
    }

    /// Nothing has happened for a while: workers that have nothing to do go, and the one that leads gives back buffers.
    pub(super) fn quieten(&self) {
        let mut state = self.state();
        // When nobody leads any more, somebody is to watch for the other side's loss of interest.
        let watching = usize::from(state.ended);
        let stay = state.idle.len().min(watching);
        let StreamState { idle, seats, .. } = &mut *state;
        for seat in idle.drain(stay..) {
            seats[seat].dismissed = true;
        }
        state.quiet = true;
        state.wake_all();
        self.calls.shrink();
    }

    /// Resolves when the leader, on this seat, has a reason not to wait for bytes any longer.
    pub(super) async fn interruption(&self, seat: usize) -> Interruption {
        poll_fn(|cx| {
            let mut state = self.state();
            if std::mem::take(&mut state.quiet) {
                state.replies.shrink();
                return Poll::Ready(Interruption::IdleWatch);
            }
            // While others are at work, the caller may lose interest in what they do.
            if state.busy > 1 && state.poll_stopped(cx).is_ready() {
                return Poll::Ready(Interruption::Stopped);
            }
            state.seats[seat].wait(cx);
            Poll::Pending
        })
        .await
    }

    /// Queues a reply, if the stream has a way back; says whether too much is queued now.
    pub(super) fn push(&self, reply: &[u8]) -> bool {
        if reply.is_empty() {
            return false;
        }
        let mut state = self.state();
        if (state.send.is_some() || state.flushing) && !self.is_killed() {
            state.replies.push(reply);
            state.replies.push(b"\n");
            self.count(&mut state);
        }
        state.replies.len() >= self.backlog.limit_of_stream
    }

    /// Tells the connection how much waits here. Items that nobody takes hold up themselves, and no call of another stream.
    fn count(&self, state: &mut StreamState) {
        let waiting = match self.is_patient() {
            true => 0,
            false => state.replies.len() + state.writing,
        };
        self.backlog.count(&mut state.counted, waiting);
    }

    /// Writes what is queued, unless somebody is at it; waits while too much is.
    pub(super) async fn flush(&self) {
        while let Some((mut send, chunk)) = self.take_queued() {
            let written = match self.is_patient() {
                false => write(&mut send, chunk, self.backlog.write_timeout).await,
                true => tokio::select! {
                    biased;
                    written = write(&mut send, chunk, Duration::MAX) => written,
                    () = self.killed() => Err(close::CANCELLED),
                },
            };
            let mut state = self.state();
            state.flushing = false;
            state.writing = 0;
            state.send = Some(send);
            match written {
                Ok(()) if !self.is_killed() => self.count(&mut state),
                Ok(()) => self.abandon(&mut state, close::CANCELLED),
                Err(code) => {
                    state.cut_off |= code == close::TIMEOUT;
                    self.abandon(&mut state, code);
                }
            }
            drop(state);
            self.drained.notify_waiters();
        }
        loop {
            let drained = self.drained.notified();
            if self.state().replies.len() < self.backlog.limit_of_stream {
                return;
            }
            drained.await;
        }
    }

    /// The same, and notices when the other side gives up the stream meanwhile.
    pub(super) async fn flush_while_wanted(&self, reader: &mut Receiver) {
        // A write is not to be dropped half-way, unless the stream is.
        tokio::select! {
            biased;
            () = self.flush() => {}
            () = reader.recv.was_reset() => self.kill(),
        }
    }

    fn take_queued(&self) -> Option<(SendStream, Bytes)> {
        let mut state = self.state();
        if state.replies.is_empty() {
            return None;
        }
        let send = state.send.take()?;
        let chunk = state.replies.take();
        state.flushing = true;
        state.writing = chunk.len();
        Some((send, chunk))
    }

    /// The other side sends no more: what runs is finished and answered.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.wake_all();
    }

    /// The other side wants no more, or is gone: what runs is dropped.
    pub(super) fn kill(&self) {
        self.abandon(&mut self.state(), close::CANCELLED);
    }

    /// This side wants no more, and the other is told why.
    pub(super) fn give_up(&self, code: u32) {
        let mut state = self.state();
        state.cut_off = true;
        self.abandon(&mut state, code);
    }

    /// Whether this side gave the stream up, with replies that the other may wait for.
    pub(super) fn is_cut_off(&self) -> bool {
        self.state().cut_off
    }

    /// Resolves when the stream is given up.
    async fn killed(&self) {
        loop {
            let drained = self.drained.notified();
            if self.is_killed() {
                return;
            }
            drained.await;
        }
    }

    /// Whether the stream was given up.
    pub(super) fn is_killed(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) != 0
    }

    fn abandon(&self, state: &mut StreamState, code: u32) {
        // Those who notice it after the first only say the same again.
        let first = self
            .given_up
            .compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        state.ended = true;
        state.replies.clear();
        state.writing = 0;
        self.count(state);
        if let Some(mut send) = state.send.take() {
            send.reset(first.err().unwrap_or(code));
        }
        state.wake_all();
        self.calls.cancel_all();
        self.drained.notify_waiters();
    }

    /// Finishes the stream once the last reply of an ended one has left.
    fn end_if_over(&self, state: &mut StreamState) {
        if state.ended && state.busy == 0 {
            state.wake_all();
            if let Some(mut send) = state.send.take() {
                send.finish();
            }
        }
    }

    /// Finishes the stream although the other side would send more; resolves when all replies have arrived.
    pub(super) async fn close(&self) {
        let stopped = loop {
            let drained = self.drained.notified();
            self.flush().await;
            if let Some(stopped) = self.finish() {
                break stopped;
            }
            drained.await;
        };
        if let Some(stopped) = stopped {
            stopped.await;
        }
    }

    /// Finishes the sending half, if no worker is writing on it.
    fn finish(&self) -> Option<Option<Stopped>> {
        let mut state = self.state();
        if state.flushing && !self.is_killed() {
            return None;
        }
        state.ended = true;
        state.wake_all();
        if let Some(mut send) = state.send.take() {
            send.finish();
        }
        drop(state);
        Some(self.last_replies())
    }

    /// Resolves when all replies of a finished stream have arrived; `None` if somebody else takes care of that, or nobody
    /// wants them.
    pub(super) fn last_replies(&self) -> Option<Stopped> {
        let stopped = self.state().stopped.take();
        // Nobody is told of the end of a stream that was reset.
        stopped.filter(|_| !self.is_killed())
    }

    /// Lets a caller read as slowly as it likes: it is items that wait, and no more of them are made meanwhile.
    pub(super) fn be_patient(&self) {
        self.patience.fetch_add(1, Ordering::Relaxed);
    }

    /// The last of a call's items, and its answer, have left.
    pub(super) fn be_impatient(&self) {
        self.patience.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_patient(&self) -> bool {
        self.patience.load(Ordering::Relaxed) > 0
    }

    /// Items have left.
    pub(super) fn sent_items(&self) {
        self.has_sent_items.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_sent_items(&self) -> bool {
        self.has_sent_items.load(Ordering::Relaxed)
    }

    /// Whether replies can be sent at all.
    pub(super) fn has_way_back(&self) -> bool {
        self.way_back
    }

    /// Resolves when the other side wants no more replies; never, if there is nothing to reply on.
    pub(super) async fn stopped(&self) {
        poll_fn(|cx| self.state().poll_stopped(cx)).await;
    }
}

/// Writes piece by piece, so that what counts as a stall is that nothing moves, not that much has to. Fails with the code
/// to give the stream up with.
async fn write(send: &mut SendStream, mut chunk: Bytes, limit: Duration) -> Result<(), u32> {
    while !chunk.is_empty() {
        let piece = chunk.split_to(chunk.len().min(PIECE));
        match tokio::time::timeout(limit, send.write_chunk(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(close::CANCELLED),
            Err(_) => return Err(close::TIMEOUT),
        }
    }
    Ok(())
}

impl WorkerSlot {
    /// Whoever sits here wants to be woken.
    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}

impl StreamState {
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

    fn wake_all(&mut self) {
        for seat in &mut self.seats {
            seat.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}
