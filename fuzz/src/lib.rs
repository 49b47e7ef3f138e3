//! Shared parts of the fuzz targets: generators of JSON, and the expected results according to serde_json.

pub mod grammar;
pub mod oracle;
pub mod replies;
pub mod service;

use rpc_runtime::fuzzing::Allocated;
use tokio::runtime::{Builder, Runtime};

/// Runs a future in a new runtime, so that no state of one input remains for the next.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}

/// Returns a current-thread runtime with a paused clock, which advances when all tasks wait.
pub fn paused_runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// Counts the allocations of a function.
pub fn measure(run: &mut dyn FnMut()) -> Allocated {
    let counted = allocation_counter::measure(run);
    Allocated {
        kept: counted.bytes_current,
        most: counted.bytes_max,
    }
}
