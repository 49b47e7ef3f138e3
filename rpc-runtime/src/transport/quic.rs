//! Implements the transport with quinn. No other module depends on quinn.
//!
//! A [`Connection`] opens and accepts streams ([`SendStream`], [`RecvStream`]) and sends datagrams. A client connects with its
//! [`ClientTransport`], over a socket of its own or a [`ClientSocket`] that several clients share. A server accepts
//! connections with a `Listener`.

mod attempt;
mod client;
mod client_socket;
mod config;
mod connection;
mod counted_socket;
mod drivers;
mod error;
#[cfg(feature = "server")]
mod incoming;
#[cfg(feature = "server")]
mod listener;
#[cfg(feature = "server")]
mod server_socket;
#[cfg(feature = "server")]
mod stateless_reset;
mod stream;
mod udp;
mod window;

pub(crate) use attempt::{ConnectAttempt, SpareSocket};
pub(crate) use client::ClientTransport;
pub use client_socket::ClientSocket;
pub(crate) use connection::Connection;
#[cfg(feature = "server")]
pub(crate) use incoming::IncomingConnection;
#[cfg(feature = "server")]
pub(crate) use listener::{Listener, ListenerKeys, ListenerSocket};
pub(crate) use stream::{RecvStream, SendStream};
pub(crate) use window::Room;
