//! Items of a stream as lines that leave together: as many as there are at once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

/// Bytes of lines that leave at once, while there are more.
pub(crate) const BATCH: usize = 16 << 10;

/// Writes items behind each other for as long as there are some at once, up to the first that `write` fails with. `None`:
/// there will be more.
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
