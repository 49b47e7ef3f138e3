//! `Call`: a future that makes a call, and its options.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::client::decode::decode_reply;
use crate::client::dispatch::Dispatch;
use crate::client::error::{CallError, CallFailure};
use crate::client::handle::Client;
use crate::client::method::{DeclaredMethod, MethodName};
use crate::client::middleware::layers::{Layers, Step, decode_response, received_error};
use crate::client::middleware::response::{ClientOutcome, KeptResponse, ResponseContent};
use crate::client::response_metadata::ReadMetadata;
use crate::client::streaming::request;
use crate::codec::error::ErrorObject;
use crate::codec::params::encode::{self, Sent, SentParams, Write};
use crate::codec::response::ResponseBody;
use crate::codec::result::{ResultReader, Returns};
use crate::codec::ser;

/// A call of a method. The call is made when the future is first polled; its options are set before that.
///
/// The arguments are written as JSON when the call is created, so the call borrows nothing.
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
/// A call can be moved, so `&mut call` is a future, too. `select!` can wait for another event in the meantime without
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
/// A call borrows nothing, so it can be spawned. These calls run concurrently; dropping the set cancels those that still
/// run:
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
/// A call with a timeout panics when it is polled in a tokio runtime without timers
/// ([`enable_time`](tokio::runtime::Builder::enable_time)).
///
/// # Deadlines
/// The time limit of a call is its [`timeout`](Self::timeout), or else the timeout of the
/// [client](crate::ClientBuilder::timeout). The remaining time is sent with the call, and the server stops the handler when
/// the time is over.
///
/// A call that a handler makes has no more time than the handler itself. It inherits the deadline that applies where it is
/// created, even if it is awaited in another task. [`deadline_from`](Self::deadline_from) sets the deadline of a call that
/// is created elsewhere. Nothing is sent after the deadline.
///
/// # Retries
/// The client retries a call that was certainly not executed, within its timeout and with up to 5 attempts in all. This is
/// the case if
///
/// - the connection was lost before the call was sent,
/// - the server replied that it is shutting down, or
/// - the server ended the stream without a reply.
///
/// A call that may have been executed is retried only if its method is marked `#[rpc(idempotent)]`, with up to 3 attempts in
/// all. Otherwise it fails with [`Execution::MayHaveExecuted`](crate::Execution::MayHaveExecuted).
///
/// The first retry of a call that was not executed is sent as soon as there is another connection. The same holds for any
/// call that can go to another of several servers. Every other retry waits for a random time of up to 50 ms, which doubles
/// each time, and takes a token of the client. The client has ten tokens and earns one with ten replies, so calls are not
/// retried while most calls fail. [`no_retry`](Self::no_retry) sends a call at most once. Notifications and batches are
/// never retried, nor are the calls of a client that does not [`reconnect`](crate::ClientBuilder::reconnect).
///
/// The [middleware](crate::middleware::ClientMiddleware) of a client runs around all attempts of a call, and may itself send the
/// call again.
///
/// # Cancel safety
/// Dropping a call that has been polled cancels it, and the server drops the handler's future. Other calls on the connection
/// are not affected.
#[must_use = "a call is made when it is awaited"]
pub struct Call<T, E = Infallible> {
    pub(super) dispatch: Dispatch,
    pub(super) reader: ResultReader<T, E>,
    /// `None` if the client has no middleware.
    pub(super) layers: Option<Box<Layers>>,
}

/// The number of a run that has ended, with its result; `None` if the call is sent again.
type EndedRun<T, E> = Option<(u32, Result<T, CallError<E>>)>;

impl Client {
    /// Calls a method by name. `params` must serialize to an array, an object or nothing (`()`).
    ///
    /// ```
    /// # use rpc_runtime::{Client, CallError, ErrorObject};
    /// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
    /// let sum: i64 = client.call("add", &(1, 2)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call<T, P>(&self, method: &str, params: &P) -> Call<T, ErrorObject>
    where
        T: DeserializeOwned,
        P: Serialize + ?Sized,
    {
        let params = encode::entire(Sent::nameless(params));
        self.call_with(MethodName::Text(method), params, ResultReader::new())
    }

    fn call_with<T, E>(
        &self,
        method: MethodName<'_>,
        params: impl SentParams,
        reader: ResultReader<T, E>,
    ) -> Call<T, E> {
        Call {
            dispatch: Dispatch::new(Arc::clone(&self.inner), method, params),
            reader,
            layers: self.layers(method),
        }
    }

    #[doc(hidden)]
    pub fn invoke<P: SentParams, T, O, E>(
        &self,
        method: DeclaredMethod,
        params: P,
        returns: Returns<T, O, E>,
    ) -> Call<O, E> {
        self.call_with(MethodName::Declared(method), params, returns.reader)
    }
}

impl<T, E> Call<T, E> {
    /// Sets the time limit, counted from the first poll. Defaults to the client's [timeout](crate::ClientBuilder::timeout),
    /// which is none by default.
    ///
    /// When the time is over, the call ends with [`CallError::Timeout`], and the server stops the handler. If there was no
    /// connection, it ends with [`CallError::Connection`] instead. A deadline that the call inherits applies as well: see
    /// [Deadlines](#deadlines).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.dispatch.outgoing.options.time.timeout = Some(timeout);
        self
    }

    /// Removes the time limit, for a long upload for example. A deadline that the call inherits still applies: see
    /// [Deadlines](#deadlines).
    pub fn no_timeout(mut self) -> Self {
        self.dispatch.outgoing.options.time.timeout = None;
        self
    }

    /// Inherits the deadline of the handler that received `cx`: see [Deadlines](#deadlines).
    ///
    /// ```
    /// # use rpc_runtime::{Context, rpc};
    /// # #[rpc]
    /// # trait Stock { async fn look(&self, item: u32) -> u32; }
    /// # fn example(cx: &Context, stock: StockClient) {
    /// let cx = cx.clone();
    /// tokio::spawn(async move {
    ///     // Calls that are created in this task inherit no deadline.
    ///     let _ = stock.look(7).deadline_from(&cx).await;
    /// });
    /// # }
    /// ```
    pub fn deadline_from(mut self, cx: &crate::context::Context) -> Self {
        let time = &mut self.dispatch.outgoing.options.time;
        time.deadline = time.deadline.into_iter().chain(cx.deadline()).min();
        self
    }

    /// Sends the call on a dedicated QUIC stream, so that no other call can delay it. Large requests are always sent on
    /// dedicated streams.
    pub fn dedicated_stream(mut self) -> Self {
        self.dispatch.outgoing.options.dedicated_stream = true;
        self
    }

    /// Sends the call at most once: see [Retries](#retries).
    pub fn no_retry(mut self) -> Self {
        self.dispatch.outgoing.options.retries = false;
        self.send_once()
    }

    fn send_once(mut self) -> Self {
        if let Some(layers) = &mut self.layers {
            layers.send_once();
        }
        self
    }

    /// Adds metadata, which the handler reads with [`Context::meta`](crate::Context::meta). It replaces an earlier value of
    /// the same name.
    ///
    /// A server accepts up to 64 names. It rejects a call with more of them with
    /// [`INVALID_REQUEST`](crate::code::INVALID_REQUEST).
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        self.dispatch.outgoing.options.metadata.push(name, value);
        self
    }

    /// Sends items after the request. The handler receives each item as it arrives, and the call returns the handler's
    /// result.
    ///
    /// If the result arrives before the last item, the remaining items are dropped. The call uses a dedicated QUIC stream
    /// and is never retried.
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
        self.with_upload(items, ser::write)
    }

    #[doc(hidden)]
    pub fn with_items<S, I>(self, items: S, kind: crate::service::incoming::Upload<I>) -> Self
    where
        S: Stream<Item = I> + Send + 'static,
        I: 'static,
    {
        self.with_upload(items, kind.write)
    }

    fn with_upload<S, I>(mut self, items: S, write: Write<I>) -> Self
    where
        S: Stream<Item = I> + Send + 'static,
        I: 'static,
    {
        self.dispatch.set_upload(request::upload(items, write));
        self.send_once()
    }

    /// Waits for the end of an attempt, and decodes its reply after `see` has seen it.
    #[inline]
    fn poll_attempt(
        &mut self,
        metadata: &mut impl ReadMetadata,
        cx: &mut Context<'_>,
        see: impl FnOnce(&ResponseBody<'_, '_>, usize),
    ) -> Poll<Result<T, CallError<E>>> {
        let Self {
            dispatch, reader, ..
        } = self;
        let result = match ready!(dispatch.poll_reply(cx)) {
            Ok(()) => {
                let decoded = decode_reply(*reader, &mut dispatch.outgoing.reply, metadata, see);
                let result = decoded.unwrap_or_else(|| Err(dispatch.malformed().into()));
                dispatch.record_reply(result.as_ref().err());
                result
            }
            Err(failure) => Err(failure.into()),
        };
        dispatch.record_end(result.as_ref().err());
        Poll::Ready(result)
    }

    /// Prepares a retry of a call that ended with this result. Returns `false` if none is allowed.
    #[inline]
    fn retry(&mut self, result: &mut Result<T, CallError<E>>) -> bool {
        match result {
            Err(CallError::Connection {
                execution,
                retries_exhausted,
                ..
            }) => self.dispatch.retry(execution, retries_exhausted),
            _ => false,
        }
    }

    /// Polls the call through the middleware of its client.
    #[cold]
    fn poll_layered(
        &mut self,
        metadata: &mut impl ReadMetadata,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, CallError<E>>> {
        let mut ended = None;
        while let Some(layers) = &mut self.layers {
            let dispatch = &mut self.dispatch;
            if layers.is_new() {
                let remaining = dispatch.begin_layered();
                layers.begin(&dispatch.outgoing.options.metadata, remaining);
            }
            if let Poll::Ready(response) = layers.poll(cx) {
                if response.run.is_none() {
                    metadata.clear();
                }
                let result = match ended {
                    Some((run, result)) if response.run == Some(run) => result,
                    _ => decode_response(response, self.reader),
                };
                return self.end_layered(result);
            }
            match layers.next_step() {
                Step::Wait => {
                    dispatch.stop_run();
                    ready!(dispatch.poll_timeout(cx));
                    layers.abort(ClientOutcome::TimedOut);
                    return self.end_layered(Err(CallError::Timeout));
                }
                Step::Start(_) if layers.refuse_second_run() => continue,
                Step::Start(sent) => {
                    metadata.clear();
                    dispatch.restart(sent);
                }
                Step::Continue => {}
            }
            ended = ready!(self.poll_run(metadata, cx));
        }
        Poll::Ready(Err(CallFailure::AlreadyCompleted.into()))
    }

    fn end_layered(&mut self, result: Result<T, CallError<E>>) -> Poll<Result<T, CallError<E>>> {
        self.layers = None;
        // The middleware may have answered a call that runs.
        self.dispatch.stop_run();
        self.dispatch.finish();
        Poll::Ready(result)
    }

    /// Waits for the end of an attempt, and reports it to the middleware.
    fn poll_run(
        &mut self,
        metadata: &mut impl ReadMetadata,
        cx: &mut Context<'_>,
    ) -> Poll<EndedRun<T, E>> {
        let (now, sent) = (Instant::now(), self.dispatch.attempts());
        let (mut length, mut received) = (0, None);
        let polled = self.poll_attempt(metadata, cx, |body, bytes| {
            length = bytes;
            received = received_error(body);
        });
        let Some(layers) = &mut self.layers else {
            return Poll::Ready(None);
        };
        if self.dispatch.attempts() > sent {
            layers.attempt_started(now);
        }
        let mut result = ready!(polled);
        let reply = KeptResponse::Reply(self.dispatch.take_reply(length));
        let mut content = match &result {
            Ok(_) => ResponseContent::Success,
            Err(error) => ResponseContent::Failed(error.untyped(received)),
        };
        layers.attempt_ended(content.outcome(), self.dispatch.server());
        if self.retry(&mut result) {
            metadata.clear();
            return Poll::Ready(None);
        }
        content.set_execution(result.as_ref().err());
        let layers = self.layers.as_mut();
        Poll::Ready(layers.map(|layers| (layers.complete(content, reply, cx), result)))
    }
}

impl<T, E> Future for Call<T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_with(&mut (), cx)
    }
}

impl<T, E> Call<T, E> {
    /// Polls the call, and reads the metadata of its response. Compiled separately for callers that read none.
    #[inline]
    pub(super) fn poll_with(
        &mut self,
        metadata: &mut impl ReadMetadata,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, CallError<E>>> {
        if self.layers.is_some() {
            return self.poll_layered(metadata, cx);
        }
        loop {
            let mut result = ready!(self.poll_attempt(metadata, cx, |_, _| ()));
            if self.retry(&mut result) {
                metadata.clear();
                continue;
            }
            self.dispatch.finish();
            return Poll::Ready(result);
        }
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("timeout", &self.dispatch.outgoing.options.time.timeout)
            .finish_non_exhaustive()
    }
}
