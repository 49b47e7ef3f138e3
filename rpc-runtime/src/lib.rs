//! Typed JSON-RPC 2.0 over QUIC: one Rust trait defines a server, a typed client, and calls that are checked at compile
//! time.
//!
//! ```
//! use rpc_runtime::{Client, Identity, Server, Trust, rpc};
//!
//! #[rpc]
//! trait Text {
//!     /// Counts how often `needle` occurs in `text`. Both are borrowed from the received bytes.
//!     async fn count(&self, text: &str, needle: &str) -> usize;
//! }
//!
//! struct Counter;
//!
//! impl Text for Counter {
//!     async fn count(&self, text: &str, needle: &str) -> usize {
//!         text.matches(needle).count()
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
//! let certificate = identity.certificate();
//! let server = Server::builder(identity).service(TextServer::new(Counter)).bind("127.0.0.1:0")?;
//! let address = server.local_addr()?;
//! tokio::spawn(server.run());
//!
//! let client = Client::builder().trust(Trust::certificate(certificate)).connect(address).await?;
//! let text = TextClient::new(client);
//! assert_eq!(text.count("to be or not to be", "be").await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! - [`rpc`] is the macro: its documentation says what a trait may contain and what is generated from it.
//! - A [`Server`] serves services, and a [`Client`] calls them. A [`Call`] is a future with options such as a timeout.
//!   [`Client::local`] calls a service of the same process without a socket. A [`RawService`] answers raw messages from
//!   any other transport.
//! - [`Context`] is the context of a call, for its handler. With [`Context::client`] the handler calls its caller, if
//!   that client serves with [`ClientBuilder::service`].
//! - [`ClientBuilder::connect_many`] connects one client to several servers. The crate `rpc-discovery` finds them.
//! - [`Broadcast`] sends one source of items to many callers, with a lag policy for each.
//! - [`RpcError`](trait@RpcError) is an error that the client receives as the same enum. [`CallError`] also covers
//!   every other failure of a call.
//! - A [`Middleware`](middleware::Middleware) wraps a service and sees each call before and after its handler. The
//!   crate `rpc-layers` provides traces, metrics, authorization and limits. A
//!   [`ClientMiddleware`](middleware::ClientMiddleware) does the same for the calls of a client.
//! - [`OpenRpc`](description::OpenRpc) is the description of a service, as an OpenRPC document. A server returns it as
//!   the result of `rpc.discover`.
//! - [`Identity`] is the certificate and key of a server or a client; [`Trust`] is the set of trust anchors of its
//!   peer.
//! - [`Limits`] limit what a server accepts. [`TransportSettings`] are the settings of QUIC and of its sockets.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `ring` | on | the cryptography of [ring](https://docs.rs/ring) |
//! | `aws-lc-rs` | off | the cryptography of [aws-lc-rs](https://docs.rs/aws-lc-rs), which takes precedence over ring; needs a C compiler, and on some systems CMake |
//! | `fips` | off | the module of aws-lc-rs that is validated for FIPS 140-3; needs a C compiler, CMake and Go |
//! | `server` | on | [`Server`] and [`Identity::self_signed`], which a program with only clients does not need |
//! | `http2` | off | clients over HTTP/2: `https://` addresses, and `ClientBuilder::fallback` for networks without UDP |
//! | `openrpc` | off | JSON Schemas in descriptions |
//! | `testing` | off | `testing::Link`, a network in memory with faults, for tests |
//! | `rustls-config` | off | configurations of [rustls](https://docs.rs/rustls) 0.23 instead of [`Identity`] and [`Trust`] |
//!
//! One of `ring` and `aws-lc-rs` is needed. `rpc-layers` and `rpc-discovery` have features of the same names, so a program
//! without ring turns off their default features, too. If it has a server, it turns on `server`.
//!
//! # Layout
//!
//! A call passes through the modules in this order: `client` encodes the request, and `transport` moves its bytes.
//! `server` parses the message with `codec`, and `service` dispatches the call to the generated code. The reply returns
//! the same way. `ARCHITECTURE.md` describes each step.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod binary;
mod blocking;
pub mod broadcast;
mod call_defaults;
mod client;
mod codec;
#[doc(hidden)]
pub mod codegen;
mod context;
mod deadline;
pub mod description;
pub mod event;
mod event_limit;
#[cfg(any(test, feature = "__fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hints;
mod idle;
mod limits;
mod memory;
pub mod middleware;
mod outcome;
mod permit;
mod phase;
mod prefix;
mod reply_metadata;
mod server;
mod service;
mod share;
mod slots;
mod streaming;
mod sync;
pub mod tls;
mod transport;
mod transport_kind;
mod waker;

pub use binary::Base64;
pub use broadcast::Broadcast;
pub use client::{
    Address, AddressError, Batch, BatchEntry, BatchResponse, Call, CallError, CallWithMetadata,
    Client, ClientBuilder, ConnectError, ConnectionState, Execution, Notification,
    ResponseMetadata, StateWatch, Streaming,
};
pub use codec::error::{ErrorObject, RpcError};
pub use codec::error_code::code;
pub use codec::escape::Escaped;
pub use codec::metadata::MetadataError;
pub use context::{Cancellation, Context, Extensions};
pub use futures_core::Stream;
pub use limits::Limits;
pub use outcome::Outcome;
#[doc = include_str!("../docs/rpc_error.md")]
pub use rpc_macros::RpcError;
#[doc = include_str!("../docs/rpc.md")]
pub use rpc_macros::rpc;
#[cfg(feature = "server")]
pub use server::{BindError, Server, ServerBuilder, ServerHandle, Shutdown};
pub use server::{Health, RawService};
pub use service::Service;
pub use tls::{Identity, Trust};
pub use transport::ConnectionError;
pub use transport::quic::ClientSocket;
pub use transport::settings::{CongestionController, TransportSettings, TransportSettingsError};
pub use transport_kind::TransportKind;

/// Connects one client to several servers.
pub mod balance {
    pub use crate::client::{Endpoint, Endpoints};
}

/// Serves the services of a server over transports of other crates, such as HTTP in `rpc-http`.
pub mod gateway {
    pub use crate::call_defaults::CallDefaults;
    #[cfg(feature = "server")]
    #[doc(hidden)]
    pub use crate::client::carried::{CarriedConnection, CarriedTls};
    #[cfg(feature = "server")]
    pub use crate::server::gateway::{
        ConnectionRefused, ConnectionTicket, GatewayCall, GatewayConnection, GatewayPeer,
        ServiceSet,
    };
    #[cfg(feature = "server")]
    pub use crate::tls::TlsOverTcp;
    #[cfg(feature = "server")]
    pub use crate::transport::gateway::{GatewayRecv, GatewaySend, StreamError};
    #[cfg(any(feature = "http2", feature = "server"))]
    pub use crate::transport::header;
}

/// Injects faults, for tests of programs. Needs the feature `testing`.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::transport::link::Link;
}

/// Compiles the programs in the page of limits.
#[cfg(doctest)]
#[doc = include_str!("../../docs/limits.md")]
struct PageOfLimits;

/// Compiles the program in the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Compiles the programs in the page about metadata.
#[cfg(doctest)]
#[doc = include_str!("../../docs/metadata.md")]
struct MetadataPage;
