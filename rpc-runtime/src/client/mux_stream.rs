//! A stream that many calls share. Queued requests are sent in one write, and replies are matched to their calls by id.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::coop;
use tokio::time::{Instant, timeout};

use crate::client::error::{CallFailure, Execution, QUEUED, is_certain};
use crate::client::method::{EncodedRequest, MessageHead};
use crate::client::outgoing::MAX_KEPT_REPLY_BYTES;
use crate::client::reply_budget::{ReceivedLine, ReplyBudget, SMALL_REPLY_BYTES};
use crate::client::waiters::{EndedWait, WaiterId, Waiters};
use crate::codec::envelope::leading_reply_id;
use crate::codec::error_code::FullBudget;
use crate::codec::escape::Excerpt;
use crate::codec::lines::{Line, LineSplitter};
use crate::codec::reply_id::{
    Addressee, addressee, error_of_any_call, is_reply_to_unread_message, item_id,
};
use crate::codec::request::RequestEnd;
use crate::codec::{INITIAL_BUFFER_BYTES, RETAINED_BUFFER_BYTES};
use crate::event::{Event, EventHook, Limit};
use crate::event_limit::EventLimit;
use crate::memory::MemoryCharge;
use crate::slots::Slots;
use crate::sync::{self, Mutex, MutexGuard};
use crate::transport::write_buffer::WriteBuffer;
use crate::transport::{ConnectionError, RecvStream, SendStream, StreamLost, close};
use crate::waker::{WakerSlot, wake_all};

/// Number of queued bytes from which on callers wait.
const BACKLOG: usize = 256 << 10;

const STREAM_BITS: u32 = 6;
const SLOT_BITS: u32 = 20;
const MAX_GENERATION: u32 = (1 << 26) - 1;

const MAX_SLOTS: usize = 1 << SLOT_BITS;

/// The number of the stream in the ids of calls on dedicated streams.
const DEDICATED: u64 = (1 << STREAM_BITS) - 1;

/// Maximum number of multiplexed streams of a connection.
pub(super) const MAX_STREAMS: usize = 32;

/// Maximum time for the last notifications and requests to arrive after a client was closed. A lost packet is sent twice more
/// in this time if the round trip takes half a second.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct MuxStream {
    number: u64,
    /// The number of multiplexed streams of the connection.
    streams: usize,
    state: Mutex<MuxState>,
    /// Number of calls in flight. Written under the lock, read without it.
    in_flight: AtomicUsize,
    /// `true` if the client is closed: queued data is still sent, and nothing is queued after it. Written under the lock.
    is_closing: AtomicBool,
    events: EventHook,
}

#[derive(Debug, Default)]
struct MuxState {
    requests: WriteBuffer,
    /// Total number of bytes queued, and total number of bytes handed to the transport.
    queued: u64,
    sent: u64,
    /// The ID of the transport's stream, and the value of `sent` when it was opened.
    transport_id: u64,
    opened_at: u64,
    calls: Slots<CallSlot>,
    /// The last generation of an id. It restarts at one after the maximum generation.
    generation: u32,
    has_cancelled: bool,
    /// `true` once a notification was queued. No reply shows whether the server has read it.
    has_notified: bool,
    /// `true` once a reply to no call has arrived, which may be the second reply to an earlier call. Each call then has an id
    /// of its own.
    has_surplus_replies: bool,
    /// The task that writes, while it waits for requests.
    writer: WakerSlot,
    /// The task that ends the stream some time after it was closed.
    closer: WakerSlot,
    /// Callers that wait for room.
    waiters: Waiters,
    /// `true` if some waiters were woken for the current room.
    has_woken: bool,
    /// The value of `sent` when the last line arrived that answers no call. The server may have meant it as the reply to any
    /// call that was sent before.
    sent_before_other_line: u64,
    /// Counts received lines that answer no call. Created with the first, since few servers send one.
    unmatched: Option<Box<EventLimit>>,
    /// The reason why the stream takes no more calls.
    lost: Option<ConnectionError>,
}

/// A slot, which calls reuse.
#[derive(Debug, Default)]
struct CallSlot {
    /// The id of the call, and the head of its message. Later calls reuse them unless a call is cancelled: only the reply to
    /// a cancelled call may still arrive after the slot is free.
    identity: Option<(CallId, MessageHead)>,
    /// `true` if the call with the first id of this slot was cancelled, and its reply may still arrive.
    is_first_id_awaited: bool,
    stage: Stage,
    /// The reply, once it has arrived. Its buffer is reused.
    reply: Vec<u8>,
    /// Counts the reply while it is large and its caller has not taken it.
    charge: Option<MemoryCharge>,
    /// The reason why the call has no reply.
    failure: Option<CallFailure>,
    /// Total number of bytes queued up to the end of the request.
    end: u64,
    waker: WakerSlot,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Free,
    /// The call waits for its reply.
    InFlight,
    /// The caller has not taken the reply or the failure yet.
    Ended,
}

/// The id of a call, unique among the calls in flight on a connection.
///
/// From its lowest bit on, it consists of the number of the stream, the slot, and a generation. Together they have 52 bits,
/// which every JSON reader represents exactly. The generation is zero, which keeps the id short, unless the reply to a
/// cancelled call with that id may still arrive, or the server has sent a reply to no call. Every other generation is used by
/// one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallId(pub(super) u64);

impl CallId {
    fn new(stream: u64, slot: usize, generation: u32) -> Self {
        Self(
            u64::from(generation) << (STREAM_BITS + SLOT_BITS)
                | (slot as u64) << STREAM_BITS
                | stream,
        )
    }

    /// Returns the id of the `n`th call on a dedicated stream.
    pub(super) fn dedicated(n: u64) -> Self {
        Self(n << STREAM_BITS | DEDICATED)
    }

    fn slot(self) -> usize {
        (self.0 >> STREAM_BITS) as usize & (MAX_SLOTS - 1)
    }

    /// Returns the number of the stream.
    pub(super) fn stream(self) -> usize {
        DEDICATED as usize & self.0 as usize
    }

    /// Returns `true` if the generation is zero.
    fn is_first(self) -> bool {
        self.0 >> (STREAM_BITS + SLOT_BITS) == 0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl MuxState {
    /// Returns the slot of the call with this id, unless the slot is free or used by another call.
    fn call(&mut self, id: CallId) -> Option<&mut CallSlot> {
        let slot = self.calls.try_get_mut(id.slot())?;
        let is_current = matches!(&slot.identity, Some((current, _)) if *current == id);
        (is_current && slot.stage != Stage::Free).then_some(slot)
    }

    /// Frees the slot of a call. Returns the waker of a caller that waits for a slot.
    fn release_slot(&mut self, id: CallId) -> Option<Waker> {
        let was_full = !self.has_slot();
        self.calls.free(id.slot());
        was_full.then(|| self.waiters.pop()).flatten()
    }

    fn has_slot(&self) -> bool {
        self.calls.used() < MAX_SLOTS
    }

    fn has_room(&self) -> bool {
        self.requests.len() < BACKLOG && self.has_slot()
    }

    fn not_sent(&self) -> Option<CallFailure> {
        let reason = self.lost.as_ref()?;
        Some(CallFailure::lost(Execution::NotSent, reason))
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation % MAX_GENERATION + 1;
        self.generation
    }

    #[must_use = "the writer waits until it is woken"]
    fn queue(&mut self, message: &[u8]) -> Option<Waker> {
        self.requests.push(message);
        self.queued += message.len() as u64;
        self.writer.take()
    }

    /// Removes as many waiting callers as there is room for, and returns their wakers.
    fn take_waiters(&mut self) -> Vec<Waker> {
        match self.waiters.is_empty() || !self.has_slot() {
            true => Vec::new(),
            false => self
                .waiters
                .pop_for(BACKLOG.saturating_sub(self.requests.len())),
        }
    }

    /// Records that a line has arrived that answers no call. Returns the number of such lines since the last event, if
    /// another event is due.
    fn record_unmatched(&mut self) -> Option<u64> {
        self.sent_before_other_line = self.sent;
        self.count_unmatched()
    }

    /// Returns the only call in flight, if it was sent, and no other call was cancelled before.
    #[cold]
    fn only_call(&mut self) -> Option<&mut CallSlot> {
        if self.has_cancelled || self.calls.used() != 1 {
            return None;
        }
        let sent = self.sent;
        let mut calls = self.calls.iter_mut();
        calls.find(|call| call.stage == Stage::InFlight && call.end <= sent)
    }

    /// Counts a line that answers no call. Returns the number of such lines since the last event, if another event is due.
    fn count_unmatched(&mut self) -> Option<u64> {
        self.unmatched.get_or_insert_default().add(Instant::now())
    }

    /// Ends the calls that were sent on the transport's stream, which was lost. Returns the callers to wake.
    fn end_sent(&mut self, reason: &ConnectionError) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.sent_before_other_line > 0 {
            let failure = CallFailure::unanswered(reason, true);
            wakers = self.fail_sent(self.sent_before_other_line, &failure);
        }
        wakers.extend(self.fail_sent(self.sent, &CallFailure::unanswered(reason, false)));
        wakers
    }

    /// Ends the calls whose requests are among the first `sent` bytes. Returns the callers to wake.
    fn fail_sent(&mut self, sent: u64, failure: &CallFailure) -> Vec<Waker> {
        let calls = self.calls.iter_mut().filter(|call| call.end <= sent);
        calls
            .filter_map(|call| call.fail(failure.clone()))
            .collect()
    }

    /// Ends all calls. The stream takes no more calls. Returns the tasks to wake.
    fn end(&mut self, reason: ConnectionError) -> Vec<Waker> {
        if self.lost.is_some() {
            return Vec::new();
        }
        let mut wakers = self.end_sent(&reason);
        let failure = CallFailure::lost(Execution::NotSent, &reason);
        let calls = self.calls.iter_mut();
        wakers.extend(calls.filter_map(|call| call.fail(failure.clone())));
        wakers.extend(self.waiters.pop_all());
        wakers.extend(self.writer.take());
        self.lost = Some(reason);
        wakers
    }
}

impl CallSlot {
    /// Ends the call if it waits for its reply. Returns the caller to wake.
    fn fail(&mut self, failure: CallFailure) -> Option<Waker> {
        if self.stage != Stage::InFlight {
            return None;
        }
        self.stage = Stage::Ended;
        self.failure = Some(failure);
        self.waker.take()
    }

    /// Prepares the slot for the next call, which has the first id, unless a reply with that id may still arrive.
    fn reset(&mut self) {
        self.stage = Stage::Free;
        let is_first = self.identity.as_ref().is_some_and(|(id, _)| id.is_first());
        if !is_first && !self.is_first_id_awaited {
            self.identity = None;
        }
    }

    /// Records that the reply to the cancelled call with the first id has arrived.
    fn first_id_answered(&mut self) {
        self.is_first_id_awaited = false;
        if self.stage == Stage::Free {
            self.identity = None;
        }
    }
}

impl MuxStream {
    /// Creates the stream with this number, of this number of multiplexed streams.
    pub(super) fn new(number: usize, streams: usize, events: &EventHook) -> Arc<Self> {
        Arc::new(Self {
            number: number as u64,
            streams,
            state: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
            events: events.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, MuxState> {
        sync::lock(&self.state)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state().lost.is_some()
    }

    /// Returns the number of calls that wait for their replies.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn new_identity(&self, slot: usize, generation: u32) -> (CallId, MessageHead) {
        let id = CallId::new(self.number, slot, generation);
        (id, MessageHead::of_call(id.0))
    }

    fn count_in_flight(&self, state: &MuxState) {
        self.in_flight.store(state.calls.used(), Ordering::Relaxed);
    }

    /// Queues a call; waits for room. `waiter` is the caller's position while it waits.
    pub(super) fn poll_call(
        &self,
        request: &mut EncodedRequest,
        waiter: &mut Option<WaiterId>,
        cx: &Context<'_>,
    ) -> Poll<Result<CallId, CallFailure>> {
        let mut state = self.state();
        if let Some(failure) = state.not_sent() {
            return self.fail_wait(state, waiter, failure);
        }
        if !state.has_room() {
            return self.wait(state, waiter, request.len(), cx);
        }
        let waited = waiter.take().map(|waiter| state.waiters.leave(waiter));
        let slot = state.calls.take();
        if state.has_surplus_replies {
            let identity = self.new_identity(slot, state.next_generation());
            state.calls.get_mut(slot).identity = Some(identity);
        }
        let MuxState {
            calls,
            requests,
            queued,
            ..
        } = &mut *state;
        let call = calls.get_mut(slot);
        let new = || self.new_identity(slot, 0);
        let (id, head) = call.identity.get_or_insert_with(new);
        let (id, message) = (*id, request.with_head(head));
        requests.push(message);
        *queued += message.len() as u64;
        call.stage = Stage::InFlight;
        call.end = *queued;
        let replaced = call.waker.register(cx);
        let writer = state.writer.take();
        self.count_in_flight(&state);
        drop(state);
        drop(replaced);
        if let Some(waited) = waited {
            self.report_end(waited, true);
        }
        wake_all(writer);
        Poll::Ready(Ok(id))
    }

    /// Queues a notification with its line feed; waits for room as [`poll_call`](Self::poll_call) does.
    pub(super) fn poll_notify(
        &self,
        message: &[u8],
        waiter: &mut Option<WaiterId>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        let mut state = self.state();
        if let Some(failure) = state.not_sent() {
            return self.fail_wait(state, waiter, failure);
        }
        if !state.has_room() {
            return self.wait(state, waiter, message.len(), cx);
        }
        let waited = waiter.take().map(|waiter| state.waiters.leave(waiter));
        state.has_notified = true;
        let writer = state.queue(message);
        drop(state);
        if let Some(waited) = waited {
            self.report_end(waited, true);
        }
        wake_all(writer);
        Poll::Ready(Ok(()))
    }

    /// Ends the wait of a caller. If it was woken for room, the next caller is woken instead.
    pub(super) fn stop_waiting(&self, waiter: WaiterId) {
        let mut state = self.state();
        let waited = state.waiters.leave(waiter);
        let was_woken = waited.waker.is_none();
        let next = match was_woken && state.has_room() {
            true => state.waiters.pop(),
            false => None,
        };
        drop(state);
        self.report_end(waited, false);
        wake_all(next);
    }

    /// Lets a caller wait for room.
    #[cold]
    fn wait<T>(
        &self,
        mut state: MutexGuard<'_, MuxState>,
        waiter: &mut Option<WaiterId>,
        bytes: usize,
        cx: &Context<'_>,
    ) -> Poll<T> {
        let is_new = waiter.is_none();
        let replaced = state.waiters.wait(waiter, bytes, cx);
        drop(state);
        drop(replaced);
        if is_new {
            let limit = Self::queue_limit();
            self.events.emit(&Event::StreamWaitStarted { limit });
        }
        Poll::Pending
    }

    /// Fails a call that cannot be sent, and ends its wait.
    #[cold]
    fn fail_wait<T>(
        &self,
        mut state: MutexGuard<'_, MuxState>,
        waiter: &mut Option<WaiterId>,
        failure: CallFailure,
    ) -> Poll<Result<T, CallFailure>> {
        let waited = waiter.take().map(|waiter| state.waiters.leave(waiter));
        drop(state);
        if let Some(waited) = waited {
            self.report_end(waited, false);
        }
        Poll::Ready(Err(failure))
    }

    #[cold]
    fn report_end(&self, EndedWait { waker, waited }: EndedWait, has_opened: bool) {
        drop(waker);
        self.events.emit(&Event::StreamWaitEnded {
            limit: Self::queue_limit(),
            waited,
            has_opened,
        });
    }

    /// Returns the limit for which callers wait.
    pub(super) fn queue_limit() -> Limit {
        Limit::new(QUEUED, BACKLOG)
    }

    /// Returns the time for which the first of the callers that wait for room has waited.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        self.state().waiters.longest_wait()
    }

    /// Waits for the reply to a call, and swaps it with `reply`.
    pub(super) fn poll_reply(
        &self,
        id: CallId,
        reply: &mut Vec<u8>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        let mut state = self.state();
        let Some(call) = state.call(id) else {
            return Poll::Ready(Err(CallFailure::AlreadyCompleted));
        };
        if call.stage == Stage::InFlight {
            // The caller cancels the call.
            if let Some(failure) = call.failure.take() {
                return Poll::Ready(Err(failure));
            }
            let replaced = call.waker.register(cx);
            // A waker may own a call of this stream, so it is dropped after the lock is released.
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        std::mem::swap(&mut call.reply, reply);
        let failure = call.failure.take();
        match reply.len() > SMALL_REPLY_BYTES {
            true => self.free_after_large(state, id),
            false => self.free_answered(state, id),
        }
        Poll::Ready(failure.map_or(Ok(()), Err))
    }

    /// Frees the slot of a call whose caller has taken the reply.
    #[inline]
    fn free_answered(&self, mut state: MutexGuard<'_, MuxState>, id: CallId) {
        state.calls.get_mut(id.slot()).reset();
        let next = state.release_slot(id);
        self.count_in_flight(&state);
        drop(state);
        wake_all(next);
    }

    #[cold]
    fn free_after_large(&self, mut state: MutexGuard<'_, MuxState>, id: CallId) {
        let charge = state.calls.get_mut(id.slot()).charge.take();
        self.free_answered(state, id);
        drop(charge);
    }

    /// Cancels a call. If the server may have started it, returns the end of the request, for a cancellation on another
    /// stream, which arrives sooner.
    pub(super) fn cancel(&self, id: CallId) -> Option<RequestEnd> {
        let mut state = self.state();
        let call = state.call(id)?;
        let stage = std::mem::replace(&mut call.stage, Stage::Free);
        let (end, waker, failure) = (call.end, call.waker.take(), call.failure.take());
        let charge = call.charge.take();
        if call.reply.capacity() > MAX_KEPT_REPLY_BYTES {
            call.reply = Vec::new();
        }
        let is_unanswered = stage == Stage::InFlight;
        if is_unanswered {
            state.has_cancelled = true;
            let identity = self.new_identity(id.slot(), state.next_generation());
            let call = state.calls.get_mut(id.slot());
            call.identity = Some(identity);
            call.is_first_id_awaited |= id.is_first();
        }
        let next = state.release_slot(id);
        self.count_in_flight(&state);
        let was_sent = end <= state.sent;
        let writer = match is_unanswered && !was_sent {
            // The request has not been sent yet, and the cancellation is queued behind it, so it cannot arrive too early.
            true => state.queue(&cancel_by_position(id)),
            false => None,
        };
        let end = (is_unanswered && was_sent).then(|| RequestEnd {
            stream: state.transport_id,
            offset: end - state.opened_at,
        });
        drop(state);
        drop((waker, failure, charge));
        wake_all(next.into_iter().chain(writer));
        end
    }

    /// Queues a cancellation behind its request.
    pub(super) fn queue_cancel(&self, id: CallId) {
        let mut state = self.state();
        let writer = match state.lost {
            Some(_) => None,
            None => state.queue(&cancel_by_position(id)),
        };
        drop(state);
        wake_all(writer);
    }

    /// Queues the cancellation of a request that was sent on another stream. Returns `false` if it was not queued, because
    /// the server does not read the earlier cancellations.
    pub(super) fn queue_cancel_of(&self, id: CallId, end: RequestEnd) -> bool {
        let mut state = self.state();
        if state.lost.is_some() || state.requests.len() > BACKLOG {
            return false;
        }
        let RequestEnd { stream, offset } = end;
        let params = format!("{{\"id\":{id},\"stream\":{stream},\"offset\":{offset}}}");
        let writer = state.queue(&cancel_message(&params));
        drop(state);
        wake_all(writer);
        true
    }

    pub(super) fn release_idle_buffers(&self) {
        let mut state = self.state();
        state.requests.shrink();
        for call in state.calls.iter_mut() {
            if call.stage == Stage::Free {
                call.reply = Vec::new();
            }
        }
    }

    /// Closes the stream: the queued data is sent, then the stream is finished.
    pub(super) fn close(&self) {
        let mut state = self.state();
        self.is_closing.store(true, Ordering::Relaxed);
        let wakers = [state.writer.take(), state.closer.take()];
        drop(state);
        wake_all(wakers.into_iter().flatten());
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Runs the future that moves the bytes of the stream, until some time after the stream was closed, even if the transport
    /// accepts no bytes. Returns `None` if the future has not ended by then.
    pub(super) async fn run_until_closed<T>(
        &self,
        mut moving: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        // The task is polled whenever bytes move, so the lock is taken only for a new task.
        let mut registered = WakerSlot::default();
        let moved = poll_fn(|cx| match moving.as_mut().poll(cx) {
            Poll::Ready(moved) => Poll::Ready(Some(moved)),
            Poll::Pending if self.is_closing() => Poll::Ready(None),
            Poll::Pending if registered.is_of(cx) => Poll::Pending,
            Poll::Pending => self.poll_close(&mut registered, cx).map(|()| None),
        });
        match moved.await {
            Some(moved) => Some(moved),
            None => timeout(CLOSE_TIMEOUT, moving).await.ok(),
        }
    }

    /// Waits until the stream is closed.
    #[cold]
    fn poll_close(&self, registered: &mut WakerSlot, cx: &Context<'_>) -> Poll<()> {
        drop(registered.register(cx));
        let mut state = self.state();
        // The stream may have been closed before the lock was taken.
        if self.is_closing() {
            return Poll::Ready(());
        }
        let replaced = state.closer.register(cx);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Waits for requests. Returns all queued bytes, or `None` if the stream is closed and nothing is queued. Wakes callers
    /// for the room.
    async fn next_chunk(&self) -> Option<Bytes> {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.lost.is_some() {
                return Poll::Ready(None);
            }
            if !state.requests.is_empty() {
                // The transport may accept a part and fail, so all bytes count as sent.
                state.sent = state.queued;
                let chunk = state.requests.take();
                let waiters = state.take_waiters();
                state.has_woken = !waiters.is_empty();
                drop(state);
                wake_all(waiters);
                return Poll::Ready(Some(chunk));
            }
            if self.is_closing() {
                return Poll::Ready(None);
            }
            let replaced = state.writer.register(cx);
            if state.waiters.is_empty() {
                state.has_woken = false;
                drop(state);
                drop(replaced);
                return Poll::Pending;
            }
            // Callers that were woken run before this task runs again. A caller that still has not queued its request may be
            // held without being polled. The next callers are woken, so that none waits forever.
            let waiters = match std::mem::take(&mut state.has_woken) {
                true => Vec::new(),
                false => {
                    let waiters = state.take_waiters();
                    state.has_woken = !waiters.is_empty();
                    waiters
                }
            };
            let is_waiting = !state.waiters.is_empty() && state.has_slot();
            drop(state);
            drop(replaced);
            wake_all(waiters);
            if is_waiting {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }

    /// Returns `true` if the server may not have read all notifications and requests. If it has replied to all calls and there
    /// were no notifications, it has.
    pub(super) fn has_unconfirmed(&self) -> bool {
        self.in_flight() > 0 || self.state().has_notified
    }

    /// Writes requests until the stream is closed and the requests have arrived.
    pub(super) async fn write(&self, mut send: SendStream) -> Result<(), StreamLost> {
        {
            let mut state = self.state();
            state.transport_id = send.id();
            state.opened_at = state.sent;
        }
        while let Some(chunk) = self.next_chunk().await {
            send.write_chunk(chunk).await?;
        }
        if !self.is_lost() {
            send.finish();
            if self.has_unconfirmed() {
                send.stopped().await;
            }
        }
        Ok(())
    }

    /// Waits for the first request. Returns `false` if the stream is closed without requests.
    pub(super) async fn has_requests(&self) -> bool {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.lost.is_some() || self.is_closing() || !state.requests.is_empty() {
                return Poll::Ready(!state.requests.is_empty());
            }
            let replaced = state.writer.register(cx);
            drop(state);
            drop(replaced);
            Poll::Pending
        })
        .await
    }

    /// Reads replies and wakes their callers, until the server ends the stream.
    pub(super) async fn read(
        &self,
        mut recv: RecvStream,
        budget: &Arc<ReplyBudget>,
    ) -> Result<(), StreamLost> {
        let mut splitter = LineSplitter::new(budget.reply_limit);
        let mut reply = Vec::with_capacity(INITIAL_BUFFER_BYTES);
        let mut charge = budget.stream();
        let mut counted_from = SMALL_REPLY_BYTES + 1;
        loop {
            let read = recv.read_chunk().await;
            if !matches!(read, Ok(Some(_))) {
                let has_part = read.is_err() && (!reply.is_empty() || splitter.is_skipping());
                if has_part || splitter.has_blank_lines() {
                    self.record_other_line();
                }
            }
            let Some(chunk) = read? else { break };
            splitter.feed(chunk);
            self.deliver_all(&mut splitter, &mut reply, budget)?;
            if reply.len() >= counted_from {
                let partial = (&mut splitter, &mut reply);
                self.bound(partial, &mut charge, budget).await?;
                counted_from = match charge.is_counted() {
                    true => 0,
                    false => SMALL_REPLY_BYTES + 1,
                };
            }
            // A server may send lines without end that are no replies to any call.
            coop::consume_budget().await;
        }
        // A truncated reply is delivered, and its caller finds that it is malformed.
        match splitter.finish(&reply) {
            None => Ok(()),
            Some(Line::Discarded(_)) if self.in_flight() == 0 => Ok(()),
            Some(Line::Discarded(_)) => Err(StreamLost::Reset(close::DONE.into())),
            Some(Line::Message | Line::TooLarge | Line::Partial) => {
                self.deliver(None, &mut reply, budget)
            }
        }
    }

    /// Records that a blank line or a part of a line has arrived, which answers no call.
    #[cold]
    fn record_other_line(&self) {
        let mut state = self.state();
        state.sent_before_other_line = state.sent;
    }

    /// Counts the part of a reply that is held, and waits for room for the rest. Discards the reply and fails its call if
    /// the reply is too large or there is no room.
    #[cold]
    async fn bound(
        &self,
        (splitter, reply): (&mut LineSplitter, &mut Vec<u8>),
        charge: &mut ReceivedLine,
        budget: &Arc<ReplyBudget>,
    ) -> Result<(), StreamLost> {
        let has_room = budget.count(charge, reply);
        let is_skipping = splitter.is_skipping() && charge.is_counted();
        let failure = match (is_skipping, has_room) {
            (true, _) => budget.too_large(),
            (false, true) => return Ok(()),
            (false, false) => match Arc::clone(budget).room(reply.capacity()).await {
                Ok(turn) => {
                    charge.go_on(turn);
                    return Ok(());
                }
                Err(failure) => failure,
            },
        };
        let addressee = addressee(reply);
        splitter.discard(reply, FullBudget::OfConnection);
        budget.count(charge, reply);
        match addressee {
            // Another call can have the same id only after the rest of the reply was skipped.
            Addressee::Call(id) => self.fail(CallId(id), failure, budget),
            Addressee::Unknown if is_skipping => return self.fail_all(failure, reply),
            Addressee::None if is_skipping => {}
            _ => return Err(StreamLost::Reset(close::EXCESSIVE_LOAD.into())),
        }
        Ok(())
    }

    /// Delivers all complete replies that have arrived.
    fn deliver_all(
        &self,
        splitter: &mut LineSplitter,
        reply: &mut Vec<u8>,
        budget: &ReplyBudget,
    ) -> Result<(), StreamLost> {
        loop {
            let failure = match splitter.split_next(reply) {
                Line::Partial => return Ok(()),
                Line::Message => None,
                Line::TooLarge => Some(budget.too_large()),
                // The call of this reply has failed already.
                Line::Discarded(_) => {
                    reply.clear();
                    continue;
                }
            };
            self.deliver(failure, reply, budget)?;
            reply.clear();
            // No call has taken the buffer.
            if reply.capacity() > RETAINED_BUFFER_BYTES {
                *reply = Vec::new();
            }
        }
    }

    /// Delivers a reply to its call, if that call waits for it.
    ///
    /// A line that may be the reply to any call ends all calls that were sent, and the stream: otherwise the call to which it
    /// belongs would wait forever.
    #[inline]
    fn deliver(
        &self,
        failure: Option<CallFailure>,
        reply: &mut Vec<u8>,
        budget: &ReplyBudget,
    ) -> Result<(), StreamLost> {
        if let Some(id) = leading_reply_id(reply) {
            self.end_call(CallId(id), failure, reply, budget);
            return Ok(());
        }
        self.deliver_unusual(failure, reply, budget)
    }

    /// Delivers a line that does not start as the replies of this crate do. It may be a request.
    #[cold]
    fn deliver_unusual(
        &self,
        failure: Option<CallFailure>,
        reply: &mut Vec<u8>,
        budget: &ReplyBudget,
    ) -> Result<(), StreamLost> {
        match addressee(reply) {
            Addressee::Call(id) => {
                self.end_call(CallId(id), failure, reply, budget);
                Ok(())
            }
            Addressee::Unknown if failure.is_none() && self.end_only_call(reply) => {
                // The line may have been the reply to a notification.
                Err(StreamLost::Reset(close::CANCELLED.into()))
            }
            Addressee::Unknown if !is_reply_to_unread_message(reply) => {
                let failure = failure.unwrap_or_else(|| CallFailure::malformed(reply));
                self.fail_all(failure, reply)
            }
            Addressee::None if self.fail_by_item(reply) => Ok(()),
            // The reply to a notification.
            Addressee::Unknown => {
                let since = self.state().count_unmatched();
                log_unmatched(since, None, reply);
                Ok(())
            }
            Addressee::None => {
                let since = self.state().record_unmatched();
                log_unmatched(since, None, reply);
                Ok(())
            }
        }
    }

    /// Ends the only call in flight if a line is an error without an id, which is its reply. Returns `false` if no call has
    /// ended. An error with which a call was certainly not executed is not taken for the reply, since it may not be.
    #[cold]
    fn end_only_call(&self, reply: &mut Vec<u8>) -> bool {
        let is_uncertain = error_of_any_call(reply).is_some_and(|(code, _)| !is_certain(code));
        if !is_uncertain || is_reply_to_unread_message(reply) {
            return false;
        }
        let mut state = self.state();
        let Some(call) = state.only_call() else {
            return false;
        };
        call.stage = Stage::Ended;
        std::mem::swap(&mut call.reply, reply);
        let waker = call.waker.take();
        drop(state);
        wake_all(waker);
        true
    }

    /// Returns `true` if a call of the connection may have had the id.
    fn is_issued(&self, state: &mut MuxState, id: CallId) -> bool {
        let is_of_stream = id.stream() as u64 == self.number;
        let generation = id.0 >> (STREAM_BITS + SLOT_BITS);
        match id.stream() {
            _ if is_of_stream => {
                generation <= state.generation.into()
                    && state.calls.try_get_mut(id.slot()).is_some()
            }
            stream => stream < self.streams || stream as u64 == DEDICATED,
        }
    }

    /// Ends all calls that were sent, because of a line that may be the reply to any of them.
    #[cold]
    fn fail_all(&self, failure: CallFailure, line: &[u8]) -> Result<(), StreamLost> {
        let mut state = self.state();
        let since = state.record_unmatched();
        let sent = state.sent;
        let wakers = state.fail_sent(sent, &failure);
        drop(state);
        log_unmatched(since, None, line);
        let are_ended = !wakers.is_empty();
        wake_all(wakers);
        match are_ended {
            // Replies that arrive on the stream from now on would meet other calls with the same ids.
            true => Err(StreamLost::Reset(close::CANCELLED.into())),
            false => Ok(()),
        }
    }

    /// Ends a call if it waits for its reply, because of a line that is no response.
    #[cold]
    pub(super) fn fail(&self, id: CallId, failure: CallFailure, budget: &ReplyBudget) {
        self.end_call(id, Some(failure), &mut Vec::new(), budget);
    }

    /// Ends the call to which a line belongs if the line is an item. The calls of this stream take none. Returns `false` if
    /// no call has ended.
    ///
    /// The server may send more items and a response. The slot stays in use until the caller has cancelled the call.
    #[cold]
    fn fail_by_item(&self, line: &[u8]) -> bool {
        let Some(id) = item_id(line) else {
            return false;
        };
        let mut state = self.state();
        let call = state.call(CallId(id));
        let Some(call) = call.filter(|call| call.stage == Stage::InFlight) else {
            return false;
        };
        call.failure = Some(CallFailure::UnexpectedItem(CallFailure::excerpt(line)));
        let waker = call.waker.take();
        drop(state);
        wake_all(waker);
        true
    }

    /// Ends a call if it waits for its reply. The reply is swapped with the buffer of the call's slot.
    #[inline]
    fn end_call(
        &self,
        id: CallId,
        failure: Option<CallFailure>,
        reply: &mut Vec<u8>,
        budget: &ReplyBudget,
    ) {
        let mut state = self.state();
        let call = state.call(id);
        let waker = match call.filter(|call| call.stage == Stage::InFlight) {
            Some(call) => {
                call.stage = Stage::Ended;
                // A response may follow an item that the caller has not seen yet.
                call.failure =
                    failure.or_else(|| call.failure.take().map(CallFailure::into_malformed));
                if reply.len() > SMALL_REPLY_BYTES {
                    call.charge = Some(budget.charge(reply));
                }
                std::mem::swap(&mut call.reply, reply);
                call.waker.take()
            }
            None => {
                let is_issued = self.is_issued(&mut state, id);
                let since = match self.forget_reply(&mut state, id) {
                    true => None,
                    false => {
                        state.has_surplus_replies = true;
                        state.record_unmatched()
                    }
                };
                log_unmatched(since, Some(id), reply);
                // The server sends no other reply to the only call. Later calls have other ids.
                let call = match is_issued || failure.is_some() {
                    true => None,
                    false => state.only_call(),
                };
                call.and_then(|call| {
                    call.fail(CallFailure::OtherReply(CallFailure::excerpt(reply)))
                })
            }
        };
        drop(state);
        wake_all(waker);
    }

    /// Records that no reply to a cancelled call will arrive. Returns `false` if no cancelled call has the id.
    fn forget_reply(&self, state: &mut MuxState, id: CallId) -> bool {
        if !id.is_first() {
            return state.has_cancelled;
        }
        match state.calls.try_get_mut(id.slot()) {
            Some(call)
                if id == CallId::new(self.number, id.slot(), 0) && call.is_first_id_awaited =>
            {
                call.first_id_answered();
                true
            }
            _ => false,
        }
    }

    /// Ends the calls that were sent on the transport's stream, which was lost and will be replaced.
    pub(super) fn interrupt(&self, reason: &ConnectionError) {
        let wakers = self.state().end_sent(reason);
        wake_all(wakers);
    }

    /// Ends all calls, because the connection was lost or takes no more calls.
    pub(super) fn lose(&self, reason: ConnectionError) {
        let wakers = self.state().end(reason);
        wake_all(wakers);
    }
}

/// Logs a received line that answers no call, if an event is due. `since` is the number of such lines since the last event.
pub(super) fn log_unmatched(since: Option<u64>, id: Option<CallId>, line: &[u8]) {
    let Some(lines) = since else { return };
    let id = id.map(|id| id.0);
    tracing::warn!(
        target: "rpc_runtime::client", id, received = %Excerpt(line), lines, "received line answers no call"
    );
}

fn cancel_by_position(id: CallId) -> Vec<u8> {
    cancel_message(&format!("[{id}]"))
}

fn cancel_message(params: &str) -> Vec<u8> {
    let head = r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":"#;
    [head, params, "}\n"].concat().into_bytes()
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;
