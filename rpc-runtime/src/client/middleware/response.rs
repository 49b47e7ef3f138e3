//! How a call ended, as the middleware of its client sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use memchr::memmem;
use serde::Serialize;

use crate::client::decode::{restore, with_parser};
use crate::client::error::{CallError, Execution};
use crate::client::reply_budget::Decoding;
use crate::client::response_metadata::{ReadMetadata, ResponseMetadata};
use crate::codec::envelope::{HEAD, RESULT};
use crate::codec::error::{ErrorObject, RpcError};
use crate::codec::error_code::code;
use crate::codec::ser;
use crate::sync::{self, Mutex};

/// The response to a call, as a [`ClientMiddleware`](crate::middleware::ClientMiddleware) sees it.
#[must_use = "a middleware returns it"]
pub struct ClientResponse {
    pub(in crate::client) content: ResponseContent,
    /// The reply that was received; `None` if there is none to keep.
    pub(in crate::client) reply: Option<Mutex<KeptReply>>,
    /// The metadata of the reply, once a middleware has asked for it.
    pub(in crate::client) metadata: OnceLock<ResponseMetadata>,
    /// The run that it ended; `None` if a middleware answered.
    pub(in crate::client) run: Option<u32>,
}

/// What a call ended with.
pub(in crate::client) enum ResponseContent {
    /// The server replied with a result, a stream ended, or a notification was sent.
    Success,
    Failed(CallError<ErrorObject>),
    /// The reply of a middleware, as a message.
    Answer(Vec<u8>),
}

/// What is kept of a reply for the middleware.
pub(in crate::client) enum KeptResponse {
    /// Nothing was received, or nothing is kept.
    Nothing,
    /// The reply to a call. Its metadata is read if a middleware asks for it.
    Reply(KeptReply),
    /// The metadata, which the call has read.
    Metadata(ResponseMetadata),
}

/// A reply that was decoded once, and may have to be decoded again.
pub(in crate::client) struct KeptReply {
    pub(in crate::client) line: Vec<u8>,
    /// The length of the reply, without what decoding it appended.
    pub(in crate::client) length: usize,
    /// The charge for its memory, if it is large.
    pub(in crate::client) _decoding: Option<Box<Decoding>>,
}

impl KeptReply {
    /// Reads the metadata. The line can be decoded again afterwards.
    #[cold]
    fn read_metadata(&mut self) -> ResponseMetadata {
        let mut metadata = ResponseMetadata::default();
        restore(&mut self.line, self.length);
        // A line without this text has no metadata, and is not parsed.
        let has = |text: &[u8]| memmem::find(&self.line, text).is_some();
        if has(b"\"meta\"") || has(b"\\u") {
            with_parser(|parser| {
                if let Ok(document) = parser.parse_response(&mut self.line) {
                    metadata.receive(&document);
                }
            });
        }
        metadata
    }
}

impl ResponseContent {
    pub(in crate::client) fn outcome(&self) -> ClientOutcome {
        match self {
            Self::Success | Self::Answer(_) => ClientOutcome::Success,
            Self::Failed(error) => ClientOutcome::of(error),
        }
    }

    /// Sets the execution status of a call, which is that of all its attempts.
    pub(in crate::client) fn set_execution<E>(&mut self, error: Option<&CallError<E>>) {
        if let (
            Self::Failed(CallError::Connection { execution, .. }),
            Some(CallError::Connection { execution: all, .. }),
        ) = (self, error)
        {
            *execution = *all;
        }
    }
}

impl ClientResponse {
    /// Creates a response with a result, which answers the call in place of the server. For a stream of items and for a
    /// notification, the value is ignored, and the stream is empty.
    ///
    /// If the value cannot be written as JSON, the call ends with [`CallError::Encode`]. If the method returns another type,
    /// it ends with [`CallError::Decode`].
    ///
    /// ```
    /// use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
    /// use rpc_runtime::{Client, rpc};
    ///
    /// /// Answers `version` without the server.
    /// struct KnownVersion;
    ///
    /// impl ClientMiddleware for KnownVersion {
    ///     async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
    ///         match request.method_name() {
    ///             "version" => ClientResponse::result("1.2"),
    ///             _ => next.run(request).await,
    ///         }
    ///     }
    /// }
    ///
    /// #[rpc]
    /// trait About {
    ///     async fn version(&self) -> String;
    /// }
    /// # struct Here;
    /// # impl About for Here { async fn version(&self) -> String { "1.3".into() } }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let client = Client::builder().middleware(KnownVersion).local(AboutServer::new(Here));
    /// assert_eq!(AboutClient::new(client).version().await.unwrap(), "1.2");
    /// # }
    /// ```
    pub fn result<T: Serialize + ?Sized>(value: &T) -> Self {
        let mut message = Vec::from(HEAD);
        message.push(b'0');
        message.extend_from_slice(RESULT);
        Self::of(match ser::write(value, &mut message) {
            Ok(()) => {
                message.push(b'}');
                ResponseContent::Answer(message)
            }
            Err(error) => ResponseContent::Failed(CallError::Encode(error.to_string())),
        })
    }

    /// Creates an error response, which answers the call in place of the server. The caller receives it as it receives the
    /// error of a handler. The error is an [`ErrorObject`], or an enum with `#[derive(RpcError)]`.
    pub fn error(error: impl Into<ErrorObject>) -> Self {
        let error = CallError::Application(error.into());
        Self::of(ResponseContent::Failed(error))
    }

    fn of(content: ResponseContent) -> Self {
        Self {
            content,
            reply: None,
            metadata: OnceLock::new(),
            run: None,
        }
    }

    /// Creates the response that ends the run of this number.
    pub(super) fn of_run(run: u32, content: ResponseContent, received: KeptResponse) -> Self {
        let mut response = Self::of(content);
        response.run = Some(run);
        match received {
            KeptResponse::Nothing => {}
            KeptResponse::Reply(reply) => response.reply = Some(Mutex::new(reply)),
            KeptResponse::Metadata(metadata) => response.metadata = metadata.into(),
        }
        response
    }

    /// Returns how the call ended.
    pub fn outcome(&self) -> ClientOutcome {
        self.content.outcome()
    }

    /// Returns the error with which the call ended, if it failed. The handler's own error is an [`ErrorObject`], as it was
    /// received.
    pub fn failure(&self) -> Option<&CallError<ErrorObject>> {
        match &self.content {
            ResponseContent::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the code of the error object with which the call was answered, if it failed: see [`CallError::code`].
    pub fn code(&self) -> Option<i64> {
        self.failure()?.code()
    }

    /// Returns the metadata of the server's reply, of a result as well as of an error. For a stream of items it is that of the
    /// end of the stream. It is empty if there was no reply, as after a timeout, and for the answer of a middleware.
    ///
    /// The metadata of a call is read when this is first called, so that a middleware that does not call it pays nothing
    /// for it.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
    /// use rpc_runtime::{Client, Context, ErrorObject, code, rpc};
    ///
    /// /// Sends no more calls once the server has said that none are left.
    /// #[derive(Default)]
    /// struct Quota {
    ///     is_used_up: AtomicBool,
    /// }
    ///
    /// impl ClientMiddleware for Quota {
    ///     async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
    ///         if self.is_used_up.load(Ordering::Relaxed) {
    ///             return ClientResponse::error(ErrorObject::new(429, "no requests are left"));
    ///         }
    ///         let response = next.run(request).await;
    ///         if response.metadata().get("requests-left") == Some("0") {
    ///             self.is_used_up.store(true, Ordering::Relaxed);
    ///         }
    ///         response
    ///     }
    /// }
    ///
    /// #[rpc]
    /// trait Search {
    ///     async fn search(&self, cx: &Context, text: &str) -> Result<u32, ErrorObject>;
    /// }
    ///
    /// struct Index;
    /// impl Search for Index {
    ///     async fn search(&self, cx: &Context, text: &str) -> Result<u32, ErrorObject> {
    ///         let _ = cx.set_response_meta("requests-left", "0");
    ///         Ok(7)
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let client = Client::builder().middleware(Quota::default()).local(SearchServer::new(Index));
    /// let search = SearchClient::new(client);
    /// assert_eq!(search.search("pear").await.unwrap(), 7);
    /// assert_eq!(search.search("pear").await.unwrap_err().code(), Some(429));
    /// # }
    /// ```
    pub fn metadata(&self) -> &ResponseMetadata {
        self.metadata.get_or_init(|| match &self.reply {
            Some(reply) => sync::lock(reply).read_metadata(),
            None => ResponseMetadata::default(),
        })
    }
}

impl fmt::Debug for ClientResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientResponse")
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

/// The outcome of a call, or of an attempt, on the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientOutcome {
    /// The server replied with a result, a stream ended, or a notification was sent.
    Success,
    /// The call was answered with an error of this code.
    Error(i64),
    /// The caller dropped the call, or the server replied that it was cancelled.
    Cancelled,
    /// The time limit is over.
    TimedOut,
    /// There was no connection, or it was lost before a reply arrived.
    Disconnected(Execution),
    /// The arguments or an item cannot be written as JSON.
    NotEncoded,
    /// The reply cannot be decoded as the result of the method.
    NotDecoded,
}

impl ClientOutcome {
    pub(in crate::client) fn of<E: RpcError>(error: &CallError<E>) -> Self {
        match error {
            CallError::Application(_) | CallError::Remote(_) | CallError::StreamEnded => {
                Self::Error(error.code().unwrap_or_default())
            }
            CallError::Timeout
            | CallError::TimeoutAtLimit(_)
            | CallError::TimeoutBehindItems(_) => Self::TimedOut,
            CallError::Cancelled => Self::Cancelled,
            CallError::Connection { execution, .. } => Self::Disconnected(*execution),
            CallError::Encode(_) => Self::NotEncoded,
            CallError::Decode(_) => Self::NotDecoded,
        }
    }

    /// Returns the outcome as one word: `success`, `error`, `cancelled`, `timed_out`, `disconnected`, `not_encoded` or
    /// `not_decoded`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(_) => "error",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Disconnected(_) => "disconnected",
            Self::NotEncoded => "not_encoded",
            Self::NotDecoded => "not_decoded",
        }
    }

    /// Returns the code of the error, if the call failed with one. The codes of [`Cancelled`](Self::Cancelled) and
    /// [`TimedOut`](Self::TimedOut) are those that the server sends.
    pub fn code(self) -> Option<i64> {
        match self {
            Self::Error(code) => Some(code),
            Self::Cancelled => Some(code::CANCELLED),
            Self::TimedOut => Some(code::DEADLINE_PASSED),
            _ => None,
        }
    }
}

/// An attempt of a call that has ended: see [`ClientMiddleware::attempt_ended`](crate::middleware::ClientMiddleware::attempt_ended).
#[derive(Debug, Clone)]
pub struct Attempt {
    pub(in crate::client) number: u32,
    pub(in crate::client) duration: Duration,
    pub(in crate::client) outcome: ClientOutcome,
    pub(in crate::client) server: Option<SocketAddr>,
}

impl Attempt {
    /// Returns the number of the attempt within its call; the first has the number 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the time from sending the request to the end of the attempt. The wait for a connection is not included.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns how the attempt ended.
    pub fn outcome(&self) -> ClientOutcome {
        self.outcome
    }

    /// Returns the address of the server that received the request; `None` in the same process.
    pub fn server(&self) -> Option<SocketAddr> {
        self.server
    }
}
