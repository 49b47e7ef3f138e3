//! The JSON Schemas of types: asked for where the types are known, made where a document is.

use std::fmt;

use serde_json::Value;

/// Where a document has the schemas that have a name.
pub(in crate::description) const NAMED: &str = "/components/schemas";

/// What makes the schema of one type.
#[derive(Clone, Copy)]
pub struct SchemaOf(fn(&mut Generator) -> Value);

impl SchemaOf {
    pub(in crate::description) fn make(self, generator: &mut Generator) -> Value {
        (self.0)(generator)
    }
}

impl fmt::Debug for SchemaOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SchemaOf")
    }
}

/// What `error.data` is made of, field by field.
#[derive(Debug, Clone, Copy)]
pub enum DataSchema {
    /// There is none.
    Nothing,
    /// One value.
    Value(SchemaOf),
    /// An array of so many.
    Array(&'static [SchemaOf]),
    /// An object with these members.
    Object(&'static [(&'static str, SchemaOf)]),
}

/// A type with a JSON Schema: all that implements `schemars::JsonSchema`.
#[cfg_attr(
    feature = "openrpc",
    diagnostic::on_unimplemented(
        message = "`{Self}` has no JSON Schema",
        label = "not `JsonSchema`",
        note = "`#[rpc(openrpc)]` needs one of every type that travels: add `#[derive(schemars::JsonSchema)]` to it"
    )
)]
#[cfg_attr(
    not(feature = "openrpc"),
    diagnostic::on_unimplemented(
        message = "`#[rpc(openrpc)]` needs the feature `openrpc` of `rpc-runtime`",
        label = "its JSON Schema is asked for",
        note = "in Cargo.toml: `rpc-runtime = {{ …, features = [\"openrpc\"] }}`"
    )
)]
pub trait HasSchema {
    #[doc(hidden)]
    fn schema(generator: &mut Generator) -> Value;
}

/// Here alone is `T` asked to have a schema.
pub const fn schema<T: HasSchema + ?Sized>() -> SchemaOf {
    SchemaOf(T::schema)
}

/// The schemas of an error's data, with a `S` that knows those of its fields' types.
///
/// The derive writes this for every error, also for those whose fields have no schema: only where `S` is `Known` are
/// they asked for.
#[diagnostic::on_unimplemented(
    message = "the data of `{Self}` has no JSON Schema",
    note = "derive `RpcError` for it, and `schemars::JsonSchema` for the types of its fields"
)]
pub trait ErrorSchemas<S> {
    /// One for each error.
    const SCHEMAS: &'static [DataSchema];
}

/// Knows the schema of `T`.
#[diagnostic::on_unimplemented(
    message = "`{T}` has no JSON Schema",
    note = "it is a field of an error of an `#[rpc(openrpc)]` trait: add `#[derive(schemars::JsonSchema)]` to it"
)]
pub trait Knows<T: ?Sized> {
    /// The schema.
    const SCHEMA: SchemaOf;
}

/// Knows every schema that there is.
#[derive(Debug)]
pub enum Known {}

#[diagnostic::do_not_recommend]
impl<T: HasSchema + ?Sized> Knows<T> for Known {
    const SCHEMA: SchemaOf = schema::<T>();
}

/// The schemas of the data of `E`.
pub const fn error_schemas<E: ErrorSchemas<Known>>() -> &'static [DataSchema] {
    E::SCHEMAS
}

impl<S> ErrorSchemas<S> for std::convert::Infallible {
    const SCHEMAS: &'static [DataSchema] = &[];
}

impl<S> ErrorSchemas<S> for crate::ErrorObject {
    const SCHEMAS: &'static [DataSchema] = &[];
}

pub(crate) use generator::Generator;

#[cfg(feature = "openrpc")]
mod generator {
    use schemars::JsonSchema;
    use schemars::generate::{SchemaGenerator, SchemaSettings};
    use serde_json::{Map, Value};

    use crate::description::schema::HasSchema;

    #[diagnostic::do_not_recommend]
    impl<T: JsonSchema + ?Sized> HasSchema for T {
        fn schema(generator: &mut Generator) -> Value {
            let mut schema = generator.0.subschema_for::<T>();
            // One that has no name is not made to fit the draft otherwise.
            for transform in generator.0.transforms_mut() {
                transform.transform(&mut schema);
            }
            schema.to_value()
        }
    }

    /// Makes schemas, and keeps those that have a name.
    #[derive(Debug)]
    pub struct Generator(SchemaGenerator);

    impl Generator {
        /// Of what callers write.
        pub(in crate::description) fn of_arguments() -> Self {
            Self(settings().into_generator())
        }

        /// Of what they read.
        pub(in crate::description) fn of_results() -> Self {
            Self(settings().for_serialize().into_generator())
        }

        /// Those that have a name.
        pub(in crate::description) fn into_named(mut self) -> Map<String, Value> {
            self.0.take_definitions(true)
        }
    }

    fn settings() -> SchemaSettings {
        SchemaSettings::draft07().with(|settings| {
            settings.definitions_path = crate::description::schema::NAMED.into();
            settings.meta_schema = None;
        })
    }
}

#[cfg(not(feature = "openrpc"))]
mod generator {
    use serde_json::{Map, Value};

    /// Makes nothing: no type has a schema.
    #[derive(Debug)]
    pub struct Generator(());

    impl Generator {
        pub(in crate::description) fn of_arguments() -> Self {
            Self(())
        }

        pub(in crate::description) fn of_results() -> Self {
            Self(())
        }

        pub(in crate::description) fn into_named(self) -> Map<String, Value> {
            Map::new()
        }
    }
}
