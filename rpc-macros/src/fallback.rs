//! What a faulty trait becomes: its mistakes, and enough of a service that
//! whatever uses it is not called faulty too.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Error;

use crate::expand::{client, generated, server, trait_};
use crate::model::Service;

/// Of something that is no trait, or cannot be read.
pub(crate) fn item(item: TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote!(#error #item)
}

pub(crate) fn service(mut service: Service<'_>, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let trait_ = trait_::expand(&service);
    let client = client::expand(&service, |_, _| generated!(loop {}));
    service.methods.clear();
    let server = server::expand(&service);
    quote!(#error #trait_ #server #client)
}
