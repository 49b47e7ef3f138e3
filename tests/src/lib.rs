//! What the tests of the whole framework share.
//!
//! - [`support`] starts a server with a client, and waits.
//! - [`peer`] is a client and a server without any code of the framework, and [`message`] what they send.
//! - The tests of reliability: [`relay`] makes faults, [`ledger`] is a service that records what it executed,
//!   [`account`] records what its callers were told, and [`stage`] puts them together in one process.

pub mod account;
pub mod holdings;
pub mod hostile;
pub mod ledger;
pub mod message;
pub mod panics;
pub mod peer;
pub mod process;
pub mod relay;
pub mod seed;
pub mod stage;
pub mod support;
