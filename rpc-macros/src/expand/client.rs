//! The client: a method for each of the trait's, which sends its arguments.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::generated;
use crate::model::{Method, Output, Parameter, Service};
use crate::{generics, types};

/// `body` makes the body of each method.
pub(crate) fn expand(
    service: &Service<'_>,
    body: impl Fn(&Method<'_>, &TokenStream) -> TokenStream,
) -> TokenStream {
    let Service { original, door, .. } = service;
    let ident = format_ident!("{}Client", original.ident);
    let vis = &original.vis;
    let declared = generics::unbounded(&original.generics);
    let (plain_params, args, _) = declared.split_for_impl();
    let (params, _, _) = original.generics.split_for_impl();
    let bounds: Vec<_> = service
        .methods
        .iter()
        .flat_map(|method| method_bounds(method, service))
        .collect();
    let clause = generics::where_clause(&original.generics, &bounds);
    let (field, value) = match generics::phantom(&original.generics, door) {
        Some(phantom) => (quote!(types: #phantom), quote!(types: #door::PhantomData)),
        None => (quote!(), quote!()),
    };
    let docs = format!("Calls a [`{}`].", original.ident);
    let name = ident.to_string();
    let methods = service.methods.iter().map(|method| {
        let signature = signature(method, service);
        let body = body(method, door);
        generated!(#signature { #body })
    });
    generated! {
        #[doc = #docs]
        #vis struct #ident #declared { client: #door::Client, #field }
        impl #plain_params #ident #args {
            /// Calls through `client`.
            #vis fn new(client: #door::Client) -> Self {
                Self { client, #value }
            }
        }
        impl #plain_params #door::Clone for #ident #args {
            fn clone(&self) -> Self {
                Self { client: #door::Clone::clone(&self.client), #value }
            }
        }
        impl #plain_params #door::Debug for #ident #args {
            fn fmt(&self, f: &mut #door::Formatter<'_>) -> #door::fmt::Result {
                f.debug_struct(#name).finish_non_exhaustive()
            }
        }
        impl #params #ident #args #clause {
            #(#methods)*
        }
    }
}

fn signature(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let Service { original, door, .. } = service;
    let Method { ident, .. } = method;
    let vis = &original.vis;
    let attrs = method.original.attrs.iter().filter(|attr| {
        ["cfg", "deprecated", "doc"]
            .iter()
            .any(|kept| attr.path().is_ident(kept))
    });
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
            generated! {
                #door::Call<<#ty as #door::Fallible>::Ok, <#ty as #door::Fallible>::Err>
            }
        }
    }
}

/// One expression: send the arguments.
pub(crate) fn body(method: &Method<'_>, door: &TokenStream) -> TokenStream {
    let wire_name = &method.wire_name;
    let send = match method.is_notification {
        true => generated!(notify),
        false => generated!(invoke),
    };
    let params = params(method, door);
    generated! {
        static METHOD: #door::Method = #door::Method::new(#wire_name);
        self.client.#send(&METHOD, #params)
    }
}

fn params(method: &Method<'_>, door: &TokenStream) -> TokenStream {
    if let Some(Parameter { ident, .. }) = method.whole() {
        return generated!(#door::whole(&#ident));
    }
    let values: Vec<_> = method
        .arguments()
        .map(|Parameter { ident, ty, .. }| match types::is_bytes(ty) {
            true => generated!(#door::send(&#door::Text(&#ident))),
            false => generated!(#door::send(&#ident)),
        })
        .collect();
    match values.is_empty() {
        true => generated!(#door::NoParams),
        false => generated!((#(#values,)*)),
    }
}

/// What the types that mention generic parameters must be capable of.
fn method_bounds(method: &Method<'_>, service: &Service<'_>) -> Vec<TokenStream> {
    let Service { door, original, .. } = service;
    let generic = |ty: &&syn::Type| types::mentions(ty, &original.generics);
    let arguments = method
        .arguments()
        .map(|parameter| parameter.ty)
        .filter(generic)
        .map(|ty| generics::for_any_lifetime(ty, |_| quote!(#door::Serialize)));
    let owned = |ty: &syn::Type| types::owned(ty, door);
    let decoded = |ty: &syn::Type| {
        let ty = owned(ty);
        quote!(#ty: #door::DeserializeOwned)
    };
    let results = match method.output {
        Output::Unit => vec![],
        Output::Value(ty) => Some(ty).filter(generic).map(decoded).into_iter().collect(),
        Output::Result { ok, error } => {
            let error = Some(error)
                .filter(generic)
                .map(|ty| quote!(#ty: #door::RpcError));
            Some(ok)
                .filter(generic)
                .map(decoded)
                .into_iter()
                .chain(error)
                .collect()
        }
        Output::Alias(ty) => Some(ty)
            .filter(generic)
            .into_iter()
            .flat_map(|ty| {
                let ty = owned(ty);
                [
                    quote!(#ty: #door::Fallible),
                    quote!(<#ty as #door::Fallible>::Ok: #door::DeserializeOwned),
                    quote!(<#ty as #door::Fallible>::Err: #door::RpcError),
                ]
            })
            .collect(),
    };
    arguments.chain(results).collect()
}
