//! Allocations of a call, over memory and over QUIC. `allocation_counter` counts those of one thread.

mod memory;
mod quic;
