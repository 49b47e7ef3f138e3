//! The server: handlers, callbacks, deadlines, cancellation, panics, shutdown.

mod blocking;
mod callbacks;
mod cancellation;
mod deadlines;
mod discover;
mod draining;
mod events;
mod handlers;
mod health;
mod layers;
mod migration;
mod panics;
mod peer;
mod rustls_config;
mod shutdown;
mod transport;
mod values;
