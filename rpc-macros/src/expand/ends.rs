//! Generates the server and the client of a service.

use proc_macro2::TokenStream;
use quote::quote;

use super::generated::inside;
use super::{client, server};
use crate::model::Service;

/// Generates the server and the client.
pub(crate) fn handles(service: &Service<'_>, impls: TokenStream) -> TokenStream {
    let (server, client) = (
        server::handle(service).item(),
        client::handle(service).item(),
    );
    let impls = inside(&service.codegen, &service.allowed(), impls);
    quote!(#server #client #impls)
}
