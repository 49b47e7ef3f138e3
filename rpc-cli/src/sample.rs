//! Creates a command line that calls a method, to paste and to edit.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Tree;

use crate::document::{Document, Example, Method, Typed};
use crate::escape::is_unprintable;
use crate::json::{Compact, Value};
use crate::schema;
use crate::shell::quoted;

/// The limits of a sample: the nesting, the number of values, and the bytes of names and of values from the schema. A
/// larger sample is not useful for pasting, and a schema may have references from everywhere.
const DEPTH: usize = 6;
const VALUES: usize = 100;
const BYTES: usize = 2000;

/// The number of bytes of schemas that are read for the samples of a document, for each byte of the document. All
/// methods may refer to one large type.
const LOOKED_AT: usize = 8;

/// Creates command lines for the methods of a document.
pub(crate) struct Samples<'a> {
    document: &'a Document,
    /// The number of bytes of schemas that may still be read.
    left: usize,
}

impl<'a> Samples<'a> {
    pub(crate) fn of(document: &'a Document) -> Self {
        let text = document.json().text().len();
        let left = text.saturating_mul(LOOKED_AT);
        Self { document, left }
    }

    /// Returns `call text.count text=hello needle=l`. `target` is the server with the options that verify it.
    pub(crate) fn command(&mut self, method: Method<'_>, target: &str) -> String {
        let example = method.examples().next();
        let arguments = example.and_then(|example| of_example(method, example));
        let arguments = arguments.unwrap_or_else(|| self.of_types(method));
        written(method, target, &arguments)
    }

    fn of_types(&mut self, method: Method<'_>) -> Arguments {
        let mut sample = Sample {
            samples: self,
            values: VALUES,
            bytes: BYTES,
        };
        if let (Some(whole), None) = (method.entire_params(), method.params().next()) {
            let value = sample.typed(whole).unwrap_or_else(|| "[\"…\"]".into());
            return Arguments::Entire(compact(&value));
        }
        let required = method.params().filter(|parameter| parameter.is_required());
        let named = required.map_while(|parameter| {
            let name = sample.name(&parameter.name())?;
            sample.values = sample.values.checked_sub(1)?;
            let value = sample
                .typed(parameter.typed())
                .unwrap_or_else(|| "\"…\"".into());
            Some((name, compact(&value)))
        });
        Arguments::Named(named.collect())
    }
}

/// Returns the command line of an example.
pub(crate) fn example(method: Method<'_>, example: Example<'_>, target: &str) -> Option<String> {
    of_example(method, example).map(|arguments| written(method, target, &arguments))
}

/// The arguments of a call, each as JSON.
enum Arguments {
    Named(Vec<(String, String)>),
    /// One value for all parameters.
    Entire(String),
}

fn written(method: Method<'_>, target: &str, arguments: &Arguments) -> String {
    let streams = method.items().is_some() || method.upload().is_some();
    let command = if streams { "stream" } else { "call" };
    let upload = match method.upload() {
        Some(_) => " --upload -",
        None => "",
    };
    // Ordinary names have no such characters, and a shell executes some of them when it reads from a terminal.
    let name = method.name().replace(is_unprintable, "\u{fffd}");
    let name = quoted(&name);
    let arguments = typed(method, arguments);
    let is_option = |word: &str| word.starts_with('-');
    match is_option(&name) || arguments.split(' ').any(is_option) {
        true => format!("rpc {command} {target}{upload} -- {name}{arguments}"),
        false => format!("rpc {command} {target} {name}{arguments}{upload}"),
    }
}

/// Returns `name=value` for each argument if all are simple, otherwise one JSON value.
fn typed(method: Method<'_>, arguments: &Arguments) -> String {
    let named = match arguments {
        Arguments::Entire(json) => return format!(" {}", quoted(json)),
        Arguments::Named(named) => named,
    };
    let simple = named.iter().map(|(name, value)| {
        let value = simple(value)?;
        // JSON escapes these characters.
        let is_odd = name.contains(is_unprintable) || value.contains(is_unprintable);
        (!is_odd).then(|| format!(" {}={}", quoted(name), quoted(&value)))
    });
    if let (true, Some(simple)) = (
        named.is_empty() || method.params().next().is_some(),
        simple.collect::<Option<String>>(),
    ) {
        return simple;
    }
    if method.is_by_position() {
        let values: HashMap<_, _> = named.iter().map(|(name, value)| (&**name, value)).collect();
        let names = method.params().map(|parameter| parameter.name());
        let values = names.map_while(|name| Some(values.get(&*name)?.as_str()));
        let values: Vec<_> = values.collect();
        return format!(" {}", quoted(&format!("[{}]", values.join(","))));
    }
    let members = named.iter().map(|(name, value)| {
        let name = Tree::from(name.as_str()).to_string();
        format!("{}:{value}", Compact(&name))
    });
    let members: Vec<_> = members.collect();
    format!(" {}", quoted(&format!("{{{}}}", members.join(","))))
}

/// Returns a value as it is typed without quotes. Returns `None` for arrays and objects.
fn simple(json: &str) -> Option<String> {
    match json.as_bytes().first() {
        Some(b'[' | b'{') => None,
        Some(b'"') => serde_json::from_str(json).ok(),
        _ => Some(json.to_owned()),
    }
}

fn of_example(method: Method<'_>, example: Example<'_>) -> Option<Arguments> {
    let names: HashSet<_> = method.params().map(|parameter| parameter.name()).collect();
    if example.params().all(|one| names.contains(&one.name())) {
        let named = example.params().map(|one| {
            let value = Compact(one.value()).to_string();
            (one.name().into_owned(), value)
        });
        return Some(Arguments::Named(named.collect()));
    }
    // The entire `params` is one value.
    let entire = example.params().next()?;
    Some(Arguments::Entire(Compact(entire.value()).to_string()))
}

fn compact(json: &str) -> String {
    Compact(json).to_string()
}

/// Creates the JSON text of a value that a schema accepts, as far as that is simple. A tree of values would not hold all
/// digits of a number.
struct Sample<'s, 'a> {
    samples: &'s mut Samples<'a>,
    /// The number of values that the sample may still have.
    values: usize,
    /// The number of bytes of names and of values from the document that the sample may still have.
    bytes: usize,
}

impl Sample<'_, '_> {
    /// Returns a value of the type, or `None` if the type is unknown.
    fn typed(&mut self, typed: Typed<'_>) -> Option<String> {
        let schema = typed.schema()?;
        (!schema::says_nothing(schema)).then(|| self.value(schema, DEPTH))
    }

    /// Returns a name, if the sample has room for it.
    fn name(&mut self, name: &str) -> Option<String> {
        self.bytes = self.bytes.checked_sub(name.len())?;
        Some(name.to_owned())
    }

    /// Returns a value of the document, if the sample has room for it.
    fn given(&mut self, value: Value<'_>) -> Option<String> {
        self.bytes = self.bytes.checked_sub(value.len_bound())?;
        Some(value.text().to_owned())
    }

    fn value(&mut self, schema: Value<'_>, depth: usize) -> String {
        self.values = self.values.saturating_sub(1);
        let depth = if self.values == 0 { 0 } else { depth };
        let Some(schema) = self.resolve(schema) else {
            return "null".into();
        };
        let [default, constant, minimum, name, items] =
            schema.get_all(["default", "const", "minimum", "type", "items"]);
        let lists = schema.get_all(["examples", "enum", "oneOf", "anyOf", "allOf"]);
        let [example, value, one, any, all] = lists.map(|list| list?.elements().next());
        let given = default.or(constant).or(example).or(value);
        if let Some(given) = given.and_then(|given| self.given(given)) {
            return given;
        }
        if let (Some(alternative), true) = (one.or(any).or(all), depth > 0) {
            return self.value(alternative, depth - 1);
        }
        let name = name.map(|name| name.elements().next().unwrap_or(name));
        match name.and_then(Value::as_str).as_deref() {
            Some("boolean") => "true".into(),
            Some("integer" | "number") => minimum
                .and_then(|least| self.given(least))
                .unwrap_or_else(|| "1".into()),
            Some("string") => "\"text\"".into(),
            Some("array") => self.array(items, depth),
            Some("object") => self.object(schema, depth),
            _ => "null".into(),
        }
    }

    /// Returns the type that a schema refers to, or the schema itself, if the limit of work allows it.
    fn resolve<'v>(&mut self, mut schema: Value<'v>) -> Option<Value<'v>>
    where
        Self: 'v,
    {
        // References may form a cycle.
        for _ in 0..32 {
            // A search for a reference reads all members.
            self.samples.left = self.samples.left.checked_sub(schema.len_bound())?;
            match self.samples.document.referred(schema) {
                Some(named) => schema = named,
                None => return Some(schema),
            }
        }
        None
    }

    fn array(&mut self, items: Option<Value<'_>>, depth: usize) -> String {
        let elements: Vec<_> = match items {
            Some(elements) if elements.is_array() && depth > 0 => elements
                .elements()
                .map_while(|element| (self.values > 0).then(|| self.value(element, depth - 1)))
                .collect(),
            Some(element) if element.is_object() && depth > 0 => {
                vec![self.value(element, depth - 1)]
            }
            _ => Vec::new(),
        };
        format!("[{}]", elements.join(","))
    }

    fn object(&mut self, schema: Value<'_>, depth: usize) -> String {
        if depth == 0 {
            return "{}".into();
        }
        let required = schema::fields(schema).filter(|field| field.is_required);
        let members = required.map_while(|field| {
            let name = (self.values > 0).then(|| self.name(&field.name))??;
            let value = self.value(field.schema, depth - 1);
            Some(format!("{}:{value}", Tree::from(name)))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::document::{Document, mutated};
    use crate::json::Json;

    #[test]
    fn number_of_the_document_keeps_all_digits() {
        let text = r#"{"methods":[{"name":"m","params":[
            {"name":"a","required":true,"schema":{"type":"number","default":0.1000000000000000000001}},
            {"name":"b","required":true,"schema":{"type":"array","items":{"const":12345678901234567890123}}}
        ]}]}"#;
        let document = Document::new(Json::parse(text.into()).unwrap()).unwrap();
        let method = document.methods().next().unwrap();
        let command = Samples::of(&document).command(method, "HOST:PORT");
        let arguments = r#"'{"a":0.1000000000000000000001,"b":[12345678901234567890123]}'"#;
        assert_eq!(command, format!("rpc call HOST:PORT m {arguments}"));
    }

    fn command_of(method: Tree) -> String {
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
        let document = mutated::document(document);
        let method = document.methods().next().unwrap();
        Samples::of(&document).command(method, "HOST:PORT")
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
            (
                with("a\u{202e}'; reboot #\u{2066}"),
                r#"rpc call HOST:PORT m '{"text":"a\u202e'\''; reboot #\u2066"}'"#,
            ),
            (
                json!({"name": "m\u{200f}\u{2028}"}),
                "rpc call HOST:PORT 'm\u{fffd}\u{fffd}'",
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
                json!({"name": "m", "paramStructure": "by-position", "params": [order, text]}),
                r#"rpc call HOST:PORT m '[{"item":"pear","tags":["text"]},"text"]'"#,
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

    #[test]
    fn sample_of_a_large_type_has_a_limit() {
        let text = json!({"name": "text", "required": true, "schema": {"type": "string"}});
        let many: Vec<_> = (0..1000).map(|_| text.clone()).collect();
        let of = |schema: Tree| json!({"name": "m", "params": [{"name": "a", "required": true, "schema": schema}]});
        let names: Vec<_> = (0..1000).map(|number| format!("{number:0100}")).collect();
        let properties: Map<_, _> = names.iter().map(|name| (name.clone(), json!({}))).collect();
        let large = [
            json!({"name": "m", "params": many}),
            of(json!({"default": "x".repeat(1 << 20), "type": "integer"})),
            of(json!({"type": "object", "required": names, "properties": properties})),
            of(json!({"type": "array", "items": vec![json!({"type": "string"}); 10_000]})),
            of(
                json!({"type": "array", "items": vec![json!({"type": "array", "items": vec![json!({}); 1000]}); 1000]}),
            ),
        ];
        for method in large {
            let command = command_of(method);
            assert!(command.len() < 3 * BYTES, "{}", command.len());
        }
        let command = command_of(of(
            json!({"default": "x".repeat(1 << 20), "type": "integer"}),
        ));
        assert_eq!(command, "rpc call HOST:PORT m a=1");
    }
}
