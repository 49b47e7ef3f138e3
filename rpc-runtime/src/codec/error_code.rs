//! The protocol errors and their codes.

use std::fmt;

use crate::codec::envelope::{DATA, HEAD, write_error};
use crate::codec::id::Id;
use crate::codec::ser::{write_display, write_string};

/// The error codes that JSON-RPC 2.0 and this implementation define. `PROTOCOL.md` lists them for implementations in
/// other languages.
///
/// A caller receives most of them in [`CallError::Remote`](crate::CallError::Remote).
/// [`DEADLINE_PASSED`](code::DEADLINE_PASSED), [`CANCELLED`](code::CANCELLED), [`SHUTTING_DOWN`](code::SHUTTING_DOWN)
/// and [`STREAM_ENDED`](code::STREAM_ENDED) have [`CallError`](crate::CallError) variants of their own.
///
/// ```
/// # use rpc_runtime::{CallError, Client, rpc};
/// use rpc_runtime::code;
///
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() {
/// # let client = Client::local(CalculatorServer::new(Desk));
/// match client.call::<i64, _>("subtract", &(1, 2)).await {
///     Err(CallError::Remote(error)) if error.code() == code::METHOD_NOT_FOUND => println!("an older server"),
///     other => panic!("{other:?}"),
/// }
/// # }
/// ```
pub mod code {
    /// The message is not JSON, or is nested too deeply. In the latter case the error's data names the limit.
    pub const PARSE_ERROR: i64 = -32700;
    /// The message is JSON but not a request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// No service of the endpoint has this method. The error's data names it.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters do not match those of the method.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The handler panicked or its result could not be written.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The call was cancelled before it ended.
    pub const CANCELLED: i64 = -32001;
    /// The call's deadline passed on the server.
    pub const DEADLINE_PASSED: i64 = -32002;
    /// The server is shutting down and did not start the call.
    pub const SHUTTING_DOWN: i64 = -32003;
    /// The server is shutting down and ended a stream of items early. The items received before are valid.
    pub const STREAM_ENDED: i64 = -32004;
    /// The request is larger than the server accepts.
    pub const REQUEST_TOO_LARGE: i64 = -32007;
    /// The result is larger than the server may send
    /// ([`max_response_bytes`](crate::Limits::max_response_bytes)), or the replies that the client has not received leave no
    /// memory for it ([`max_memory_bytes_per_connection`](crate::Limits::max_memory_bytes_per_connection)). The error's
    /// data names the limit.
    pub const REPLY_TOO_LARGE: i64 = -32008;
    /// Too many calls are in flight, and the server or one of its middlewares rejects further calls instead of letting
    /// them wait ([`reject_excess_calls`](crate::Limits::reject_excess_calls)). The call was not started.
    pub const TOO_MANY_CALLS: i64 = -32009;
    /// The batch has more entries than the server accepts; none was executed.
    pub const BATCH_TOO_LARGE: i64 = -32010;
    /// The replies of a batch are together larger than the server may send
    /// ([`max_response_bytes`](crate::Limits::max_response_bytes)), or have no room in its memory; the reply to this entry was
    /// left out. The error's data names the limit.
    pub const BATCH_REPLY_TOO_LARGE: i64 = -32011;
    /// The caller exceeded the rate of calls that a middleware of the server allows; the call was not started.
    pub const RATE_LIMITED: i64 = -32012;
    /// The connection, or all connections together, hold as many bytes on the server as a memory limit allows, and no
    /// memory became free while this message waited. The message was not executed. The error's data names the limit:
    /// [`max_memory_bytes_per_connection`](crate::Limits::max_memory_bytes_per_connection) or
    /// [`max_memory_bytes`](crate::Limits::max_memory_bytes).
    pub const MEMORY_LIMIT: i64 = -32013;
    /// A call that the handler made to another service failed for a reason that is not an error of the other service's
    /// method: the other service could not be reached, or it answered with an error of the protocol. See
    /// [`ErrorObject`](crate::ErrorObject#errors-of-another-service).
    pub const UPSTREAM_FAILED: i64 = -32014;
}

/// Returns `true` for a code that JSON-RPC 2.0 reserves for the protocol
/// ([section 5.1](https://www.jsonrpc.org/specification#error_object)). A client reads an error with such a code as
/// [`CallError::Remote`](crate::CallError::Remote), also if a handler has returned it.
pub(crate) fn is_reserved(code: i64) -> bool {
    (-32768..=-32000).contains(&code)
}

/// A limit that is reached: the name of its setting, and the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: usize,
}

impl Setting {
    pub(crate) fn new(name: &'static str, value: usize) -> Self {
        Self { name, value }
    }
}

/// A budget of memory that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FullBudget {
    OfConnection,
    /// The budget of the server, or the share of it that one network may use.
    InTotal,
}

impl FullBudget {
    pub(crate) fn new(is_of_connection: bool) -> Self {
        match is_of_connection {
            true => Self::OfConnection,
            false => Self::InTotal,
        }
    }
}

/// The `data` of a protocol error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Detail {
    Text(&'static str),
    /// The limit that is reached, between two texts.
    Limit(&'static str, Setting, &'static str),
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Limit(before, Setting { name, value }, after) => {
                write!(f, "{before}{name} ({value}){after}")
            }
        }
    }
}

/// A protocol error. Its text is fixed, so that nothing internal can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    Parse,
    /// The message is nested too deeply.
    TooDeep(Setting),
    InvalidRequest(&'static str),
    MethodNotFound,
    InvalidParams(&'static str),
    Internal,
    Cancelled,
    DeadlinePassed,
    /// The deadline passed while the call waited for a limit.
    DeadlinePassedAt(Setting),
    ShuttingDown,
    StreamEnded,
    RequestTooLarge(Setting),
    ReplyTooLarge(Setting),
    NoRoomForReply(Setting),
    TooManyCalls(Setting),
    BatchTooLarge(Setting),
    /// The reply to an entry does not fit into that of its batch.
    BatchReplyTooLarge(Setting),
    /// The replies of a batch have no room in memory.
    NoRoomForBatchReply(Setting),
    MemoryLimit(Setting),
}

impl ProtocolError {
    pub(crate) fn code(self) -> i64 {
        self.parts().0
    }

    pub(super) fn parts(self) -> (i64, &'static str, Option<Detail>) {
        let text = |text| Some(Detail::Text(text));
        let past = |limit| Some(Detail::Limit("the limit is ", limit, ""));
        match self {
            Self::Parse => (code::PARSE_ERROR, "Parse error", None),
            Self::TooDeep(limit) => (code::PARSE_ERROR, "Parse error", past(limit)),
            Self::InvalidRequest(reason) => {
                (code::INVALID_REQUEST, "Invalid Request", text(reason))
            }
            Self::MethodNotFound => (code::METHOD_NOT_FOUND, "Method not found", None),
            Self::InvalidParams(reason) => (code::INVALID_PARAMS, "Invalid params", text(reason)),
            Self::Internal => (code::INTERNAL_ERROR, "Internal error", None),
            Self::Cancelled => (code::CANCELLED, "Cancelled", None),
            Self::DeadlinePassed => (code::DEADLINE_PASSED, "Deadline passed", None),
            Self::DeadlinePassedAt(limit) => {
                let waited = Detail::Limit("waited for ", limit, "");
                (code::DEADLINE_PASSED, "Deadline passed", Some(waited))
            }
            Self::ShuttingDown => (code::SHUTTING_DOWN, "Shutting down", None),
            Self::StreamEnded => (code::STREAM_ENDED, "Stream ended", None),
            Self::RequestTooLarge(limit) => {
                (code::REQUEST_TOO_LARGE, "Request too large", past(limit))
            }
            Self::ReplyTooLarge(limit) => (code::REPLY_TOO_LARGE, "Reply too large", past(limit)),
            Self::NoRoomForReply(limit) => {
                let after =
                    " is reached: too many replies wait to be received, make fewer calls at once";
                let reached = Detail::Limit("", limit, after);
                (code::REPLY_TOO_LARGE, "Reply too large", Some(reached))
            }
            Self::TooManyCalls(limit) => {
                let reached = Detail::Limit("", limit, " is reached: try again later");
                (code::TOO_MANY_CALLS, "Too many calls", Some(reached))
            }
            Self::BatchTooLarge(limit) => (code::BATCH_TOO_LARGE, "Batch too large", past(limit)),
            Self::BatchReplyTooLarge(limit) => (
                code::BATCH_REPLY_TOO_LARGE,
                "Batch reply too large",
                past(limit),
            ),
            Self::NoRoomForBatchReply(limit) => {
                let reached = Detail::Limit("", limit, " is reached");
                (
                    code::BATCH_REPLY_TOO_LARGE,
                    "Batch reply too large",
                    Some(reached),
                )
            }
            Self::MemoryLimit(limit) => {
                let after = " is reached: try again with fewer or smaller messages at once";
                let reached = Detail::Limit("", limit, after);
                (code::MEMORY_LIMIT, "Memory limit reached", Some(reached))
            }
        }
    }

    /// Appends the text between the id and the end of the response.
    pub(crate) fn write_body(self, out: &mut Vec<u8>) {
        let (code, message, data) = self.parts();
        write_error(out, code, |out| write_string(message, out));
        if let Some(data) = data {
            out.extend_from_slice(DATA);
            // Writing to memory does not fail.
            let _ = write_display(&data, out);
        }
        out.extend_from_slice(b"}}");
    }

    /// Appends an entire response.
    pub(crate) fn write(self, id: Id<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(HEAD);
        id.write(out);
        self.write_body(out);
    }
}
