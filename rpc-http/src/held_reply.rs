//! Large replies, which are held only for some time if the client does not take them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// The size of the pieces that a reply is sent in. A smaller reply is sent as a whole.
const PIECE_BYTES: usize = 64 << 10;

/// A reply that is sent in pieces. It is released when the client has taken no piece for some time, since the body of a response
/// is not polled while the client grants no window.
pub(crate) struct HeldReply {
    rest: Arc<Mutex<Rest>>,
    timer: AbortHandle,
}

struct Rest {
    /// `None` if the reply was released.
    bytes: Option<Bytes>,
    last_taken: Instant,
}

/// The client has not taken a reply in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotTaken;

impl HeldReply {
    pub(crate) fn is_large(reply: &Bytes) -> bool {
        reply.len() > PIECE_BYTES
    }

    pub(crate) fn new(reply: Bytes, write_timeout: Duration) -> Self {
        let rest = Arc::new(Mutex::new(Rest {
            bytes: Some(reply),
            last_taken: Instant::now(),
        }));
        let timer = tokio::spawn(release(Arc::clone(&rest), write_timeout));
        Self {
            rest,
            timer: timer.abort_handle(),
        }
    }

    /// Returns the next piece, and `None` at the end.
    pub(crate) fn next_piece(&self) -> Result<Option<Bytes>, NotTaken> {
        let mut rest = lock(&self.rest);
        rest.last_taken = Instant::now();
        let bytes = rest.bytes.as_mut().ok_or(NotTaken)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        // A copy, since a part of the reply would keep all of it in memory.
        Ok(Some(Bytes::copy_from_slice(&piece)))
    }

    /// Returns the number of bytes that are not taken.
    pub(crate) fn len(&self) -> usize {
        lock(&self.rest).bytes.as_ref().map_or(0, Bytes::len)
    }
}

fn lock(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Releases a reply once no piece was taken for some time.
async fn release(rest: Arc<Mutex<Rest>>, timeout: Duration) {
    loop {
        let end = lock(&rest).last_taken + timeout;
        sleep_until(end).await;
        let mut rest = lock(&rest);
        if rest.last_taken + timeout <= Instant::now() {
            rest.bytes = None;
            return;
        }
    }
}

impl Drop for HeldReply {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl fmt::Debug for HeldReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldReply").finish_non_exhaustive()
    }
}
