//! Metadata and a timeout that calls have from outside of their requests, such as from the headers of an HTTP request.

use std::time::Duration;

use crate::codec::metadata::{Metadata, MetadataError};

/// Metadata and a timeout for all calls of one stream or message, from outside of their requests: the headers of an HTTP
/// request, for example.
///
/// [`Context::meta`](crate::Context::meta) returns this metadata and that of the request. If both have a value of one name, it
/// returns the value from here, since an intermediary that checks headers does not see the requests. Of two timeouts, the
/// shorter one applies.
///
/// ```
/// use std::time::Duration;
/// use rpc_runtime::gateway::CallDefaults;
///
/// # fn main() -> Result<(), rpc_runtime::MetadataError> {
/// let mut defaults = CallDefaults::default();
/// defaults.set_meta("authorization", "Bearer 7")?;
/// defaults.set_timeout(Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CallDefaults {
    metadata: Metadata,
    timeout: Option<Duration>,
}

impl CallDefaults {
    /// Sets a value of the metadata. It replaces an earlier value of the same name.
    ///
    /// # Errors
    /// Returns an error, and sets nothing, if there would be more than 64 names, or names and values of more than 8 KiB, or if
    /// the name or the value contains a control character.
    pub fn set_meta(&mut self, name: &str, value: &str) -> Result<(), MetadataError> {
        self.metadata.set(name, value)
    }

    /// Sets the time after which the server cancels each call, from its arrival.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(timeout);
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the timeout of a request that has this timeout of its own, in milliseconds.
    pub(crate) fn timeout_ms(&self, own: Option<u64>) -> Option<u64> {
        let here = self
            .timeout
            .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        match (here, own) {
            (Some(here), Some(own)) => Some(here.min(own)),
            (here, own) => here.or(own),
        }
    }
}

/// Shows the names of the metadata, and hides the values.
impl std::fmt::Debug for CallDefaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallDefaults")
            .field("metadata", &self.metadata)
            .field("timeout", &self.timeout)
            .finish()
    }
}
