//! What a faulty trait becomes: its mistakes, and enough of a service that
//! whatever uses it is not called faulty too.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, GenericParam, ItemTrait};

use crate::expand::{self, client, generated, server, trait_};
use crate::model::Service;

/// Of something that is no trait, or cannot be read.
pub(crate) fn item(item: TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote!(#error #item)
}

pub(crate) fn service(service: Service<'_>, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let trait_ = trait_::expand(&service);
    let original = without_lifetimes(service.original);
    let mut service = Service {
        original: &original,
        ..service
    };
    service.methods.retain(|method| method.ident != "new");
    let client = client::impls(&service, |method| {
        let unused = method.arguments().map(|argument| &argument.ident);
        generated!(let _ = (#(#unused,)*); loop {})
    });
    service.methods.clear();
    let server = server::impls(&service, generated!(__rpc::Send + __rpc::Sync + 'static));
    let handles = expand::handles(&service, quote!(#server #client));
    quote!(#error #trait_ #handles)
}

fn without_lifetimes(original: &ItemTrait) -> ItemTrait {
    let mut original = original.clone();
    let params = std::mem::take(&mut original.generics.params).into_iter();
    original.generics.params = params
        .filter(|it| !matches!(it, GenericParam::Lifetime(_)))
        .collect();
    original
}
