//! A long-lived stream that many calls share: requests gather and leave in one write, answers find their callers.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::client::error::{CallFailure, Fate};
use crate::codec::error_code::HEAD;
use crate::codec::id::Id;
use crate::codec::lines::{Line, LineSplitter};
use crate::codec::parser::Parser;
use crate::codec::response::{Response, leading_id};
use crate::limits::{BUFFER, RETAINED};
use crate::sync::{Mutex, MutexGuard};
use crate::transport::write_buffer::WriteBuffer;
use crate::transport::{ConnectionLost, RecvStream, SendStream, StreamLost, close};

/// How many bytes of requests may wait before callers wait too.
const BACKLOG: usize = 256 << 10;

/// An id is, from its lowest bit on, the lane, the slot, and how many calls the slot had before: 52 bits in all, which
/// any JSON reader keeps.
const STREAM_BITS: u32 = 6;
const SLOT_BITS: u32 = 20;
const GENERATION_BITS: u32 = 26;

/// The start of a cancellation.
const CANCEL: &[u8] = br#"{"jsonrpc":"2.0","method":"rpc.cancel","params":"#;

/// The lane of calls on streams of their own.
const DEDICATED: u64 = (1 << STREAM_BITS) - 1;

/// How many lanes a client can have.
pub(super) const MAX_STREAMS: usize = 32;

/// How long the last requests may take to arrive when a client is closed.
const LINGER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct MuxStream {
    number: u64,
    state: Mutex<MuxState>,
    /// How many calls have a slot. Written under the lock, for those who look without it.
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct MuxState {
    requests: WriteBuffer,
    /// Bytes that ever came into `requests`, and those of them that went on to the transport.
    queued: u64,
    sent: u64,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The task that writes, when it waits for requests.
    writer: Option<Waker>,
    /// The task that sees to it that closing does not take for ever.
    closer: Option<Waker>,
    /// Callers that wait for room.
    waiters: Vec<Waker>,
    /// Nothing follows: the client is closed.
    closing: bool,
    /// Why the lane is over.
    over: Option<ConnectionLost>,
}

/// A call's place; used again when the call is over.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    call: Option<PendingCall>,
}

#[derive(Debug)]
struct PendingCall {
    /// Empty until the answer comes.
    buffer: Vec<u8>,
    answer: Option<Result<(), CallFailure>>,
    /// Where the request ends among all bytes of the lane.
    end: u64,
    waker: Waker,
}

/// What a call is known by: no two calls in flight on a connection have the same.
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

    /// The id of the `n`th call on a stream of its own.
    pub(super) fn dedicated(n: u64) -> Self {
        Self(n << STREAM_BITS | DEDICATED)
    }

    fn slot(self) -> usize {
        (self.0 >> STREAM_BITS) as usize & ((1 << SLOT_BITS) - 1)
    }

    fn generation(self) -> u32 {
        (self.0 >> (STREAM_BITS + SLOT_BITS)) as u32
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl MuxState {
    fn pending(&mut self, id: CallId) -> Option<&mut PendingCall> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.generation == id.generation() {
            slot.call.as_mut()
        } else {
            None
        }
    }

    /// Gives an answer to its call, if that still waits, and takes what wakes it.
    fn answer(
        &mut self,
        id: CallId,
        outcome: Result<(), CallFailure>,
        answer: &mut Vec<u8>,
    ) -> Option<Waker> {
        let pending = self
            .pending(id)
            .filter(|pending| pending.answer.is_none())?;
        std::mem::swap(&mut pending.buffer, answer);
        pending.answer = Some(outcome);
        Some(std::mem::replace(&mut pending.waker, Waker::noop().clone()))
    }

    /// Frees a call's slot; somebody may have waited for one.
    fn release(&mut self, id: CallId) -> Option<(PendingCall, Option<Waker>)> {
        self.pending(id)?;
        let slot = self.slots.get_mut(id.slot())?;
        slot.generation = (slot.generation + 1) % (1 << GENERATION_BITS);
        self.free.push(id.slot());
        Some((slot.call.take()?, self.waiters.pop()))
    }

    /// Waits for room, unless the lane is over.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<Result<(), CallFailure>> {
        if let Some(reason) = &self.over {
            return Poll::Ready(Err(CallFailure::Lost {
                fate: Fate::NotSent,
                reason: reason.clone(),
            }));
        }
        let has_slot = !self.free.is_empty() || self.slots.len() < 1 << SLOT_BITS;
        if has_slot && self.requests.len() < BACKLOG {
            return Poll::Ready(Ok(()));
        }
        if !self.waiters.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiters.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn queue(&mut self, pieces: &[&[u8]]) -> Option<Waker> {
        for piece in pieces {
            self.requests.push(piece);
            self.queued += piece.len() as u64;
        }
        self.writer.take()
    }

    /// Ends the calls whose answers could only have come on the stream that is gone, and says whom to wake.
    fn end_sent(&mut self, reason: &ConnectionLost) -> Vec<Waker> {
        let sent = self.sent;
        let calls = self.slots.iter_mut().filter_map(|slot| slot.call.as_mut());
        let fate = Fate::without_answer(reason);
        calls
            .filter(|pending| pending.end <= sent)
            .filter_map(|pending| pending.lose(fate, reason))
            .chain(self.waiters.drain(..))
            .collect()
    }

    /// Ends everything: nothing more comes of the lane. Says whom to wake.
    fn end(&mut self, reason: ConnectionLost) -> Vec<Waker> {
        if self.over.is_some() {
            return Vec::new();
        }
        let mut wakers = self.end_sent(&reason);
        let calls = self.slots.iter_mut().filter_map(|slot| slot.call.as_mut());
        wakers.extend(calls.filter_map(|pending| pending.lose(Fate::NotSent, &reason)));
        wakers.extend(self.writer.take());
        self.over = Some(reason);
        wakers
    }
}

impl PendingCall {
    /// The answer will not come, unless it is here. Takes what tells the caller.
    fn lose(&mut self, fate: Fate, reason: &ConnectionLost) -> Option<Waker> {
        if self.answer.is_some() {
            return None;
        }
        self.answer = Some(Err(CallFailure::Lost {
            fate,
            reason: reason.clone(),
        }));
        Some(std::mem::replace(&mut self.waker, Waker::noop().clone()))
    }
}

impl MuxStream {
    pub(super) fn new(number: usize) -> Arc<Self> {
        Arc::new(Self {
            number: number as u64,
            state: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, MuxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().over.is_some()
    }

    /// How many calls wait for their answers here.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn count(&self, state: &MuxState) {
        let in_flight = state.slots.len() - state.free.len();
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }

    /// Queues a call. `request` is what follows the id; `spare` will hold the answer.
    pub(super) fn poll_call(
        &self,
        request: &[u8],
        reply: &mut Vec<u8>,
        cx: &Context<'_>,
    ) -> Poll<Result<CallId, CallFailure>> {
        let mut state = self.state();
        std::task::ready!(state.poll_room(cx))?;
        let slot = state.free.pop().unwrap_or_else(|| {
            state.slots.push(Slot::default());
            state.slots.len() - 1
        });
        let id = CallId::new(self.number, slot, state.slots[slot].generation);
        let mut digits = itoa::Buffer::new();
        let writer = state.queue(&[HEAD, digits.format(id.0).as_bytes(), request, b"\n"]);
        state.slots[slot].call = Some(PendingCall {
            buffer: std::mem::take(reply),
            answer: None,
            end: state.queued,
            waker: cx.waker().clone(),
        });
        self.count(&state);
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(id))
    }

    /// Queues a notification, newline and all.
    pub(super) fn poll_notify(
        &self,
        request: &[u8],
        cx: &Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        let mut state = self.state();
        std::task::ready!(state.poll_room(cx))?;
        let writer = state.queue(&[request]);
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    /// Waits for a call's answer, which comes in the place of the spare buffer.
    pub(super) fn poll_answer(
        &self,
        id: CallId,
        cx: &Context<'_>,
    ) -> Poll<Result<Vec<u8>, CallFailure>> {
        let mut state = self.state();
        let Some(pending) = state.pending(id) else {
            return Poll::Ready(Err(CallFailure::AlreadyCompleted));
        };
        if pending.answer.is_none() {
            let old = match pending.waker.will_wake(cx.waker()) {
                true => None,
                false => Some(std::mem::replace(&mut pending.waker, cx.waker().clone())),
            };
            // Whatever a waker owns may own a call of this lane: it is dropped without the lock.
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        let released = state.release(id);
        self.count(&state);
        drop(state);
        let Some((pending, next)) = released else {
            return Poll::Ready(Err(CallFailure::AlreadyCompleted));
        };
        next.into_iter().for_each(Waker::wake);
        match pending.answer {
            Some(answer) => Poll::Ready(answer.map(|()| pending.buffer)),
            None => Poll::Ready(Err(CallFailure::AlreadyCompleted)),
        }
    }

    /// Forgets a call; says whether the server should hear of it.
    pub(super) fn forget(&self, id: CallId) -> bool {
        let mut state = self.state();
        let alive = state.over.is_none();
        let released = state.release(id);
        self.count(&state);
        drop(state);
        let Some((pending, next)) = released else {
            return false;
        };
        next.into_iter().for_each(Waker::wake);
        pending.answer.is_none() && alive
    }

    /// Tells the server that a call, whose request left on the same stream, is no longer wanted.
    pub(super) fn queue_cancel(&self, id: CallId) {
        let mut digits = itoa::Buffer::new();
        let id = digits.format(id.0).as_bytes();
        let writer = self.state().queue(&[CANCEL, b"[", id, b"]}\n"]);
        writer.into_iter().for_each(Waker::wake);
    }

    /// The same on another stream: it may come before the request. Left out where nobody takes them.
    pub(super) fn queue_control_cancel(&self, id: CallId) {
        let mut digits = itoa::Buffer::new();
        let id = digits.format(id.0).as_bytes();
        let mut state = self.state();
        if state.requests.len() > BACKLOG {
            return;
        }
        let end = b",\"early\":true}}\n";
        let writer = state.queue(&[CANCEL, br#"{"id":"#, id, end]);
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    /// Gives back what was kept for more requests.
    pub(super) fn release_idle_buffers(&self) {
        self.state().requests.shrink();
    }

    /// Nothing more will be called: what is queued is sent, then the stream is finished.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        let wakers = [state.writer.take(), state.closer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Resolves some time after the lane was closed, whatever its stream does.
    pub(super) async fn has_lingered(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.closing {
                return Poll::Ready(());
            }
            state.closer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        tokio::time::sleep(LINGER).await;
    }

    /// Waits for requests; `None` when there will be none.
    async fn queued(&self) -> Option<Bytes> {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.over.is_some() {
                return Poll::Ready(None);
            }
            if !state.requests.is_empty() {
                // The transport may take a part and fail: all of it counts as sent.
                state.sent = state.queued;
                return Poll::Ready(Some(state.requests.take()));
            }
            if state.closing {
                return Poll::Ready(None);
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Writes requests, all that are queued at a time, until the lane is closed and they have arrived.
    pub(super) async fn write(&self, mut send: SendStream) -> Result<(), StreamLost> {
        while let Some(chunk) = self.queued().await {
            send.write_chunk(chunk).await?;
            self.wake_waiters();
        }
        if !self.is_over() {
            send.finish();
            send.stopped().await;
        }
        Ok(())
    }

    /// There is room again. As everywhere, nobody is woken under the lock: what a waker owns may own a call of this lane.
    fn wake_waiters(&self) {
        let mut waiters = std::mem::take(&mut self.state().waiters);
        waiters.drain(..).for_each(Waker::wake);
        let mut state = self.state();
        if state.waiters.is_empty() {
            state.waiters = waiters;
        }
    }

    /// Waits until there is something to write.
    pub(super) async fn first_request(&self) -> bool {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.over.is_some() || state.closing || !state.requests.is_empty() {
                return Poll::Ready(!state.requests.is_empty());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Reads answers and wakes their callers, until the server ends the stream.
    pub(super) async fn read(&self, mut recv: RecvStream, limit: usize) -> Result<(), StreamLost> {
        let mut splitter = LineSplitter::new(limit);
        let mut answer = Vec::with_capacity(BUFFER);
        let mut foreign = ForeignIds::default();
        loop {
            match recv.read_chunk().await? {
                Some(chunk) => splitter.feed(chunk),
                // A reply that was cut off is delivered as what it is.
                None => match splitter.finish(&answer) {
                    None => return Ok(()),
                    Some(_) if self.deliver(Ok(()), &mut answer, &mut foreign) => return Ok(()),
                    Some(_) => return Err(StreamLost::Reset(close::DONE.into())),
                },
            }
            loop {
                let outcome = match splitter.cut(&mut answer) {
                    Line::Partial => break,
                    Line::Message => Ok(()),
                    Line::TooLarge => Err(CallFailure::ReplyTooLarge),
                };
                if !self.deliver(outcome, &mut answer, &mut foreign) {
                    tracing::debug!("an answer to nothing that was asked");
                }
                answer.clear();
                // Nobody took it.
                if answer.capacity() > RETAINED {
                    answer = Vec::new();
                }
            }
        }
    }

    /// Gives an answer to its call; says whether it has an id.
    fn deliver(
        &self,
        outcome: Result<(), CallFailure>,
        answer: &mut Vec<u8>,
        foreign: &mut ForeignIds,
    ) -> bool {
        let Some(id) = leading_id(answer).or_else(|| foreign.id(answer)) else {
            return false;
        };
        // A part of the id finds a place; all of it must be the call's, which may have been given up meanwhile.
        let id = CallId(id);
        if id == CallId::new(self.number, id.slot(), id.generation()) {
            let waker = self.state().answer(id, outcome, answer);
            // Whoever wakes up on another thread wants the lock at once.
            waker.into_iter().for_each(Waker::wake);
        }
        true
    }

    /// The stream is no more, and another will take its place: calls that have not left wait for that.
    pub(super) fn interrupted(&self, reason: ConnectionLost) {
        let wakers = self.state().end_sent(&reason);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The connection is no more, or takes no more.
    pub(super) fn lose(&self, reason: ConnectionLost) {
        let wakers = self.state().end(reason);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Finds the id in answers of servers that write them in another way than this implementation's.
#[derive(Default)]
struct ForeignIds {
    copy: Vec<u8>,
    parser: Option<Parser>,
}

impl ForeignIds {
    fn id(&mut self, answer: &[u8]) -> Option<u64> {
        // Parsing changes the bytes, and the caller wants them.
        self.copy.clear();
        self.copy.extend_from_slice(answer);
        let parser = self
            .parser
            .get_or_insert_with(|| Parser::new(crate::limits::REPLY_DEPTH));
        let document = parser.parse(&mut self.copy).ok()?;
        let id = match Response::read(document.root())?.id {
            Id::Unsigned(id) => Some(id),
            _ => None,
        };
        drop(document);
        if self.copy.capacity() > RETAINED {
            *self = Self::default();
        }
        id
    }
}
