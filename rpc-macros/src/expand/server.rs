//! The server: finds a method by its name, decodes its arguments, calls it and
//! encodes its result.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::TypeParam;

use super::generated;
use crate::model::{Method, Output, Parameter, Role, Service};
use crate::{generics, types};

pub(crate) fn expand(service: &Service<'_>) -> TokenStream {
    let item = item(service);
    let implementation = implementation(service);
    quote!(#item #implementation)
}

pub(crate) fn ident(service: &Service<'_>) -> syn::Ident {
    format_ident!("{}Server", service.original.ident)
}

/// The struct, and what it can do with any implementation.
fn item(service: &Service<'_>) -> TokenStream {
    let Service { original, door, .. } = service;
    let (ident, trait_) = (ident(service), &original.ident);
    let vis = &original.vis;
    let handler = generics::service();
    let all = generics::with_service(&original.generics, TypeParam::from(handler.clone()));
    let declared = generics::unbounded(&all);
    let (params, args, _) = declared.split_for_impl();
    let (field, value) = match generics::phantom(&original.generics, door) {
        Some(phantom) => (quote!(types: #phantom), quote!(types: #door::PhantomData)),
        None => (quote!(), quote!()),
    };
    let docs = format!("Serves a [`{trait_}`].");
    let name = ident.to_string();
    generated! {
        #[doc = #docs]
        #vis struct #ident #declared { service: #door::Arc<#handler>, #field }
        impl #params #ident #args {
            /// Serves `service`.
            #vis fn new(service: #handler) -> Self {
                Self { service: #door::Arc::new(service), #value }
            }
        }
        impl #params #door::Clone for #ident #args {
            fn clone(&self) -> Self {
                Self { service: #door::Arc::clone(&self.service), #value }
            }
        }
        impl #params #door::Debug for #ident #args {
            fn fmt(&self, f: &mut #door::Formatter<'_>) -> #door::fmt::Result {
                f.debug_struct(#name).finish_non_exhaustive()
            }
        }
    }
}

fn implementation(service: &Service<'_>) -> TokenStream {
    let Service { original, door, .. } = service;
    let (ident, trait_) = (ident(service), &original.ident);
    let (_, trait_args, _) = original.generics.split_for_impl();
    let handler = generics::service();
    let all = generics::with_service(&original.generics, TypeParam::from(handler.clone()));
    let (params, args, _) = all.split_for_impl();
    let mut bounds = vec![generated!(#handler: #trait_ #trait_args)];
    bounds.extend(
        service
            .methods
            .iter()
            .flat_map(|method| method_bounds(method, service)),
    );
    let clause = generics::where_clause(&original.generics, &bounds);
    let description = description(service);
    let count = index(service.methods.len());
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
    service
        .methods
        .iter()
        .enumerate()
        .map(|(at, method)| (index(at), method))
}

fn index(at: usize) -> Literal {
    Literal::usize_unsuffixed(at)
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
    let (ident, handler) = (method.ident, generics::service());
    let context = method.context().map(|context| {
        let ident = &context.ident;
        generated!(let #ident = call.context();)
    });
    let arguments = arguments(method, service);
    let given = method.parameters.iter().map(|parameter| &parameter.ident);
    let outcome = match method.is_blocking {
        false => generated!(#handler::#ident(&self.service, #(#given),*).await),
        true => generated!(#handler::#ident(service, #(#given),*)),
    };
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
        let ty = types::erased(ty);
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
    let decoders = method.arguments().map(|parameter| decoder(parameter, door));
    match idents.is_empty() {
        true => generated!(call.#decode(())?;),
        false => generated!(let (#(#idents,)*) = call.#decode((#(#decoders,)*))?;),
    }
}

fn decoder(parameter: &Parameter<'_>, door: &TokenStream) -> TokenStream {
    let Role::Argument { wire_name, default } = &parameter.role else {
        return quote!();
    };
    let argument = argument(parameter.ty, wire_name, door);
    let default = default.as_ref().map(|default| match &default.expr {
        Some(expr) => generated!(.or(|| #expr)),
        None => {
            let span = syn::spanned::Spanned::span(&default.keyword)
                .resolved_at(proc_macro2::Span::mixed_site());
            quote::quote_spanned!(span=> .or(#door::Default::default))
        }
    });
    generated!(#argument #default)
}

/// An argument without its default; a `Cow` is decoded as what it borrows.
fn argument(ty: &syn::Type, wire_name: &syn::LitStr, door: &TokenStream) -> TokenStream {
    if types::is_borrowed_cow(ty) {
        return generated!(#door::arg::<&str>(#wire_name).map(#door::Cow::Borrowed));
    }
    if types::option(ty).is_some_and(types::is_borrowed_cow) {
        return generated! {
            #door::arg::<#door::Option<&str>>(#wire_name).map(|it| it.map(#door::Cow::Borrowed))
        };
    }
    let ty = types::erased(ty);
    generated!(#door::arg::<#ty>(#wire_name))
}

/// What the types that mention generic parameters must be capable of.
fn method_bounds(method: &Method<'_>, service: &Service<'_>) -> Vec<TokenStream> {
    let Service { door, original, .. } = service;
    let generic = |ty: &&syn::Type| types::mentions(ty, &original.generics);
    let arguments = method
        .arguments()
        .map(|parameter| parameter.ty)
        .filter(generic)
        .map(|ty| generics::for_any_lifetime(ty, |lifetime| quote!(#door::Argument<#lifetime>)));
    let returned = |ty| generics::for_any_lifetime(ty, |_| quote!(#door::Returned));
    let results = match method.output {
        Output::Unit => vec![],
        Output::Value(ty) => vec![ty].into_iter().filter(generic).map(returned).collect(),
        Output::Result { ok, error } => {
            let error = Some(error)
                .filter(generic)
                .map(|ty| quote!(#ty: #door::RpcError));
            Some(ok)
                .filter(generic)
                .map(returned)
                .into_iter()
                .chain(error)
                .collect()
        }
        Output::Alias(ty) => Some(ty)
            .filter(generic)
            .into_iter()
            .flat_map(|ty| {
                [
                    quote!(#ty: #door::Fallible),
                    quote!(<#ty as #door::Fallible>::Ok: #door::Returned),
                    quote!(<#ty as #door::Fallible>::Err: #door::RpcError),
                ]
            })
            .collect(),
    };
    arguments.chain(results).collect()
}

fn description(service: &Service<'_>) -> TokenStream {
    let Service {
        original,
        door,
        docs,
        ..
    } = service;
    let name = original.ident.to_string();
    let methods = service
        .methods
        .iter()
        .map(|method| method_description(method, door));
    generated! {
        &#door::ServiceDescription { name: #name, docs: #docs, methods: &[#(#methods),*] }
    }
}

fn method_description(method: &Method<'_>, door: &TokenStream) -> TokenStream {
    let Method {
        cfgs,
        wire_name,
        aliases,
        docs,
        ..
    } = method;
    let kind = match method.is_notification {
        true => generated!(Notification),
        false => generated!(Call),
    };
    let deprecated = method
        .original
        .attrs
        .iter()
        .any(|attr| attr.path().is_ident("deprecated"));
    let parameters = method
        .arguments()
        .map(|parameter| parameter_description(parameter, door));
    let whole = method.whole().is_some();
    let result = match method.output {
        Output::Unit => "()".to_owned(),
        Output::Value(ty) | Output::Alias(ty) | Output::Result { ok: ty, .. } => types::display(ty),
    };
    generated! {
        #(#cfgs)* #door::MethodDescription {
            name: #wire_name,
            aliases: &[#(#aliases),*],
            docs: #docs,
            kind: #door::MethodKind::#kind,
            deprecated: #deprecated,
            parameters: &[#(#parameters),*],
            whole_params: #whole,
            result: #result,
        }
    }
}

fn parameter_description(parameter: &Parameter<'_>, door: &TokenStream) -> TokenStream {
    let type_name = types::display(parameter.ty);
    let (name, has_default) = match &parameter.role {
        Role::Argument { wire_name, default } => (wire_name.value(), default.is_some()),
        Role::Context | Role::Whole => (parameter.ident.to_string(), false),
    };
    generated! {
        #door::ParameterDescription {
            name: #name,
            type_name: #type_name,
            has_default: #has_default,
        }
    }
}
