//! Gathers the items of a stream that are ready at once into lines that are sent together.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

/// The size of the lines, in bytes, from which on they are sent even if more items are ready.
pub(crate) const BATCH: usize = 16 << 10;

/// Writes items to `lines` for as long as the stream is ready, and waits only for the first.
///
/// Returns `None` if more items may follow, `Some(Ok)` at the end of the stream, and `Some(Err)` with the first error
/// of `write`.
pub(crate) fn gather<S: Stream, L>(
    mut items: Pin<&mut S>,
    lines: &mut Vec<u8>,
    cx: &mut Context<'_>,
    mut write: impl FnMut(S::Item, &mut Vec<u8>) -> Result<(), L>,
) -> Poll<Option<Result<(), L>>> {
    while lines.len() < BATCH {
        let next = match items.as_mut().poll_next(cx) {
            Poll::Pending if !lines.is_empty() => break,
            next => ready!(next),
        };
        match next.map(|item| write(item, lines)) {
            Some(Ok(())) => {}
            Some(failed) => return Poll::Ready(Some(failed)),
            None => return Poll::Ready(Some(Ok(()))),
        }
    }
    Poll::Ready(None)
}
