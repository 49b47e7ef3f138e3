//! Layers for the services of [`rpc_runtime`]: each sees every call of the service that it is put around.
//!
//! They are [`tower_layer::Layer`]s, so that tower's `ServiceBuilder` puts several around a service at once. The first one
//! is the outermost:
//!
//! ```
//! use rpc_layers::TracingLayer;
//! use rpc_runtime::{Client, rpc};
//! use tower::ServiceBuilder;
//!
//! #[rpc]
//! trait Calculator {
//!     async fn add(&self, a: i64, b: i64) -> i64;
//! }
//!
//! struct Desk;
//! impl Calculator for Desk {
//!     async fn add(&self, a: i64, b: i64) -> i64 { a + b }
//! }
//!
//! # #[tokio::main]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(TracingLayer::new())
//!     .service(CalculatorServer::new(Desk));
//! let calculator = CalculatorClient::new(Client::local(service)); // or `Server::builder(identity).service(service)`
//! assert_eq!(calculator.add(1, 2).await.unwrap(), 3);
//! # }
//! ```
//!
//! | layer | feature |
//! |---|---|
//! | [`TracingLayer`]: a span of `tracing`'s for each call | `tracing` |
//!
//! No feature is on by default. A layer of your own is a [`Middleware`](rpc_runtime::Middleware) and needs none of this.

#[cfg(feature = "tracing")]
mod trace;

#[cfg(feature = "tracing")]
pub use trace::{Tracing, TracingLayer};
