//! What a handler and the operator of a server rely on.

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod callbacks;
mod cancellation;
mod deadlines;
mod handlers;
mod panics;
