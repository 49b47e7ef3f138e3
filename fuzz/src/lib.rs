//! What several fuzz targets need: JSON to begin with, and serde_json's opinion of what becomes of it.

pub mod desk;
pub mod grammar;
pub mod oracle;
pub mod replies;

use tokio::runtime::Builder;

/// Runs a future in a runtime of its own: nothing is left of one input when the next comes.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}
