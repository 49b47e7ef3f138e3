//! Calls with streams of items, and broadcasts.

#[path = "../peer/mod.rs"]
mod peer;
#[path = "../support/mod.rs"]
mod support;

mod broadcast;
mod items;
mod misuse;
mod odd_streams;
