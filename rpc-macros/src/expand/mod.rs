//! Generates the code of a service from the model of its trait.

pub(crate) mod client;
pub(crate) mod description;
pub(crate) mod ends;
pub(crate) mod generated;
mod handle;
pub(crate) mod server;
pub(crate) mod trait_;
pub(crate) mod wire;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Item, ItemTrait};

pub(crate) use self::generated::generated;
use crate::diagnostics::Errors;
use crate::model::Service;
use crate::{check, duplicates, fallback, foreign, normalize, repair};

pub(crate) fn rpc(options: TokenStream, item: TokenStream) -> TokenStream {
    match parse(item.clone()) {
        Ok(original) => service(options, original),
        Err(error) => fallback::item(item, &error),
    }
}

fn parse(item: TokenStream) -> syn::Result<ItemTrait> {
    match syn::parse2(item)? {
        Item::Trait(item) => Ok(item),
        other => Err(foreign::not_a_trait(&other)),
    }
}

fn service(options: TokenStream, mut original: ItemTrait) -> TokenStream {
    let mut errors = Errors::default();
    normalize::service(&mut original, &mut errors);
    duplicates::reject(&mut original, &mut errors);
    foreign::reject_second_rpc(&mut original, &mut errors);
    let is_desugared = foreign::reject_async_trait(&mut original, &mut errors);
    if !is_desugared {
        repair::service(&mut original, &mut errors);
    }
    let service = match is_desugared {
        // Its methods have been rewritten, so what is wrong with them is not of the user.
        true => Service::read(options, &original, &mut Errors::default()),
        false => Service::read(options, &original, &mut errors),
    };
    if !is_desugared {
        check::service(&service, &mut errors);
    }
    match errors.finish() {
        Ok(()) => emit(&service),
        Err(error) => fallback::service(service, &error),
    }
}

fn emit(service: &Service<'_>) -> TokenStream {
    let trait_ = trait_::expand(service);
    let ItemTrait {
        ident, generics, ..
    } = service.original;
    let (_, args, _) = generics.split_for_impl();
    let server = server::impls(service, quote!(#ident #args));
    let description = description::expand(service);
    let client = client::impls(service, &wire::bounds(service), description, client::body);
    let handles = ends::handles(service, quote!(#server #client));
    quote!(#trait_ #handles)
}
