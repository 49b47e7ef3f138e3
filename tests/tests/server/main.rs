//! The server: handlers, callbacks, deadlines, cancellation, panics, shutdown.

mod blocking;
mod callbacks;
mod cancellation;
mod deadlines;
mod handlers;
mod migration;
mod panics;
mod shutdown;
mod values;
