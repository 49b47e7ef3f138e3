//! Generates the encoding and decoding of arguments and results. Both ends use the same tokens, so that an unsuitable
//! type causes one compile error, not two.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Lifetime, Type};

use super::generated;
use crate::model::{Method, Output, Parameter, Service};
use crate::types;

/// Returns a parameter with its name and its type.
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
        inner => {
            let erased = types::erased(ty);
            let function = match inner.unwrap_or(ty) {
                Type::Reference(_) if !types::is_str(inner.unwrap_or(ty)) => "arg_reference",
                inner if types::is_called_context(inner) => "arg_context",
                _ => "arg",
            };
            at(ty, function, quote!(#erased), quote!(#name))
        }
    }
}

/// Returns the context of a call.
pub(crate) fn context(ty: &Type) -> TokenStream {
    let context = match ty {
        Type::Reference(reference) => &reference.elem,
        other => other,
    };
    let call = generated!(call);
    at(context, "context", quote!(#context), call)
}

/// Returns the stream of items that the caller sends.
pub(crate) fn upload(items: &Parameter<'_>) -> TokenStream {
    let ty = items.ty;
    at(ty, "upload", quote!(#ty), quote!())
}

/// Returns a result: the type that the handler returns, and the type that the caller receives.
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
            let given = fallible(ty, &given, "Ok");
            let (ok, error) = (fallible(ty, &taken, "Ok"), fallible(ty, &taken, "Err"));
            at(ty, "returns_result", quote!(#given, #ok, #error), quote!())
        }
    }
}

/// Returns a member of `Fallible` for the `Result` that `place` names. All its uses have the span of the type, without the
/// macro: the compiler reports errors of the same span once.
pub(crate) fn fallible(place: &Type, result: &Type, member: &str) -> TokenStream {
    let (first, last) = ends(place);
    let member = Ident::new(member, last);
    let start = quote_spanned!(first=> <);
    let end = quote_spanned!(last=> as __rpc::Fallible>::#member);
    quote!(#start #result #end)
}

/// Returns the spans of the first and the last token of a type.
pub(crate) fn ends(ty: &Type) -> (Span, Span) {
    let mut tokens = ty.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::mixed_site, |it| it.span());
    (first, tokens.last().map_or(first, |it| it.span()))
}

/// Returns the schemas of the data of a method's errors.
pub(crate) fn error_schemas(output: &Output<'_>) -> Option<TokenStream> {
    match *output {
        Output::Unit | Output::Value(_) => None,
        Output::Result { error, .. } => {
            let owned = types::owned(error);
            Some(at(error, "error_schemas", quote!(#owned), quote!()))
        }
        Output::Alias(ty) => {
            let owned = types::owned(ty);
            let error = fallible(ty, &owned, "Err");
            Some(at(ty, "error_schemas", error, quote!()))
        }
    }
}

/// Returns the schema of a type.
pub(crate) fn schema(ty: &Type) -> TokenStream {
    let erased = types::erased(ty);
    at(ty, "schema", quote!(#erased), quote!())
}

/// Returns the schema of a parameter's form on the wire.
pub(crate) fn argument_schema(parameter: &Parameter<'_>) -> TokenStream {
    let ty = parameter.ty;
    match types::option(ty) {
        None if types::is_bytes(ty) => generated!(__rpc::schema::<__rpc::str>()),
        Some(ty) if types::is_bytes(ty) => {
            generated!(__rpc::schema::<__rpc::Option<&__rpc::str>>())
        }
        _ => schema(ty),
    }
}

/// Returns the schema of a result, or of each item.
pub(crate) fn result_schema(output: &Output<'_>) -> Option<TokenStream> {
    match *output {
        Output::Unit => Some(generated!(__rpc::schema::<()>())),
        Output::Value(ty) | Output::Result { ok: ty, .. } => Some(schema(ty)),
        Output::Alias(ty) => {
            let erased = types::erased(ty);
            let result = fallible(ty, &erased, "Ok");
            Some(at(ty, "schema", result, quote!()))
        }
    }
}

/// Returns the name of the client's function that creates the value for a missing argument. It contains the parameter's
/// position: with the parameter's name, `get_all(items)` and `get(all_items)` would have the same one.
pub(crate) fn default_name(method: &Method<'_>, parameter: &Parameter<'_>) -> Ident {
    let name = method.ident.unraw();
    let place = method
        .parameters
        .iter()
        .position(|it| it.ident == parameter.ident);
    format_ident!(
        "__default_{name}_{place}",
        place = place.unwrap_or_default(),
        span = Span::mixed_site()
    )
}

/// Returns a call of a function of the runtime, with the span of the user's type, so that errors point there.
pub(crate) fn at(
    ty: &Type,
    function: &str,
    types: TokenStream,
    arguments: TokenStream,
) -> TokenStream {
    let here = Span::mixed_site();
    let (first, last) = ends(ty);
    let (first, last) = (here.located_at(first), here.located_at(last));
    let function = Ident::new(function, first);
    let start = quote_spanned!(first=> __rpc::#function::<);
    let end = quote_spanned!(last=> >(#arguments));
    quote!(#start #types #end)
}

/// Returns the bounds on types that mention the trait's generic parameters.
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
    let schemas = schema_bounds(service, is_generic);
    arguments.chain(results).chain(schemas).collect()
}

fn schema_bounds(service: &Service<'_>, is_generic: impl Fn(&&Type) -> bool) -> Vec<TokenStream> {
    if !service.has_schemas {
        return vec![];
    }
    let methods = &service.methods;
    let passed = methods.iter().flat_map(|method| method.passed());
    let passed = passed.map(|passed| passed.ty).filter(&is_generic);
    let passed = passed.map(schema_bound);
    let results = methods.iter().flat_map(|method| match method.output {
        Output::Unit => vec![],
        Output::Value(ty) | Output::Alias(ty) if !is_generic(&ty) => vec![],
        Output::Value(ty) => vec![schema_bound(ty)],
        Output::Alias(ty) => {
            let fallible = generated!(<#ty as __rpc::Fallible>);
            vec![
                generated!(#fallible::Ok: __rpc::HasSchema),
                generated!(#fallible::Err: __rpc::ErrorSchemas<__rpc::Known>),
            ]
        }
        Output::Result { ok, error } => {
            let ok = Some(ok).filter(&is_generic).map(schema_bound);
            let error = Some(error).filter(&is_generic);
            let error = error.map(|it| generated!(#it: __rpc::ErrorSchemas<__rpc::Known>));
            ok.into_iter().chain(error).collect()
        }
    });
    passed.chain(results).collect()
}

fn schema_bound(ty: &Type) -> TokenStream {
    let lifetime = Lifetime::new("'__any", Span::mixed_site());
    let ty = types::with_lifetime(ty, &lifetime);
    generated!(for<#lifetime> #ty: __rpc::HasSchema)
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
