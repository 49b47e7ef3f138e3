//! The layers, around services whose calls end in every way.

mod allocations;
mod limits;
mod metrics;
mod outcomes;
mod support;
mod trace;
