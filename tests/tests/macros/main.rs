//! The macros: accepted and rejected code, generated code and descriptions.

mod bank;
mod compile_fail;
mod errors;
mod expansions;
mod mocks;
mod openrpc;
mod openrpc_shapes;
mod openrpc_wire;
pub mod options;
mod size;
mod written;
