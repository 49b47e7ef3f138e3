//! Generates the client, which has a method for each method of the trait that sends its arguments.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Lifetime};

use super::handle::{Handle, allow_deprecated};
use super::{generated, wire};
use crate::model::{Method, Output, Parameter, Role, Service};
use crate::{conditional, generics, types};

pub(crate) fn handle<'a>(service: &'a Service<'a>) -> Handle<'a> {
    let Service {
        original, codegen, ..
    } = service;
    Handle {
        service,
        ident: format_ident!("{}Client", original.ident),
        docs: format!(" Calls an implementation of [`{}`].", original.ident),
        generics: original.generics.clone(),
        field: Ident::new("client", Span::mixed_site()),
        ty: generated!(#codegen::Client),
    }
}

/// Generates the methods under `bounds`; `body` generates the body of each.
pub(crate) fn impls(
    service: &Service<'_>,
    bounds: &[TokenStream],
    description: TokenStream,
    body: impl Fn(&Method<'_>) -> TokenStream,
) -> TokenStream {
    let Service {
        original, methods, ..
    } = service;
    let handle = handle(service);
    let new = handle.impls(generated!(__rpc::Client), generated!(client), None);
    let ident = &handle.ident;
    let (params, args, _) = original.generics.split_for_impl();
    let clause = generics::where_clause(&original.generics, bounds);
    let defaults = methods.iter().flat_map(defaults);
    let methods = methods.iter().map(|method| {
        let (signature, body) = (signature(method, service), body(method));
        generated!(#signature { #body })
    });
    let declared = generics::unbounded(&original.generics);
    let (declared, _, _) = declared.split_for_impl();
    // Deprecated methods are described as well.
    let deprecated = allow_deprecated(service);
    generated! {
        #new
        impl #declared __rpc::From<__rpc::Client> for #ident #args {
            fn from(client: __rpc::Client) -> Self { Self::new(client) }
        }
        impl #declared __rpc::AsRef<__rpc::Client> for #ident #args {
            fn as_ref(&self) -> &__rpc::Client { &self.client }
        }
        #deprecated
        impl #params __rpc::Described for #ident #args #clause {
            const DESCRIPTION: &'static __rpc::ServiceDescription = #description;
        }
        impl #params #ident #args #clause { #(#methods)* #(#defaults)* }
    }
}

/// Generates the functions that create missing arguments, used by decoding and by the description.
fn defaults<'a>(method: &'a Method<'a>) -> impl Iterator<Item = TokenStream> + 'a {
    method.parameters.iter().filter_map(|parameter| {
        let expr = &parameter.default.as_ref()?.expr;
        let cfgs = &method.cfgs;
        let name = wire::default_name(method, parameter);
        let lifetime = Lifetime::new("'static", Span::mixed_site());
        let ty = types::with_lifetime(parameter.ty, &lifetime);
        let value = match expr {
            Some(expr) => quote!(#expr),
            None => {
                let ty = types::erased(parameter.ty);
                generated!(__rpc::default::<#ty>())
            }
        };
        Some(generated!(#(#cfgs)* fn #name() -> #ty { #value }))
    })
}

fn signature(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let (vis, ident) = (&service.vis, method.ident);
    let attrs = method
        .original
        .attrs
        .iter()
        .filter(|attr| is_for_callers(attr));
    let parameters = method.passed().map(|parameter| {
        let Parameter {
            ident, ty, role, ..
        } = parameter;
        if *role == Role::Items {
            let ty = types::owned(ty);
            return generated!(#ident: impl __rpc::Stream<Item = #ty> + __rpc::Send + 'static);
        }
        let ty = types::erased(ty);
        generated!(#ident: #ty)
    });
    let output = output(method);
    generated! {
        #(#attrs)*
        #vis fn #ident(&self, #(#parameters),*) -> #output
    }
}

fn is_for_callers(attr: &Attribute) -> bool {
    let (_, meta) = conditional::condition(attr);
    ["cfg", "deprecated", "doc"]
        .iter()
        .any(|name| meta.path().is_ident(name))
}

fn output(method: &Method<'_>) -> TokenStream {
    let call = match method.is_stream {
        false => generated!(Call),
        true => generated!(Streaming),
    };
    match method.output {
        _ if method.is_notification => generated!(__rpc::Notification),
        Output::Unit => generated!(__rpc::#call<()>),
        Output::Value(ty) => {
            let ty = types::owned(ty);
            generated!(__rpc::#call<#ty>)
        }
        Output::Result { ok, error } => {
            let (ok, error) = (types::owned(ok), types::owned(error));
            generated!(__rpc::#call<#ok, #error>)
        }
        Output::Alias(ty) => {
            let owned = types::owned(ty);
            let member = |name| wire::fallible(ty, &owned, name);
            let (ok, error) = (member("Ok"), member("Err"));
            let (first, last) = wire::ends(ty);
            let start = quote_spanned!(first=> __rpc::#call<);
            let end = quote_spanned!(last=> >);
            quote!(#start #ok, #error #end)
        }
    }
}

/// Returns the expression that sends the arguments.
pub(crate) fn body(method: &Method<'_>) -> TokenStream {
    let name = &method.wire_name;
    let (params, returns) = (params(method), wire::returns(&method.output));
    let send = match method.is_notification {
        true => generated!(invoke_notification(__METHOD.of::<Self>(), #params)),
        false if method.is_stream => {
            generated!(invoke_items(__METHOD.of::<Self>(), #params, #returns))
        }
        false => generated!(invoke(__METHOD.of::<Self>(), #params, #returns)),
    };
    let items = method.items().map(|items| {
        let (ident, upload) = (&items.ident, wire::upload(items));
        generated!(.with_items(#ident, #upload))
    });
    let unreliable = method.is_unreliable.then(|| generated!(.unreliable()));
    let idempotent = method.is_idempotent.then(|| generated!(.idempotent()));
    generated! {
        static __METHOD: __rpc::Method = __rpc::Method::new(#name) #idempotent;
        self.client.#send #items #unreliable
    }
}

fn params(method: &Method<'_>) -> TokenStream {
    let sent = method.arguments().map(|parameter| {
        let (ident, argument) = (&parameter.ident, wire::argument(parameter));
        match parameter.default {
            Some(_) => generated!(#argument.send_always(&#ident)),
            None => generated!(#argument.send(&#ident)),
        }
    });
    let sent: Vec<_> = sent.collect();
    match (method.entire_params(), &sent[..]) {
        (_, []) => generated!(__rpc::NoParams),
        (Some(_), sent) => generated!(__rpc::entire(#(#sent)*)),
        (None, sent) => generated!((#(#sent,)*)),
    }
}
