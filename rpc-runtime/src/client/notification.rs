//! A notification as a future.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::client::call::{BoxedReply, LARGE, MetaWriter, write_options};
use crate::client::error::{CallError, CallFailure};
use crate::client::picker::Picker;
use crate::client::{Client, ClientInner, dedicated_stream, method};
use crate::codec::error_code::VERSION;
use crate::codec::params::encode::SentParams;

/// A notification that is sent when it is awaited. It has left when the future ends; nobody says whether it arrived.
///
/// Those of one client start in the order in which they were sent, but for large ones, which have streams of their
/// own. Between notifications and calls there is no order, nor is there one where a client has
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
/// One that waits for its turn on a connection that is lost is lost with it: notifications are sent at most once.
///
/// # Unreliable ones
/// A notification of a method marked `#[rpc(notification, unreliable)]`, and one that is told to be
/// [`unreliable`](Self::unreliable), leaves in a datagram of QUIC's: for news that the next one makes old. Then
///
/// - it may be lost, and nobody sends it again or is told;
/// - it may overtake notifications and calls that were sent before it, and they it;
/// - it is dropped where many wait: the sender keeps 128 KiB of them until the network takes them, and the receiver
///   as many until it has run those before. The oldest go first;
/// - it arrives once at most;
/// - it is sent before what waits in streams. Whoever sends without end holds up the calls of the connection.
///
/// One that does not fit into a packet of the network's, which is about 1,100 bytes to 1,400, travels as any other
/// notification. So do all where the other side takes no datagrams.
///
/// ```
/// use rpc_runtime::rpc;
///
/// #[rpc]
/// trait Pointers {
///     /// Where somebody points now.
///     #[rpc(notification, unreliable)]
///     async fn moved(&self, x: f32, y: f32);
/// }
/// ```
///
/// # Cancel safety
/// A notification that is dropped before its future ends was not sent, unless it is large.
#[must_use = "a notification is sent when it is awaited"]
pub struct Notification {
    client: Arc<ClientInner>,
    // What follows the version, up to the closing brace; gone once it is sent.
    request: Option<Result<Vec<u8>, String>>,
    meta: MetaWriter,
    is_unreliable: bool,
    picker: Picker,
    dedicated: Option<BoxedReply<()>>,
}

impl Notification {
    pub(super) fn new(client: &Client, name: &str, params: impl SentParams) -> Self {
        let client = Arc::clone(&client.0);
        let mut buffer = client.buffer();
        buffer.extend_from_slice(VERSION);
        let written = method::write(&mut buffer, name, &params);
        let request = written.map(|()| buffer).map_err(|error| error.to_string());
        Self {
            meta: MetaWriter::new(&client),
            client,
            request: Some(request),
            is_unreliable: false,
            picker: Picker::Unknown(None),
            dedicated: None,
        }
    }

    /// Adds metadata, which the handler finds in its [`Context`](crate::Context::meta).
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        self.meta.push(name, value);
        self
    }

    /// Lets it be lost rather than sent again or waited for: see [Unreliable ones](#unreliable-ones). In a batch it changes
    /// nothing.
    pub fn unreliable(mut self) -> Self {
        self.is_unreliable = true;
        self
    }

    /// The notification as a message, for a batch.
    pub(super) fn into_entry(self) -> Result<Vec<u8>, String> {
        let Self { request, meta, .. } = self;
        let mut request = request.unwrap_or_else(|| Err("it was sent already".into()))?;
        write_options(&mut request, None, &meta);
        Ok(request)
    }
}

impl Future for Notification {
    type Output = Result<(), CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(dedicated) = &mut this.dedicated {
            return Poll::Ready(Ok(ready!(dedicated.as_mut().poll(cx))?));
        }
        let mut request = match this.request.take() {
            Some(Ok(request)) => request,
            Some(Err(reason)) => return Poll::Ready(Err(CallError::Encode(reason))),
            None => return Poll::Ready(Err(CallError::Encode("it was sent already".into()))),
        };
        if request.last() != Some(&b'\n') {
            write_options(&mut request, None, &this.meta);
            request.push(b'\n');
        }
        let queued = this.poll_queue(&mut request, cx);
        if queued.is_pending() && this.dedicated.is_none() {
            this.request = Some(Ok(request));
        } else {
            this.client.put_back([request]);
        }
        Poll::Ready(Ok(ready!(queued)?))
    }
}

impl Notification {
    fn poll_queue(
        &mut self,
        request: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        loop {
            ready!(self.picker.poll(&self.client, cx))?;
            let connection = self
                .picker
                .connection()
                .ok_or(CallFailure::AlreadyCompleted)?;
            if self.is_unreliable && connection.send_datagram(request) {
                return Poll::Ready(Ok(()));
            }
            if request.len() >= LARGE {
                let tell = dedicated_stream::tell(Arc::clone(connection), std::mem::take(request));
                return self.dedicated.insert(Box::pin(tell)).as_mut().poll(cx);
            }
            // All on one lane, so that they arrive in the order in which they were sent.
            match ready!(connection.streams[0].poll_notify(request, cx)) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(_) => self.picker.fail(),
            }
        }
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notification")
    }
}
