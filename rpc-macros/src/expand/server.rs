//! The server: finds a method by its name, decodes its arguments, calls it and
//! encodes its result.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::TypeParam;
use syn::spanned::Spanned;

use super::handle::Handle;
use super::{description, generated, wire};
use crate::generics;
use crate::model::{Method, Output, Parameter, Service};

pub(crate) fn expand(service: &Service<'_>) -> TokenStream {
    let Service { original, door, .. } = service;
    let handler = handler();
    let generics = generics::with_first(&original.generics, TypeParam::from(handler.clone()));
    let handle = Handle {
        service,
        ident: &format_ident!("{}Server", original.ident),
        docs: format!("Serves a [`{}`].", original.ident),
        generics: &generics,
        field: Ident::new("service", Span::mixed_site()),
        ty: generated!(#door::Arc<#handler>),
    };
    let item = handle.expand(quote!(#handler), generated!(#door::Arc::new(service)));
    let implementation = implementation(&handle);
    quote!(#item #implementation)
}

/// The type that implements the trait.
fn handler() -> Ident {
    Ident::new("__Service", Span::mixed_site())
}

fn implementation(handle: &Handle<'_>) -> TokenStream {
    let Handle {
        service,
        ident,
        generics,
        ..
    } = handle;
    let Service { original, door, .. } = service;
    let (handler, trait_) = (handler(), &original.ident);
    let (params, args, _) = generics.split_for_impl();
    let (_, trait_args, _) = original.generics.split_for_impl();
    let mut bounds = vec![generated!(#handler: #trait_ #trait_args)];
    bounds.extend(wire::bounds(service));
    let clause = generics::where_clause(&original.generics, &bounds);
    let description = description::expand(service);
    let count = Literal::usize_unsuffixed(service.methods.len());
    let names = numbered(service).map(|(index, method)| name(index, method, door));
    let calls = numbered(service).map(|(index, method)| call(index, method, service));
    generated! {
        #[allow(deprecated)]
        impl #params #door::Service for #ident #args #clause {
            const DESCRIPTION: &'static #door::ServiceDescription = #description;
            const METHODS: u32 = #count;
            fn find(name: &str) -> #door::Option<u32> {
                match name {
                    #(#names)*
                    _ => #door::None,
                }
            }
            async fn call(
                &self,
                method: u32,
                call: #door::Incoming<'_, '_>,
                reply: &mut #door::Reply,
            ) -> #door::Result<(), #door::Fault> {
                match method {
                    #(#calls)*
                    _ => #door::unknown_method(),
                }
            }
        }
    }
}

fn numbered<'a>(service: &'a Service<'a>) -> impl Iterator<Item = (Literal, &'a Method<'a>)> {
    let methods = service.methods.iter().enumerate();
    methods.map(|(at, method)| (Literal::usize_unsuffixed(at), method))
}

fn name(index: Literal, method: &Method<'_>, door: &TokenStream) -> TokenStream {
    let Method {
        cfgs,
        wire_name,
        aliases,
        ..
    } = method;
    generated!(#(#cfgs)* #wire_name #(| #aliases)* => #door::Some(#index),)
}

fn call(index: Literal, method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let cfgs = &method.cfgs;
    let body = body(method, service);
    match method.is_blocking {
        false => generated!(#(#cfgs)* #index => { #body }),
        true => generated! {
            #(#cfgs)* #index => call.blocking(&self.service, reply, |service, call, reply| {
                #body
            }).await,
        },
    }
}

/// Decodes, calls, encodes.
fn body(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let Service { door, .. } = service;
    let context = method
        .context()
        .map(|Parameter { ident, .. }| generated!(let #ident = call.context();));
    let arguments = arguments(method, service);
    let outcome = outcome(method);
    let reply = match &method.output {
        _ if method.is_notification => generated!(#outcome; #door::Ok(())),
        Output::Unit | Output::Value(_) => generated!(reply.value(&#outcome)),
        Output::Result { .. } | Output::Alias(_) => generated!(reply.result(#outcome)),
    };
    generated!(#context #arguments #reply)
}

fn arguments(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let door = &service.door;
    if let Some(Parameter { ident, ty, .. }) = method.whole() {
        let ty = crate::types::erased(ty);
        return generated!(let #ident = call.whole::<#ty>()?;);
    }
    let decode = match service.lenient {
        true => generated!(lenient_arguments),
        false => generated!(arguments),
    };
    let idents: Vec<_> = method
        .arguments()
        .map(|parameter| &parameter.ident)
        .collect();
    let decoders = method.arguments().map(|parameter| {
        let (argument, default) = (wire::argument(parameter, door), default(parameter, door));
        generated!(#argument #default)
    });
    match idents.is_empty() {
        true => generated!(call.#decode(())?;),
        false => generated!(let (#(#idents,)*) = call.#decode((#(#decoders,)*))?;),
    }
}

fn default(parameter: &Parameter<'_>, door: &TokenStream) -> Option<TokenStream> {
    let default = parameter.default.as_ref()?;
    Some(match &default.expr {
        Some(expr) => generated!(.or(|| #expr)),
        None => {
            let span = default.keyword.span();
            quote_spanned!(span=> .or(#door::Default::default))
        }
    })
}

fn outcome(method: &Method<'_>) -> TokenStream {
    let (handler, ident) = (handler(), method.ident);
    let given = method.parameters.iter().map(|parameter| &parameter.ident);
    match method.is_blocking {
        false => generated!(#handler::#ident(&self.service, #(#given),*).await),
        true => generated!(#handler::#ident(service, #(#given),*)),
    }
}
