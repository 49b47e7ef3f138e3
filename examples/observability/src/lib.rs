//! A trace that crosses two services, and what was counted on its way: a customer calls a shop, which calls its stock.
//!
//! [`telemetry`] is where spans and metrics go, [`services`] what is called, [`link`] how each reaches the other.

pub mod link;
pub mod services;
pub mod telemetry;
