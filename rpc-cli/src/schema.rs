//! Reads the keywords of JSON Schema.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::json::{Elements, Value};

/// Returns the text of the reference of an object, without percent-encoding.
pub(crate) fn reference(object: Value<'_>) -> Option<Cow<'_, str>> {
    Some(percent_decoded(object.get("$ref")?.as_str()?))
}

fn percent_decoded(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('%') {
        return text;
    }
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    match String::from_utf8(decoded) {
        Ok(decoded) => Cow::Owned(decoded),
        Err(_) => text,
    }
}

/// Returns the name in `"#/components/schemas/Name"`.
pub(crate) fn named(path: Value<'_>) -> Option<Cow<'_, str>> {
    let path = percent_decoded(path.as_str()?);
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

/// Returns the description of a schema.
pub(crate) fn docs(schema: Value<'_>) -> Option<Cow<'_, str>> {
    schema.get("description").and_then(Value::as_str)
}

/// Returns `true` if a schema has no restrictions and thus accepts everything.
pub(crate) fn says_nothing(schema: Value<'_>) -> bool {
    match schema.as_bool() {
        Some(takes) => takes,
        None => schema.members().all(|(keyword, _)| is_annotation(keyword)),
    }
}

/// Returns `true` if a keyword does not restrict the accepted values.
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

/// Returns the properties of an object, in their order.
pub(crate) fn fields(schema: Value<'_>) -> impl Iterator<Item = Field<'_>> {
    let properties = schema.get("properties");
    // The required names are read only if there are properties.
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

/// Returns `true` if an object has properties.
pub(crate) fn has_fields(schema: Value<'_>) -> bool {
    let properties = schema.get("properties");
    properties.is_some_and(|properties| !properties.members().is_empty())
}

/// Returns the alternatives of a type, if it has any.
pub(crate) fn alternatives(schema: Value<'_>) -> Option<Elements<'_>> {
    schema.list("oneOf").or_else(|| schema.list("anyOf"))
}
