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
//! | `TracingLayer`: a span of `tracing`'s for each call | `tracing` |
//! | `OpenTelemetryLayer`: the same, as a child of the caller's span, which `propagate` sends | `opentelemetry` |
//! | `MetricsLayer`: how many calls, how they end, how long they take | `metrics` |
//! | `AuthorizationLayer`: a check of your own before each call | `authorization` |
//! | `ConcurrencyLimitLayer`: how many calls run at once | `concurrency-limit` |
//! | `RateLimitLayer`: how many calls come in a time | `rate-limit` |
//!
//! No feature is on by default. A layer of your own is a [`Middleware`](rpc_runtime::middleware::Middleware) and needs none of this.
//!
//! A layer sees what those outside of it let through: with metrics outside of a limit the calls that it refuses are
//! counted, too, as errors with its code, and with metrics inside they are not. No layer allocates for a call once it is
//! warm, unless somebody wants the call's span, or it is refused: that costs a box for the error.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

#[cfg(feature = "authorization")]
mod authorization;
#[cfg(feature = "concurrency-limit")]
mod concurrency_limit;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "rate-limit")]
mod rate_limit;
#[cfg(feature = "tracing")]
mod trace;

#[cfg(feature = "metrics")]
pub use self::metrics::{Metrics, MetricsLayer};
#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::{OpenTelemetry, OpenTelemetryLayer, propagate};
#[cfg(feature = "authorization")]
pub use authorization::{Authorization, AuthorizationLayer, Authorize};
#[cfg(feature = "concurrency-limit")]
pub use concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
#[cfg(feature = "rate-limit")]
pub use rate_limit::{RateLimit, RateLimitLayer};
#[cfg(feature = "tracing")]
pub use trace::{Tracing, TracingLayer};
