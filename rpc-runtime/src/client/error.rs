//! Errors of calls.

use std::convert::Infallible;
use std::fmt;

use crate::codec::de::Value;
use crate::codec::error::{ErrorObject, RpcError};
use crate::codec::error_code::{code, is_reserved};
use crate::codec::escape::{Escaped, EscapedMessage, Excerpt};
use crate::codec::response::ResponseBody;
use crate::codec::result::ReadError;
use crate::codec::ser;
use crate::event::Limit;
use crate::memory::PER_CONNECTION;
use crate::transport::ConnectionError;

/// The reason why a call has no result.
///
/// ```
/// use rpc_runtime::{CallError, Execution};
///
/// # fn advise(error: CallError) -> &'static str {
/// match error {
///     CallError::Timeout => "took too long; it may still run on a server that does not know the deadline",
///     CallError::Connection { execution: Execution::MayHaveExecuted, .. } => "it may have run",
///     CallError::Connection { .. } => "it did not run: call again",
///     CallError::Remote(error) => return if error.code() == rpc_runtime::code::METHOD_NOT_FOUND {
///         "the server is older than this client"
///     } else {
///         "the server rejected it"
///     },
///     _ => "see the message",
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CallError<E = Infallible> {
    /// The handler's own error.
    Application(E),
    /// An error that the method does not declare: an error of the protocol, or an error with a code that this client does
    /// not know.
    Remote(ErrorObject),
    /// The time limit is over, by the clock of this side or of the server. If the call was not sent, since there was no
    /// connection all the time, it ends with [`Connection`](Self::Connection) instead.
    Timeout,
    /// The time limit is over, and the call did not start, because it waited for a limit of this side or of the server. The
    /// text names the limit.
    ///
    /// If the server has the limit, the client usually finds first that the time is over, and returns
    /// [`Timeout`](Self::Timeout). The server then logs the limit.
    TimeoutAtLimit(String),
    /// The time limit is over, and the reply may have been held back: streams of items of this client are not read, and have
    /// used up the receive window of the connection. The handler may have run. The text names the limit.
    TimeoutBehindItems(String),
    /// The server replied that the call was cancelled.
    Cancelled,
    /// The server is shutting down and ended a stream of items before its end.
    ///
    /// The items received are valid. A caller that knows where to continue can call again; the call uses another connection.
    StreamEnded,
    /// There was no connection within the time limit, or the connection was lost before a reply arrived.
    Connection {
        /// The execution status, which says whether the handler may have run.
        execution: Execution,
        /// The reason why the connection was lost, or why there was none.
        reason: ConnectionError,
        /// `true` if the client would have retried the call, and did not, because too many retries had failed before
        /// ([`Event::RetryBudgetExhausted`](crate::event::Event::RetryBudgetExhausted)).
        retries_exhausted: bool,
    },
    /// The arguments or an item cannot be written as JSON. The text names the argument, or the position of the item, counted
    /// from 1.
    ///
    /// If it was the arguments, nothing was sent. If it was an item, the request was sent before it, so the handler may have
    /// run, and the call was cancelled.
    Encode(String),
    /// The reply cannot be decoded as the result of the method, or the received line is no reply to this call: it has another
    /// id or none, or the reply to a batch has no entry for the call. The handler may have run.
    ///
    /// A future that is polled after its call has ended returns this error as well.
    Decode(String),
}

/// Says what a log needs in one line: the cause is part of it, and no error has a [source](std::error::Error::source). Text of
/// the peer is escaped as by [`Escaped`], and a message is truncated to 1,024 bytes.
impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(error) => EscapedMessage(format_args!("{error:#}")).fmt(f),
            Self::Remote(error) => write!(f, "{error:#}"),
            Self::Timeout => f.write_str("the call took too long"),
            Self::TimeoutAtLimit(limit) => {
                write!(
                    f,
                    "the call took too long and did not start: {}",
                    EscapedMessage(limit)
                )
            }
            Self::TimeoutBehindItems(limit) => {
                write!(f, "the call took too long: {}", EscapedMessage(limit))
            }
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::StreamEnded => {
                f.write_str("the server is shutting down and ended the stream of items")
            }
            Self::Connection {
                execution,
                reason,
                retries_exhausted,
            } => {
                let ending = if *retries_exhausted {
                    RETRIES_EXHAUSTED
                } else {
                    ""
                };
                write!(f, "{execution}: {reason}{ending}")
            }
            Self::Encode(reason) => EscapedMessage(reason).fmt(f),
            Self::Decode(reason) => {
                write!(f, "the reply cannot be read: {}", EscapedMessage(reason))
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}

/// The execution status of a call that has no reply: not sent, not executed, or unknown.
///
/// After [`NotSent`](Self::NotSent) and [`NotExecuted`](Self::NotExecuted) the call can be made again, on another
/// connection. The client has already retried it if a retry was allowed ([`Call`](crate::Call#retries)). After
/// [`MayHaveExecuted`](Self::MayHaveExecuted) it can be made again only if running it twice does no harm.
///
/// ```
/// # use rpc_runtime::{CallError, Client, Execution, rpc};
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() {
/// # let client = Client::local(CalculatorServer::new(Desk));
/// client.close().await;
/// match client.call::<i64, _>("add", &(1, 2)).await {
///     Err(CallError::Connection { execution, .. }) => assert_eq!(execution, Execution::NotSent),
///     other => panic!("{other:?}"),
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Execution {
    /// No byte of the call was sent.
    NotSent,
    /// The server did not start the call.
    NotExecuted,
    /// The call was sent, and the server may have executed it.
    MayHaveExecuted,
}

impl Execution {
    /// Returns the execution status of a call that was sent. All bytes that arrived before the connection ended were read,
    /// and held no line that the server may have meant as its reply.
    fn without_reply(reason: &ConnectionError) -> Self {
        match reason.is_drained() {
            true => Self::NotExecuted,
            false => Self::MayHaveExecuted,
        }
    }
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "the call was not sent",
            Self::NotExecuted => "the call was not executed",
            Self::MayHaveExecuted => "the call may have been executed",
        })
    }
}

/// The name of the limit on the streams that the server grants, as RFC 9000 calls it. Its value is not known to a client.
pub(super) const GRANTED: &str = "initial_max_streams_bidi";

/// The limit on the dedicated streams of a connection.
pub(super) const DEDICATED: &str = "max_dedicated_streams";

/// The limit on the bytes of requests that wait in a shared stream. It is no setting.
pub(super) const QUEUED: &str = "shared_stream_bytes";

/// Describes, for the error of a call, why the call was not sent within its time.
fn waited_for(limit: Limit) -> String {
    match limit.name {
        DEDICATED => format!(
            "it waited for a stream, and the client opens no more on this connection ({limit}), since streams of items, large \
             calls and batches use them: end some, or raise `ClientBuilder::max_dedicated_streams`"
        ),
        GRANTED => format!(
            "it waited for a stream, and the server grants no more ({GRANTED}): end streams of items and large calls, or \
             raise `TransportSettings::max_streams` of the server"
        ),
        _ => format!("it waited for {limit}"),
    }
}

/// The limit of a call that waited for room in its shared stream.
const UNREAD: &str = "256 KiB of requests wait in its shared stream (shared_stream_bytes), since the server reads no more: one of its limits is reached, such as \
     `Limits::max_concurrent_calls_per_connection`, and its log names the limit";

/// The start of the reason of a reply that is larger than the client accepts.
pub(super) const TOO_LARGE: &str = "it is larger than this client accepts";

/// The end of the text of a call that was not retried.
const RETRIES_EXHAUSTED: &str = "; it was not retried, since too many retries of this client have failed: its budget of 10 retries is used up, and \
     ten replies allow one more";

/// The start of the data of an error for a call whose deadline passed while it waited for a limit.
const WAITED: &str = "waited for ";

/// Codes of errors with which the server did not start the call, and may start it later.
const TRY_AGAIN: [i64; 3] = [code::TOO_MANY_CALLS, code::RATE_LIMITED, code::MEMORY_LIMIT];

/// Returns `true` for the code of an error with which a call was certainly not executed.
pub(super) fn is_certain(code: i64) -> bool {
    let codes = [code::SHUTTING_DOWN, code::DEADLINE_PASSED];
    codes.contains(&code) || TRY_AGAIN.contains(&code)
}

impl<E> CallError<E> {
    /// Returns `true` if the call was not executed, and the same call may succeed later. The caller can make it again
    /// without the risk that it runs twice, after a pause.
    ///
    /// This is the case if the call was not sent, if it waited for a limit until its time was over, if the server did not start it because it is shutting down, and if the
    /// server rejected it with [`TOO_MANY_CALLS`](code::TOO_MANY_CALLS), [`RATE_LIMITED`](code::RATE_LIMITED) or
    /// [`MEMORY_LIMIT`](code::MEMORY_LIMIT).
    ///
    /// ```
    /// # use rpc_runtime::{Client, rpc};
    /// # #[rpc]
    /// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
    /// # struct Desk;
    /// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let client = Client::local(CalculatorServer::new(Desk));
    /// let unknown = client.call::<i64, _>("subtract", &(1, 2)).await.unwrap_err();
    /// assert!(!unknown.is_retryable());
    /// client.close().await;
    /// let not_sent = client.call::<i64, _>("add", &(1, 2)).await.unwrap_err();
    /// assert!(not_sent.is_retryable());
    /// # }
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connection { execution, .. } => *execution != Execution::MayHaveExecuted,
            Self::TimeoutAtLimit(_) => true,
            Self::Remote(error) => TRY_AGAIN.contains(&error.code()),
            _ => false,
        }
    }

    /// Returns the error with the handler's own error as it was received.
    #[cold]
    pub(super) fn untyped(&self, received: Option<ErrorObject>) -> CallError<ErrorObject> {
        match self {
            Self::Application(_) => match received {
                Some(error) => CallError::Application(error),
                None => CallError::Decode("the error is missing".into()),
            },
            Self::Remote(error) => CallError::Remote(error.clone()),
            Self::Timeout => CallError::Timeout,
            Self::TimeoutAtLimit(waited) => CallError::TimeoutAtLimit(waited.clone()),
            Self::TimeoutBehindItems(limit) => CallError::TimeoutBehindItems(limit.clone()),
            Self::Cancelled => CallError::Cancelled,
            Self::StreamEnded => CallError::StreamEnded,
            Self::Connection {
                execution,
                reason,
                retries_exhausted,
            } => CallError::Connection {
                execution: *execution,
                reason: reason.clone(),
                retries_exhausted: *retries_exhausted,
            },
            Self::Encode(reason) => CallError::Encode(reason.clone()),
            Self::Decode(reason) => CallError::Decode(reason.clone()),
        }
    }

    /// Returns the error of a response that holds an error.
    pub(super) fn received(outcome: ResponseBody<'_, '_>, read: ReadError<E>) -> Self {
        let ResponseBody::Error {
            code,
            message,
            data,
        } = outcome
        else {
            return Self::Decode("a result where an error was".into());
        };
        match code {
            // The server says for which limit the call waited.
            code::DEADLINE_PASSED => match ErrorObject::received(code, message, data).data() {
                Some::<String>(waited) if waited.starts_with(WAITED) => {
                    Self::TimeoutAtLimit(format!("it {}", Escaped(waited)))
                }
                _ => Self::Timeout,
            },
            code::CANCELLED => Self::Cancelled,
            code::SHUTTING_DOWN => Self::Connection {
                execution: Execution::NotExecuted,
                reason: ConnectionError::drained(&Escaped(message).to_string()),
                retries_exhausted: false,
            },
            code::STREAM_ENDED => Self::StreamEnded,
            _ if is_reserved(code) => Self::Remote(ErrorObject::received(code, message, data)),
            _ => match read(code, message, data) {
                Some(error) => Self::Application(error),
                None => Self::Remote(ErrorObject::received(code, message, data)),
            },
        }
    }
}

impl<E: RpcError> CallError<E> {
    /// Returns the code of the error object that the server sent. Returns `None` if there is none.
    ///
    /// Also returns `None` for an error object with [`SHUTTING_DOWN`](code::SHUTTING_DOWN), which becomes
    /// [`Connection`](Self::Connection), and for one with [`DEADLINE_PASSED`](code::DEADLINE_PASSED), which becomes
    /// [`Timeout`](Self::Timeout): either side may have found the fault.
    ///
    /// ```
    /// # use rpc_runtime::{Client, code, rpc};
    /// # #[rpc]
    /// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
    /// # struct Desk;
    /// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let client = Client::local(CalculatorServer::new(Desk));
    /// let error = client.call::<i64, _>("add", &("1", 2)).await.unwrap_err();
    /// assert_eq!(error.code(), Some(code::INVALID_PARAMS));
    /// assert_eq!(error.data().unwrap(), r#""argument `a`: invalid type: string \"1\", expected i64""#);
    /// # }
    /// ```
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Application(error) => Some(error.code()),
            Self::Remote(error) => Some(error.code()),
            Self::Cancelled => Some(code::CANCELLED),
            Self::StreamEnded => Some(code::STREAM_ENDED),
            _ => None,
        }
    }

    /// Returns the data of the error object that the server sent, as JSON text. Returns `None` if there is none.
    ///
    /// The data of [`Remote`](Self::Remote) is as received. The data of [`Application`](Self::Application) is written again
    /// from `E`, so it lacks members that `E` does not have.
    pub fn data(&self) -> Option<String> {
        let object = match self {
            Self::Application(error) => &ErrorObject::sent(error),
            Self::Remote(error) => error,
            _ => return None,
        };
        object.raw_data().map(str::to_owned)
    }
}

/// Passes the error of a call to another service on to the caller of a handler: see
/// [`ErrorObject`](ErrorObject#errors-of-another-service).
impl<E: RpcError> From<CallError<E>> for ErrorObject {
    fn from(error: CallError<E>) -> Self {
        let reason = match error {
            CallError::Application(error) => return Self::sent(&error),
            CallError::Remote(error) => match error.code() {
                code::UPSTREAM_FAILED => return error,
                code if is_reserved(code) => format!("the other service answered with code {code}"),
                _ => return error,
            },
            CallError::Timeout
            | CallError::TimeoutAtLimit(_)
            | CallError::TimeoutBehindItems(_) => {
                "the call to the other service took too long".into()
            }
            CallError::Cancelled => "the other service cancelled the call".into(),
            CallError::StreamEnded => "the other service is shutting down".into(),
            CallError::Connection { execution, .. } => {
                format!("there is no connection to the other service: {execution}")
            }
            CallError::Encode(_) => "the arguments for the other service cannot be encoded".into(),
            CallError::Decode(_) => "the reply of the other service cannot be decoded".into(),
        };
        Self::new(code::UPSTREAM_FAILED, "Upstream call failed").with_data(&reason)
    }
}

/// The reason why a call has no reply.
#[derive(Debug, Clone)]
pub(super) enum CallFailure {
    /// The connection was lost, or there is none.
    Lost {
        execution: Execution,
        reason: Box<ConnectionError>,
    },
    /// The time limit is over.
    TimedOut,
    /// The time limit is over, and the call waited for a dedicated stream.
    TimedOutAtLimit(Limit),
    /// The time limit is over, and the call waited for room in its shared stream.
    TimedOutUnread,
    /// The time limit is over, and streams of items that are not read may have held the reply back.
    TimedOutBehindItems { limit: usize },
    /// The reply, or an item, is larger than this client accepts.
    ReplyTooLarge { limit: usize },
    /// The memory of the connection has no room for the reply.
    NoRoom { limit: usize },
    /// The received message is not a response. Holds the start of the message.
    MalformedReply(Box<str>),
    /// The received message belongs to another call. Holds the start of the message.
    OtherReply(Box<str>),
    /// A single response was received for a batch, which is answered with an array. Holds the start of the message.
    SingleReply(Box<str>),
    /// A result was received for a call whose result is a stream of items. Holds the start of the result.
    UnexpectedResult(Box<str>),
    /// An item was received for a call that takes no items, and more may follow. Holds the start of the message.
    UnexpectedItem(Box<str>),
    /// The reply to a batch contains no reply to this call. Holds the start of the first element that is a reply to no call.
    MissingInBatch(Option<Box<str>>),
    /// The request or an item cannot be written as JSON.
    Encode(Box<str>),
    /// The call was polled after it had completed.
    AlreadyCompleted,
}

impl CallFailure {
    /// Creates the failure of a call whose reply is not a response.
    pub(super) fn malformed(received: &[u8]) -> Self {
        Self::MalformedReply(Self::excerpt(received))
    }

    pub(super) fn excerpt(received: &[u8]) -> Box<str> {
        Excerpt(received).to_string().into()
    }

    /// Returns the start of a received value, as JSON.
    pub(super) fn excerpt_of(received: Value<'_, '_>) -> Box<str> {
        let text = ser::to_text(&received).unwrap_or_default();
        Self::excerpt(text.as_bytes())
    }

    /// Converts the failure of a call that was to be cancelled, after its response has arrived.
    pub(super) fn into_malformed(self) -> Self {
        match self {
            Self::UnexpectedItem(received) => Self::MalformedReply(received),
            failure => failure,
        }
    }

    /// Creates the failure of a call that was sent and whose stream ended without a reply. `has_other_lines` is `true` if a
    /// line or a part of one was received that answers no call: the server may have meant it as the reply.
    pub(super) fn unanswered(reason: &ConnectionError, has_other_lines: bool) -> Self {
        match (reason, has_other_lines) {
            (ConnectionError::ClosedByPeer { code, reason }, true) => {
                let separator = if reason.is_empty() { "" } else { ", " };
                let reason = ConnectionError::ClosedByPeer {
                    code: *code,
                    reason: format!("{reason}{separator}after a line that answers no call"),
                };
                Self::lost(Execution::MayHaveExecuted, &reason)
            }
            _ => Self::lost(Execution::without_reply(reason), reason),
        }
    }

    pub(super) fn lost(execution: Execution, reason: &ConnectionError) -> Self {
        let reason = Box::new(reason.clone());
        Self::Lost { execution, reason }
    }
}

impl<E> From<CallFailure> for CallError<E> {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Lost { execution, reason } => Self::Connection {
                execution,
                reason: *reason,
                retries_exhausted: false,
            },
            CallFailure::TimedOut => Self::Timeout,
            CallFailure::TimedOutAtLimit(limit) => Self::TimeoutAtLimit(waited_for(limit)),
            CallFailure::TimedOutUnread => Self::TimeoutAtLimit(UNREAD.into()),
            CallFailure::TimedOutBehindItems { limit } => Self::TimeoutBehindItems(format!(
                "its reply may be held back by streams of items that are not read, and for which the receive window is not widened, \
                 since half of the {limit} bytes that the connection may hold are in use ({PER_CONNECTION}): read or drop the \
                 streams, raise the limit with `ClientBuilder::limits`, or the window with `TransportSettings::receive_window`"
            )),
            CallFailure::ReplyTooLarge { limit } => Self::Decode(format!(
                "{TOO_LARGE}: ask for less at once, or raise `ClientBuilder::max_response_bytes` ({limit})"
            )),
            CallFailure::NoRoom { limit } => Self::Decode(format!(
                "there is no room for it: the connection may hold {limit} bytes of replies and items that are not taken, and \
                 of calls that the server makes (`Limits::max_memory_bytes_per_connection`, and `Limits::max_memory_bytes` for all connections); \
                 take them sooner, ask for less at once, or raise the limit with `ClientBuilder::limits`"
            )),
            CallFailure::MalformedReply(received) => {
                Self::Decode(format!("it is not a JSON-RPC response: {received}"))
            }
            CallFailure::OtherReply(received) => {
                Self::Decode(format!("it has another id than the call: {received}"))
            }
            CallFailure::SingleReply(received) => Self::Decode(format!(
                "it is a single response, and the reply to a batch is an array: {received}"
            )),
            CallFailure::UnexpectedItem(received) => Self::Decode(format!(
                "it is an item, and the method returns a single result: {received}"
            )),
            CallFailure::UnexpectedResult(received) => Self::Decode(format!(
                "it is a single result, and the method returns a stream of items: {received}"
            )),
            CallFailure::MissingInBatch(None) => {
                Self::Decode("the reply to the batch has none to this call".into())
            }
            CallFailure::MissingInBatch(Some(received)) => Self::Decode(format!(
                "the reply to the batch has none to this call: {received}"
            )),
            CallFailure::Encode(reason) => Self::Encode(reason.into()),
            CallFailure::AlreadyCompleted => {
                Self::Decode("the call is over and cannot be awaited again".into())
            }
        }
    }
}
