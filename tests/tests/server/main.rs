//! What a handler and the operator of a server rely on.

#[path = "../support/mod.rs"]
mod support;

mod callbacks;
mod deadlines;
mod handlers;
