//! The serving half: accepts connections, and assigns their streams to workers.
//!
//! In the order of a call's path: [`accept`] accepts connections and their streams. A [`worker`] of a [`stream`] receives a
//! message ([`recv`]), [`request`] parses it, and [`invoke`] finds its method and runs the handler. A [`batch`] holds many
//! calls in one message, and [`streaming`] serves calls with streams of items. [`in_flight`] finds waiting calls in order to
//! cancel them. [`limits`] enforces the limits of a peer, [`observe`] reports them, and [`shutdown`] drains connections. [`raw`] answers messages from
//! other transports.

mod accept;
mod batch;
mod buffers;
mod builder;
mod call_task;
mod connection;
mod discover;
mod health;
mod id_index;
mod in_flight;
mod invoke;
mod layers;
mod limits;
mod observe;
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
pub use health::Health;
pub use raw::RawService;
pub use shutdown::ServerHandle;
