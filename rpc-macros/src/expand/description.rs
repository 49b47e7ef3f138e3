//! The service as data.

use proc_macro2::TokenStream;

use super::generated;
use crate::model::{Method, Output, Parameter, Service};
use crate::types;

pub(crate) fn expand(service: &Service<'_>) -> TokenStream {
    let Service {
        original,
        docs,
        methods,
        ..
    } = service;
    let name = original.ident.to_string();
    let methods = methods.iter().map(of_method);
    generated! {
        &__rpc::ServiceDescription { name: #name, docs: #docs, methods: &[#(#methods),*] }
    }
}

fn of_method(method: &Method<'_>) -> TokenStream {
    let Method {
        cfgs,
        wire_name,
        aliases,
        docs,
        ..
    } = method;
    let result = match method.output {
        Output::Unit => "()".to_owned(),
        Output::Value(ty) | Output::Alias(ty) | Output::Result { ok: ty, .. } => types::display(ty),
    };
    let parameters: Vec<_> = method.arguments().map(of_parameter).collect();
    let aliases = (!aliases.is_empty()).then(|| generated!(.aliases(&[#(#aliases),*])));
    let parameters = (!parameters.is_empty()).then(|| match method.whole() {
        Some(_) => generated!(.whole_params(&[#(#parameters),*])),
        None => generated!(.parameters(&[#(#parameters),*])),
    });
    let stream = method.is_stream.then(|| generated!(.stream()));
    let upload = method.items().map(|items| {
        let type_name = types::display(items.ty);
        generated!(.upload(#type_name))
    });
    let notification = method.is_notification.then(|| generated!(.notification()));
    let unreliable = method.is_unreliable.then(|| generated!(.unreliable()));
    let idempotent = method.is_idempotent.then(|| generated!(.idempotent()));
    let deprecated = method.is_deprecated.then(|| generated!(.deprecated()));
    generated! {
        #(#cfgs)*
        __rpc::MethodDescription::new(#wire_name, #docs, #result)
            #aliases #parameters #upload #stream #notification #unreliable #idempotent #deprecated
    }
}

fn of_parameter(parameter: &Parameter<'_>) -> TokenStream {
    let name = &parameter.wire_name;
    let type_name = types::display(parameter.ty);
    let has_default = parameter.default.is_some();
    generated!(__rpc::ParameterDescription::new(#name, #type_name, #has_default))
}
