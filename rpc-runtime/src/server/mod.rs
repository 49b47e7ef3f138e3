//! Serves: accepts connections and hands their streams to workers.
//!
//! In the order of a call's path: [`accept`] takes connections and their streams, a [`worker`] of a [`stream`] receives a
//! message ([`recv`]), [`request`] parses it, [`invoke`] finds its method and runs the handler. A [`batch`] is many calls in one message,
//! [`streaming`] the path of calls with streams of items. [`in_flight`] finds waiting calls to cancel them, [`limits`]
//! enforces what a peer may take, [`shutdown`] drains. [`raw`] answers messages that came some other way.

mod accept;
mod batch;
mod buffers;
mod builder;
mod call_task;
mod connection;
mod discover;
mod id_index;
mod in_flight;
mod invoke;
mod limits;
mod raw;
mod recv;
mod request;
mod shutdown;
#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
mod stream;
mod streaming;
#[cfg(test)]
mod tests;
mod worker;
mod worker_slots;

pub use accept::Server;
pub use builder::{BindError, ServerBuilder};
pub use raw::RawService;
pub use shutdown::ServerHandle;
