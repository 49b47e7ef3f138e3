//! Moves the items of a call between the handler and the worker that sends and receives their bytes.
//!
//! Both run in one task: the worker polls the handler's future, serves its requests for items, and polls it again. No
//! item is copied between tasks, and an item costs no allocation.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::codec::RETAINED_BUFFER_BYTES;
use crate::codec::arena::Arena;
use crate::codec::de::{Mismatch, Value};
use crate::codec::error::Unwritable;
use crate::codec::error_code::{ProtocolError, Setting};
use crate::codec::id::{Id, IdBuffer};
use crate::codec::parser::{Document, Parser};
use crate::codec::reply::{Fault, FaultKind};
use crate::codec::request::Message;
use crate::codec::stream_frame::{self, StreamFrame};
use crate::streaming::gather::{BATCH, gather};
use crate::sync::{self, Mutex, MutexGuard};
use crate::waker::{WakerSlot, wake_all};

/// Decodes an item.
pub(crate) type ReadItem<T> = fn(Value<'_, '_>) -> Result<T, Mismatch>;

pub(crate) struct Exchange {
    /// The maximum nesting of arrays and objects in the line of an item.
    depth: usize,
    /// `true` if the call has items.
    is_used: AtomicBool,
    /// `true` if the method receives items, even if its handler has not requested any yet.
    takes_upload: bool,
    /// `true` if the call arrived on a stream, which can transfer items.
    has_stream: bool,
    state: Mutex<ExchangeState>,
}

#[derive(Default)]
struct ExchangeState {
    up: UploadState,
    down: DownloadState,
    /// The reason why the call failed.
    fault: Option<Fault>,
}

/// The items that the client sends to the handler.
#[derive(Default)]
struct UploadState {
    id: IdBuffer,
    stage: UploadStage,
    line: Vec<u8>,
    /// Created for the first line of a call, and dropped with the call.
    parser: Option<LineParser>,
    waker: WakerSlot,
}

/// Parses the lines of the items that the handler receives.
struct LineParser {
    parser: Parser,
    /// A copy of a line that is parsed twice, since parsing changes the bytes.
    copy: Vec<u8>,
}

impl LineParser {
    fn new(depth: usize) -> Self {
        Self {
            parser: Parser::new(depth),
            copy: Vec::new(),
        }
    }

    /// Returns `true` if a line is a request or a batch, and not an item.
    fn is_other_message(&mut self, line: &[u8]) -> bool {
        self.copy.clear();
        self.copy.extend_from_slice(line);
        let document = self.parser.parse(&mut self.copy);
        let is_other = document.is_ok_and(|document| match document.message() {
            Message::Batch(_) => true,
            Message::Single(Ok(request)) => {
                !matches!(request.method, "rpc.item" | "rpc.end" | "rpc.cancel")
            }
            Message::Single(Err(_)) => false,
        });
        self.shrink();
        is_other
    }

    fn shrink(&mut self) {
        self.parser.shrink(RETAINED_BUFFER_BYTES);
        self.copy.clear();
        self.copy.shrink_to(RETAINED_BUFFER_BYTES);
    }
}

/// The stage of the items that the handler receives.
#[derive(Default, Clone, Copy, PartialEq)]
enum UploadStage {
    /// The handler receives no items.
    #[default]
    None,
    /// The handler has not requested the next item.
    Idle,
    /// The handler waits for the next item.
    Requested,
    /// The handler has dropped the stream of items.
    ReceiverDropped,
    /// The next message is another call; the handler gets no further item.
    Discarded,
    /// The line of the next item has been received.
    Received,
    /// The stream of items has ended.
    Ended,
}

/// The items that the handler sends to the caller.
#[derive(Default)]
struct DownloadState {
    is_used: bool,
    id: Vec<u8>,
    lines: Vec<u8>,
    stage: DownloadStage,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum DownloadStage {
    #[default]
    None,
    /// The handler has lines to send.
    Offered,
    /// The worker is sending the lines.
    Taken,
    /// The lines have been sent.
    Sent,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange")
    }
}

/// The handler's half.
impl Exchange {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            depth,
            is_used: AtomicBool::new(false),
            takes_upload: false,
            has_stream: false,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ExchangeState> {
        sync::lock(&self.state)
    }

    /// Returns the stream of items that follow the call with this id.
    pub(crate) fn items<T>(&self, id: Id<'_>, read: ReadItem<T>) -> Uploaded<'_, T> {
        self.is_used.store(true, Ordering::Relaxed);
        let mut state = self.state();
        state.up.id.set(Some(id));
        state.up.stage = UploadStage::Idle;
        Uploaded {
            exchange: self,
            read,
        }
    }

    fn poll_item<T>(&self, read: ReadItem<T>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.state();
        let ExchangeState { up, fault, .. } = &mut *state;
        match up.stage {
            UploadStage::Discarded => return Poll::Pending,
            UploadStage::Ended => return Poll::Ready(None),
            UploadStage::Received => match up.read(self.depth, read) {
                Ok(item) => return Poll::Ready(item),
                // After this, the worker drops the handler's future.
                Err(reason) => *fault = Some(Fault(reason)),
            },
            _ => up.stage = UploadStage::Requested,
        }
        let replaced = up.waker.register(cx);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Sends a handler's items, encoded by `write`. Ends at the first error, or at the first item larger than `limit`.
    pub(crate) async fn send<S: Stream, E>(
        &self,
        id: Id<'_>,
        limit: usize,
        items: S,
        write: impl Fn(S::Item, &mut Vec<u8>) -> Result<Result<(), E>, Unwritable>,
    ) -> Result<Result<(), E>, Fault> {
        self.is_used.store(true, Ordering::Relaxed);
        let mut items = pin!(items);
        let (mut id_text, mut lines) = {
            let DownloadState {
                is_used, id, lines, ..
            } = &mut self.state().down;
            *is_used = true;
            (std::mem::take(id), std::mem::take(lines))
        };
        id_text.clear();
        id.write(&mut id_text);
        let write_line = |item, lines: &mut Vec<u8>| {
            let start = lines.len();
            stream_frame::write(&id_text, lines, |out| match write(item, out) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Ok(Err(error))),
                Err(Unwritable(reason)) => Err(Err(Fault(FaultKind::Unwritable(reason)))),
            })?;
            // The LF is not counted.
            if lines.len() - start > limit.saturating_add(1) {
                lines.truncate(start);
                let limit = Setting::new("max_response_bytes", limit);
                return Err(Err(ProtocolError::ReplyTooLarge(limit).into()));
            }
            Ok(())
        };
        let ended = loop {
            lines.clear();
            lines.shrink_to(RETAINED_BUFFER_BYTES);
            let last = poll_fn(|cx| gather(items.as_mut(), &mut lines, cx, &write_line)).await;
            let is_ahead = lines.len() >= BATCH;
            if !lines.is_empty() {
                self.offer(&mut lines).await;
            }
            match last {
                Some(Ok(())) => break Ok(Ok(())),
                Some(Err(ended)) => break ended,
                None => {}
            }
            if is_ahead {
                tokio::task::yield_now().await;
            }
        };
        let down = &mut self.state().down;
        (down.id, down.lines) = (id_text, lines);
        ended
    }

    /// Hands lines to the worker; resolves when they have been sent.
    async fn offer(&self, lines: &mut Vec<u8>) {
        poll_fn(|_| {
            let down = &mut self.state().down;
            match down.stage {
                DownloadStage::None => {
                    std::mem::swap(&mut down.lines, lines);
                    down.stage = DownloadStage::Offered;
                    Poll::Pending
                }
                DownloadStage::Offered | DownloadStage::Taken => Poll::Pending,
                DownloadStage::Sent => {
                    std::mem::swap(&mut down.lines, lines);
                    down.stage = DownloadStage::None;
                    Poll::Ready(())
                }
            }
        })
        .await;
    }
}

/// The worker's half.
impl Exchange {
    /// Returns `true` if the handler receives items and has not received the last one. The receiving half of the stream
    /// then belongs to the call.
    pub(crate) fn takes_items(&self) -> bool {
        matches!(
            self.state().up.stage,
            UploadStage::Idle | UploadStage::Requested | UploadStage::Received
        )
    }

    /// Returns `true` if the handler has dropped its stream of items before the end.
    pub(crate) fn is_receiver_dropped(&self) -> bool {
        self.state().up.stage == UploadStage::ReceiverDropped
    }

    /// Returns `true` if the handler sends items.
    pub(crate) fn sends_items(&self) -> bool {
        self.is_used() && self.state().down.is_used
    }

    /// Resolves when the handler waits for an item. The worker polls it after each poll of the handler, so it registers
    /// no waker.
    pub(crate) async fn is_requested(&self) {
        poll_fn(|_| match self.state().up.stage {
            UploadStage::Requested => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    /// Takes the buffer for the next line.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.state().up.line);
        line.clear();
        line.shrink_to(RETAINED_BUFFER_BYTES);
        line
    }

    /// Returns `true` if a line among items is a request or a batch. Lines that start as this implementation's items
    /// are recognized without parsing.
    pub(crate) fn is_other_message(&self, line: &[u8]) -> bool {
        if stream_frame::starts_as_item(line) {
            return false;
        }
        let parser = &mut self.state().up.parser;
        let parser = parser.get_or_insert_with(|| LineParser::new(self.depth));
        parser.is_other_message(line)
    }

    /// Delivers a line to the handler, or the error that replaces it.
    pub(crate) fn deliver(
        &self,
        line: Vec<u8>,
        received: Result<(), ProtocolError>,
        cx: &Context<'_>,
    ) {
        let mut state = self.state();
        state.up.line = line;
        match received {
            Ok(()) => state.up.stage = UploadStage::Received,
            Err(error) => state.fault = Some(error.into()),
        }
        let waker = state.up.waker.take();
        drop(state);
        // The worker polls the handler's future next in any case; only a part of the future may have another waker.
        wake_all(waker.filter(|waker| !waker.will_wake(cx.waker())));
    }

    /// Records that the next message is another call, so that no further item is delivered.
    pub(crate) fn discard(&self) {
        self.state().up.stage = UploadStage::Discarded;
    }

    /// Takes the lines that the handler has to send, if there are any.
    pub(crate) fn take_lines(&self) -> Option<Vec<u8>> {
        let down = &mut self.state().down;
        (down.stage == DownloadStage::Offered).then(|| {
            down.stage = DownloadStage::Taken;
            std::mem::take(&mut down.lines)
        })
    }

    /// Fails the call, whose lines cannot be sent.
    pub(crate) fn fail(&self, error: ProtocolError) {
        self.state().fault = Some(error.into());
    }

    /// Records that `lines` were sent, and returns their buffer to the handler.
    pub(crate) fn record_sent(&self, lines: Vec<u8>) {
        let down = &mut self.state().down;
        down.lines = lines;
        down.stage = DownloadStage::Sent;
    }

    /// Takes the reason why the call failed, if it did.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.is_used().then(|| self.state().fault.take())?
    }

    /// Returns `true` if the call has items.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Prepares for a call, of a method that receives items or of one that does not, on a stream or without one.
    pub(crate) fn prepare(&mut self, takes_upload: bool, has_stream: bool) {
        self.takes_upload = takes_upload;
        self.has_stream = has_stream;
    }

    /// Returns `true` if the call arrived on a stream, which can transfer items.
    pub(crate) fn has_stream(&self) -> bool {
        self.has_stream
    }

    /// Returns `true` if a handler is to receive items that it has not requested yet, for example because a middleware
    /// delays it.
    pub(crate) fn awaits_upload(&self) -> bool {
        self.takes_upload && !self.is_used()
    }

    /// Prepares for the next call.
    pub(crate) fn clear(&mut self) {
        self.takes_upload = false;
        if !std::mem::take(self.is_used.get_mut()) {
            return;
        }
        let state = sync::get_mut(&mut self.state);
        state.up.stage = UploadStage::None;
        state.up.waker = WakerSlot::default();
        state.up.id.shrink();
        state.down.is_used = false;
        state.down.stage = DownloadStage::None;
        state.fault = None;
        state.up.parser = None;
    }

    /// Returns the capacity of the buffers.
    pub(crate) fn retained_bytes(&mut self) -> usize {
        let ExchangeState { up, down, .. } = sync::get_mut(&mut self.state);
        up.line.capacity() + down.lines.capacity() + down.id.capacity()
    }

    /// Releases buffers with a capacity above `limit`.
    pub(crate) fn shrink(&mut self, limit: usize) {
        let state = sync::get_mut(&mut self.state);
        let ExchangeState { up, down, .. } = state;
        for buffer in [&mut up.line, &mut down.lines, &mut down.id] {
            if buffer.capacity() > limit {
                *buffer = Vec::new();
            }
        }
    }
}

/// Returns `true` if a line is `rpc.cancel` with this id.
fn cancels(document: &Document<'_, '_>, id: &IdBuffer) -> bool {
    let Message::Single(Ok(request)) = document.message() else {
        return false;
    };
    let cancelled = request
        .cancellation()
        .filter(|_| request.method == "rpc.cancel");
    cancelled.is_some_and(|cancelled| id.is(cancelled.id))
}

impl UploadState {
    /// Reads the received line. Returns its item, or `None` at the end of the stream.
    fn read<T>(&mut self, depth: usize, read: ReadItem<T>) -> Result<Option<T>, FaultKind> {
        let lines = self.parser.get_or_insert_with(|| LineParser::new(depth));
        let (rejected, arena) = (FaultKind::Protocol, Arena::default());
        let document = lines.parser.parse_line(&mut self.line);
        let mut document = document.map_err(|_| rejected(ProtocolError::Parse))?;
        document.lend(&arena);
        let (id, item) = match document.line() {
            Some(StreamFrame::Item(id, item)) => (id, Some(item)),
            Some(StreamFrame::End(id)) => (id, None),
            _ if cancels(&document, &self.id) => return Err(rejected(ProtocolError::Cancelled)),
            _ => {
                return Err(rejected(ProtocolError::InvalidRequest(
                    "an item was expected",
                )));
            }
        };
        if !self.id.is(id) {
            return Err(rejected(ProtocolError::InvalidRequest(
                "an item of another call",
            )));
        }
        let item = item.map(read).transpose().map_err(FaultKind::Item)?;
        self.stage = match &item {
            Some(_) => UploadStage::Idle,
            None => UploadStage::Ended,
        };
        drop(document);
        lines.shrink();
        Ok(item)
    }
}

/// The stream of items that the caller sends, passed to a handler as `impl Stream<Item = T>`.
///
/// It ends with the caller's stream. Any failure ends the call itself, so the stream yields no errors.
pub struct Uploaded<'t, T> {
    exchange: &'t Exchange,
    read: ReadItem<T>,
}

impl<T> Drop for Uploaded<'_, T> {
    fn drop(&mut self) {
        let up = &mut self.exchange.state().up;
        if !matches!(up.stage, UploadStage::Ended | UploadStage::Discarded) {
            up.stage = UploadStage::ReceiverDropped;
        }
    }
}

impl<T> Stream for Uploaded<'_, T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.exchange.poll_item(self.read, cx)
    }
}
