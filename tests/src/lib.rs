//! Shared parts of the integration tests.
//!
//! - [`support`] starts a server with a client, and waits for events.
//! - [`log`] records log events.
//! - [`peer`] is a client and a server without any code of the framework, and [`message`] writes their messages.
//! - [`packages`] installs programs of other languages.
//! - The tests of reliability: [`relay`] makes faults, [`ledger`] is a service that records the executed calls,
//!   [`call_log`] records the results of its callers, and [`harness`] puts them together in one process.

pub mod call_log;
pub mod harness;
pub mod hostile;
pub mod ledger;
pub mod log;
pub mod message;
pub mod packages;
pub mod panics;
pub mod peer;
pub mod process;
pub mod relay;
pub mod resources;
pub mod seed;
pub mod support;
