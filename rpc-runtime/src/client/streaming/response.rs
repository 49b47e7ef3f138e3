//! `Streaming`: a call whose result is a stream of items.

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
use serde::de::DeserializeOwned;
use tokio::task::{JoinHandle, coop};
use tokio::time::Instant;

use crate::client::call::Call;
use crate::client::connection::{ClientConnection, StreamPermit};
use crate::client::decode::{restore, with_parser};
use crate::client::dedicated_stream::{DedicatedRequest, lost_call, unanswered};
use crate::client::error::{CallError, CallFailure, Execution};
use crate::client::handle::Client;
use crate::client::method::DeclaredMethod;
use crate::client::middleware::layers::{Step, received_error};
use crate::client::middleware::response::{ClientOutcome, KeptResponse, ResponseContent};
use crate::client::mux_stream::CallId;
use crate::client::reply_budget::{
    Decoding, ItemRoom, ReceivedLine, SMALL_REPLY_BYTES, Turn, Waiting,
};
use crate::client::response_metadata::{ReadMetadata, ResponseMetadata};
use crate::client::streaming::request;
use crate::codec::RETAINED_BUFFER_BYTES;
use crate::codec::arena::Arena;
use crate::codec::error::ErrorObject;
use crate::codec::lines::{Line, LineSplitter};
use crate::codec::params::encode::SentParams;
use crate::codec::parser::parsed_bytes;
use crate::codec::reply_id::{is_of_no_call, item_id, reply_id};
use crate::codec::response::ResponseBody;
use crate::codec::result::{ResultReader, Returns};
use crate::codec::stream_frame::StreamFrame;
use crate::transport::{ConnectionError, RecvStream, StreamLost};

/// The stream of items that a method returns. The call is made when the stream is first polled; its options are set before
/// that.
///
/// The stream ends with `None` if the server said that it was complete. Every other end is an error, which is the last item
/// that the stream returns. So a truncated stream is never reported as complete.
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
/// Items that the caller has not taken wait in the flow control window of their stream, 1 MiB. When the window is full, no
/// more items are requested from the handler. Other streams and calls are not affected while these windows fit into half of
/// [`Limits::max_memory_bytes_per_connection`](crate::Limits::max_memory_bytes_per_connection), which is room for 16 streams
/// by default.
///
/// The windows of further streams are not counted; these streams share a window of 8 MiB with all calls. When items that are
/// not taken fill that window, nothing more is read from the connection until some are taken. A connection has at most 100
/// dedicated streams at once, including those of large calls. Further streams wait until one of them ends.
///
/// # Errors
/// Returns the errors of a [`Call`], and [`CallError::StreamEnded`] when the server shuts down before the end of the stream.
/// [`Execution::MayHaveExecuted`] says that items may be missing. The items received are valid, and a caller that knows
/// where to continue can call again.
///
/// # Deadlines
/// The time limit of a stream is the time from the first poll to the last item: its [`timeout`](Self::timeout), or else the
/// timeout of the [client](crate::ClientBuilder::timeout). When the time is over, the stream ends with
/// [`CallError::Timeout`], even if items arrive all the time. A subscription that runs for days is called with
/// [`no_timeout`](Self::no_timeout). An inherited deadline limits the stream as well: see [`Call`](Call#deadlines).
///
/// To wait for a limited time for each item, pass the future of `next` to [`tokio::time::timeout`].
///
/// # Retries
/// The call is retried as a [`Call`](Call#retries) is, until the first item arrives, and only if the caller sends no items.
///
/// # Cancel safety
/// Dropping the stream cancels the call, and the handler's stream is dropped within a round trip. Dropping the future of
/// `next` loses no item.
#[must_use = "a stream does nothing until it is polled"]
pub struct Streaming<T, E = Infallible> {
    call: Call<T, E>,
    state: ItemsState,
    /// The metadata of the response, once it has arrived.
    metadata: ResponseMetadata,
}

enum ItemsState {
    Opening(Option<Opening>),
    Open(Box<ItemReceiver>),
    Done,
}

/// What became of a run of a stream.
enum PolledRun<T, E> {
    Item(T),
    Retried,
    /// The run with this number has ended.
    Ended(u32, Result<(), CallError<E>>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<ItemReceiver>, CallFailure>> + Send>>;

impl Client {
    /// Calls a method that returns a stream of items by name. `params` must serialize to an array, an object or nothing
    /// (`()`), as with [`call`](Self::call).
    ///
    /// ```
    /// # use rpc_runtime::{Client, CallError, ErrorObject};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
    /// let numbers: Vec<_> = client.items::<u32, _>("count", &(3,)).try_collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn items<T, P>(&self, method: &str, params: &P) -> Streaming<T, ErrorObject>
    where
        T: DeserializeOwned,
        P: Serialize + ?Sized,
    {
        Streaming::new(self.call(method, params))
    }

    #[doc(hidden)]
    pub fn invoke_items<P: SentParams, T, O, E>(
        &self,
        method: DeclaredMethod,
        params: P,
        returns: Returns<T, O, E>,
    ) -> Streaming<O, E> {
        Streaming::new(self.invoke(method, params, returns))
    }
}

impl<T, E> Streaming<T, E> {
    pub(in crate::client) fn new(call: Call<T, E>) -> Self {
        let mut stream = Self {
            call,
            state: ItemsState::Opening(None),
            metadata: ResponseMetadata::default(),
        };
        if let Some(layers) = &mut stream.call.layers {
            layers.mark(|kind| kind.is_stream = true);
        }
        stream
    }

    /// Sets the time limit until the last item, counted from the first poll: see [Deadlines](#deadlines).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// Removes the time limit, for a subscription that runs until it is dropped: see [Deadlines](#deadlines).
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures_util::{Stream, StreamExt};
    /// # use futures_util::stream;
    /// use rpc_runtime::{CallError, Client, rpc};
    ///
    /// #[rpc]
    /// trait News {
    ///     fn headlines(&self) -> impl Stream<Item = String>;
    /// }
    /// # struct Paper;
    /// # impl News for Paper {
    /// #     fn headlines(&self) -> impl Stream<Item = String> { stream::iter(["Snow".to_owned()]) }
    /// # }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), CallError> {
    /// // Calls have five seconds.
    /// let client = Client::builder().timeout(Duration::from_secs(5)).local(NewsServer::new(Paper));
    /// let mut headlines = NewsClient::new(client).headlines().no_timeout();
    /// while let Some(headline) = headlines.next().await {
    ///     println!("{}", headline?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn no_timeout(mut self) -> Self {
        self.call = self.call.no_timeout();
        self
    }

    /// Inherits the deadline of the handler that received `cx`: see [`Call::deadline_from`].
    pub fn deadline_from(mut self, cx: &crate::context::Context) -> Self {
        self.call = self.call.deadline_from(cx);
        self
    }

    /// Sends the call at most once: see [`Call::no_retry`].
    pub fn no_retry(mut self) -> Self {
        self.call = self.call.no_retry();
        self
    }

    /// Adds metadata: see [`Call::meta`].
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        self.call = self.call.meta(name, value);
        self
    }

    /// Returns the metadata of the response, which follows the last item. It is empty until the stream has ended, with
    /// `None` or with an error of the server.
    ///
    /// ```
    /// # use rpc_runtime::{Client, CallError, ErrorObject};
    /// use futures_util::StreamExt;
    ///
    /// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
    /// let mut numbers = client.items::<u32, _>("count", &(3,));
    /// while let Some(number) = numbers.next().await {
    ///     println!("{}", number?);
    /// }
    /// println!("{:?}", numbers.response_metadata().get("requests-left"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn response_metadata(&self) -> &ResponseMetadata {
        &self.metadata
    }

    /// Sends items after the request: see [`Call::upload`]. A separate task sends them, so they are sent even while the
    /// caller takes none of the received items.
    ///
    /// # Panics
    /// Polling the stream panics if `items` panicked.
    pub fn upload<S>(mut self, items: S) -> Self
    where
        S: Stream<Item: Serialize + 'static> + Send + 'static,
    {
        self.call = self.call.upload(items);
        self
    }

    #[doc(hidden)]
    pub fn with_items<S, I>(mut self, items: S, kind: crate::service::incoming::Upload<I>) -> Self
    where
        S: Stream<Item = I> + Send + 'static,
        I: 'static,
    {
        self.call = self.call.with_items(items, kind);
        self
    }

    /// Returns the next item, or `None` after the last item. `see` sees the response of a call that failed.
    fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
        mut see: impl FnMut(&ResponseBody<'_, '_>),
    ) -> Poll<Result<Option<T>, CallError<E>>> {
        if let ItemsState::Opening(opening) = &mut self.state {
            let opening = match opening {
                Some(opening) => opening,
                None => {
                    let request = ready!(self.call.dispatch.poll_dedicated(cx))?;
                    opening.insert(Box::pin(open(request)))
                }
            };
            let receiver = ready!(opening.as_mut().poll(cx))?;
            self.state = ItemsState::Open(receiver);
        }
        let ItemsState::Open(receiver) = &mut self.state else {
            return Poll::Ready(Ok(None));
        };
        receiver.room.set_unread(false);
        loop {
            ready!(receiver.poll_line(cx))?;
            let reader = self.call.reader;
            if let Some(decoded) = receiver.decode(reader, &mut self.metadata, &mut see) {
                receiver.room.set_unread(true);
                return Poll::Ready(decoded);
            }
        }
    }

    /// Returns the next item, or `None` after the last item, within the time limit.
    fn poll_in_time(
        &mut self,
        cx: &mut Context<'_>,
        see: impl FnMut(&ResponseBody<'_, '_>),
    ) -> Poll<Result<Option<T>, CallError<E>>> {
        let polled = match self.poll_item(cx, see) {
            // Checked even if an item is ready: with a fast server an item may always be ready.
            Poll::Ready(Ok(Some(_))) if self.call.dispatch.is_timed_out() => None,
            Poll::Ready(result) => Some(result),
            Poll::Pending => {
                ready!(self.call.dispatch.poll_timeout(cx));
                None
            }
        };
        Poll::Ready(polled.unwrap_or_else(|| Err(self.call.dispatch.timed_out().into())))
    }

    fn finish(&mut self) {
        self.state = ItemsState::Done;
        self.call.dispatch.finish();
    }

    /// Prepares a retry of the call after an error. Returns `false` if none is allowed.
    fn retry(&mut self, error: &mut CallError<E>) -> bool {
        let state = std::mem::replace(&mut self.state, ItemsState::Opening(None));
        let has_begun = matches!(state, ItemsState::Open(receiver) if receiver.has_items);
        let dispatch = &mut self.call.dispatch;
        // A caller may end a stream with its timeout on purpose, so a timeout after the first item is not recorded as a
        // failure.
        if !has_begun {
            dispatch.record_end(Some(error));
        }
        let CallError::Connection {
            execution,
            retries_exhausted,
            ..
        } = error
        else {
            return false;
        };
        if has_begun {
            // The caller has taken items, so the call cannot be retried.
            *execution = Execution::MayHaveExecuted;
            return false;
        }
        dispatch.retry(execution, retries_exhausted)
    }

    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError<E>>>> {
        loop {
            match ready!(self.poll_in_time(cx, |_| ())) {
                Ok(Some(item)) => return Poll::Ready(Some(Ok(item))),
                Ok(None) => {
                    self.call.dispatch.record_end::<E>(None);
                    self.finish();
                    return Poll::Ready(None);
                }
                Err(mut error) => {
                    if !self.retry(&mut error) {
                        self.finish();
                        return Poll::Ready(Some(Err(error)));
                    }
                    self.metadata.clear();
                }
            }
        }
    }

    /// Polls the stream through the middleware of its client.
    #[cold]
    fn poll_layered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError<E>>>> {
        let mut ended = None;
        while let Some(layers) = &mut self.call.layers {
            let dispatch = &mut self.call.dispatch;
            if layers.is_new() {
                let remaining = dispatch.begin_layered();
                layers.begin(&dispatch.outgoing.options.metadata, remaining);
            }
            if let Poll::Ready(response) = layers.poll(cx) {
                if response.run.is_none() {
                    self.metadata.clear();
                }
                let end = match ended {
                    Some((run, end)) if response.run == Some(run) => end,
                    _ => response.into_end(self.call.reader.error),
                };
                return Poll::Ready(self.end_layered(end));
            }
            match layers.next_step() {
                Step::Wait => {
                    self.state = ItemsState::Opening(None);
                    dispatch.stop_run();
                    ready!(dispatch.poll_timeout(cx));
                    layers.abort(ClientOutcome::TimedOut);
                    return Poll::Ready(self.end_layered(Err(CallError::Timeout)));
                }
                Step::Start(_) if layers.refuse_second_run() => continue,
                Step::Start(metadata) => {
                    self.state = ItemsState::Opening(None);
                    self.metadata.clear();
                    dispatch.restart(metadata);
                }
                Step::Continue => {}
            }
            match ready!(self.poll_run(cx)) {
                PolledRun::Item(item) => return Poll::Ready(Some(Ok(item))),
                PolledRun::Retried => {}
                PolledRun::Ended(run, end) => ended = Some((run, end)),
            }
        }
        Poll::Ready(None)
    }

    /// Waits for an item, and reports the end of an attempt to the middleware.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<PolledRun<T, E>> {
        let (now, sent) = (Instant::now(), self.call.dispatch.attempts());
        let mut received = None;
        let polled = self.poll_in_time(cx, |body| received = received_error(body));
        let Some(layers) = &mut self.call.layers else {
            return Poll::Ready(PolledRun::Retried);
        };
        if self.call.dispatch.attempts() > sent {
            layers.attempt_started(now);
        }
        let (mut content, mut end) = match ready!(polled) {
            Ok(Some(item)) => {
                layers.send_once();
                return Poll::Ready(PolledRun::Item(item));
            }
            Ok(None) => (ResponseContent::Success, Ok(())),
            Err(error) => (ResponseContent::Failed(error.untyped(received)), Err(error)),
        };
        let dispatch = &self.call.dispatch;
        layers.attempt_ended(content.outcome(), dispatch.server());
        match &mut end {
            Ok(()) => dispatch.record_end::<E>(None),
            Err(error) => {
                if self.retry(error) {
                    self.metadata.clear();
                    return Poll::Ready(PolledRun::Retried);
                }
            }
        }
        content.set_execution(end.as_ref().err());
        let received = KeptResponse::Metadata(self.metadata.clone());
        let run = self.call.layers.as_mut();
        let run = run.map_or(0, |layers| layers.complete(content, received, cx));
        Poll::Ready(PolledRun::Ended(run, end))
    }

    fn end_layered(&mut self, end: Result<(), CallError<E>>) -> Option<Result<T, CallError<E>>> {
        self.call.layers = None;
        self.finish();
        end.err().map(Err)
    }
}

impl<T, E> Stream for Streaming<T, E> {
    type Item = Result<T, CallError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // Lets other tasks run, even if many items are ready.
        let budget = ready!(coop::poll_proceed(cx));
        let next = ready!(match this.call.layers {
            Some(_) => this.poll_layered(cx),
            None => this.poll_plain(cx),
        });
        if matches!(next, Some(Ok(_))) {
            budget.made_progress();
        }
        Poll::Ready(next)
    }
}

impl<T, E> fmt::Debug for Streaming<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

/// Receives the lines of a call's reply.
struct ItemReceiver {
    connection: Arc<ClientConnection>,
    recv: RecvStream,
    splitter: LineSplitter,
    line: Vec<u8>,
    id: Option<CallId>,
    charge: ReceivedLine,
    stage: LineStage,
    has_items: bool,
    /// `true` once a line was received that is neither an item nor a response of the call.
    has_other_lines: bool,
    _permit: StreamPermit,
    room: ItemRoom,
    /// Sends the call's items.
    upload: Option<UploadTask>,
}

/// The state of a line.
enum LineStage {
    Received,
    /// The line has begun and waits for room.
    WaitsForRoom(Waiting<Result<Option<Turn>, CallFailure>>),
    /// The line is complete and large, and waits until it can be decoded.
    WaitsToDecode(Waiting<Decoding>),
    Decoding {
        _decoding: Option<Decoding>,
    },
}

impl LineStage {
    fn decoding(decoding: Option<Decoding>) -> Self {
        Self::Decoding {
            _decoding: decoding,
        }
    }
}

struct UploadTask(JoinHandle<Result<(), CallFailure>>);

impl Drop for UploadTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends the request on a dedicated stream, which then receives the lines of the reply.
async fn open(request: DedicatedRequest) -> Result<Box<ItemReceiver>, CallFailure> {
    let DedicatedRequest {
        connection,
        message,
        id,
        upload,
        deadline,
    } = request;
    let (mut send, recv, permit) = connection.open_dedicated(deadline).await?;
    // The error is ignored, since a server that rejects the request replies before it stops reading.
    let written = send.write_chunk(Bytes::from(message)).await;
    let upload = match (written, id.zip(upload)) {
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
        _permit: permit,
        room: connection.budget.widen_window(),
        recv,
        splitter: LineSplitter::new(connection.budget.reply_limit),
        line: Vec::new(),
        id,
        charge: connection.budget.stream(),
        stage: LineStage::Received,
        connection,
        has_items: false,
        has_other_lines: false,
        upload,
    }))
}

impl ItemReceiver {
    /// Waits until the next line is complete and can be decoded.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        self.poll_upload(cx)?;
        loop {
            match &mut self.stage {
                LineStage::Received => {
                    ready!(self.poll_received(cx))?;
                    self.stage = self.begin_decoding();
                }
                LineStage::WaitsForRoom(waiting) => {
                    let turn = ready!(waiting.as_mut().poll(cx))?;
                    self.charge.go_on(turn);
                    self.stage = LineStage::Received;
                }
                LineStage::WaitsToDecode(waiting) => {
                    let decoding = ready!(waiting.as_mut().poll(cx));
                    self.stage = LineStage::decoding(Some(decoding));
                }
                LineStage::Decoding { .. } => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Returns the stage of a complete line: ready to be decoded, or waiting until it can be.
    fn begin_decoding(&mut self) -> LineStage {
        if self.line.len() <= SMALL_REPLY_BYTES {
            return LineStage::decoding(None);
        }
        match self.connection.budget.decoding(&self.line) {
            Ok(decoding) => LineStage::decoding(Some(decoding)),
            Err(waiting) => LineStage::WaitsToDecode(waiting),
        }
    }

    /// Waits until the line is complete.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        loop {
            match self.splitter.split_next(&mut self.line) {
                Line::Message => return Poll::Ready(Ok(())),
                Line::TooLarge | Line::Discarded(_) => {
                    return Poll::Ready(Err(self.connection.budget.too_large()));
                }
                Line::Partial if self.splitter.is_skipping() => {
                    return Poll::Ready(Err(self.connection.budget.too_large()));
                }
                Line::Partial => {}
            }
            let budget = &self.connection.budget;
            if !budget.count(&mut self.charge, &self.line) {
                let mut waiting = Box::pin(Arc::clone(budget).room(self.line.capacity()));
                match waiting.as_mut().poll(cx)? {
                    Poll::Ready(turn) => self.charge.go_on(turn),
                    Poll::Pending => {
                        self.stage = LineStage::WaitsForRoom(waiting);
                        return Poll::Pending;
                    }
                }
            }
            // A server may send blank lines without end.
            let budget = ready!(coop::poll_proceed(cx));
            let read = ready!(pin!(self.recv.read_chunk()).poll(cx));
            budget.made_progress();
            match read.map_err(|lost| self.lost(lost))? {
                Some(chunk) => self.splitter.feed(chunk),
                None => {
                    return Poll::Ready(match self.splitter.finish(&self.line) {
                        Some(Line::Message) => Ok(()),
                        Some(_) => Err(self.connection.budget.too_large()),
                        None => Err(self.truncated()),
                    });
                }
            }
        }
    }

    /// Checks whether the task that sends the call's items has ended, or has failed.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), CallFailure> {
        let Some(UploadTask(task)) = &mut self.upload else {
            return Ok(());
        };
        let Poll::Ready(sent) = Pin::new(task).poll(cx) else {
            return Ok(());
        };
        self.upload = None;
        match sent {
            Ok(sent) => sent,
            Err(failed) if failed.is_panic() => resume_unwind(failed.into_panic()),
            // The runtime is shutting down.
            Err(_) => {
                let execution = Execution::MayHaveExecuted;
                Err(CallFailure::lost(execution, &ConnectionError::ClosedHere))
            }
        }
    }

    /// Returns the failure of a stream that ended without a response. The server has replied to every call that it executed.
    fn truncated(&self) -> CallFailure {
        self.lost(ConnectionError::drained("the stream ended before its items did").into())
    }

    fn lost(&self, lost: StreamLost) -> CallFailure {
        if self.has_items {
            return lost_call(&self.connection, Execution::MayHaveExecuted, lost);
        }
        let has_part = !self.line.is_empty();
        let has_other_lines = self.has_other_lines || self.splitter.has_blank_lines();
        unanswered(&self.connection, lost, has_other_lines || has_part)
    }

    /// Decodes the line: an item, or the response after the last item, with its metadata. Returns `None` if it is another
    /// notification or a request.
    fn decode<T, E>(
        &mut self,
        reader: ResultReader<T, E>,
        metadata: &mut ResponseMetadata,
        see: impl FnOnce(&ResponseBody<'_, '_>),
    ) -> Option<Result<Option<T>, CallError<E>>> {
        if let Some(take) = reader.unparsed {
            if let Some(other) = self.unparsed_of_other() {
                self.has_decoded();
                return other.map(|failure| Err(failure.into()));
            }
            self.has_items = true;
            let line = take(&mut self.line);
            self.has_decoded();
            return Some(Ok(Some(line)));
        }
        let (arena, length) = (Arena::default(), self.line.len());
        let decoded = with_parser(|parser| {
            let mut document = parser.parse_line(&mut self.line).ok()?;
            document.lend(&arena);
            let line = document.line()?;
            let is_response = matches!(line, StreamFrame::Response(_));
            let read = read_line(line, self.id, reader, see)?;
            if is_response {
                metadata.receive(&document);
            }
            Some(read)
        });
        let decoded = match decoded {
            Some(decoded) => Some(decoded),
            None => self.unmatched(length).map(|failure| Err(failure.into())),
        };
        self.has_decoded();
        match &decoded {
            Some(Ok(Some(_))) => self.has_items = true,
            // The server is shutting down.
            Some(Err(CallError::Connection { .. } | CallError::StreamEnded)) => {
                self.connection.retire()
            }
            _ => {}
        }
        decoded
    }

    /// Returns the failure of a line that belongs to another call, without parsing it. Returns `Some(None)` for a line that
    /// concerns no call.
    fn unparsed_of_other(&mut self) -> Option<Option<CallFailure>> {
        let line = &self.line;
        let found = item_id(line).or_else(|| reply_id(line)).map(CallId);
        match found {
            Some(_) if found != self.id => {
                Some(Some(CallFailure::OtherReply(CallFailure::excerpt(line))))
            }
            None if is_of_no_call(line) => Some(self.unmatched(line.len())),
            _ => None,
        }
    }

    /// Returns the failure of a line that is neither an item nor a response of the call. Returns `None` if it is a request or
    /// another notification, which the call does not concern.
    #[cold]
    fn unmatched(&mut self, length: usize) -> Option<CallFailure> {
        let line = &mut self.line;
        restore(line, length);
        if is_of_no_call(line) {
            self.connection.log_unmatched(line);
            self.has_other_lines = true;
            return None;
        }
        let found = item_id(line).or_else(|| reply_id(line)).map(CallId);
        Some(match found.is_some() && found != self.id {
            true => CallFailure::OtherReply(CallFailure::excerpt(line)),
            false => CallFailure::malformed(line),
        })
    }

    /// Prepares for the next line. Large buffers are not kept.
    fn has_decoded(&mut self) {
        self.stage = LineStage::Received;
        self.line.clear();
        if self.line.capacity() > parsed_bytes(RETAINED_BUFFER_BYTES) {
            self.line = Vec::new();
        }
        self.connection.budget.count(&mut self.charge, &self.line);
    }
}

/// Reads an item or the response of the call with this id. Returns `None` if the line belongs to another call. The result of
/// such a call is null.
fn read_line<T, E>(
    line: StreamFrame<'_, '_>,
    call: Option<CallId>,
    reader: ResultReader<T, E>,
    see: impl FnOnce(&ResponseBody<'_, '_>),
) -> Option<Result<Option<T>, CallError<E>>> {
    match line {
        StreamFrame::Item(id, item) => {
            let is_of_call = call.is_none_or(|CallId(call)| id.is_of_call(call));
            is_of_call.then(|| match (reader.value)(item) {
                Ok(item) => Ok(Some(item)),
                Err(mismatch) => Err(CallError::Decode(mismatch.to_string())),
            })
        }
        StreamFrame::Response(response) => {
            let call = call.map(|CallId(id)| id);
            match response.outcome {
                ResponseBody::Result(_) if response.id != call => None,
                ResponseBody::Result(result) if result.is_null() => Some(Ok(None)),
                ResponseBody::Result(result) => {
                    let received = CallFailure::excerpt_of(result);
                    Some(Err(CallFailure::UnexpectedResult(received).into()))
                }
                // An error may have no id.
                error => (response.id.is_none() || response.id == call).then(|| {
                    see(&error);
                    Err(CallError::received(error, reader.error))
                }),
            }
        }
        StreamFrame::End(_) => None,
    }
}
