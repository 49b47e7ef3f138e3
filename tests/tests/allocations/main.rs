//! Allocations of a call, in memory and over QUIC. `allocation_counter` counts the allocations of one thread.

mod memory;
mod quic;
