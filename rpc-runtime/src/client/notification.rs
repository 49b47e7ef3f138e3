//! A notification as a future.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::call::{LARGE, Meta, Solo, write_options};
use super::error::CallError;
use super::{Client, Shared, request, solo};
use crate::wire::sent::SentParams;

/// The start of a notification.
const NOTIFICATION: &[u8] = br#"{"jsonrpc":"2.0""#;

/// A notification that is sent when it is awaited. It has left when the future ends; nobody says whether it arrived.
///
/// Those of one client start in the order in which they were sent, but for large ones, which have streams of their
/// own. Between notifications and calls there is no order.
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
/// # Cancel safety
/// A notification that is dropped before its future ends was not sent, unless it is large.
#[must_use = "a notification is sent when it is awaited"]
pub struct Notification {
    client: Arc<Shared>,
    // What follows the version, up to the closing brace; gone once it is sent.
    request: Option<Result<Vec<u8>, String>>,
    meta: Meta,
    alone: Option<Solo<()>>,
}

impl Notification {
    pub(super) fn new(client: &Client, name: &str, params: impl SentParams) -> Self {
        let client = Arc::clone(&client.0);
        let mut buffer = client.buffer();
        buffer.extend_from_slice(NOTIFICATION);
        let written = request::write(&mut buffer, name, &params);
        let request = written.map(|()| buffer).map_err(|error| error.to_string());
        Self {
            client,
            request: Some(request),
            meta: Meta::default(),
            alone: None,
        }
    }

    /// Adds metadata, which the handler finds in its [`Context`](crate::Context::meta).
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        self.meta.push(name, value);
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
        match this.request.take() {
            Some(Ok(mut request)) => {
                if request.last() != Some(&b'\n') {
                    write_options(&mut request, None, &this.meta);
                    request.push(b'\n');
                }
                if request.len() >= LARGE {
                    let connection = this.client.connection.clone();
                    this.alone = Some(Box::pin(solo::tell(connection, request)));
                } else {
                    // All on one lane, so that they arrive in the order in which they were sent.
                    let queued = this.client.lanes[0].poll_notify(&request, cx);
                    if queued.is_pending() {
                        this.request = Some(Ok(request));
                    } else {
                        this.client.put_back(request);
                    }
                    return Poll::Ready(Ok(ready!(queued)?));
                }
            }
            Some(Err(reason)) => return Poll::Ready(Err(CallError::Encode(reason))),
            None => {}
        }
        match &mut this.alone {
            Some(alone) => Poll::Ready(Ok(ready!(alone.as_mut().poll(cx))?)),
            None => Poll::Ready(Err(CallError::Encode("it was sent already".into()))),
        }
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notification")
    }
}
