//! What every contender does.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use anyhow::{Result, bail};

/// Bytes in, bytes out. What is handed out lies in memory of its own until the next message.
pub(crate) trait Answers {
    fn answer(&mut self, message: &[u8]) -> Result<&[u8]>;

    /// The loop that is measured; compiled for each contender, so that its calls are not indirect.
    fn repeat(&mut self, message: &[u8], times: u64) -> Result<()> {
        for _ in 0..times {
            black_box(self.answer(black_box(message))?);
        }
        Ok(())
    }
}

/// What a future comes to that has nothing to wait for. It is pinned where it was made: moving it would cost.
pub(crate) fn finish<F: Future>(future: Pin<&mut F>) -> Result<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => bail!("there is something to wait for"),
    }
}
