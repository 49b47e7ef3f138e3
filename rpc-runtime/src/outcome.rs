//! How a call ended, as the server sees it.

use crate::codec::error_code::code;
use crate::codec::reply::Fault;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// With a result, or with the end of a notification's handler.
    Success,
    /// With an error of this code: the handler's, a middleware's, or the protocol's own.
    Error(i64),
    /// The handler's future was dropped: the caller cancelled the call, or is gone.
    Cancelled,
    /// The handler's future was dropped: its deadline passed.
    Late,
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

    /// In one word: `success`, `error`, `cancelled`, `late` or `panicked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(_) => "error",
            Self::Cancelled => "cancelled",
            Self::Late => "late",
            Self::Panicked => "panicked",
        }
    }

    /// The code of the error that the caller gets, if it gets one and still listens.
    pub fn code(self) -> Option<i64> {
        match self {
            Self::Success => None,
            Self::Error(code) => Some(code),
            Self::Cancelled => Some(code::CANCELLED),
            Self::Late => Some(code::DEADLINE_PASSED),
            Self::Panicked => Some(code::INTERNAL_ERROR),
        }
    }
}
