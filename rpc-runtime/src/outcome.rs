//! The outcome of a call on the server.

use crate::codec::error_code::code;
use crate::codec::reply::Fault;

/// The outcome of a call on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler returned a result, or a notification's handler ended.
    Success,
    /// The call failed with an error of this code, from the handler, a middleware, or the protocol.
    Error(i64),
    /// The handler's future was dropped because the caller cancelled the call or the connection was lost.
    Cancelled,
    /// The handler's future was dropped because its deadline passed.
    TimedOut,
    /// The handler panicked.
    Panicked,
}

impl Outcome {
    pub(crate) fn of(ran: &Result<(), Fault>) -> Self {
        match ran.as_ref().map_err(Fault::code) {
            Ok(()) => Self::Success,
            Err(code) => Self::Error(code),
        }
    }

    /// Returns the outcome as one word: `success`, `error`, `cancelled`, `timed_out` or `panicked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(_) => "error",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }

    /// Returns the error code that the caller receives, if the call failed.
    pub fn code(self) -> Option<i64> {
        match self {
            Self::Success => None,
            Self::Error(code) => Some(code),
            Self::Cancelled => Some(code::CANCELLED),
            Self::TimedOut => Some(code::DEADLINE_PASSED),
            Self::Panicked => Some(code::INTERNAL_ERROR),
        }
    }
}
