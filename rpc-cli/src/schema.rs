//! JSON Schema: what its keywords say.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::json::{Elements, Value};

/// The name in `{"$ref": "#/components/schemas/Name"}`.
pub(crate) fn reference(schema: Value<'_>) -> Option<Cow<'_, str>> {
    named(schema.get("$ref")?)
}

/// The name in `"#/components/schemas/Name"`.
pub(crate) fn named(path: Value<'_>) -> Option<Cow<'_, str>> {
    let path = path.as_str()?;
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    let name = match path {
        Cow::Borrowed(path) => Cow::Borrowed(&path[start..]),
        Cow::Owned(path) => Cow::Owned(path[start..].to_owned()),
    };
    Some(match name.contains('~') {
        true => name.replace("~1", "/").replace("~0", "~").into(),
        false => name,
    })
}

/// What a schema says of itself in words.
pub(crate) fn docs(schema: Value<'_>) -> Option<Cow<'_, str>> {
    schema.get("description").and_then(Value::as_str)
}

/// Whether a schema takes everything, and says so by nothing.
pub(crate) fn says_nothing(schema: Value<'_>) -> bool {
    match schema.as_bool() {
        Some(takes) => takes,
        None => schema.members().all(|(keyword, _)| is_annotation(keyword)),
    }
}

/// Whether a keyword says nothing of which values are taken.
pub(crate) fn is_annotation(keyword: Value<'_>) -> bool {
    const ANNOTATIONS: [&str; 6] = [
        "title",
        "description",
        "default",
        "examples",
        "$comment",
        "deprecated",
    ];
    ANNOTATIONS.iter().any(|name| keyword.is(name))
}

/// A property of an object.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) is_required: bool,
    pub(crate) schema: Value<'a>,
}

/// The properties of an object, in their order.
pub(crate) fn fields(schema: Value<'_>) -> impl Iterator<Item = Field<'_>> {
    let properties = schema.get("properties");
    // The names that are required are looked at only if there are properties.
    let required = properties.and_then(|_| schema.list("required"));
    let required: HashSet<_> = required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = properties.into_iter().flat_map(Value::members);
    properties.filter_map(move |(name, schema)| {
        let name = name.as_str()?;
        let is_required = required.contains(&name);
        Some(Field {
            name,
            is_required,
            schema,
        })
    })
}

/// Whether an object has properties.
pub(crate) fn has_fields(schema: Value<'_>) -> bool {
    let properties = schema.get("properties");
    properties.is_some_and(|properties| !properties.members().is_empty())
}

/// The alternatives of a type, if it is made of some.
pub(crate) fn alternatives(schema: Value<'_>) -> Option<Elements<'_>> {
    schema.list("oneOf").or_else(|| schema.list("anyOf"))
}
