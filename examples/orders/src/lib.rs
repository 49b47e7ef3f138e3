//! An order service: replicas that customers call, a ledger that stores the orders, and the clients. See `README.md`.

pub mod api;
pub mod authenticate;
pub mod bearer;
pub mod client;
pub mod files;
pub mod ledger;
pub mod load;
pub mod metrics;
pub mod replica;
pub mod serve;
pub mod signals;
pub mod store;
pub mod tokens;
