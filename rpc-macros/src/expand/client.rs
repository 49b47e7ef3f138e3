//! The client: a method for each of the trait's, which sends its arguments.

use proc_macro2::{Ident, Span, TokenStream};
use quote::format_ident;
use syn::Attribute;

use super::handle::Handle;
use super::{generated, wire};
use crate::model::{Method, Output, Parameter, Service};
use crate::{generics, types};

/// `body` makes the body of each method.
pub(crate) fn expand(
    service: &Service<'_>,
    body: impl Fn(&Method<'_>, &TokenStream) -> TokenStream,
) -> TokenStream {
    let Service { original, door, .. } = service;
    let handle = Handle {
        service,
        ident: &format_ident!("{}Client", original.ident),
        docs: format!("Calls a [`{}`].", original.ident),
        generics: &original.generics,
        field: Ident::new("client", Span::mixed_site()),
        ty: generated!(#door::Client),
    };
    let item = handle.expand(generated!(#door::Client), generated!(client));
    let ident = handle.ident;
    let (params, args, _) = original.generics.split_for_impl();
    let clause = generics::where_clause(&original.generics, &wire::bounds(service));
    let methods = service.methods.iter().map(|method| {
        let (signature, body) = (signature(method, service), body(method, door));
        generated!(#signature { #body })
    });
    generated! {
        #item
        impl #params #ident #args #clause { #(#methods)* }
    }
}

fn signature(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let Service { original, door, .. } = service;
    let (vis, ident) = (&original.vis, method.ident);
    let attrs = method
        .original
        .attrs
        .iter()
        .filter(|attr| is_for_callers(attr));
    let parameters = method.arguments().map(|Parameter { ident, ty, .. }| {
        let ty = types::erased(ty);
        generated!(#ident: #ty)
    });
    let output = output(method, door);
    generated! {
        #(#attrs)*
        #vis fn #ident(&self, #(#parameters),*) -> #output
    }
}

fn is_for_callers(attr: &Attribute) -> bool {
    ["cfg", "deprecated", "doc"]
        .iter()
        .any(|name| attr.path().is_ident(name))
}

fn output(method: &Method<'_>, door: &TokenStream) -> TokenStream {
    let owned = |ty| types::owned(ty, door);
    match method.output {
        _ if method.is_notification => generated!(#door::Notification),
        Output::Unit => generated!(#door::Call<()>),
        Output::Value(ty) => {
            let ty = owned(ty);
            generated!(#door::Call<#ty>)
        }
        Output::Result { ok, error } => {
            let (ok, error) = (owned(ok), owned(error));
            generated!(#door::Call<#ok, #error>)
        }
        Output::Alias(ty) => {
            let ty = owned(ty);
            generated!(#door::Call<<#ty as #door::Fallible>::Ok, <#ty as #door::Fallible>::Err>)
        }
    }
}

/// One expression: send the arguments.
pub(crate) fn body(method: &Method<'_>, door: &TokenStream) -> TokenStream {
    let name = &method.wire_name;
    let params = params(method, door);
    let send = match method.is_notification {
        true => generated!(invoke_notification(&METHOD, #params)),
        false => generated!(invoke(&METHOD, #params)),
    };
    generated! {
        static METHOD: #door::Method = #door::Method::new(#name);
        self.client.#send
    }
}

fn params(method: &Method<'_>, door: &TokenStream) -> TokenStream {
    if let Some(Parameter { ident, .. }) = method.whole() {
        return generated!(#door::whole(&#ident));
    }
    let sent: Vec<_> = method
        .arguments()
        .map(
            |Parameter { ident, ty, .. }| match types::is_bytes(types::option(ty).unwrap_or(ty)) {
                true => generated!(#door::send(&#door::Text(&#ident))),
                false => generated!(#door::send(&#ident)),
            },
        )
        .collect();
    match sent.is_empty() {
        true => generated!(#door::NoParams),
        false => generated!((#(#sent,)*)),
    }
}
