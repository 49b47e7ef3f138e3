//! The serving half: accepts connections, and assigns their streams to workers.
//!
//! In the order of a call's path: [`accept`] accepts connections, and [`serve`] their streams. A [`connection`] holds what
//! the workers of its streams ([`stream_table`]) share. A [`worker`] of a [`stream`] receives a message ([`recv`]),
//! [`request`] parses it, and [`invoke`] finds its method and runs the handler. A [`batch`] holds many calls in one message,
//! and [`streaming`] serves calls with streams of items. [`in_flight`] finds waiting calls in order to cancel them.
//! [`limits`] enforces the limits of a peer, [`observe`] reports them, and [`shutdown`] drains connections. [`raw`] answers
//! messages from other transports.

#[cfg(feature = "server")]
mod accept;
mod batch;
mod buffers;
#[cfg(feature = "server")]
mod builder;
mod call_task;
mod connection;
mod direct;
mod discover;
#[cfg(feature = "server")]
pub(crate) mod gateway;
#[cfg(feature = "server")]
mod handle;
mod health;
mod id_index;
mod in_flight;
mod invoke;
#[cfg(feature = "server")]
mod layers;
mod limits;
mod observe;
mod raw;
mod recv;
mod request;
mod serve;
mod shared;
mod shutdown;
#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
mod stream;
mod stream_table;
mod streaming;
#[cfg(test)]
mod tests;
mod worker;
mod worker_slots;

#[cfg(feature = "server")]
pub use accept::Server;
#[cfg(feature = "server")]
pub use builder::{BindError, ServerBuilder};
#[cfg(feature = "server")]
pub use handle::ServerHandle;
pub use health::Health;
pub use raw::RawService;
#[cfg(feature = "server")]
pub use shutdown::Shutdown;
