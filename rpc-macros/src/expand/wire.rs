//! How arguments and results cross the wire. Both ends say it in the same words,
//! so that a type that cannot travel is one mistake, not two.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Lifetime, Type};

use super::generated;
use crate::model::{Output, Parameter, Service};
use crate::types;

/// A parameter: its name and its type.
pub(crate) fn argument(parameter: &Parameter<'_>) -> TokenStream {
    let Parameter {
        wire_name: name,
        ty,
        ..
    } = parameter;
    match types::option(ty) {
        None if types::is_bytes(ty) => generated!(__rpc::bytes(#name)),
        None if types::is_borrowed_cow(ty) => generated!(__rpc::cow(#name)),
        Some(ty) if types::is_bytes(ty) => generated!(__rpc::optional_bytes(#name)),
        Some(ty) if types::is_borrowed_cow(ty) => generated!(__rpc::optional_cow(#name)),
        _ => {
            let erased = types::erased(ty);
            at(ty, "arg", quote!(#erased), quote!(#name))
        }
    }
}

/// A stream of items that the caller sends.
pub(crate) fn upload(items: &Parameter<'_>) -> TokenStream {
    let ty = items.ty;
    at(ty, "upload", quote!(#ty), quote!())
}

/// A result: its type as the handler returns it, and as the caller gets it.
pub(crate) fn returns(output: &Output<'_>) -> TokenStream {
    let both = |ty| (types::erased(ty), types::owned(ty));
    match *output {
        Output::Unit => generated!(__rpc::returns::<(), ()>()),
        Output::Value(ty) => {
            let (given, taken) = both(ty);
            at(ty, "returns", quote!(#given, #taken), quote!())
        }
        Output::Result { ok, error } => {
            let ((given, taken), error) = (both(ok), types::owned(error));
            at(
                ok,
                "returns_result",
                quote!(#given, #taken, #error),
                quote!(),
            )
        }
        Output::Alias(ty) => {
            let (given, taken) = both(ty);
            at(ty, "returns_alias", quote!(#given, #taken), quote!())
        }
    }
}

/// A call of a function of the door, which stands where the user's type does, for
/// errors to point there.
fn at(ty: &Type, function: &str, types: TokenStream, arguments: TokenStream) -> TokenStream {
    let here = Span::mixed_site();
    let mut place = ty.to_token_stream().into_iter();
    let first = place
        .next()
        .map_or(here, |token| here.located_at(token.span()));
    let last = place
        .last()
        .map_or(first, |token| here.located_at(token.span()));
    let function = Ident::new(function, first);
    let start = quote_spanned!(first=> __rpc::#function::<);
    let end = quote_spanned!(last=> >(#arguments));
    quote!(#start #types #end)
}

/// What the types that mention the trait's generic parameters must be capable of.
pub(crate) fn bounds(service: &Service<'_>) -> Vec<TokenStream> {
    let Service {
        original, methods, ..
    } = service;
    let is_generic = |ty: &&Type| types::mentions(ty, &original.generics);
    let arguments = methods.iter().flat_map(|method| method.passed());
    let arguments = arguments.map(|argument| argument.ty).filter(is_generic);
    let arguments = arguments.map(argument_bound);
    let results = methods.iter().flat_map(|method| match method.output {
        Output::Unit => vec![],
        Output::Value(ty) | Output::Alias(ty) if !is_generic(&ty) => vec![],
        Output::Value(ty) => vec![returned_bound(ty)],
        Output::Alias(ty) => alias_bounds(ty).to_vec(),
        Output::Result { ok, error } => {
            let ok = Some(ok).filter(is_generic).map(returned_bound);
            let error = Some(error).filter(is_generic);
            let error = error.map(|error| generated!(#error: __rpc::RpcError));
            ok.into_iter().chain(error).collect()
        }
    });
    arguments.chain(results).collect()
}

pub(crate) fn argument_bound(ty: &Type) -> TokenStream {
    let lifetime = Lifetime::new("'__de", Span::mixed_site());
    let ty = types::with_lifetime(ty, &lifetime);
    generated!(for<#lifetime> #ty: __rpc::Argument<#lifetime>)
}

fn returned_bound(ty: &Type) -> TokenStream {
    let owned = types::owned(ty);
    let lifetime = Lifetime::new("'__out", Span::mixed_site());
    let ty = types::with_lifetime(ty, &lifetime);
    generated!(for<#lifetime> #ty: __rpc::Returned<#owned>)
}

fn alias_bounds(ty: &Type) -> [TokenStream; 2] {
    let fallible = generated!(<#ty as __rpc::Fallible>);
    [
        generated!(#fallible::Ok: __rpc::Returned<#fallible::Ok>),
        generated!(#fallible::Err: __rpc::RpcError),
    ]
}
