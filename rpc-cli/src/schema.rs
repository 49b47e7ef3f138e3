//! JSON Schema: what its keywords say.

use serde_json::Value;

/// The name in `{"$ref": "#/components/schemas/Name"}`.
pub(crate) fn reference(schema: &Value) -> Option<String> {
    let path = schema.get("$ref")?.as_str()?;
    let name = path.rsplit('/').next()?;
    Some(name.replace("~1", "/").replace("~0", "~"))
}

/// What a schema says of itself in words.
pub(crate) fn docs(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// Whether a schema takes everything, and says so by nothing.
pub(crate) fn says_nothing(schema: &Value) -> bool {
    const ANNOTATIONS: [&str; 6] = [
        "title",
        "description",
        "default",
        "examples",
        "$comment",
        "deprecated",
    ];
    match schema {
        Value::Object(members) => members
            .keys()
            .all(|name| ANNOTATIONS.contains(&name.as_str())),
        Value::Bool(false) => false,
        _ => true,
    }
}

pub(crate) fn list<'a>(schema: &'a Value, keyword: &str) -> Option<&'a Vec<Value>> {
    schema.get(keyword)?.as_array()
}

/// A property of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) required: bool,
    pub(crate) schema: &'a Value,
}

/// The properties of an object, in their order.
pub(crate) fn fields(schema: &Value) -> Vec<Field<'_>> {
    let required = list(schema, "required");
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| Field {
            name,
            required: is_required(name),
            schema,
        })
        .collect()
}

/// The alternatives of a type, if it is made of some.
pub(crate) fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    list(schema, "oneOf").or_else(|| list(schema, "anyOf"))
}
