//! Tests of the whole framework, and what the tests of its reliability are made of: [`relay`] makes faults, [`ledger`]
//! is a service that remembers what it executed, [`account`] what its callers were told, and [`stage`] puts them
//! together in one process.

pub mod account;
pub mod holdings;
pub mod ledger;
pub mod panics;
pub mod process;
pub mod relay;
pub mod seed;
pub mod stage;
