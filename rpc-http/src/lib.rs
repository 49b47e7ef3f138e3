//! Serves the services of [`rpc_runtime`] over HTTP/1.1, HTTP/2 and, with the feature `websocket`, WebSocket.
//!
//! [`HttpService`] is a [`tower_service::Service`], which mounts in a router such as that of axum. [`HttpServer`] is a listener
//! of its own. Both serve the services of a server, with its limits, middleware and shutdown.
//!
//! ```no_run
//! use rpc_http::HttpServer;
//! use rpc_runtime::{Identity, Server, rpc};
//!
//! #[rpc]
//! trait Calculator {
//!     async fn add(&self, a: i64, b: i64) -> i64;
//! }
//!
//! struct Desk;
//!
//! impl Calculator for Desk {
//!     async fn add(&self, a: i64, b: i64) -> i64 {
//!         a + b
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder(Identity::self_signed(["localhost"])?)
//!     .service(CalculatorServer::new(Desk))
//!     .bind("127.0.0.1:4433")?;
//! let http = HttpServer::new(server.services()).bind("127.0.0.1:8080").await?;
//! tokio::join!(server.run(), http.run());
//! # Ok(())
//! # }
//! ```
//!
//! ```sh
//! curl -H 'content-type: application/json' http://127.0.0.1:8080/ \
//!     -d '{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}'
//! ```
//!
//! # Streams
//!
//! A request with `content-type: application/x-ndjson` is a stream: its body holds messages, one a line, and the body of the
//! response holds the replies and items as they come. Many calls run on one stream, and items are sent both ways, with the flow
//! control of HTTP/2 or TCP as back pressure. A client that disconnects cancels its calls. Appendix B of `PROTOCOL.md` has the
//! details, and the forms in which a client without streams receives items.
//!
//! ```sh
//! curl -N -H 'content-type: application/x-ndjson' http://127.0.0.1:8080/ \
//!     -d '{"jsonrpc":"2.0","id":1,"method":"prices","params":["pear"]}'
//! ```

mod accepted;
mod body;
mod discard;
mod guard;
mod held_reply;
mod line_feeds;
mod listener;
mod media;
mod metadata;
mod post;
mod pump;
mod refusal;
mod service;
mod session;
mod sse;
mod stream;
mod stream_body;
#[cfg(feature = "websocket")]
mod subscriptions;
mod timed_io;
#[cfg(feature = "websocket")]
mod websocket;

pub use body::ResponseBody;
pub use listener::{HttpBindError, HttpListener, HttpServer};
pub use service::{HttpService, PeerAddress};
pub use stream_body::BodyError;
#[cfg(feature = "websocket")]
pub use subscriptions::{SubscriptionNames, Subscriptions};

/// Compiles the programs in the page about HTTP.
#[cfg(doctest)]
#[doc = include_str!("../../docs/http.md")]
struct PageOfHttp;
