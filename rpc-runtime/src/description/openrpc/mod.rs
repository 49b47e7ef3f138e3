//! Generates the [OpenRPC](https://spec.open-rpc.org) document of services.
//!
//! A [`document`] contains the [description](crate::description), [`method`] by method, with the
//! [schemas](crate::description::schema) of types if their trait says `openrpc`. [`names`] separates the schemas of
//! arguments from those of results.

mod docs;
mod document;
mod method;
mod names;

use std::fmt;

use serde::ser::{Serialize, Serializer};

use crate::description::openrpc::docs::visible;
use crate::description::openrpc::document::{Components, Info, OpenRpcDocument};
use crate::description::openrpc::method::{Types, spread};
use crate::description::schema::Generator;
use crate::description::types::{Described, MethodDescription, ServiceDescription};

/// The version of the specification.
const VERSION: &str = "1.4.1";

/// An [OpenRPC 1.4.1](https://spec.open-rpc.org) document, generated from traits without an implementation. Its schemas
/// are [JSON Schema draft-07](https://json-schema.org/draft-07).
///
/// ```
/// use rpc_runtime::description::OpenRpc;
/// use rpc_runtime::rpc;
///
/// /// Arithmetic.
/// #[rpc]
/// trait Calculator {
///     /// Adds two numbers.
///     async fn add(&self, a: i64, b: i64) -> i64;
/// }
///
/// let document = OpenRpc::of::<CalculatorClient>().title("Desk").version("2.1.0");
/// let document = serde_json::to_value(&document).unwrap();
/// assert_eq!(document["openrpc"], "1.4.1");
/// assert_eq!(document["info"]["title"], "Desk");
/// assert_eq!(document["methods"][0]["name"], "add");
/// assert_eq!(document["methods"][0]["summary"], "Adds two numbers.");
/// assert_eq!(document["methods"][0]["params"][1]["name"], "b");
/// ```
///
/// Types have schemas if their trait says [`#[rpc(openrpc)]`](crate::rpc#openrpc); all others have an `x-rust-type` with
/// the Rust type. Data outside the specification is in `x-` members, which PROTOCOL.md lists.
///
/// A [`Server`](crate::Server) answers `rpc.discover` with the document of all its services:
/// [`ServerBuilder::openrpc`](crate::ServerBuilder::openrpc).
#[derive(Clone)]
pub struct OpenRpc {
    title: Option<String>,
    version: Option<String>,
    description: Option<String>,
    methods: Vec<(&'static ServiceDescription, &'static MethodDescription)>,
}

impl OpenRpc {
    /// Creates the document of a service, given the `…Client` of its trait.
    pub fn of<S: Described + ?Sized>() -> Self {
        Self::of_services([S::DESCRIPTION])
    }

    pub(crate) fn of_services(
        services: impl IntoIterator<Item = &'static ServiceDescription>,
    ) -> Self {
        let empty = Self {
            title: None,
            version: None,
            description: None,
            methods: vec![],
        };
        services.into_iter().fold(empty, Self::with)
    }

    fn with(mut self, service: &'static ServiceDescription) -> Self {
        for method in service.methods {
            let is_called = |other: &MethodDescription| {
                other.name == method.name || other.aliases.contains(&method.name)
            };
            if !self.methods.iter().any(|(_, other)| is_called(other)) {
                self.methods.push((service, method));
            }
        }
        self
    }

    /// Adds a service. Methods whose names are taken are left out, because a call of such a name runs the first method.
    #[must_use]
    pub fn and<S: Described + ?Sized>(self) -> Self {
        self.with(S::DESCRIPTION)
    }

    /// Sets the title. Defaults to the names of the traits.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets the version. Defaults to that of the package that defines the first trait.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the description, in Markdown. Defaults to the documentation of the trait, if there is only one.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Keeps the methods for which `keep` returns `true`. The omitted methods can still be called.
    ///
    /// ```
    /// # use rpc_runtime::description::OpenRpc;
    /// # use rpc_runtime::{Client, rpc};
    /// # #[rpc]
    /// # trait Desk { async fn add(&self) -> i64; #[rpc(name = "admin.stop")] async fn stop(&self); }
    /// let public = OpenRpc::of::<DeskClient>().retain(|method| !method.name.starts_with("admin."));
    /// ```
    #[must_use]
    pub fn retain(mut self, keep: impl Fn(&MethodDescription) -> bool) -> Self {
        self.methods.retain(|(_, method)| keep(method));
        self
    }

    /// Returns the document as JSON text, for a file.
    pub fn to_json(&self) -> String {
        // Cannot fail: the document consists of strings, numbers and JSON values.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Returns the methods of the document. A hidden method is not one of them, but takes its name.
    fn shown(
        &self,
    ) -> impl Iterator<Item = &(&'static ServiceDescription, &'static MethodDescription)> {
        self.methods.iter().filter(|(_, method)| !method.hidden)
    }

    /// Returns the services that still have a method in the document, in order.
    fn services(&self) -> Vec<&'static ServiceDescription> {
        let mut services: Vec<&ServiceDescription> = vec![];
        for (service, _) in self.shown() {
            if !services.iter().any(|other| std::ptr::eq(*other, *service)) {
                services.push(service);
            }
        }
        services
    }
}

impl fmt::Debug for OpenRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.shown().map(|(_, method)| method.name);
        f.debug_list().entries(methods).finish()
    }
}

impl Serialize for OpenRpc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let services = self.services();
        let names: Vec<_> = services.iter().map(|service| service.name).collect();
        let names = names.join(", ");
        let version = services.first().and_then(|service| service.version);
        let docs = match services[..] {
            [only] => visible(only.docs),
            _ => "".into(),
        };
        let info = Info {
            title: self.title.as_deref().unwrap_or(&names),
            version: self.version.as_deref().or(version).unwrap_or("0.0.0"),
            description: self.description.as_deref().unwrap_or(&docs),
        };
        let mut types = Types {
            arguments: Generator::of_arguments(),
            results: Generator::of_results(),
        };
        let methods = self
            .shown()
            .map(|(service, method)| types.method(service, method));
        let mut methods: Vec<_> = methods.collect();
        let mut schemas = types.arguments.into_named();
        let renamed = names::merge(&mut schemas, types.results.into_named());
        names::entitle(&mut schemas);
        for method in &mut methods {
            let result = method.result.iter_mut().map(|result| &mut result.schema);
            let items = method.items.iter_mut().map(|items| &mut items.schema);
            let errors = method.errors.iter_mut();
            let errors = errors.filter_map(|error| error.data.as_mut());
            let given = result.chain(items).chain(errors);
            given.for_each(|schema| names::rename(schema, &renamed));
            spread(method, &schemas);
        }
        let document = OpenRpcDocument {
            openrpc: VERSION,
            info,
            methods,
            components: Components { schemas },
        };
        document.serialize(serializer)
    }
}
