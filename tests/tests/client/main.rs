//! What a caller relies on: connections, retries, several servers, discovery.

#[path = "../peer/mod.rs"]
mod peer;
#[path = "../support/mod.rs"]
mod support;

mod balance;
mod calls;
mod discovery;
mod execution;
mod faults;
mod reconnect;
mod runtimes;
