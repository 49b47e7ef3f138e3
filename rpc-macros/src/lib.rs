//! The macros of `rpc-runtime`, which re-exports and documents them.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod attr;
mod check;
mod conditional;
mod diagnostics;
mod docs;
mod duplicates;
mod example;
mod expand;
mod fallback;
mod foreign;
mod generics;
mod meta;
mod model;
mod names;
mod normalize;
mod repair;
mod rpc_error;
mod serde_attrs;
mod types;

#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Generates the server and the client of a trait. See `rpc_runtime::rpc`.
#[proc_macro_attribute]
pub fn rpc(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::rpc(options.into(), item.into()).into()
}

/// Implements `RpcError` for an error that is sent to the caller. See `rpc_runtime::RpcError`.
#[proc_macro_derive(RpcError, attributes(rpc, serde))]
pub fn derive_rpc_error(item: TokenStream) -> TokenStream {
    rpc_error::derive(item.into()).into()
}
