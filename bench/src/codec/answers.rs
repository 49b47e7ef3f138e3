//! The interface of every contender.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use anyhow::{Result, bail};

/// Answers messages, from bytes to bytes. The returned response stays in the contender's own memory until the next message.
pub(crate) trait Answers {
    fn answer(&mut self, message: &[u8]) -> Result<&[u8]>;

    /// Answers `message` `times` times. This loop is measured.
    ///
    /// It is compiled for each contender, so that its calls are not indirect.
    fn repeat(&mut self, message: &[u8], times: u64) -> Result<()> {
        for _ in 0..times {
            black_box(self.answer(black_box(message))?);
        }
        Ok(())
    }
}

/// Returns the output of a future that has nothing to wait for.
///
/// The caller pins the future where it was made, since moving it would cost time.
///
/// # Errors
/// If the future is pending.
pub(crate) fn finish<F: Future>(future: Pin<&mut F>) -> Result<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => bail!("there is something to wait for"),
    }
}
