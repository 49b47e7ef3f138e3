//! The client: calls, connections, retries, several servers, discovery.

mod balance;
mod calls;
mod closing;
mod dialling;
mod discovery;
mod execution;
mod faults;
mod link;
mod middleware;
mod reconnect;
mod response_metadata;
mod runtimes;
mod short_lived;
mod upstream;
