//! Shows a trace that crosses two services, and the metrics of both: a customer calls a shop, which calls its stock.
//!
//! [`telemetry`] exports the spans and metrics, [`services`] has the two services, and [`link`] connects them.

pub mod link;
pub mod services;
pub mod telemetry;
