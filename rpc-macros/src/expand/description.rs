//! Generates the description of a service.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;

use super::{generated, wire};
use crate::example::Example;
use crate::model::{Method, Output, Parameter, Service};
use crate::types;

pub(crate) fn expand(service: &Service<'_>) -> TokenStream {
    let Service {
        original,
        docs,
        methods,
        ..
    } = service;
    let name = original.ident.unraw().to_string();
    let methods = methods.iter().map(|method| of_method(method, service));
    generated! {
        &__rpc::ServiceDescription {
            name: #name,
            docs: #docs,
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[#(#methods),*],
        }
    }
}

fn of_method(method: &Method<'_>, service: &Service<'_>) -> TokenStream {
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
    let parameters = method
        .arguments()
        .map(|it| of_parameter(it, method, service));
    let parameters: Vec<_> = parameters.collect();
    let aliases = (!aliases.is_empty()).then(|| generated!(.aliases(&[#(#aliases),*])));
    let parameters = (!parameters.is_empty()).then(|| match method.entire_params() {
        Some(_) => generated!(.entire_params(&[#(#parameters),*])),
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
    let deprecated = method.deprecation.as_ref();
    let deprecated = deprecated.map(|is_deprecated| generated!(.deprecated(#is_deprecated)));
    let hidden = method.is_hidden.then(|| generated!(.hidden()));
    let errors = match method.output {
        Output::Unit | Output::Value(_) => None,
        Output::Result { .. } | Output::Alias(_) => {
            // Uses the same tokens as server and client, so that an unsuitable error type causes only one compile
            // error.
            let returns = wire::returns(&method.output);
            Some(generated!(.errors(#returns.errors())))
        }
    };
    let examples = method.examples.iter().map(of_example);
    let examples: Vec<_> = examples.collect();
    let examples = (!examples.is_empty()).then(|| generated!(.examples(&[#(#examples),*])));
    let schemas = service.has_schemas.then(|| schemas(method));
    generated! {
        #(#cfgs)*
        __rpc::MethodDescription::new(#wire_name, #docs, #result)
            #aliases #parameters #upload #stream #notification #unreliable #idempotent #deprecated #hidden
            #errors #examples #schemas
    }
}

fn of_parameter(
    parameter: &Parameter<'_>,
    method: &Method<'_>,
    service: &Service<'_>,
) -> TokenStream {
    let (name, argument) = (&parameter.wire_name, wire::argument(parameter));
    let type_name = types::display(parameter.ty);
    let optional = types::option(parameter.ty).map(|_| generated!(.optional()));
    let default = parameter.default.as_ref().map(|_| {
        let default = wire::default_name(method, parameter);
        generated!(.default(|| __rpc::written(#argument, Self::#default())))
    });
    let schema = service.has_schemas.then(|| {
        let schema = wire::argument_schema(parameter);
        generated!(.schema(#schema))
    });
    generated!(__rpc::ParameterDescription::new(#name, #type_name) #optional #default #schema)
}

fn of_example(example: &Example) -> TokenStream {
    let name = example
        .name
        .as_ref()
        .map_or("example".to_owned(), |it| it.value());
    let params = example.params.as_deref().unwrap_or("[]");
    let result = example.result.as_ref();
    let result = result.map(|json| generated!(.result(#json)));
    generated!(__rpc::Example::new(#name, #params) #result)
}

fn schemas(method: &Method<'_>) -> TokenStream {
    let result = wire::result_schema(&method.output);
    let result = result.filter(|_| !method.is_notification);
    let result = result.map(|schema| generated!(.result_schema(#schema)));
    let upload = method.items().map(|items| {
        let schema = wire::schema(items.ty);
        generated!(.upload_schema(#schema))
    });
    let errors = wire::error_schemas(&method.output);
    let errors = errors.map(|schemas| generated!(.error_schemas(#schemas)));
    generated!(#result #upload #errors)
}
