//! The types of a description.

use std::fmt;

use serde_json::Value;

use crate::codec::error::ErrorDescription;
use crate::codec::params::decode::Arg;
use crate::description::schema::{DataSchema, SchemaOf};

/// A type with a description: the `…Client` that [`#[rpc]`](crate::rpc) generates from a trait. It needs no
/// implementation of the trait.
///
/// ```
/// use rpc_runtime::description::Described;
/// use rpc_runtime::rpc;
///
/// #[rpc]
/// trait Greeter {
///     /// Says hello.
///     async fn greet(&self, name: &str) -> String;
/// }
///
/// assert_eq!(GreeterClient::DESCRIPTION.methods[0].docs, "Says hello.");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description",
    note = "the `…Client` of a `#[rpc]` trait has one"
)]
pub trait Described {
    /// The description of the service.
    const DESCRIPTION: &'static ServiceDescription;
}

/// The description of a service.
///
/// ```
/// use rpc_runtime::{Service, rpc};
///
/// #[rpc]
/// trait Greeter {
///     /// Says hello.
///     async fn greet(&self, name: &str) -> String;
/// }
///
/// fn describe<S: Service>() -> &'static rpc_runtime::description::ServiceDescription {
///     S::DESCRIPTION
/// }
/// # struct Hello;
/// # impl Greeter for Hello { async fn greet(&self, name: &str) -> String { name.into() } }
///
/// let greet = &describe::<GreeterServer<Hello>>().methods[0];
/// assert_eq!((greet.name, greet.docs), ("greet", "Says hello."));
/// assert_eq!(greet.parameters[0].type_name, "&str");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ServiceDescription {
    /// The name of the trait.
    pub name: &'static str,
    /// The documentation of the trait.
    pub docs: &'static str,
    /// The version of the package that defines the trait, if cargo built it.
    pub version: Option<&'static str>,
    /// The methods, in the order of the trait.
    pub methods: &'static [MethodDescription],
}

/// The description of a method.
///
/// ```
/// use rpc_runtime::{Service, rpc};
///
/// #[rpc(namespace = "text")]
/// trait Text {
///     #[rpc(alias = "wc")]
///     async fn count(&self, text: &str) -> usize;
/// }
/// # struct Counter;
/// # impl Text for Counter { async fn count(&self, text: &str) -> usize { text.len() } }
///
/// let count = &TextServer::<Counter>::DESCRIPTION.methods[0];
/// assert_eq!((count.name, count.aliases), ("text.count", &["wc"][..]));
/// assert_eq!(count.result, "usize");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MethodDescription {
    /// The name on the wire.
    pub name: &'static str,
    /// The other names on the wire.
    pub aliases: &'static [&'static str],
    /// The documentation of the method, and the note of `#[deprecated]`.
    pub docs: &'static str,
    /// The kind of the method: with or without a reply.
    pub kind: MethodKind,
    /// `true` if the method is a notification that may be lost in transit.
    pub unreliable: bool,
    /// `true` if the method is idempotent, so that clients may retry it when a reply was lost.
    pub idempotent: bool,
    /// `true` if the trait marks the method `#[deprecated]`.
    pub deprecated: bool,
    /// `true` if the trait marks the method `#[doc(hidden)]`: documents leave it out.
    pub hidden: bool,
    /// The parameters, in order, without a `&Context`.
    pub parameters: &'static [ParameterDescription],
    /// `true` if the only parameter is the entire `params` value.
    pub entire_params: bool,
    /// The type of the result, as written in the trait: `T` of a `Result<T, E>`, and `()` without a result. For a
    /// stream, the type of its items.
    pub result: &'static str,
    /// `true` if the method returns a stream of items.
    pub stream: bool,
    /// The type of the items that the caller sends, if the method receives a stream.
    pub upload: Option<&'static str>,
    /// The errors that the handler may return. Empty for an [`ErrorObject`](crate::ErrorObject), which may be any
    /// error.
    pub errors: &'static [ErrorDescription],
    pub(crate) examples: &'static [Example],
    pub(crate) schemas: Schemas,
}

/// The schemas of a method's parameters, result and errors, if its trait says `openrpc`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schemas {
    pub(crate) result: Option<SchemaOf>,
    pub(crate) upload: Option<SchemaOf>,
    /// The schemas of the errors' data, in the order of the errors.
    pub(crate) errors: &'static [DataSchema],
}

#[doc(hidden)] // for generated code
impl MethodDescription {
    pub const fn new(name: &'static str, docs: &'static str, result: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            docs,
            kind: MethodKind::Call,
            unreliable: false,
            idempotent: false,
            deprecated: false,
            hidden: false,
            parameters: &[],
            entire_params: false,
            result,
            stream: false,
            upload: None,
            errors: &[],
            examples: &[],
            schemas: Schemas {
                result: None,
                upload: None,
                errors: &[],
            },
        }
    }

    pub const fn errors(self, errors: &'static [ErrorDescription]) -> Self {
        Self { errors, ..self }
    }

    pub const fn examples(self, examples: &'static [Example]) -> Self {
        Self { examples, ..self }
    }

    pub const fn result_schema(mut self, schema: SchemaOf) -> Self {
        self.schemas.result = Some(schema);
        self
    }

    pub const fn upload_schema(mut self, schema: SchemaOf) -> Self {
        self.schemas.upload = Some(schema);
        self
    }

    pub const fn error_schemas(mut self, schemas: &'static [DataSchema]) -> Self {
        self.schemas.errors = schemas;
        self
    }

    pub const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub const fn parameters(self, parameters: &'static [ParameterDescription]) -> Self {
        Self { parameters, ..self }
    }

    pub const fn entire_params(self, parameters: &'static [ParameterDescription]) -> Self {
        Self {
            parameters,
            entire_params: true,
            ..self
        }
    }

    pub const fn stream(self) -> Self {
        Self {
            stream: true,
            ..self
        }
    }

    pub const fn upload(self, type_name: &'static str) -> Self {
        Self {
            upload: Some(type_name),
            ..self
        }
    }

    pub const fn notification(self) -> Self {
        Self {
            kind: MethodKind::Notification,
            ..self
        }
    }

    pub const fn unreliable(self) -> Self {
        Self {
            unreliable: true,
            ..self
        }
    }

    pub const fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    pub const fn deprecated(self, deprecated: bool) -> Self {
        Self { deprecated, ..self }
    }

    pub const fn hidden(self) -> Self {
        Self {
            hidden: true,
            ..self
        }
    }
}

/// The kind of a method: with or without a reply.
///
/// ```
/// use rpc_runtime::description::MethodKind;
/// use rpc_runtime::{Service, rpc};
///
/// #[rpc]
/// trait Sensors {
///     async fn read(&self) -> f64;
///     #[rpc(notification)]
///     async fn report(&self, celsius: f64);
/// }
/// # struct Station;
/// # impl Sensors for Station { async fn read(&self) -> f64 { 0.0 } async fn report(&self, _: f64) {} }
///
/// let kinds = SensorsServer::<Station>::DESCRIPTION.methods.iter().map(|method| method.kind);
/// assert!(kinds.eq([MethodKind::Call, MethodKind::Notification]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// The method has a reply.
    Call,
    /// The method has no reply.
    Notification,
}

/// The description of a parameter.
///
/// ```
/// use rpc_runtime::description::Described;
/// use rpc_runtime::rpc;
///
/// #[rpc(rename_all = "camelCase")]
/// trait Text {
///     async fn count(&self, text: &str, needle: Option<&str>, #[rpc(default)] first_line: usize) -> usize;
/// }
///
/// let parameters = TextClient::DESCRIPTION.methods[0].parameters;
/// assert_eq!((parameters[0].name, parameters[0].type_name), ("text", "&str"));
/// assert_eq!((parameters[2].name, parameters[2].has_default), ("firstLine", true));
/// assert!([true, false, false].iter().eq(parameters.iter().map(|parameter| &parameter.is_required)));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ParameterDescription {
    /// The name on the wire.
    pub name: &'static str,
    /// The type, as written in the trait.
    pub type_name: &'static str,
    /// `true` if callers must pass an argument: the parameter has no default and is not an `Option`. A type alias of an
    /// `Option` counts as required.
    pub is_required: bool,
    /// `true` if the parameter has a default.
    pub has_default: bool,
    pub(crate) default: Option<Default>,
    pub(crate) schema: Option<SchemaOf>,
}

#[doc(hidden)] // for generated code
impl ParameterDescription {
    pub const fn new(name: &'static str, type_name: &'static str) -> Self {
        Self {
            name,
            type_name,
            is_required: true,
            has_default: false,
            default: None,
            schema: None,
        }
    }

    pub const fn optional(self) -> Self {
        Self {
            is_required: false,
            ..self
        }
    }

    pub const fn default(self, default: fn() -> Option<Value>) -> Self {
        Self {
            is_required: false,
            has_default: true,
            default: Some(Default(default)),
            ..self
        }
    }

    pub const fn schema(self, schema: SchemaOf) -> Self {
        Self {
            schema: Some(schema),
            ..self
        }
    }
}

/// The function that creates a parameter's default as JSON.
#[derive(Clone, Copy)]
pub(crate) struct Default(pub(crate) fn() -> Option<Value>);

impl fmt::Debug for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Default")
    }
}

/// Returns a default as JSON, or `None` if it cannot be serialized.
pub fn written<T>(argument: Arg<'_, T>, default: T) -> Option<Value> {
    let mut json = Vec::new();
    argument.write(&default, &mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// An example of a call and its reply from the trait, as JSON.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    pub(crate) name: &'static str,
    pub(crate) params: &'static str,
    pub(crate) result: Option<&'static str>,
}

impl Example {
    /// Creates an example without a result.
    pub const fn new(name: &'static str, params: &'static str) -> Self {
        Self {
            name,
            params,
            result: None,
        }
    }

    /// Adds a result to the example.
    pub const fn result(self, result: &'static str) -> Self {
        Self {
            result: Some(result),
            ..self
        }
    }
}
