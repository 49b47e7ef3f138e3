//! A call that is answered by a stream of items.

use std::convert::Infallible;
use std::fmt;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;
use tokio::task::{JoinHandle, coop};

use crate::client::call::{BoxedReply, Call, DedicatedRequest, with_parser};
use crate::client::connection::{ClientConnection, StreamPermit};
use crate::client::dedicated_stream;
use crate::client::error::{CallError, CallFailure, Fate};
use crate::client::streaming::request;
use crate::codec::lines::{Line, LineSplitter};
use crate::codec::response::ResponseBody;
use crate::codec::result::ResultReader;
use crate::codec::stream_frame::StreamFrame;
use crate::transport::{ConnectionLost, RecvStream, StreamLost, quic};

/// The items that a call is answered with. The call is made when the stream is first polled; options come before.
///
/// The stream ends with `None` if the server said that it was complete. Every other end is an error and the last that
/// comes: a stream that is cut off is never taken for a complete one.
///
/// ```
/// use futures_util::{Stream, StreamExt, stream};
/// use rpc_runtime::{CallError, Client, rpc};
///
/// #[rpc]
/// trait Counter {
///     fn count(&self, to: u32) -> impl Stream<Item = u32>;
/// }
///
/// struct Simple;
/// impl Counter for Simple {
///     fn count(&self, to: u32) -> impl Stream<Item = u32> {
///         stream::iter(1..=to)
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), CallError> {
/// let counter = CounterClient::new(Client::local(CounterServer::new(Simple)));
/// let mut numbers = counter.count(3);
/// while let Some(number) = numbers.next().await {
///     println!("{}", number?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Back pressure
/// Items that nobody takes wait in the flow control window of their stream, 1 MiB, and then the handler is not asked for
/// more. Neither other streams nor calls notice. A connection has at most 100 streams at once, those of large calls
/// included; more wait until one of them ends.
///
/// # Errors
/// As for a [`Call`], and [`CallError::StreamEnded`] when the server shuts down before the stream has come to its end. [`Fate::MayHaveExecuted`] says that items may be missing: those that came are valid, and whoever
/// knows where to go on calls again.
///
/// # Deadlines
/// A [`timeout`](Self::timeout) covers the stream up to its last item, and so does a deadline that is inherited.
///
/// # Retries
/// As those of a [`Call`](Call#retries), up to the first item and only if no items are sent.
///
/// # Cancel safety
/// Dropping the stream cancels the call: the handler's stream is dropped within a round trip. `next` may be dropped and
/// loses nothing.
#[must_use = "a stream does nothing until it is polled"]
pub struct Items<T, E = Infallible> {
    call: Call<T, E>,
    state: ItemsState,
}

enum ItemsState {
    New,
    Opening(Option<BoxedReply<Box<ItemReceiver>>>),
    Open(Box<ItemReceiver>),
    Over,
}

impl<T, E> Items<T, E> {
    pub(in crate::client) fn new(call: Call<T, E>) -> Self {
        Self {
            call,
            state: ItemsState::New,
        }
    }

    /// Gives up after this long, counted from the first poll: see [`Call::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// Gives up when the caller of the handler that `cx` was given to does: see [`Call::within`].
    pub fn within(mut self, cx: &crate::Context) -> Self {
        self.call = self.call.within(cx);
        self
    }

    /// Sends the call once at most: see [`Call::no_retry`].
    pub fn no_retry(mut self) -> Self {
        self.call = self.call.no_retry();
        self
    }

    /// Adds metadata: see [`Call::meta`].
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        self.call = self.call.meta(name, value);
        self
    }

    /// Sends items behind the request: see [`Call::upload`]. They are sent by a task of their own, so that they flow
    /// while nobody takes those that come.
    ///
    /// # Panics
    /// The stream panics when `items` did.
    pub fn upload<S>(mut self, items: S) -> Self
    where
        S: Stream<Item: Serialize + 'static> + Send + 'static,
    {
        self.call = self.call.upload(items);
        self
    }

    #[doc(hidden)]
    pub fn with_items<S, I>(mut self, items: S, kind: crate::service::Upload<I>) -> Self
    where
        S: Stream<Item = I> + Send + 'static,
        I: 'static,
    {
        self.call = self.call.with_items(items, kind);
        self
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<ItemReceiver>, CallFailure>> {
        let ItemsState::Opening(opening) = &mut self.state else {
            return Poll::Ready(Err(CallFailure::AlreadyCompleted));
        };
        if opening.is_none() {
            let outgoing = ready!(self.call.poll_message(cx))?;
            *opening = Some(Box::pin(open(outgoing, self.call.reply_limit())));
        }
        match opening {
            Some(opening) => opening.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// The next item; `None` behind the last.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, CallError<E>>> {
        if let ItemsState::New = self.state {
            self.call.begin()?;
            self.state = ItemsState::Opening(None);
        }
        if let ItemsState::Opening(_) = self.state {
            self.state = ItemsState::Open(ready!(self.poll_open(cx))?);
        }
        let ItemsState::Open(receiver) = &mut self.state else {
            return Poll::Ready(Ok(None));
        };
        ready!(receiver.poll_line(cx))?;
        Poll::Ready(receiver.read(self.call.reader()))
    }
}

impl<T, E> Stream for Items<T, E> {
    type Item = Result<T, CallError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // Other tasks shall have their turn, too, however many items are here.
        let share = ready!(coop::poll_proceed(cx));
        loop {
            let result = match this.poll_item(cx) {
                // The next may always be there already.
                Poll::Ready(Ok(Some(_))) if this.call.is_timed_out() => Err(CallError::Timeout),
                Poll::Ready(result) => result,
                Poll::Pending if this.call.poll_timeout(cx).is_pending() => return Poll::Pending,
                Poll::Pending => Err(CallError::Timeout),
            };
            let error = match result {
                Ok(Some(item)) => {
                    share.made_progress();
                    return Poll::Ready(Some(Ok(item)));
                }
                Ok(None) => {
                    this.call.record(None);
                    this.state = ItemsState::Over;
                    this.call.finish();
                    return Poll::Ready(None);
                }
                Err(error) => error,
            };
            let state = std::mem::replace(&mut this.state, ItemsState::Opening(None));
            let has_begun = matches!(state, ItemsState::Open(receiver) if receiver.has_items);
            // Many streams are meant to end by their timeouts.
            let error = this.call.merge_fate(error, has_begun);
            // Streams that have begun may be meant to end by their timeouts.
            if !has_begun {
                this.call.record(Some(&error));
            }
            if has_begun || !this.call.try_again(&error) {
                this.state = ItemsState::Over;
                this.call.finish();
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl<T, E> fmt::Debug for Items<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

/// The lines that come.
struct ItemReceiver {
    connection: Arc<ClientConnection>,
    recv: RecvStream,
    splitter: LineSplitter,
    line: Vec<u8>,
    has_items: bool,
    _place: StreamPermit,
    _room: Option<quic::Room>,
    /// Sends what goes the other way.
    upload: Option<UploadTask>,
}

struct UploadTask(JoinHandle<Result<(), CallFailure>>);

impl Drop for UploadTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends the request; what follows is answers.
async fn open(outgoing: DedicatedRequest, limit: usize) -> Result<Box<ItemReceiver>, CallFailure> {
    let DedicatedRequest {
        connection,
        message,
        items,
    } = outgoing;
    let opened = connection.open_dedicated().await;
    let (mut send, recv, place) =
        opened.map_err(|lost| dedicated_stream::ended(&connection, Fate::NotSent, lost.into()))?;
    // A server that refuses the request says so on the way back.
    let written = send.write_chunk(Bytes::from(message)).await;
    let upload = match (written, items) {
        (Ok(()), Some((id, items))) => {
            Some(UploadTask(tokio::spawn(request::send(items, id, send))))
        }
        (Ok(()), None) => {
            send.finish();
            None
        }
        (Err(_), _) => None,
    };
    Ok(Box::new(ItemReceiver {
        _place: place,
        _room: connection.transport.make_room(),
        connection,
        recv,
        splitter: LineSplitter::new(limit),
        line: Vec::new(),
        has_items: false,
        upload,
    }))
}

impl ItemReceiver {
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        if let Some(UploadTask(task)) = &mut self.upload
            && let Poll::Ready(sent) = Pin::new(task).poll(cx)
        {
            self.upload = None;
            match sent {
                Ok(sent) => sent?,
                Err(failed) if failed.is_panic() => resume_unwind(failed.into_panic()),
                // The runtime is going down.
                Err(_) => {
                    let fate = Fate::MayHaveExecuted;
                    let reason = ConnectionLost::ClosedHere;
                    return Poll::Ready(Err(CallFailure::Lost { fate, reason }));
                }
            }
        }
        loop {
            match self.splitter.cut(&mut self.line) {
                Line::Message => return Poll::Ready(Ok(())),
                Line::TooLarge => return Poll::Ready(Err(CallFailure::ReplyTooLarge)),
                Line::Partial => {}
            }
            let read = ready!(pin!(self.recv.read_chunk()).poll(cx));
            match read.map_err(|lost| self.lost(lost))? {
                Some(chunk) => self.splitter.feed(chunk),
                None => {
                    return Poll::Ready(match self.splitter.finish(&self.line) {
                        Some(Line::Message) => Ok(()),
                        Some(_) => Err(CallFailure::ReplyTooLarge),
                        None => Err(self.cut_off()),
                    });
                }
            }
        }
    }

    /// The stream ended without the call's response: a server that ends a stream has answered what it executed.
    fn cut_off(&self) -> CallFailure {
        self.lost(ConnectionLost::drained("the stream ended before its items did").into())
    }

    fn lost(&self, lost: StreamLost) -> CallFailure {
        let fate = match self.has_items {
            true => Fate::MayHaveExecuted,
            false => Fate::without_answer(&lost.clone().into()),
        };
        dedicated_stream::ended(&self.connection, fate, lost)
    }

    /// Reads the line that is here: an item, or that there are no more.
    fn read<T, E>(&mut self, reader: ResultReader<T, E>) -> Result<Option<T>, CallError<E>> {
        let line = &mut self.line;
        let read = with_parser(|parser| {
            let document = parser
                .parse_line(line)
                .map_err(|_| CallFailure::MalformedReply)?;
            match document.line().ok_or(CallFailure::MalformedReply)? {
                StreamFrame::Item(_, item) => match (reader.value)(item) {
                    Ok(item) => Ok(Some(item)),
                    Err(mismatch) => Err(CallError::Decode(mismatch.to_string())),
                },
                StreamFrame::Response(response) => match response.outcome {
                    ResponseBody::Result(_) => Ok(None),
                    error => Err(CallError::received(error, reader.error)),
                },
                StreamFrame::End(_) => Err(CallFailure::MalformedReply.into()),
            }
        });
        self.line.clear();
        match &read {
            Ok(Some(_)) => self.has_items = true,
            // The server is shutting down.
            Err(CallError::Connection { .. } | CallError::StreamEnded) => self.connection.retire(),
            _ => {}
        }
        read
    }
}
