//! What a handler and the operator of a server rely on.

mod blocking;
mod callbacks;
mod cancellation;
mod deadlines;
mod handlers;
mod migration;
mod panics;
