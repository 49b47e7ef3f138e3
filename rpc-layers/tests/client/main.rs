//! The middleware of clients: what each reports of calls that end in every way.

#[path = "../it/support/capture.rs"]
mod capture;
#[path = "../it/support/recorder.rs"]
mod recorder;

mod calls;
mod log;
mod metrics;
mod trace;
