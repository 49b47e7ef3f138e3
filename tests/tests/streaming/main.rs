//! Calls with streams of items, and broadcasts.

mod broadcast;
mod desk;
mod edge_cases;
mod items;
mod misuse;
