//! Calls with streams of items, and broadcasts.

mod broadcast;
mod edge_cases;
mod items;
mod misuse;
mod service;
