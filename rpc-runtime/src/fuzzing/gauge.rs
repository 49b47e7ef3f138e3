//! Runs a script step by step, and counts the allocated memory.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::client::decode::with_parser;
use crate::memory::counted;

/// The memory that was allocated while a function ran, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Allocated {
    /// Allocated bytes at the end, minus allocated bytes at the beginning.
    pub kept: i64,
    /// Maximum of the allocated bytes while the function ran, minus those at the beginning.
    pub most: u64,
}

/// Measures the memory that a function allocates.
pub type Measure = fn(&mut dyn FnMut()) -> Allocated;

/// A runtime whose tasks are measured.
#[derive(Debug)]
pub(super) struct Gauge {
    runtime: Runtime,
    measure: Measure,
    /// Number of bytes allocated now, and the maximum during the last step.
    live: i64,
    peak: i64,
    counted_before: usize,
}

impl Gauge {
    /// Creates a gauge. `runtime` has one thread, and its clock is paused.
    pub(super) fn new(runtime: Runtime, measure: Measure) -> Self {
        release_parser();
        Self {
            runtime,
            measure,
            live: 0,
            peak: 0,
            counted_before: counted::bytes(),
        }
    }

    /// Runs `future` and measures its allocations.
    pub(super) fn step<F: Future>(&mut self, future: F) -> F::Output {
        let Self {
            runtime, measure, ..
        } = self;
        let mut future = Some(future);
        let mut output = None;
        let allocated = measure(&mut || output = future.take().map(|f| runtime.block_on(f)));
        self.peak = self.live + i64::try_from(allocated.most).unwrap_or(i64::MAX);
        self.live += allocated.kept;
        output.expect("`measure` calls its argument")
    }

    /// Runs `future`, and releases the buffers that the thread keeps for later replies.
    pub(super) fn last_step<F: Future>(&mut self, future: F) -> F::Output {
        self.step(async {
            let output = future.await;
            release_parser();
            output
        })
    }

    /// Returns the number of bytes allocated now.
    pub(super) fn live(&self) -> usize {
        usize::try_from(self.live).unwrap_or_default()
    }

    /// Returns the maximum number of bytes allocated during the last step.
    pub(super) fn peak(&self) -> usize {
        usize::try_from(self.peak).unwrap_or_default()
    }

    /// Returns the number of bytes that the server counts now.
    pub(super) fn counted(&self) -> usize {
        counted::bytes().wrapping_sub(self.counted_before)
    }
}

/// Releases the buffers of the parser that all clients of the thread share.
fn release_parser() {
    with_parser(|parser| parser.shrink(0));
}

/// Lets all other tasks run until each of them waits for an event. A paused clock advances only then.
pub(super) async fn run_until_idle() {
    sleep(Duration::from_millis(1)).await;
}
