//! Generates the server, which finds a method by its name, decodes its arguments, calls it and encodes its result.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{ItemTrait, TypeParam};

use super::handle::{Handle, allow_deprecated};
use super::{client, generated, wire};

use crate::model::{Method, Output, Parameter, Service};
use crate::{generics, types};

pub(crate) fn handle<'a>(service: &'a Service<'a>) -> Handle<'a> {
    let Service {
        original, codegen, ..
    } = service;
    let handler = handler();
    Handle {
        service,
        ident: format_ident!("{}Server", original.ident),
        docs: format!(" Serves an implementation of [`{}`].", original.ident),
        ty: generated!(#codegen::Arc<#handler>),
        generics: generics::with_first(
            generics::owned(&original.generics),
            TypeParam::from(handler),
        ),
        field: Ident::new("service", Span::mixed_site()),
    }
}

/// Returns the name of the type that implements the trait.
fn handler() -> Ident {
    Ident::new("__Service", Span::mixed_site())
}

/// Generates the impls for every handler with this `bound`.
pub(crate) fn impls(service: &Service<'_>, bound: TokenStream) -> TokenStream {
    let handle = handle(service);
    let handler = handler();
    let vis = &service.vis;
    let types = generics::types(&service.original.generics);
    let types = types.map(|_| generated!(types: __rpc::PhantomData));
    let from_arc = generated! {
        /// Wraps a shared `service`.
        #vis fn from_arc(service: __rpc::Arc<#handler>) -> Self {
            Self { service, #types }
        }
    };
    let new = handle.impls(
        quote!(#handler),
        generated!(service: __rpc::Arc::new(service)),
        Some(from_arc),
    );
    let implementation = implementation(&handle, bound);
    quote!(#new #implementation)
}

fn implementation(handle: &Handle<'_>, bound: TokenStream) -> TokenStream {
    let Handle {
        service,
        ident,
        generics,
        ..
    } = handle;
    let Service { original, .. } = service;
    let handler = handler();
    let (params, args, _) = generics.split_for_impl();
    let declared = generics::unbounded(generics);
    let (declared, _, _) = declared.split_for_impl();
    let mut bounds = vec![generated!(#handler: #bound)];
    bounds.extend(wire::bounds(service));
    let clause = generics::where_clause(&original.generics, &bounds);
    let (_, described, _) = original.generics.split_for_impl();
    let client = client::handle(service).ident;
    let count = Literal::usize_unsuffixed(service.methods.len());
    let names = service.methods.iter().enumerate();
    let names = names.map(|(index, method)| name(index, method));
    let calls = service.methods.iter().map(|method| call(method, service));
    let starts: Vec<_> = service.methods.iter().map(start).collect();
    let methods = tree(&starts);
    // A deprecated method is served as well.
    let deprecated = allow_deprecated(service);
    generated! {
        #deprecated
        impl #params #ident #args #clause { #(#calls)* }
        impl #declared __rpc::From<__rpc::Arc<#handler>> for #ident #args {
            fn from(service: __rpc::Arc<#handler>) -> Self { Self::from_arc(service) }
        }
        // The trait is in use, whatever the crate does with it.
        impl #params __rpc::InUse<#ident #args> for () #clause {}
        impl #params __rpc::Service for #ident #args #clause {
            const DESCRIPTION: &'static __rpc::ServiceDescription =
                <#client #described as __rpc::Described>::DESCRIPTION;
            const METHODS: __rpc::u32 = #count;
            fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
                match name {
                    #(#names)*
                    _ => __rpc::None,
                }
            }
            fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> { #methods }
        }
    }
}

fn name(index: usize, method: &Method<'_>) -> TokenStream {
    let index = Literal::usize_unsuffixed(index);
    let Method {
        cfgs,
        wire_name,
        aliases,
        ..
    } = method;
    generated!(#(#cfgs)* #wire_name #(| #aliases)* => __rpc::Some(#index),)
}

/// Generates the function that answers a call.
fn call(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let (cfgs, name) = (&method.cfgs, call_name(method));
    let body = body(method, service);
    let body = match method.is_blocking {
        false => body,
        true => generated! {
            call.blocking(&self.service, reply, |service, call, reply| { #body }).await
        },
    };
    // A notification has no reply. One that runs on a thread receives a reply nevertheless.
    let reply = match method.is_notification && !method.is_blocking {
        true => generated!(_reply),
        false => generated!(reply),
    };
    generated! {
        #(#cfgs)*
        async fn #name(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            #reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            #body
        }
    }
}

fn call_name(method: &Method<'_>) -> Ident {
    format_ident!("__call_{}", method.ident.unraw(), span = Span::mixed_site())
}

/// Returns the function for a call of `method`, as a value.
fn start(method: &Method<'_>) -> TokenStream {
    let (cfgs, name) = (&method.cfgs, call_name(method));
    match cfgs.is_empty() {
        true => generated!(Self::#name),
        false => generated!({
            let _start = __rpc::absent::<Self>;
            #(#cfgs)*
            let _start = Self::#name;
            _start
        }),
    }
}

/// The maximum number of elements of the runtime's tuples.
const BRANCHES: usize = 8;

/// Returns a tuple of up to eight elements, which may be tuples themselves.
fn tree(starts: &[TokenStream]) -> TokenStream {
    if starts.len() <= BRANCHES {
        return generated!((#(#starts,)*));
    }
    let mut part = BRANCHES;
    while part * BRANCHES < starts.len() {
        part *= BRANCHES;
    }
    let parts = starts.chunks(part).map(tree);
    generated!((#(#parts,)*))
}

/// Generates the body that decodes the arguments, calls the handler and encodes the result.
fn body(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let context = method.context().map(|Parameter { ident, ty, .. }| {
        let context = wire::context(ty);
        generated!(let #ident = #context;)
    });
    let arguments = arguments(method, service);
    let items = method.items().map(|items| {
        let (ident, upload) = (&items.ident, wire::upload(items));
        generated!(let #ident = call.items(#upload)?;)
    });
    let (outcome, returns) = (outcome(method, service), wire::returns(&method.output));
    let reply = match &method.output {
        _ if method.is_notification => generated!(#outcome; __rpc::Ok(())),
        Output::Result { .. } | Output::Alias(_) if method.is_stream => {
            generated!(call.require_stream()?.send_results(#outcome, reply, #returns).await)
        }
        _ if method.is_stream => {
            generated!(call.require_stream()?.send(#outcome, reply, #returns).await)
        }
        Output::Unit | Output::Value(_) => generated!(reply.value(&#outcome, #returns)),
        Output::Result { .. } => generated!(reply.result(#outcome, #returns)),
        Output::Alias(ty) => {
            let into_result = wire::fallible(ty, &types::erased(ty), "into_result");
            let (_, last) = wire::ends(ty);
            let outcome = quote_spanned!(last=> (#outcome));
            generated!(reply.result(#into_result #outcome, #returns))
        }
    };
    generated!(#context #arguments #items #reply)
}

fn arguments(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    if let Some(entire) = method.entire_params() {
        let (ident, argument) = (&entire.ident, wire::argument(entire));
        return generated!(let #ident = call.entire(#argument)?;);
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
        let argument = wire::argument(parameter);
        let default = default(method, parameter, service);
        generated!(#argument #default)
    });
    match idents.is_empty() {
        true => generated!(call.#decode(())?;),
        false => generated!(let (#(#idents,)*) = call.#decode((#(#decoders,)*))?;),
    }
}

fn default(
    method: &Method<'_>,
    parameter: &Parameter<'_>,
    service: &Service<'_>,
) -> Option<TokenStream> {
    parameter.default.as_ref()?;
    let client = client::handle(service).ident;
    let (_, args, _) = service.original.generics.split_for_impl();
    let default = wire::default_name(method, parameter);
    Some(generated!(.or(|| <#client #args>::#default())))
}

/// Returns the expression that calls the handler. It names the trait: a supertrait may have a method of the same name.
fn outcome(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
    let (handler, name) = (handler(), method.ident);
    let ItemTrait {
        ident, generics, ..
    } = service.original;
    let (_, args, _) = generics.split_for_impl();
    let given = method.parameters.iter().map(|parameter| &parameter.ident);
    let handle = generated!(<#handler as #ident #args>::#name);
    match method.is_blocking {
        false if method.is_stream => generated!(#handle(&self.service, #(#given),*)),
        false => generated!(#handle(&self.service, #(#given),*).await),
        true => generated!(#handle(service, #(#given),*)),
    }
}
