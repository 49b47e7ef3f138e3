//! Merges two sets of named schemas: a type whose serialized and deserialized forms differ has two schemas, under two
//! names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::description::schema::NAMED;

/// Adds the schemas of results to those of arguments, and returns the names that were changed.
pub(super) fn merge(
    arguments: &mut Map<String, Value>,
    results: Map<String, Value>,
) -> BTreeMap<String, String> {
    let differing = differing(arguments, &results);
    let mut renamed = BTreeMap::new();
    for name in differing {
        let names = std::iter::successors(Some(format!("{}Result", plain(&name))), |it| {
            Some(format!("{it}_"))
        });
        let is_free = |it: &String| !arguments.contains_key(it) && !results.contains_key(it);
        renamed.extend(names.into_iter().find(is_free).map(|free| (name, free)));
    }
    for (name, mut schema) in results {
        rename(&mut schema, &renamed);
        let name = renamed.get(&name).cloned().unwrap_or(name);
        arguments.insert(name, schema);
    }
    renamed
}

/// Returns the names in both sets whose schemas differ, or refer to a schema that differs.
fn differing(arguments: &Map<String, Value>, results: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::<String>::new();
    loop {
        let more = results.iter().find(|(name, schema)| {
            !found.contains(*name)
                && arguments.get(*name).is_some_and(|other| {
                    other != *schema || found.iter().any(|name| mentions(schema, name))
                })
        });
        match more {
            Some((name, _)) => found.insert(name.clone()),
            None => return found,
        };
    }
}

fn mentions(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| {
            (key == "$ref" && named(value).as_deref() == Some(name)) || mentions(value, name)
        }),
        Value::Array(elements) => elements.iter().any(|element| mentions(element, name)),
        _ => false,
    }
}

/// Changes references to the new names.
pub(super) fn rename(schema: &mut Value, renamed: &BTreeMap<String, String>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match named(value).and_then(|name| renamed.get(&name)) {
                    Some(name) if key == "$ref" => *value = reference(name).into(),
                    _ => rename(value, renamed),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|it| rename(it, renamed)),
        _ => {}
    }
}

/// Sets the title of schemas without one to their name, for tools that generate types.
pub(super) fn entitle(schemas: &mut Map<String, Value>) {
    for (name, schema) in schemas {
        if let Value::Object(members) = schema {
            let title = members.entry("title");
            title.or_insert_with(|| name.as_str().into());
        }
    }
}

fn reference(name: &str) -> String {
    format!("#{NAMED}/{name}")
}

/// Returns the name of the schema that a reference refers to.
pub(super) fn named(reference: &Value) -> Option<String> {
    let path = reference.as_str()?.strip_prefix('#')?;
    let name = path.strip_prefix(NAMED)?.strip_prefix('/')?;
    Some(decoded(name)?.replace("~1", "/").replace("~0", "~"))
}

/// Decodes the percent-encoding of a URI, such as `%2F`.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Returns a name without the characters that a reference must escape.
fn plain(name: &str) -> String {
    let is_plain =
        |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    name.chars().filter(is_plain).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_the_same_for_both_has_one_name() {
        let mut arguments = map(json!({"Point": {"type": "object"}}));
        let renamed = merge(&mut arguments, map(json!({"Point": {"type": "object"}})));
        assert!(renamed.is_empty());
        assert_eq!(arguments.len(), 1);
    }

    #[test]
    fn what_differs_has_two_and_so_has_what_mentions_it() {
        let list = json!({"items": {"$ref": "#/components/schemas/Point"}});
        let mut arguments = map(json!({"Point": {"type": "object"}, "List": list}));
        let results = json!({
            "Point": {"type": "object", "required": ["x"]},
            "List": list,
            "PointResult": {"type": "null"},
        });
        let renamed = merge(&mut arguments, map(results));
        assert_eq!(renamed["Point"], "PointResult_");
        assert_eq!(renamed["List"], "ListResult");
        assert_eq!(arguments["List"], list);
        let moved = json!({"items": {"$ref": "#/components/schemas/PointResult_"}});
        assert_eq!(arguments["ListResult"], moved);
    }
}
