//! A schema as the kinds of values that it takes, without names and unions.

use serde_json::{Map, Value, json};

use crate::document::Document;
use crate::schema::{self, reference};
use crate::types;

/// One of the kinds of values that a schema takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Anything,
    /// This value alone.
    Constant(Value),
    /// A type of JSON's, with what limits it.
    Type(String, Value),
    /// A schema that is not understood here.
    Unknown(Value),
}

impl Kind {
    /// As people read it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Anything => "anything".into(),
            Self::Constant(value) => value.to_string(),
            Self::Type(_, schema) | Self::Unknown(schema) => types::text(&types::of_schema(schema)),
        }
    }
}

/// How many schemas are looked into for one. Unions of unions could have more kinds than there is time for.
const MOST: usize = 1000;

/// All kinds of values that a schema takes; none, if it takes nothing.
pub(super) fn kinds(document: &Document, schema: &Value) -> Vec<Kind> {
    let mut left = MOST;
    of(document, schema, &mut left)
}

fn of(document: &Document, schema: &Value, left: &mut usize) -> Vec<Kind> {
    if let Some(both) = beside_reference(schema) {
        return of(document, &both, left);
    }
    let schema = document.resolve(schema);
    if *left == 0 || reference(schema).is_some() {
        return vec![Kind::Unknown(schema.clone())];
    }
    *left -= 1;
    let Value::Object(members) = schema else {
        return match schema {
            Value::Bool(false) => Vec::new(),
            _ => vec![Kind::Anything],
        };
    };
    if schema::says_nothing(schema) {
        return vec![Kind::Anything];
    }
    let without = |keyword: &str| {
        let mut rest = members.clone();
        rest.shift_remove(keyword);
        Value::Object(rest)
    };
    if let Some(all) = schema::list(schema, "allOf") {
        let mut parts = all.iter().map(|part| document.resolve(part));
        let merged = parts.try_fold(without("allOf"), |merged, part| merge(&merged, part));
        return match merged {
            Some(merged) => of(document, &merged, left),
            None => vec![Kind::Unknown(schema.clone())],
        };
    }
    for keyword in ["oneOf", "anyOf"] {
        if let Some(either) = schema::list(schema, keyword) {
            let rest = without(keyword);
            return either
                .iter()
                .flat_map(|one| match schema::says_nothing(&rest) {
                    true => of(document, one, left),
                    false => match merge(&rest, document.resolve(one)) {
                        Some(merged) => of(document, &merged, left),
                        None => vec![Kind::Unknown(schema.clone())],
                    },
                })
                .collect();
        }
    }
    if let Some(constant) = members.get("const") {
        return vec![Kind::Constant(constant.clone())];
    }
    if let Some(values) = schema::list(schema, "enum") {
        return values.iter().cloned().map(Kind::Constant).collect();
    }
    let with_type = |name: &str| {
        let mut typed = members.clone();
        typed.insert("type".into(), name.into());
        match name {
            "null" => Kind::Constant(Value::Null),
            _ => Kind::Type(name.to_owned(), typed.into()),
        }
    };
    match members.get("type") {
        Some(Value::String(name)) => vec![with_type(name)],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(with_type)
            .collect(),
        _ if members.contains_key("properties") => vec![with_type("object")],
        _ if members.contains_key("items") => vec![with_type("array")],
        _ => vec![Kind::Unknown(schema.clone())],
    }
}

/// A type with a name that is limited where it is named, as what takes only what both take.
fn beside_reference(schema: &Value) -> Option<Value> {
    reference(schema)?;
    let mut beside = schema.as_object()?.clone();
    let named = beside.shift_remove_entry("$ref")?;
    beside.retain(|keyword, _| !is_annotation(keyword));
    let named = Map::from_iter([named]);
    (!beside.is_empty()).then(|| json!({"allOf": [named, beside]}))
}

/// What takes only what both take, if that can be said in one schema.
fn merge(one: &Value, other: &Value) -> Option<Value> {
    let (one, other) = match (one, other) {
        (one, Value::Bool(true)) => return Some(one.clone()),
        (Value::Bool(true), other) => return Some(other.clone()),
        (one, other) => (one.as_object()?, other.as_object()?),
    };
    let mut merged = one.clone();
    for (keyword, value) in other {
        let Some(present) = merged.get(keyword) else {
            merged.insert(keyword.clone(), value.clone());
            continue;
        };
        let value = match keyword.as_str() {
            "properties" => merge_properties(present.as_object()?, value.as_object()?)?,
            "required" => {
                let mut names = present.as_array()?.clone();
                let more = value
                    .as_array()?
                    .iter()
                    .filter(|name| !present.as_array().is_some_and(|all| all.contains(name)));
                names.extend(more.cloned());
                names.into()
            }
            _ if is_annotation(keyword) || present == value => present.clone(),
            _ => return None,
        };
        merged.insert(keyword.clone(), value);
    }
    Some(merged.into())
}

fn merge_properties(one: &Map<String, Value>, other: &Map<String, Value>) -> Option<Value> {
    let mut merged = one.clone();
    for (name, schema) in other {
        let schema = match merged.get(name) {
            Some(present) => merge(present, schema)?,
            None => schema.clone(),
        };
        merged.insert(name.clone(), schema);
    }
    Some(merged.into())
}

/// Whether a keyword says nothing of which values are taken.
pub(super) fn is_annotation(keyword: &str) -> bool {
    const ANNOTATIONS: [&str; 9] = [
        "title",
        "description",
        "default",
        "examples",
        "$comment",
        "$id",
        "deprecated",
        "readOnly",
        "writeOnly",
    ];
    ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-")
}
