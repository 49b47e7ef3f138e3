//! How arguments and results cross the wire. Both ends say it in the same words,
//! so that a type that cannot travel is one mistake, not two.

use proc_macro2::{Span, TokenStream};
use syn::{Lifetime, Type};

use super::generated;
use crate::model::{Output, Parameter, Service};
use crate::types;

/// A parameter: its name and its type.
pub(crate) fn argument(parameter: &Parameter<'_>, door: &TokenStream) -> TokenStream {
    let Parameter {
        wire_name: name,
        ty,
        ..
    } = parameter;
    match types::option(ty) {
        None if types::is_borrowed_cow(ty) => {
            generated!(#door::arg::<&str>(#name).map(#door::Cow::Borrowed))
        }
        Some(ty) if types::is_borrowed_cow(ty) => generated! {
            #door::arg::<#door::Option<&str>>(#name).map(|it| it.map(#door::Cow::Borrowed))
        },
        _ => {
            let ty = types::erased(ty);
            generated!(#door::arg::<#ty>(#name))
        }
    }
}

/// What the types that mention the trait's generic parameters must be capable of.
pub(crate) fn bounds(service: &Service<'_>) -> Vec<TokenStream> {
    let Service {
        original,
        door,
        methods,
        ..
    } = service;
    let is_generic = |ty: &&Type| types::mentions(ty, &original.generics);
    let arguments = methods.iter().flat_map(|method| method.arguments());
    let arguments = arguments.map(|argument| argument.ty).filter(is_generic);
    let arguments = arguments.map(|ty| argument_bound(ty, door));
    let results = methods.iter().flat_map(|method| match method.output {
        Output::Unit => vec![],
        Output::Value(ty) | Output::Alias(ty) if !is_generic(&ty) => vec![],
        Output::Value(ty) => vec![returned_bound(ty, door)],
        Output::Alias(ty) => alias_bounds(ty, door).to_vec(),
        Output::Result { ok, error } => {
            let ok = Some(ok)
                .filter(is_generic)
                .map(|ok| returned_bound(ok, door));
            let error = Some(error).filter(is_generic);
            let error = error.map(|error| generated!(#error: #door::RpcError));
            ok.into_iter().chain(error).collect()
        }
    });
    arguments.chain(results).collect()
}

fn argument_bound(ty: &Type, door: &TokenStream) -> TokenStream {
    let lifetime = Lifetime::new("'__de", Span::mixed_site());
    let ty = types::with_lifetime(ty, &lifetime);
    generated!(for<#lifetime> #ty: #door::Argument<#lifetime> + #door::Serialize)
}

fn returned_bound(ty: &Type, door: &TokenStream) -> TokenStream {
    let lifetime = Lifetime::new("'__out", Span::mixed_site());
    let ty = types::with_lifetime(ty, &lifetime);
    generated!(for<#lifetime> #ty: #door::Returned)
}

fn alias_bounds(ty: &Type, door: &TokenStream) -> [TokenStream; 2] {
    let fallible = generated!(<#ty as #door::Fallible>);
    [
        generated!(#fallible::Ok: #door::Returned + #door::DeserializeOwned),
        generated!(#fallible::Err: #door::RpcError),
    ]
}
