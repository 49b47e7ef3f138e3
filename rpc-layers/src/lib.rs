//! Layers for the services of [`rpc_runtime`]. A layer sees every call of the service that it wraps.
//!
//! They are tower [`Layer`]s, so tower's `ServiceBuilder` can wrap a service in several of them. The first one
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
//! A single layer needs no other crate: [`Layer`] is a re-export of tower's trait.
//!
//! ```
//! use rpc_layers::{Layer, TracingLayer};
//! # use rpc_runtime::rpc;
//! # #[rpc]
//! # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
//! # struct Desk;
//! # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
//!
//! let service = TracingLayer::new().layer(CalculatorServer::new(Desk));
//! ```
//!
//! | layer | feature |
//! |---|---|
//! | `TracingLayer`: creates a `tracing` span for each call | `tracing` |
//! | `OpenTelemetryLayer`: creates the same span as a child of the caller's span, which `propagate` sends | `opentelemetry` |
//! | `MetricsLayer`: counts calls by outcome and measures their durations | `metrics` |
//! | `server_event_metrics`, `client_event_metrics`: count connections, reconnects, retries, and calls at limits | `metrics` |
//! | `AuthorizationLayer`: runs a check of yours before each call | `authorization` |
//! | `ConcurrencyLimitLayer`: limits the number of calls in flight | `concurrency-limit` |
//! | `RateLimitLayer`: limits the rate of calls | `rate-limit` |
//!
//! # Clients
//! [`ClientBuilder::middleware`](rpc_runtime::ClientBuilder::middleware) adds a middleware around the calls of a client:
//!
//! ```
//! use rpc_layers::ClientTracing;
//! use rpc_runtime::{Client, rpc};
//!
//! # #[rpc]
//! # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
//! # struct Desk;
//! # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
//! # #[tokio::main]
//! # async fn main() {
//! let client = Client::builder()
//!     .middleware(ClientTracing::new())
//!     .local(CalculatorServer::new(Desk)); // or `.connect(address).await?`
//! assert_eq!(CalculatorClient::new(client).add(1, 2).await.unwrap(), 3);
//! # }
//! ```
//!
//! | middleware | feature |
//! |---|---|
//! | `ClientTracing`: creates a `tracing` span for each call | `tracing` |
//! | `ClientLogging`: writes an event when a call ends, and a warning when it fails | `tracing` |
//! | `ClientOpenTelemetry`: creates the span of `ClientTracing`, and sends its context with the call | `opentelemetry` |
//! | `ClientMetrics`: counts calls and attempts by outcome and measures their durations | `metrics` |
//!
//! The first one that is added is the outermost. A middleware outside of one that sends a call twice, for a new token for
//! example, sees one call with several attempts. A middleware inside of it sees two calls.
//!
//! # Features and cost
//! No layer is enabled by default; the feature `ring`, the cryptographic library of `rpc_runtime`, is. A layer of your own implements [`Middleware`](rpc_runtime::middleware::Middleware)
//! and does not need this crate.
//!
//! [`ServerBuilder::layer`](rpc_runtime::ServerBuilder::layer) wraps all services of a server in any of these layers:
//! `Server::builder(identity).layer(TracingLayer::new())`. Such a layer also sees calls of unknown methods, as calls of the
//! method `_OTHER`.
//!
//! A layer sees the calls that the layers outside of it let through. Metrics outside of a limit also count the calls
//! that the limit rejects, as errors with its code; metrics inside do not. Once warm, a layer of a server allocates for a call
//! only if a subscriber is interested in the call's span, or if the call is rejected, which boxes the error. A middleware of a
//! client allocates a future for each call.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

#[cfg(feature = "authorization")]
mod authorization;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod client;
#[cfg(feature = "concurrency-limit")]
mod concurrency_limit;
#[cfg(feature = "metrics")]
mod events;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "rate-limit")]
mod rate_limit;
#[cfg(feature = "tracing")]
mod trace;

pub use tower_layer::Layer;

#[cfg(feature = "metrics")]
pub use self::events::{client_event_metrics, server_event_metrics};
#[cfg(feature = "metrics")]
pub use self::metrics::{Metrics, MetricsLayer};
#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::{OpenTelemetry, OpenTelemetryLayer, propagate};
#[cfg(feature = "authorization")]
pub use authorization::{Authorization, AuthorizationLayer, Authorize};
#[cfg(feature = "metrics")]
pub use client::metrics::ClientMetrics;
#[cfg(feature = "opentelemetry")]
pub use client::opentelemetry::ClientOpenTelemetry;
#[cfg(feature = "tracing")]
pub use client::{log::ClientLogging, trace::ClientTracing};
#[cfg(feature = "concurrency-limit")]
pub use concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
#[cfg(feature = "rate-limit")]
pub use rate_limit::{RateLimit, RateLimitLayer};
#[cfg(feature = "tracing")]
pub use trace::{Tracing, TracingLayer};
