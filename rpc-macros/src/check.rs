//! Checks the rules that concern several items. All other rules are checked where an item is read.

use std::collections::HashSet;

use proc_macro2::Ident;
use syn::LitStr;
use syn::ext::IdentExt;

use crate::diagnostics::Errors;
use crate::model::{Method, Role, Service};

/// The maximum number of arguments, which is that of the runtime's tuples.
pub(crate) const MOST_ARGUMENTS: usize = 16;

pub(crate) fn service(service: &Service<'_>, errors: &mut Errors) {
    for method in &service.methods {
        contexts(method, errors);
        arguments(method, errors);
        if let Some(owner) = owner_of(method.ident) {
            let name = method.ident;
            let mistake =
                format!("{owner}; call this otherwise and add `#[rpc(name = \"{name}\")]`");
            errors.at(name, mistake);
        }
    }
    match &service.namespace {
        Some(namespace) if namespace.value().is_empty() => {
            errors.at(namespace, "a namespace cannot be empty");
        }
        Some(namespace) if is_reserved(&format!("{}.", namespace.value())) => {
            errors.at(namespace, RESERVED);
        }
        _ => method_names(service, errors),
    }
}

/// Returns the other owner of a name that the methods of a client cannot have. Methods take `&self`, so a method of a
/// trait that takes the same client by value precedes them. The others of the prelude are for iterators, functions and
/// values that can be ordered, and a client is none of these.
fn owner_of(name: &Ident) -> Option<&'static str> {
    match name.unraw().to_string().as_str() {
        "new" => Some("the client has its own `new`"),
        "into" => Some("every type has the `into` of the trait `Into`"),
        "try_into" => Some("every type has the `try_into` of the trait `TryInto`"),
        _ => None,
    }
}

/// Returns `true` if the client can have a method of this name.
pub(crate) fn is_free(name: &Ident) -> bool {
    owner_of(name).is_none()
}

const RESERVED: &str = "names that begin with `rpc.` are reserved by JSON-RPC 2.0";

fn is_reserved(name: &str) -> bool {
    name.starts_with("rpc.")
}

fn contexts(method: &Method<'_>, errors: &mut Errors) {
    let contexts = method
        .parameters
        .iter()
        .filter(|it| it.role == Role::Context);
    for second in contexts.skip(1) {
        errors.at(second.ty, "a call has one context");
    }
}

fn arguments(method: &Method<'_>, errors: &mut Errors) {
    if let Some(entire) = method.entire_params()
        && method.arguments().count() > 1
    {
        errors.at(
            &entire.ident,
            "`params` takes the whole value, so nothing is left for others",
        );
    }
    for surplus in method.arguments().skip(MOST_ARGUMENTS).take(1) {
        errors.at(
            &surplus.ident,
            "at most 16 parameters; put them in a struct",
        );
    }
    let mut names = Names::default();
    for parameter in method.arguments() {
        names.add(&parameter.wire_name, "this method", errors);
    }
}

fn method_names(service: &Service<'_>, errors: &mut Errors) {
    let mut names = Names::default();
    for method in &service.methods {
        for name in [&method.wire_name].into_iter().chain(&method.aliases) {
            if is_reserved(&name.value()) {
                errors.at(name, RESERVED);
            }
            // Two methods of the same name may have mutually exclusive `cfg`s.
            if method.cfgs.is_empty() {
                names.add(name, "this service", errors);
            }
        }
    }
}

/// Wire names, each of which may be used once.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn add(&mut self, name: &LitStr, owner: &str, errors: &mut Errors) {
        let value = name.value();
        if !self.0.insert(value.clone()) {
            errors.at(name, format!("{owner} has another `{value}` on the wire"));
        }
    }
}
