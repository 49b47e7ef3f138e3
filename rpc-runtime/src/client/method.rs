//! What leaves the caller: a method's name and its parameters as JSON.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::codec::params::encode::SentParams;
use crate::codec::ser::{write_integer, write_string};

/// A method as its callers know it.
#[derive(Debug)]
pub struct Method {
    name: &'static str,
    is_idempotent: bool,
    /// Whether its last answer was so large that the next call deserves a stream of its own.
    large_reply: AtomicBool,
}

impl Method {
    /// A method with this name on the wire.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            is_idempotent: false,
            large_reply: AtomicBool::new(false),
        }
    }

    /// Running it twice does no harm.
    pub const fn idempotent(self) -> Self {
        Self {
            is_idempotent: true,
            ..self
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }

    pub(super) fn has_large_reply(&self) -> bool {
        self.large_reply.load(Ordering::Relaxed)
    }

    pub(super) fn record_reply(&self, is_large: bool) {
        if self.has_large_reply() != is_large {
            self.large_reply.store(is_large, Ordering::Relaxed);
        }
    }
}

/// Appends the method and its parameters: what follows the id. `}` ends it.
pub(super) fn write(
    out: &mut Vec<u8>,
    method: &str,
    params: &impl SentParams,
) -> Result<(), serde_json::Error> {
    out.extend_from_slice(br#","method":"#);
    write_string(method, out);
    let end = out.len();
    out.extend_from_slice(br#","params":"#);
    let start = out.len();
    params.write(out)?;
    if out.len() == start {
        out.truncate(end);
    }
    Ok(())
}

/// Appends how long the caller will wait.
pub(super) fn write_timeout(out: &mut Vec<u8>, timeout: Duration) {
    out.extend_from_slice(br#","timeout":"#);
    // Rounded up: the server should not give up before the caller does.
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    write_integer(u64::try_from(milliseconds).unwrap_or(u64::MAX), out);
}
