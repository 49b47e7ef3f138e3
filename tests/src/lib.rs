//! Tests of the whole framework, and what the tests of its reliability are made of: [`relay`] makes faults.

pub mod relay;
pub mod seed;
