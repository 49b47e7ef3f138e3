//! What several fuzz targets need: JSON to begin with, and serde_json's opinion of what becomes of it.

pub mod desk;
pub mod grammar;
pub mod oracle;
pub mod replies;

use rpc_runtime::fuzzing::Allocated;
use tokio::runtime::{Builder, Runtime};

/// Runs a future in a runtime of its own: nothing is left of one input when the next comes.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}

/// A runtime of one thread whose clock goes on when all tasks wait.
pub fn paused_runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// Counts what a function allocates.
pub fn measure(run: &mut dyn FnMut()) -> Allocated {
    let counted = allocation_counter::measure(run);
    Allocated {
        kept: counted.bytes_current,
        most: counted.bytes_max,
    }
}
