//! A call as a future with options.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use tokio::time::Instant;

use crate::client::connection::ClientConnection;
use crate::client::error::{CallError, CallFailure, Fate};
use crate::client::method::{self, Method};
use crate::client::mux_stream::CallId;
use crate::client::picker::Picker;
use crate::client::streaming::request::{self, BoxedUpload};
use crate::client::timer_pool::Timer;
use crate::client::{Client, ClientInner, dedicated_stream};
use crate::codec::params::encode::{SentParams, Write};
use crate::codec::parser::Parser;
use crate::codec::response::ResponseBody;
use crate::codec::result::ResultReader;
use crate::codec::ser::{self, write_string};
use crate::deadline;
use crate::limits::{REPLY_DEPTH, RETAINED};

/// From this many bytes on a request has a stream of its own, and so has the next call of a method whose reply had.
pub(super) const LARGE: usize = 16 << 10;

/// How often a call is sent, at most.
const ATTEMPTS: u32 = 5;

/// How often a call is sent that may have run, at most.
const UNSURE_ATTEMPTS: u32 = 3;

pub(super) type BoxedReply<T> = Pin<Box<dyn Future<Output = Result<T, CallFailure>> + Send>>;

/// A call that is made when it is awaited. Options come before.
///
/// The arguments are written as JSON when the call is created, so it borrows nothing.
///
/// ```
/// # use std::time::Duration;
/// # use rpc_runtime::{Client, CallError, ErrorObject};
/// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
/// let call = client.call::<i64, _>("add", &(1, 2));
/// let sum = call.timeout(Duration::from_millis(50)).meta("traceparent", "00-…").await?;
/// # Ok(())
/// # }
/// ```
///
/// A call can be moved. So `&mut call` is a future, too, and `select!` can look at something else meanwhile without
/// dropping the call:
///
/// ```
/// # use std::time::Duration;
/// # use rpc_runtime::{CallError, Client, rpc};
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() -> Result<(), CallError> {
/// # let calculator = CalculatorClient::new(Client::local(CalculatorServer::new(Desk)));
/// let mut call = calculator.add(1, 2);
/// let mut seconds = tokio::time::interval(Duration::from_secs(1));
/// let sum = loop {
///     tokio::select! {
///         sum = &mut call => break sum?,
///         _ = seconds.tick() => println!("still waiting"),
///     }
/// };
/// assert_eq!(sum, 3);
/// # Ok(())
/// # }
/// ```
///
/// It borrows nothing, so it can be spawned. All these run at once; dropping the set cancels those that still run:
///
/// ```
/// # use rpc_runtime::{Client, rpc};
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let calculator = CalculatorClient::new(Client::local(CalculatorServer::new(Desk)));
/// let mut calls = tokio::task::JoinSet::new();
/// for n in 1..=10 {
///     calls.spawn(calculator.add(n, n));
/// }
/// let mut total = 0;
/// while let Some(sum) = calls.join_next().await {
///     total += sum??;
/// }
/// assert_eq!(total, 110);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// A call with a timeout panics when it is awaited in a tokio runtime without timers
/// ([`enable_time`](tokio::runtime::Builder::enable_time)).
///
/// # Deadlines
/// A call waits for as long as [`timeout`](Self::timeout) says, or else the
/// [client](super::ClientBuilder::timeout). The time that remains travels with it, and the server stops the handler when
/// it is over.
///
/// A call that a handler makes has no more time than the handler itself: it inherits the deadline where it is created,
/// also if it is awaited in a task of its own. [`within`](Self::within) tells a call that is created elsewhere. Once the
/// time is over nothing is sent.
///
/// # Retries
/// A call that has certainly not run is made again by itself, within its timeout, 5 times in all: if it was not sent
/// because the connection went, if the server said that it is shutting down, or if it ended the stream without an answer.
/// One that may have run is made again only if the method is marked `#[rpc(idempotent)]`, 3 times in all, and fails with
/// [`Fate::MayHaveExecuted`] otherwise.
///
/// The first retry of a call that has not run leaves as soon as there is another connection, and so does that of any
/// call to one of several servers if there is another one to go to. Every other one waits for a
/// random time of up to 50 ms, doubled each time, and takes a token of the client's. Of these there are ten, and ten
/// answers make a new one: when most calls fail, they are not made again. [`no_retry`](Self::no_retry) sends a call once
/// at most. So are notifications and batches, and all calls of a client that does not
/// [`reconnect`](super::ClientBuilder::reconnect).
///
/// # Cancel safety
/// Dropping a call that has been polled cancels it: the server drops the handler's future. Its neighbours on the
/// connection do not notice.
#[must_use = "a call is made when it is awaited"]
pub struct Call<T, E = Infallible> {
    client: Arc<ClientInner>,
    method: Option<&'static Method>,
    /// What follows the id, up to the closing brace.
    request: Result<Vec<u8>, String>,
    /// Where its timeout and metadata begin.
    options_at: usize,
    /// Where the answer will be.
    reply: Vec<u8>,
    timeout: Option<Duration>,
    /// When the handler that makes the call must be done.
    deadline: Option<Instant>,
    dedicated_stream: bool,
    retries: bool,
    /// How often it was sent.
    attempts: u32,
    /// One of the attempts ended so that nobody knows.
    may_have_run: bool,
    /// Time has passed since the request was written.
    is_stale: bool,
    meta: MetaWriter,
    /// Items that follow the request; gone once they are on their way.
    upload: Option<BoxedUpload>,
    state: CallState,
    picker: Picker,
    timer: Option<Timer>,
    reader: ResultReader<T, E>,
}

impl<T, E> Drop for Call<T, E> {
    fn drop(&mut self) {
        self.cancel();
        let request = std::mem::replace(&mut self.request, Err(String::new()));
        let reply = std::mem::take(&mut self.reply);
        self.client.put_back([request.unwrap_or_default(), reply]);
    }
}

enum CallState {
    /// Not polled yet.
    New,
    /// Waiting for a connection, or for room in a lane.
    Ready,
    InFlight(usize, CallId),
    Dedicated(BoxedReply<Vec<u8>>),
    /// Waiting to be sent again.
    Backoff(Timer),
    Over,
}

/// A call on its way to a stream of its own.
pub(super) struct DedicatedRequest {
    pub(super) connection: Arc<ClientConnection>,
    pub(super) message: Vec<u8>,
    pub(super) items: Option<(CallId, BoxedUpload)>,
}

/// Metadata, as the members of a JSON object.
#[derive(Default)]
pub(super) struct MetaWriter(Vec<u8>);

/// What a client adds to the metadata of all its calls.
#[derive(Clone)]
pub(super) struct ClientMeta(pub(super) Arc<AddMeta>);

type AddMeta = dyn Fn(&mut dyn FnMut(&str, &str)) + Send + Sync;

impl fmt::Debug for ClientMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommonMeta")
    }
}

impl MetaWriter {
    /// That of a call which begins.
    pub(super) fn new(client: &ClientInner) -> Self {
        let mut meta = Self::default();
        if let Some(ClientMeta(add)) = &client.options.meta {
            add(&mut |name, value| meta.push(name, value));
        }
        meta
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        write_string(name, &mut self.0);
        self.0.push(b':');
        write_string(value, &mut self.0);
    }

    fn write(&self, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            out.extend_from_slice(br#","meta":"#);
            out.extend_from_slice(&self.0);
            out.push(b'}');
        }
    }
}

impl<T, E> Call<T, E> {
    pub(super) fn new(
        client: &Client,
        method: Option<&'static Method>,
        name: &str,
        params: impl SentParams,
        reader: ResultReader<T, E>,
    ) -> Self {
        let client = Arc::clone(&client.0);
        let [mut buffer, reply] = client.two_buffers();
        let written = method::write(&mut buffer, name, &params);
        Self {
            method,
            options_at: buffer.len(),
            reply,
            request: written.map(|()| buffer).map_err(|error| error.to_string()),
            timeout: client.options.timeout,
            deadline: deadline::inherited(),
            dedicated_stream: false,
            retries: client.options.retry.is_some(),
            attempts: 0,
            may_have_run: false,
            is_stale: false,
            meta: MetaWriter::new(&client),
            upload: None,
            state: CallState::New,
            picker: Picker::Unknown(None),
            timer: None,
            reader,
            client,
        }
    }

    /// Gives up after this long, counted from the first poll. The server is told and gives up too.
    ///
    /// In place of the client's default, which is to wait for as long as it takes. A deadline that the call inherits
    /// counts, too: see [Deadlines](#deadlines).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gives up when the caller of the handler that `cx` was given to does: see [Deadlines](#deadlines).
    ///
    /// ```
    /// # use rpc_runtime::{Context, rpc};
    /// # #[rpc]
    /// # trait Stock { async fn look(&self, item: u32) -> u32; }
    /// # fn example(cx: &Context, stock: StockClient) {
    /// let cx = cx.clone();
    /// tokio::spawn(async move {
    ///     // Nothing is inherited in here.
    ///     let _ = stock.look(7).within(&cx).await;
    /// });
    /// # }
    /// ```
    pub fn within(mut self, cx: &crate::Context) -> Self {
        self.deadline = self.deadline.into_iter().chain(cx.deadline()).min();
        self
    }

    /// The shorter of its own timeout and what the deadline leaves.
    fn remaining(&self) -> Option<Duration> {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.timeout.into_iter().chain(left).min()
    }

    /// Sends the call on a QUIC stream of its own, so that nothing before it can hold it up. Large requests are sent
    /// so in any case.
    pub fn own_stream(mut self) -> Self {
        self.dedicated_stream = true;
        self
    }

    /// Sends the call once at most: see [Retries](#retries).
    pub fn no_retry(mut self) -> Self {
        self.retries = false;
        self
    }

    /// Adds metadata, which the handler finds in its [`Context`](crate::Context::meta).
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        self.meta.push(name, value);
        self
    }

    /// Sends items behind the request. The handler gets them as they come; what it returns is the answer, which may come
    /// before the last item: then the rest is dropped. The call has a QUIC stream of its own and is never made again.
    ///
    /// ```
    /// # use rpc_runtime::{CallError, Client, ErrorObject};
    /// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
    /// let readings = futures_util::stream::iter([21.5, 22.0, 21.0]);
    /// let mean: f64 = client.call("mean", &()).upload(readings).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn upload<S>(self, items: S) -> Self
    where
        S: Stream<Item: Serialize + 'static> + Send + 'static,
    {
        self.sending(items, ser::write)
    }

    #[doc(hidden)]
    pub fn with_items<S, I>(self, items: S, kind: crate::service::Upload<I>) -> Self
    where
        S: Stream<Item = I> + Send + 'static,
        I: 'static,
    {
        self.sending(items, kind.write)
    }

    fn sending<S, I>(mut self, items: S, write: Write<I>) -> Self
    where
        S: Stream<Item = I> + Send + 'static,
        I: 'static,
    {
        self.upload = Some(request::upload(items, write));
        self.dedicated_stream = true;
        self.retries = false;
        self
    }

    pub(super) fn reply_limit(&self) -> usize {
        self.client.options.reply_limit
    }

    /// What reads its answer.
    pub(super) fn reader(&self) -> ResultReader<T, E> {
        self.reader
    }

    /// The request without its id, for a batch.
    pub(super) fn into_entry(mut self) -> Result<Vec<u8>, String> {
        if self.upload.is_some() {
            return Err("a call with items stands in no batch".into());
        }
        let mut request = std::mem::replace(&mut self.request, Ok(Vec::new()));
        if let Ok(request) = &mut request {
            write_options(request, self.remaining(), &self.meta);
        }
        request
    }
}

pub(super) fn write_options(request: &mut Vec<u8>, timeout: Option<Duration>, meta: &MetaWriter) {
    if let Some(timeout) = timeout {
        method::write_timeout(request, timeout);
    }
    meta.write(request);
    request.push(b'}');
}

impl<T, E> Call<T, E> {
    /// First poll: the request is complete and time runs.
    pub(super) fn begin(&mut self) -> Result<(), CallError<E>> {
        self.state = CallState::Over;
        let remaining = self.remaining();
        match &mut self.request {
            Ok(_) if remaining.is_some_and(|remaining| remaining.is_zero()) => {
                return Err(CallError::Timeout);
            }
            Ok(request) => write_options(request, remaining, &self.meta),
            Err(reason) => return Err(CallError::Encode(std::mem::take(reason))),
        }
        self.timer = remaining.map(|remaining| self.client.timers.start(remaining));
        self.state = CallState::Ready;
        Ok(())
    }

    /// Says how long there is from now on.
    fn refresh(&mut self) {
        if let (true, Some(timer), Ok(request)) = (self.is_stale, &self.timer, &mut self.request) {
            request.truncate(self.options_at);
            let remaining = timer.end().saturating_duration_since(Instant::now());
            write_options(request, Some(remaining), &self.meta);
        }
        self.is_stale = true;
    }

    /// Resolves when the time is over.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.as_mut();
        timer.map_or(Poll::Pending, |timer| timer.poll(cx))
    }

    /// Whether the time is over.
    pub(super) fn is_timed_out(&self) -> bool {
        let timer = self.timer.as_ref();
        timer.is_some_and(|timer| timer.end() <= Instant::now())
    }

    /// Chooses the way and sets out on it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        self.refresh();
        let Ok(request) = &mut self.request else {
            return Poll::Ready(Err(CallFailure::AlreadyCompleted));
        };
        let is_large = self.method.is_some_and(Method::has_large_reply) || request.len() >= LARGE;
        loop {
            ready!(self.picker.poll(&self.client, cx))?;
            let connection = self
                .picker
                .connection()
                .ok_or(CallFailure::AlreadyCompleted)?;
            if self.dedicated_stream || is_large {
                let limit = self.client.options.reply_limit;
                let id = self.client.next_dedicated_id();
                let items = self.upload.take().map(|items| (id, items));
                let ask = dedicated_stream::ask(
                    Arc::clone(connection),
                    dedicated_stream::message(id, request),
                    items,
                    limit,
                );
                self.state = CallState::Dedicated(Box::pin(ask));
                return Poll::Ready(Ok(()));
            }
            let stream = connection.stream();
            match ready!(connection.streams[stream].poll_call(request, &mut self.reply, cx)) {
                Ok(id) => {
                    self.state = CallState::InFlight(stream, id);
                    return Poll::Ready(Ok(()));
                }
                Err(_) => self.picker.fail(),
            }
        }
    }

    /// Waits until it is time to send it again.
    fn poll_backoff(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let CallState::Backoff(rest) = &mut self.state {
            ready!(rest.poll(cx));
            if let CallState::Backoff(rest) = std::mem::replace(&mut self.state, CallState::Ready) {
                self.client.timers.put_back(rest);
            }
        }
        Poll::Ready(())
    }

    /// The request as a message for a stream of its own, and where that is to be opened.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<DedicatedRequest, CallFailure>> {
        ready!(self.poll_backoff(cx));
        self.refresh();
        ready!(self.picker.poll(&self.client, cx))?;
        let (Some(connection), Ok(request)) = (self.picker.connection(), &self.request) else {
            return Poll::Ready(Err(CallFailure::AlreadyCompleted));
        };
        self.attempts += 1;
        let id = self.client.next_dedicated_id();
        Poll::Ready(Ok(DedicatedRequest {
            connection: Arc::clone(connection),
            message: dedicated_stream::message(id, request),
            items: self.upload.take().map(|items| (id, items)),
        }))
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, CallFailure>> {
        ready!(self.poll_backoff(cx));
        if let CallState::Ready = self.state {
            ready!(self.poll_send(cx))?;
            self.attempts += 1;
            if let CallState::InFlight(..) = self.state {
                // The call was queued with its waker.
                return Poll::Pending;
            }
        }
        match (&mut self.state, self.picker.connection()) {
            (CallState::InFlight(stream, id), Some(connection)) => {
                connection.streams[*stream].poll_answer(*id, cx)
            }
            (CallState::Dedicated(ask), _) => ask.as_mut().poll(cx),
            _ => Poll::Ready(Err(CallFailure::AlreadyCompleted)),
        }
    }

    /// Reads the answer. Its buffer is free again.
    fn read(&mut self, mut answer: Vec<u8>) -> Result<T, CallError<E>> {
        if let Some(method) = self.method {
            method.record_reply(answer.len() >= LARGE);
        }
        let result = read(self.reader, &mut answer);
        answer.clear();
        self.reply = answer;
        if let Some(connection) = self.picker.connection() {
            connection.record(result.as_ref().err());
            if let Err(CallError::Connection { .. }) = result {
                // The server refuses calls because it is shutting down.
                connection.retire();
                return result;
            }
        }
        self.client.retries.earn();
        result
    }

    /// Takes what it came to for a sign of how its server fares.
    pub(super) fn record(&self, error: Option<&CallError<E>>) {
        if let Some(connection) = self.picker.connection() {
            connection.record(error);
        }
    }

    /// What is true of one attempt is true of the call.
    pub(super) fn merge_fate(&mut self, mut error: CallError<E>, has_run: bool) -> CallError<E> {
        if let CallError::Connection { fate, .. } = &mut error {
            self.may_have_run |= has_run || *fate == Fate::MayHaveExecuted;
            if self.may_have_run {
                *fate = Fate::MayHaveExecuted;
            }
        }
        error
    }

    /// Prepares to be sent once more, if that can do no harm.
    pub(super) fn try_again(&mut self, error: &CallError<E>) -> bool {
        let CallError::Connection { fate, .. } = error else {
            return false;
        };
        // Without a link it was not even tried.
        let (true, Some(backoff), Some(connection)) = (
            self.retries,
            self.client.options.retry,
            self.picker.connection(),
        ) else {
            return false;
        };
        let is_unsure = *fate == Fate::MayHaveExecuted;
        let is_allowed = match is_unsure {
            true => {
                self.method.is_some_and(Method::is_idempotent) && self.attempts < UNSURE_ATTEMPTS
            }
            false => self.attempts < ATTEMPTS,
        };
        let is_free = self.attempts <= 1 && (!is_unsure || self.client.has_other(connection));
        if !is_allowed || !(is_free || self.client.retries.spend()) {
            return false;
        }
        self.picker.look_again();
        self.state = match is_free {
            true => CallState::Ready,
            false => CallState::Backoff(self.client.timers.start(backoff.delay(self.attempts))),
        };
        true
    }

    /// A stream of items has come to its end.
    pub(super) fn finish(&mut self) {
        self.state = CallState::Over;
        self.stop_timer();
    }

    fn stop_timer(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.client.timers.put_back(timer);
        }
    }

    fn cancel(&mut self) {
        let state = std::mem::replace(&mut self.state, CallState::Over);
        // Dropping a stream of its own resets it.
        if let (CallState::InFlight(stream, id), Some(connection)) =
            (state, self.picker.connection())
        {
            connection.cancel(stream, id);
        }
    }
}

impl<T, E> Future for Call<T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let CallState::New = this.state {
            this.begin()?;
        }
        loop {
            let Poll::Ready(answered) = this.poll_reply(cx) else {
                ready!(this.poll_timeout(cx));
                this.record(Some(&CallError::Timeout));
                this.cancel();
                this.stop_timer();
                return Poll::Ready(Err(CallError::Timeout));
            };
            this.state = CallState::Over;
            let result = match answered {
                Ok(answer) => this.read(answer),
                Err(failure) => Err(failure.into()),
            };
            let result = result.map_err(|error| this.merge_fate(error, false));
            match &result {
                Err(error) if this.try_again(error) => {}
                _ => {
                    this.stop_timer();
                    return Poll::Ready(result);
                }
            }
        }
    }
}

thread_local! {
    /// Reading an answer awaits nothing, so one parser serves all calls of a thread.
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new(REPLY_DEPTH));
}

/// Reads an answer in place.
fn read<T, E>(reader: ResultReader<T, E>, answer: &mut Vec<u8>) -> Result<T, CallError<E>> {
    with_parser(|parser| {
        let document = parser
            .parse_response(answer)
            .map_err(|_| CallFailure::MalformedReply)?;
        let response = document.response().ok_or(CallFailure::MalformedReply)?;
        result(reader, response.outcome)
    })
}

/// What a call comes to.
pub(super) fn result<T, E>(
    reader: ResultReader<T, E>,
    outcome: ResponseBody<'_, '_>,
) -> Result<T, CallError<E>> {
    match outcome {
        ResponseBody::Result(value) => {
            (reader.value)(value).map_err(|mismatch| CallError::Decode(mismatch.to_string()))
        }
        error => Err(CallError::received(error, reader.error)),
    }
}

/// Lends the thread's parser; a new one to whoever asks in the middle of a reading.
pub(super) fn with_parser<R>(read: impl FnOnce(&mut Parser) -> R) -> R {
    PARSER.with(|parser| match parser.try_borrow_mut() {
        Ok(mut parser) => {
            let result = read(&mut parser);
            parser.shrink(RETAINED);
            result
        }
        Err(_) => read(&mut Parser::new(REPLY_DEPTH)),
    })
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
