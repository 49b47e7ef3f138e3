//! A command line that calls a method, to paste and to change.

use serde_json::{Map, Value, json};

use crate::document::{Document, Example, Method};
use crate::output::json;
use crate::schema;
use crate::shell::quoted;

/// How deep a sample goes, and how many values it has.
const DEPTH: usize = 6;
const MOST: usize = 100;

/// `call text.count text=hello needle=l`; `target` is where, and how it is trusted.
pub(crate) fn command(document: &Document, method: &Method, target: &str) -> String {
    let arguments = method
        .examples
        .first()
        .and_then(|example| of_example(method, example));
    let arguments = arguments.unwrap_or_else(|| of_types(document, method));
    written(method, target, &arguments)
}

/// The command line of an example.
pub(crate) fn example(method: &Method, example: &Example, target: &str) -> Option<String> {
    of_example(method, example).map(|arguments| written(method, target, &arguments))
}

fn written(method: &Method, target: &str, arguments: &Value) -> String {
    let streams = method.items.is_some() || method.upload.is_some();
    let command = if streams { "stream" } else { "call" };
    let upload = if method.upload.is_some() {
        " --upload -"
    } else {
        ""
    };
    // No name has such characters in earnest, and a shell that reads them from a terminal obeys some.
    let name = method.name.replace(char::is_control, "\u{fffd}");
    let name = quoted(&name);
    let arguments = typed(method, arguments);
    let is_option = |word: &str| word.starts_with('-');
    match is_option(&name) || arguments.split(' ').any(is_option) {
        true => format!("rpc {command} {target}{upload} -- {name}{arguments}"),
        false => format!("rpc {command} {target} {name}{arguments}{upload}"),
    }
}

/// `name=value` for each, if all are simple, and one JSON value if not.
fn typed(method: &Method, arguments: &Value) -> String {
    let simple = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        simple => Some(simple.to_string()),
    };
    let named = arguments.as_object().and_then(|members| {
        let named = members.iter().map(|(name, value)| {
            let value = simple(value)?;
            // JSON escapes these.
            let is_odd = name.contains(char::is_control) || value.contains(char::is_control);
            (!is_odd).then(|| format!(" {}={}", quoted(name), quoted(&value)))
        });
        named.collect::<Option<String>>()
    });
    match named {
        Some(named) if !method.params.is_empty() || named.is_empty() => named,
        _ => format!(" {}", quoted(&json(arguments))),
    }
}

fn of_example(method: &Method, example: &Example) -> Option<Value> {
    let known = |name: &String| {
        method
            .params
            .iter()
            .any(|parameter| parameter.name == *name)
    };
    if example.params.iter().all(|one| known(&one.name)) {
        let members = example
            .params
            .iter()
            .map(|one| (one.name.clone(), one.value.clone()));
        return Some(members.collect::<Map<_, _>>().into());
    }
    // All of `params` is one value.
    example.params.first().map(|one| one.value.clone())
}

fn of_types(document: &Document, method: &Method) -> Value {
    if let (Some(whole), true) = (&method.entire_params, method.params.is_empty()) {
        return match schema::says_nothing(&whole.schema) {
            true => json!(["…"]),
            false => value(document, &whole.schema),
        };
    }
    let required = method.params.iter().filter(|parameter| parameter.required);
    let members = required.map(|parameter| {
        let schema = &parameter.typed.schema;
        let value = match schema::says_nothing(schema) {
            true => json!("…"),
            false => value(document, schema),
        };
        (parameter.name.clone(), value)
    });
    members.collect::<Map<_, _>>().into()
}

/// Some value that a schema takes, as far as that is easily said.
fn value(document: &Document, schema: &Value) -> Value {
    let mut sample = Sample {
        document,
        left: MOST,
    };
    sample.value(schema, DEPTH)
}

struct Sample<'a> {
    document: &'a Document,
    left: usize,
}

impl Sample<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        self.left = self.left.saturating_sub(1);
        let depth = if self.left == 0 { 0 } else { depth };
        let schema = self.document.resolve(schema);
        let given = schema.get("default").or_else(|| schema.get("const"));
        let first = |keyword| schema::list(schema, keyword).and_then(|all| all.first());
        if let Some(given) = given
            .or_else(|| first("examples"))
            .or_else(|| first("enum"))
        {
            return given.clone();
        }
        let alternative = first("oneOf")
            .or_else(|| first("anyOf"))
            .or_else(|| first("allOf"));
        if let (Some(alternative), true) = (alternative, depth > 0) {
            return self.value(alternative, depth - 1);
        }
        let name = schema.get("type");
        let name = name.and_then(|name| name.as_str().or_else(|| name.get(0)?.as_str()));
        match name {
            Some("boolean") => json!(true),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
            Some("string") => json!("text"),
            Some("array") => match schema.get("items") {
                Some(Value::Array(elements)) if depth > 0 => elements
                    .iter()
                    .map(|element| self.value(element, depth - 1))
                    .collect(),
                Some(element @ Value::Object(_)) if depth > 0 => {
                    json!([self.value(element, depth - 1)])
                }
                _ => json!([]),
            },
            Some("object") if depth > 0 => schema::fields(schema)
                .iter()
                .filter(|field| field.required)
                .map(|field| (field.name.to_owned(), self.value(field.schema, depth - 1)))
                .collect::<Map<_, _>>()
                .into(),
            Some("object") => json!({}),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_of(method: Value) -> String {
        let document = json!({
            "methods": [method],
            "components": {"schemas": {"Order": {
                "type": "object",
                "required": ["item", "tags"],
                "properties": {
                    "item": {"enum": ["pear", "plum"]},
                    "quantity": {"type": "integer"},
                    "tags": {"type": "array", "items": {"$ref": "#/components/schemas/Tag"}},
                },
            }, "Tag": {"type": ["string", "null"]}}},
        });
        let document = Document::new(document).unwrap();
        command(&document, &document.methods[0], "HOST:PORT")
    }

    #[test]
    fn a_shell_takes_a_command_line_for_one_command() {
        let text = json!({"name": "text", "required": true, "schema": {"type": "string"}});
        let with = |value: &str| json!({"name": "m", "params": [text], "examples": [{"params": [{"name": "text", "value": value}]}]});
        let cases = [
            (json!({"name": "--ca=x"}), "rpc call HOST:PORT -- --ca=x"),
            (
                json!({"name": "-x", "x-items": {}, "x-upload": {}}),
                "rpc stream HOST:PORT --upload - -- -x",
            ),
            (json!({"name": "m;reboot"}), "rpc call HOST:PORT 'm;reboot'"),
            (
                json!({"name": "m\u{3}\nreboot\n"}),
                "rpc call HOST:PORT 'm\u{fffd}\u{fffd}reboot\u{fffd}'",
            ),
            (
                with("a\u{3}\nreboot\u{9b}201~"),
                r#"rpc call HOST:PORT m '{"text":"a\u0003\nreboot\u009b201~"}'"#,
            ),
            (with("$(reboot)`"), "rpc call HOST:PORT m text='$(reboot)`'"),
        ];
        for (method, expected) in cases {
            assert_eq!(command_of(method.clone()), expected, "{method}");
        }
    }

    #[test]
    fn a_method_has_a_command_line_that_calls_it() {
        let text = json!({"name": "text", "required": true, "schema": {"type": "string"}});
        let times = json!({"name": "times", "required": true, "schema": {"type": "integer"}});
        let optional = json!({"name": "more", "schema": {"type": "integer"}});
        let order = json!({"name": "order", "required": true, "schema": {"$ref": "#/components/schemas/Order"}});
        let cases = [
            (json!({"name": "m"}), "rpc call HOST:PORT m"),
            (
                json!({"name": "m", "params": [text, times, optional]}),
                "rpc call HOST:PORT m text=text times=1",
            ),
            (
                json!({"name": "m", "params": [order]}),
                r#"rpc call HOST:PORT m '{"order":{"item":"pear","tags":["text"]}}'"#,
            ),
            (
                json!({"name": "m", "x-params": {"schema": {"type": "array", "items": {"type": "integer"}}}}),
                "rpc call HOST:PORT m '[1]'",
            ),
            (
                json!({"name": "m", "x-items": {"schema": {}}, "x-upload": {"schema": {}}}),
                "rpc stream HOST:PORT m --upload -",
            ),
            (
                json!({"name": "m", "params": [text], "examples": [
                    {"params": [{"name": "text", "value": "it's"}]},
                ]}),
                r"rpc call HOST:PORT m text='it'\''s'",
            ),
            (
                json!({"name": "m", "params": [{"name": "a", "required": true, "schema": {}}]}),
                "rpc call HOST:PORT m a='…'",
            ),
        ];
        for (method, expected) in cases {
            assert_eq!(command_of(method.clone()), expected, "{method}");
        }
    }
}
