//! The service as data.

use proc_macro2::TokenStream;

use super::generated;
use crate::model::{Method, Output, Parameter, Service};
use crate::types;

pub(crate) fn expand(service: &Service<'_>) -> TokenStream {
    let Service {
        original,
        door,
        docs,
        ..
    } = service;
    let name = original.ident.to_string();
    let methods = service.methods.iter().map(|method| of_method(method, door));
    generated! {
        &#door::ServiceDescription { name: #name, docs: #docs, methods: &[#(#methods),*] }
    }
}

fn of_method(method: &Method<'_>, door: &TokenStream) -> TokenStream {
    let Method {
        cfgs,
        wire_name,
        aliases,
        docs,
        is_deprecated,
        ..
    } = method;
    let kind = match method.is_notification {
        true => generated!(#door::MethodKind::Notification),
        false => generated!(#door::MethodKind::Call),
    };
    let parameters = method
        .arguments()
        .map(|parameter| of_parameter(parameter, door));
    let whole = method.whole().is_some();
    let result = match method.output {
        Output::Unit => "()".to_owned(),
        Output::Value(ty) | Output::Alias(ty) | Output::Result { ok: ty, .. } => types::display(ty),
    };
    generated! {
        #(#cfgs)*
        #door::MethodDescription {
            name: #wire_name,
            aliases: &[#(#aliases),*],
            docs: #docs,
            kind: #kind,
            deprecated: #is_deprecated,
            parameters: &[#(#parameters),*],
            whole_params: #whole,
            result: #result,
        }
    }
}

fn of_parameter(parameter: &Parameter<'_>, door: &TokenStream) -> TokenStream {
    let name = &parameter.wire_name;
    let type_name = types::display(parameter.ty);
    let has_default = parameter.default.is_some();
    generated! {
        #door::ParameterDescription {
            name: #name,
            type_name: #type_name,
            has_default: #has_default,
        }
    }
}
