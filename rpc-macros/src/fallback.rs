//! Generates the compile errors of a faulty trait, and enough of a service that the code that uses it compiles.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, GenericParam, ItemTrait};

use crate::expand::generated::generated;
use crate::expand::{client, description, ends, server, trait_};
use crate::model::Service;
use crate::{check, generics};

/// Returns the errors of an item that is not a trait, or cannot be read.
pub(crate) fn item(item: TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote!(#error #item)
}

pub(crate) fn service(service: Service<'_>, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let trait_ = trait_::expand(&service);
    let original = bare(service.original);
    let mut service = Service {
        original: &original,
        ..service
    };
    service
        .methods
        .retain(|method| check::is_free(method.ident));
    for parameter in service.methods.iter_mut().flat_map(|it| &mut it.parameters) {
        parameter.default = None;
    }
    let methods = std::mem::take(&mut service.methods);
    let description = description::expand(&service);
    service.methods = methods;
    let client = client::impls(&service, &[], description, |method| {
        let unused = method.passed().map(|passed| &passed.ident);
        generated!(let _ = (#(#unused,)*); loop {})
    });
    service.methods.clear();
    let anything = generated!(__rpc::Send + __rpc::Sync + 'static);
    let server = server::impls(&service, anything);
    let handles = ends::handles(&service, quote!(#server #client));
    quote!(#error #trait_ #handles)
}

/// Returns the trait without lifetimes and bounds.
fn bare(original: &ItemTrait) -> ItemTrait {
    let mut generics = generics::unbounded(&original.generics);
    let params = std::mem::take(&mut generics.params).into_iter();
    let params = params.filter(|it| !matches!(it, GenericParam::Lifetime(_)));
    generics.params = params.collect();
    ItemTrait {
        generics,
        ..original.clone()
    }
}
