//! What a service is, as data: names, parameters and documentation, without an implementation.

/// A service, as its trait describes it.
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
/// fn describe<S: Service>() -> &'static rpc_runtime::ServiceDescription {
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
    /// The trait's name.
    pub name: &'static str,
    /// The trait's documentation.
    pub docs: &'static str,
    /// Its methods, in their order.
    pub methods: &'static [MethodDescription],
}

/// A method of a service.
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
    /// Other names on the wire.
    pub aliases: &'static [&'static str],
    /// The method's documentation.
    pub docs: &'static str,
    /// Whether it has a reply.
    pub kind: MethodKind,
    /// Whether it is a notification that may be lost on its way.
    pub unreliable: bool,
    /// Whether running it twice does no harm, so that clients may call it again when an answer was lost.
    pub idempotent: bool,
    /// Whether the trait marks it `#[deprecated]`.
    pub deprecated: bool,
    /// Its parameters, in their order. A `&Context` is none.
    pub parameters: &'static [ParameterDescription],
    /// Whether the one parameter is the whole `params` value.
    pub whole_params: bool,
    /// The type of the result, as the trait writes it: `T` of a `Result<T, E>`, and `()` where there is none. Of a stream,
    /// the type of its items.
    pub result: &'static str,
    /// Whether it is answered by a stream of items.
    pub stream: bool,
    /// The type of the items that the caller sends, if it sends some.
    pub upload: Option<&'static str>,
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
            parameters: &[],
            whole_params: false,
            result,
            stream: false,
            upload: None,
        }
    }

    pub const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub const fn parameters(self, parameters: &'static [ParameterDescription]) -> Self {
        Self { parameters, ..self }
    }

    pub const fn whole_params(self, parameters: &'static [ParameterDescription]) -> Self {
        Self {
            parameters,
            whole_params: true,
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

    pub const fn deprecated(self) -> Self {
        Self {
            deprecated: true,
            ..self
        }
    }
}

/// Whether a method has a reply.
///
/// ```
/// use rpc_runtime::{MethodKind, Service, rpc};
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
    /// It has a reply.
    Call,
    /// It has none.
    Notification,
}

/// A parameter of a method.
///
/// ```
/// use rpc_runtime::{Service, rpc};
///
/// #[rpc(rename_all = "camelCase")]
/// trait Text {
///     async fn count(&self, text: &str, #[rpc(default)] first_line: usize) -> usize;
/// }
/// # struct Counter;
/// # impl Text for Counter { async fn count(&self, text: &str, _: usize) -> usize { text.len() } }
///
/// let parameters = TextServer::<Counter>::DESCRIPTION.methods[0].parameters;
/// assert_eq!((parameters[0].name, parameters[0].type_name), ("text", "&str"));
/// assert_eq!((parameters[1].name, parameters[1].has_default), ("firstLine", true));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ParameterDescription {
    /// The name on the wire.
    pub name: &'static str,
    /// Its type, as the trait writes it.
    pub type_name: &'static str,
    /// Whether it has a default.
    pub has_default: bool,
}

#[doc(hidden)] // for generated code
impl ParameterDescription {
    pub const fn new(name: &'static str, type_name: &'static str, has_default: bool) -> Self {
        Self {
            name,
            type_name,
            has_default,
        }
    }
}
