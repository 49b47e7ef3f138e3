//! The JSON Schemas of types: referenced where the types are known, and generated with a document.

use std::fmt;

use serde_json::Value;

/// The JSON pointer of a document's named schemas.
pub(in crate::description) const NAMED: &str = "/components/schemas";

/// Generates the schema of one type.
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

/// The schemas of `error.data`, field by field.
#[derive(Debug, Clone, Copy)]
pub enum DataSchema {
    /// The error has no data.
    Nothing,
    /// The data is one value.
    Value(SchemaOf),
    /// The data is an array with these elements.
    Array(&'static [SchemaOf]),
    /// The data is an object with these members.
    Object(&'static [(&'static str, SchemaOf)]),
}

/// A type with a JSON Schema: any type that implements `schemars::JsonSchema`.
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

/// Returns the schema of `T`. Only this function requires `T` to have one.
pub const fn schema<T: HasSchema + ?Sized>() -> SchemaOf {
    SchemaOf(T::schema)
}

/// The schemas of an error's data, given an `S` that knows the schemas of its fields' types.
///
/// The derive implements this for every error, including those whose fields have no schema: schemas are required only
/// where `S` is `Known`.
#[diagnostic::on_unimplemented(
    message = "the data of `{Self}` has no JSON Schema",
    note = "derive `RpcError` for it, and `schemars::JsonSchema` for the types of its fields"
)]
pub trait ErrorSchemas<S> {
    /// One schema for each error.
    const SCHEMAS: &'static [DataSchema];
}

/// Provides the schema of `T`.
#[diagnostic::on_unimplemented(
    message = "`{T}` has no JSON Schema",
    note = "it is a field of an error of an `#[rpc(openrpc)]` trait: add `#[derive(schemars::JsonSchema)]` to it"
)]
pub trait Knows<T: ?Sized> {
    /// The schema of `T`.
    const SCHEMA: SchemaOf;
}

/// Provides the schemas of all types that have one.
#[derive(Debug)]
pub enum Known {}

#[diagnostic::do_not_recommend]
impl<T: HasSchema + ?Sized> Knows<T> for Known {
    const SCHEMA: SchemaOf = schema::<T>();
}

/// Returns the schemas of the data of `E`.
pub const fn error_schemas<E: ErrorSchemas<Known>>() -> &'static [DataSchema] {
    E::SCHEMAS
}

impl<S> ErrorSchemas<S> for std::convert::Infallible {
    const SCHEMAS: &'static [DataSchema] = &[];
}

impl<S> ErrorSchemas<S> for crate::ErrorObject {
    const SCHEMAS: &'static [DataSchema] = &[];
}

impl<S, E: ErrorSchemas<S>> ErrorSchemas<S> for Box<E> {
    const SCHEMAS: &'static [DataSchema] = E::SCHEMAS;
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
            // schemars transforms only named schemas to the draft.
            for transform in generator.0.transforms_mut() {
                transform.transform(&mut schema);
            }
            schema.to_value()
        }
    }

    /// Generates schemas, and collects the named ones.
    #[derive(Debug)]
    pub struct Generator(SchemaGenerator);

    impl Generator {
        /// Creates a generator for arguments, which callers serialize.
        pub(in crate::description) fn of_arguments() -> Self {
            Self(settings().into_generator())
        }

        /// Creates a generator for results, which callers deserialize.
        pub(in crate::description) fn of_results() -> Self {
            Self(settings().for_serialize().into_generator())
        }

        /// Returns the named schemas.
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

    /// Generates nothing: no type has a schema without the feature `openrpc`.
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
