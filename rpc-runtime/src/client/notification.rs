//! `Notification`: a future that sends a notification.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::client::dedicated_stream;
use crate::client::dispatch::{LARGE, unsendable};
use crate::client::error::{CallError, CallFailure, Execution};
use crate::client::handle::{Client, ClientInner};
use crate::client::metadata::MetadataWriter;
use crate::client::method::{DeclaredMethod, MessageHead, MethodName};
use crate::client::middleware::layers::{Layers, Step};
use crate::client::middleware::response::{ClientOutcome, KeptResponse, ResponseContent};
use crate::client::options::CallOptions;
use crate::client::outgoing::{Outgoing, PooledOutgoing};
use crate::client::picker::Picker;
use crate::client::timer_pool::{Timer, poll_timer};
use crate::client::waiters::WaiterId;
use crate::codec::error::RpcError;
use crate::codec::params::encode::{self, Sent, SentParams};

/// A notification that is sent when the future is polled. The future completes when the notification was sent; it is not
/// known whether the notification arrived.
///
/// The notifications of a client start in the order in which they were sent, except for large notifications, which have
/// dedicated streams. There is no order between notifications and calls, nor between the notifications of a client of
/// [several servers](Client#several-servers).
///
/// ```
/// use rpc_runtime::{Client, rpc};
/// use tokio::sync::mpsc::{self, UnboundedSender};
///
/// #[rpc]
/// trait Sensors {
///     #[rpc(notification)]
///     async fn report(&self, celsius: f64);
/// }
///
/// struct Station(UnboundedSender<f64>);
/// impl Sensors for Station {
///     async fn report(&self, celsius: f64) {
///         let _ = self.0.send(celsius);
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::CallError> {
/// let (readings, mut received) = mpsc::unbounded_channel();
/// let sensors = SensorsClient::new(Client::local(SensorsServer::new(Station(readings))));
/// sensors.report(21.5).await?;
/// assert_eq!(received.recv().await, Some(21.5));
/// # Ok(())
/// # }
/// ```
///
/// A notification is sent at most once. If it is queued when its connection is lost, it is lost, too.
///
/// # Timeouts
/// The time limit of a notification is its [`timeout`](Self::timeout), or else the timeout of the
/// [client](crate::ClientBuilder::timeout). It applies while the notification waits for a connection or for room in its
/// stream. A notification that times out is not sent and ends with [`CallError::Connection`] if there was no connection, with
/// [`CallError::TimeoutAtLimit`] if there was no room in its stream, and otherwise with [`CallError::Timeout`].
///
/// # Panics
/// A notification with a timeout panics if it has to wait in a tokio runtime without timers.
///
/// # Unreliable notifications
/// A notification of a method marked `#[rpc(notification, unreliable)]`, or a notification that is made
/// [`unreliable`](Self::unreliable), is sent in a QUIC datagram. This suits values that the next value replaces. Such a
/// notification
///
/// - may be lost, without being sent again and without an error;
/// - may arrive before earlier notifications and calls, or after later notifications and calls;
/// - is dropped when many notifications wait, the oldest first. The sender keeps up to 128 KiB of notifications until the
///   network accepts them, and the receiver keeps as much until it has run earlier notifications;
/// - arrives at most once;
/// - is sent before the data that waits in streams, so sending notifications without a pause delays the calls of the
///   connection.
///
/// A notification that does not fit into a packet of the network, about 1,100 to 1,400 bytes, is sent as an ordinary
/// notification. So are all notifications if the server accepts no datagrams.
///
/// ```
/// use rpc_runtime::rpc;
///
/// #[rpc]
/// trait Pointers {
///     /// The position of a pointer.
///     #[rpc(notification, unreliable)]
///     async fn moved(&self, x: f32, y: f32);
/// }
/// ```
///
/// # Cancel safety
/// Dropping a notification before its future completes means that it was not sent, unless it is large.
#[must_use = "a notification is sent when it is awaited"]
pub struct Notification {
    client: Arc<ClientInner>,
    outgoing: PooledOutgoing,
    /// The reason why the arguments cannot be written as JSON.
    encode_error: Option<Box<str>>,
    is_unreliable: bool,
    picker: Picker,
    progress: Sending,
    timer: Option<Timer>,
    /// `None` if the client has no middleware.
    layers: Option<Box<Layers>>,
}

type BoxedSend = Pin<Box<dyn Future<Output = Result<(), CallFailure>> + Send>>;

/// The state of a notification.
enum Sending {
    /// Not polled yet.
    New,
    /// Waiting for a connection, or for room in a shared stream.
    Waiting(Option<WaiterId>),
    /// Being sent on a dedicated stream.
    Dedicated(BoxedSend),
    Done,
}

impl Client {
    /// Sends a notification by name. `params` must serialize to an array, an object or nothing (`()`), as with
    /// [`call`](Self::call).
    pub fn notify<P: Serialize + ?Sized>(&self, method: &str, params: &P) -> Notification {
        let params = encode::entire(Sent::nameless(params));
        Notification::new(self, MethodName::Text(method), params)
    }

    #[doc(hidden)]
    pub fn invoke_notification<P: SentParams>(
        &self,
        method: DeclaredMethod,
        params: P,
    ) -> Notification {
        Notification::new(self, MethodName::Declared(method), params)
    }
}

impl Notification {
    fn new(client: &Client, method: MethodName<'_>, params: impl SentParams) -> Self {
        let layers = layers(client, method);
        let client = Arc::clone(&client.inner);
        let mut outgoing = client.take_outgoing();
        let encoded = outgoing.request.encode(method, &params);
        Self {
            outgoing,
            encode_error: encoded.err().map(|error| unsendable(&error)),
            is_unreliable: false,
            picker: Picker::default(),
            progress: Sending::New,
            timer: None,
            layers,
            client,
        }
    }

    /// Sets the time limit for the wait before the notification is sent: see [Timeouts](#timeouts). Defaults to the client's
    /// [timeout](crate::ClientBuilder::timeout), which is none by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.outgoing.options.time.timeout = Some(timeout);
        self
    }

    /// Adds metadata, which the handler reads with [`Context::meta`](crate::Context::meta). It replaces an earlier value of
    /// the same name.
    ///
    /// A server accepts up to 64 names. It does not execute a notification with more of them.
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        self.outgoing.options.metadata.push(name, value);
        self
    }

    /// Sends the notification in a QUIC datagram, which may be lost: see
    /// [Unreliable notifications](#unreliable-notifications). Has no effect in a batch.
    pub fn unreliable(mut self) -> Self {
        self.is_unreliable = true;
        self
    }

    /// Takes the state for the middleware of the client, for an entry of a batch.
    pub(super) fn take_layers(&mut self) -> Option<Box<Layers>> {
        self.layers.take()
    }

    pub(super) fn options(&mut self) -> &mut CallOptions {
        &mut self.outgoing.options
    }

    /// Returns the notification as an entry of a batch of `client`.
    pub(super) fn encode_entry(&mut self, client: &Arc<ClientInner>) -> Result<&[u8], String> {
        if !Arc::ptr_eq(&self.client, client) {
            return Err("the notification is one of another client than its batch".into());
        }
        if let Some(reason) = &self.encode_error {
            return Err(reason.to_string());
        }
        let Outgoing {
            request, options, ..
        } = &mut *self.outgoing;
        request.write_options(None, &options.metadata);
        let head = MessageHead::of_notification();
        Ok(request.with_head(&head).trim_ascii_end())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        if let Some(reason) = &self.encode_error {
            return Poll::Ready(Err(CallFailure::Encode(reason.clone())));
        }
        let Outgoing {
            request, options, ..
        } = &mut *self.outgoing;
        if let Sending::New = self.progress {
            request.write_options(None, &options.metadata);
            self.progress = Sending::Waiting(None);
        }
        loop {
            let waiter = match &mut self.progress {
                Sending::Waiting(waiter) => waiter,
                Sending::Dedicated(sending) => return sending.as_mut().poll(cx),
                Sending::New | Sending::Done => {
                    return Poll::Ready(Err(CallFailure::AlreadyCompleted));
                }
            };
            ready!(self.picker.poll(&self.client, cx))?;
            let connection = self.picker.connection();
            let connection = connection.ok_or(CallFailure::AlreadyCompleted)?;
            let message = request.with_head(&MessageHead::of_notification());
            if self.is_unreliable && connection.send_datagram(message) {
                return Poll::Ready(Ok(()));
            }
            if message.len() >= LARGE {
                let sending = dedicated_stream::notify(Arc::clone(connection), message.to_vec());
                self.progress = Sending::Dedicated(Box::pin(sending));
                continue;
            }
            // All notifications use one stream, so that they arrive in the order in which they were sent.
            match ready!(connection.streams[0].poll_notify(message, waiter, cx)) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(_) => {
                    *waiter = None;
                    self.picker.fail();
                }
            }
        }
    }

    /// Sends the notification, within its time limit.
    #[inline]
    fn poll_in_time(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        let sent = self.poll_send(cx);
        if sent.is_pending() {
            ready!(self.poll_timeout(cx));
            return Poll::Ready(Err(match self.progress {
                Sending::Waiting(Some(_)) => CallFailure::TimedOutUnread,
                _ if self.picker.connection().is_none() => {
                    self.client.not_connected(Execution::NotSent)
                }
                _ => CallFailure::TimedOut,
            }));
        }
        sent
    }

    /// Sends the notification through the middleware of its client.
    #[cold]
    fn poll_layered(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let mut ended = None;
        while let Some(layers) = &mut self.layers {
            if layers.is_new() {
                let options = &self.outgoing.options;
                layers.begin(&options.metadata, options.time.timeout);
            }
            if let Poll::Ready(response) = layers.poll(cx) {
                let sent = match ended {
                    Some((run, sent)) if response.run == Some(run) => sent,
                    _ => response.into_end(Infallible::read),
                };
                return Poll::Ready(self.end_layered(sent));
            }
            match layers.next_step() {
                Step::Wait => {
                    self.stop();
                    ready!(self.poll_timeout(cx));
                    return Poll::Ready(self.time_out_layered());
                }
                Step::Start(metadata) => self.restart(metadata),
                Step::Continue => {}
            }
            ended = Some(ready!(self.poll_run(cx)));
        }
        Poll::Ready(Err(CallFailure::AlreadyCompleted.into()))
    }

    /// Sends the notification, and reports the end to the middleware. Returns the number of the run with its result.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<(u32, Result<(), CallError>)> {
        let now = Instant::now();
        let sent: Result<(), CallError> = ready!(self.poll_in_time(cx)).map_err(CallError::from);
        self.stop();
        let Some(layers) = &mut self.layers else {
            return Poll::Ready((0, sent));
        };
        let content = match &sent {
            Ok(()) => {
                layers.attempt_started(now);
                let connection = self.picker.connection();
                let server = connection.and_then(|c| c.transport.remote_address());
                layers.attempt_ended(ClientOutcome::Success, server);
                ResponseContent::Success
            }
            Err(error) => ResponseContent::Failed(error.untyped(None)),
        };
        Poll::Ready((layers.complete(content, KeptResponse::Nothing, cx), sent))
    }

    fn restart(&mut self, metadata: MetadataWriter) {
        self.stop();
        self.outgoing.options.metadata = metadata;
        self.picker = Picker::default();
        self.progress = Sending::New;
    }

    fn time_out_layered(&mut self) -> Result<(), CallError> {
        if let Some(layers) = &mut self.layers {
            layers.abort(ClientOutcome::TimedOut);
        }
        self.end_layered(Err(CallError::Timeout))
    }

    fn end_layered(&mut self, sent: Result<(), CallError>) -> Result<(), CallError> {
        self.layers = None;
        self.finish();
        sent
    }

    /// Ends the notification.
    fn finish(&mut self) {
        self.stop();
        if let Some(timer) = self.timer.take() {
            self.client.timers.put_back(timer);
        }
    }

    /// Resolves when the time is over. Few notifications wait, so the timer is started only when one does.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.is_none() {
            let timeout = self.outgoing.options.time.timeout;
            self.timer = timeout.map(|timeout| self.client.timers.start(timeout));
        }
        poll_timer(&mut self.timer, cx)
    }

    fn stop(&mut self) {
        let progress = std::mem::replace(&mut self.progress, Sending::Done);
        if let (Sending::Waiting(Some(waiter)), Some(connection)) =
            (progress, self.picker.connection())
        {
            connection.streams[0].stop_waiting(waiter);
        }
    }
}

/// Returns the state of a notification for the middleware of its client.
fn layers(client: &Client, method: MethodName<'_>) -> Option<Box<Layers>> {
    let mut layers = client.layers(method)?;
    layers.mark(|kind| kind.is_notification = true);
    Some(layers)
}

impl Future for Notification {
    type Output = Result<(), CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.layers.is_some() {
            return this.poll_layered(cx);
        }
        let sent = ready!(this.poll_in_time(cx));
        this.finish();
        Poll::Ready(Ok(sent?))
    }
}

impl Drop for Notification {
    fn drop(&mut self) {
        self.stop();
        self.client.put_back(&mut self.outgoing);
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notification")
    }
}
