//! A table of changes and their findings.

use serde_json::{Value, json};

use super::finding::Change;
use super::finding::Severity::{self, Breaking, Compatible, MayBreak};
use super::fuel::Fuel;
use super::methods::{compare, compare_within};
use crate::document::Document;
use crate::document::grown::{SHAPES, Shape};
use crate::document::mutated::{self, chain};

/// The old version, the new version, and the findings.
type Case<'a, V> = (V, V, &'a [(Severity, &'a str)]);

/// The most severe finding, and a part of its text.
type Expected = Option<(Severity, &'static str)>;

/// Puts a schema into a method.
type Method = fn(&Value) -> Value;

/// Types that the cases refer to.
fn components() -> Value {
    json!({"schemas": {
        "Order": {"type": "object", "required": ["item"], "properties": {"item": {"type": "string"}}},
        "Wider": {"type": "object", "required": ["item"], "properties": {"item": {"type": ["string", "null"]}}},
        "Tree": {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Tree"}, "size": {"type": "integer", "format": "uint32"}}},
        "List": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/components/schemas/List"}, {"type": "null"}]}, "size": {"type": "integer", "format": "uint32"}}},
        "Same": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/components/schemas/Same"}, {"type": "null"}]}, "size": {"type": "integer", "format": "uint32"}}},
        "Longer": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/components/schemas/Longer"}, {"type": "null"}]}, "size": {"type": "integer", "format": "uint64"}}},
        "Bigger": {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Bigger"}, "size": {"type": "integer", "format": "uint64"}}},
    }})
}

fn changes(old: Value, new: Value) -> Vec<(Severity, String)> {
    let document = |methods: Value| {
        let methods = if methods.is_array() {
            methods
        } else {
            json!([methods])
        };
        mutated::document(json!({"methods": methods, "components": components()}))
    };
    let changes = compare(&document(old), &document(new));
    let mut found: Vec<_> = changes
        .into_iter()
        .map(|change| (change.finding.severity, change.finding.what.into_owned()))
        .collect();
    found.sort();
    found
}

#[track_caller]
fn assert_changes(old: &Value, new: &Value, expected: &[(Severity, &str)]) {
    let found = changes(old.clone(), new.clone());
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, (severity, part))| found.0 == *severity && found.1.contains(part));
    assert!(
        same,
        "from {old}\nto   {new}\nexpected {expected:?}\nfound    {found:?}"
    );
}

/// Changes of a method other than its types.
#[test]
fn methods() {
    let m = |more: Value| {
        let mut method = json!({"name": "m", "params": [], "result": {"schema": {"type": "null"}}});
        method
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        method
    };
    let plain = m(json!({}));
    let notification = json!({"name": "m", "params": [], "x-notification": true});
    let stream = m(json!({"x-items": {"schema": {}}}));
    let upload = m(json!({"x-upload": {"schema": {}}}));
    let both = m(json!({"x-items": {"schema": {}}, "x-upload": {"schema": {}}}));
    let aliased = m(json!({"x-aliases": ["n"]}));
    let renamed = json!({"name": "n", "params": [], "result": {"schema": {"type": "null"}}, "x-aliases": ["m"]});
    let idempotent = m(json!({"x-idempotent": true}));
    let deprecated = m(json!({"deprecated": true}));
    let unreliable =
        json!({"name": "m", "params": [], "x-notification": true, "x-unreliable": true});
    let error = |code: i64, message: &str, data: Value| {
        m(json!({"errors": [{"code": code, "message": message, "data": data}]}))
    };
    let empty = error(1, "empty", json!({"type": "string"}));
    let cases: [Case<&Value>; 24] = [
        (&plain, &plain, &[]),
        (&plain, &json!([]), &[(Breaking, "the method is removed")]),
        (&json!([]), &plain, &[(Compatible, "the method is new")]),
        (&aliased, &plain, &[(Breaking, "the alias `n` is removed")]),
        (&plain, &aliased, &[(Compatible, "the alias `n` is new")]),
        (&plain, &renamed, &[(Compatible, "renamed to `n`")]),
        (&renamed, &plain, &[(Breaking, "the method is removed")]),
        (&aliased, &renamed, &[(Compatible, "renamed to `n`")]),
        (
            &plain,
            &notification,
            &[(Breaking, "was a call, and is a notification")],
        ),
        (
            &notification,
            &plain,
            &[(Compatible, "callers that notify receive no response")],
        ),
        (
            &plain,
            &stream,
            &[(Breaking, "is a call answered by a stream")],
        ),
        (&stream, &plain, &[(Breaking, "and is a call now")]),
        (&stream, &upload, &[(Breaking, "takes a stream")]),
        (&upload, &both, &[(Breaking, "streams both ways")]),
        (&notification, &unreliable, &[(Compatible, "may be lost")]),
        (&idempotent, &plain, &[(MayBreak, "no longer idempotent")]),
        (&plain, &idempotent, &[(Compatible, "idempotent now")]),
        (&plain, &deprecated, &[(Compatible, "deprecated now")]),
        (&empty, &plain, &[(Breaking, "error 1 (empty) is removed")]),
        (&plain, &empty, &[(Compatible, "error 1 (empty) is new")]),
        (
            &empty,
            &error(1, "full", json!({"type": "string"})),
            &[(
                MayBreak,
                "the message of error 1 was “empty”, and is “full”",
            )],
        ),
        (
            &empty,
            &error(1, "empty", json!({"type": "integer"})),
            &[(Breaking, "data of error 1: string has become integer")],
        ),
        (
            &empty,
            &error(1, "empty", Value::Null),
            &[(Breaking, "data of error 1 is removed")],
        ),
        (
            &error(1, "empty", Value::Null),
            &empty,
            &[(Compatible, "data of error 1 is new")],
        ),
    ];
    for (old, new, expected) in cases {
        assert_changes(old, new, expected);
    }
}

#[test]
fn parameters() {
    let method = |params: Value| json!({"name": "m", "params": params});
    let a = json!({"name": "a", "required": true, "schema": {"type": "string"}});
    let b = json!({"name": "b", "required": true, "schema": {"type": "integer"}});
    let c = json!({"name": "c", "required": true, "schema": {"type": "string"}});
    let optional = json!({"name": "b", "schema": {"type": "integer"}});
    let default =
        |value: i64| json!({"name": "b", "schema": {"type": "integer", "default": value}});
    let structure =
        |structure: &str| json!({"name": "m", "paramStructure": structure, "params": [a, b]});
    let by_name =
        |params: Value| json!({"name": "m", "paramStructure": "by-name", "params": params});
    let whole = |schema: Value| json!({"name": "m", "params": [], "x-params": {"schema": schema}});
    let numbers = json!({"type": "array", "items": {"type": "integer"}});
    let rust = |name: &str| {
        method(json!([{"name": "a", "required": true, "schema": {}, "x-rust-type": name}]))
    };
    let cases: [Case<Value>; 21] = [
        (method(json!([a])), method(json!([a])), &[]),
        (
            method(json!([a, b])),
            method(json!([a])),
            &[(Breaking, "parameter `b` is removed")],
        ),
        (
            method(json!([a])),
            method(json!([a, b])),
            &[(Breaking, "`b` is new and required")],
        ),
        (
            method(json!([a])),
            method(json!([a, optional])),
            &[(Compatible, "`b` is new and optional")],
        ),
        (
            method(json!([a])),
            method(json!([optional, a])),
            &[
                (Breaking, "order of parameters changed: `a` moved"),
                (Compatible, "`b` is new"),
            ],
        ),
        (
            method(json!([a, b])),
            method(json!([b, a])),
            &[(Breaking, "`a`, `b` moved")],
        ),
        (by_name(json!([a, b])), by_name(json!([b, a])), &[]),
        (
            method(json!([a])),
            method(json!([c])),
            &[
                (Breaking, "renamed to `c`?"),
                (Breaking, "`c` is new and required"),
            ],
        ),
        (
            method(json!([a, optional])),
            method(json!([a, b])),
            &[(Breaking, "`b` is required now")],
        ),
        (
            method(json!([a, b])),
            method(json!([a, optional])),
            &[(Compatible, "`b` is optional now")],
        ),
        (
            method(json!([default(1)])),
            method(json!([default(2)])),
            &[(MayBreak, "the default was 1, and is 2")],
        ),
        (
            method(json!([default(1)])),
            method(json!([default(1)])),
            &[],
        ),
        (
            structure("either"),
            structure("by-name"),
            &[(Breaking, "only be passed by name")],
        ),
        (
            structure("either"),
            structure("by-position"),
            &[(Breaking, "only be passed by position")],
        ),
        (structure("by-name"), structure("either"), &[]),
        (method(json!([a, b])), structure("either"), &[]),
        (
            whole(numbers.clone()),
            whole(json!({"type": "array", "items": {"type": "number"}})),
            &[(Compatible, "parameters: accepts more")],
        ),
        (
            whole(json!({"type": "array", "items": {"type": "number"}})),
            whole(numbers.clone()),
            &[(Breaking, "parameters[]: number has become integer")],
        ),
        (
            whole(numbers.clone()),
            method(json!([a])),
            &[(Breaking, "have names now")],
        ),
        (
            method(json!([a])),
            whole(numbers),
            &[(Breaking, "are one value now")],
        ),
        (
            rust("&str"),
            rust("u32"),
            &[(MayBreak, "&str has become u32")],
        ),
    ];
    for (old, new, expected) in cases {
        assert_changes(&old, &new, expected);
    }
}

/// Changes of types in both directions: widening is compatible if callers send the type, and breaking if they receive
/// it.
#[test]
fn types() {
    use Breaking as X;
    let string = || json!({"type": "string"});
    let integer = |format: &str| json!({"type": "integer", "format": format});
    let object = |required: &[&str], properties: Value| json!({"type": "object", "required": required, "properties": properties});
    let closed = |properties: Value| json!({"type": "object", "properties": properties, "additionalProperties": false});
    let list = |items: Value| json!({"type": "array", "items": items});
    let order = || json!({"$ref": "#/components/schemas/Order"});
    let wider = || json!({"$ref": "#/components/schemas/Wider"});
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let card = |number: Value| object(&["card"], json!({"card": number}));
    let tagged = |tag: &str, size: Value| {
        object(
            &["kind", "size"],
            json!({"kind": {"enum": [tag]}, "size": size}),
        )
    };
    let tuple = |elements: &[Value]| json!({"type": "array", "items": elements, "minItems": elements.len(), "maxItems": elements.len()});
    let anything = Compatible;
    // The old type, the new type, and the findings if callers send it and if they receive it.
    let cases: Vec<(Value, Value, Expected, Expected)> = vec![
        (string(), string(), None, None),
        (
            string(),
            json!({"type": "string", "description": "told", "title": "T", "default": "x"}),
            None,
            None,
        ),
        (
            string(),
            json!({"type": "integer"}),
            Some((X, "string has become integer")),
            Some((X, "string has become integer")),
        ),
        (
            json!({}),
            string(),
            Some((X, "")),
            Some((anything, "still read it")),
        ),
        (
            string(),
            json!({}),
            Some((Compatible, "accepts more")),
            Some((X, "anything")),
        ),
        (json!(true), json!({}), None, None),
        // Numbers.
        (
            integer("uint32"),
            integer("uint64"),
            Some((Compatible, "accepts more")),
            Some((X, "uint32 has become uint64")),
        ),
        (
            integer("uint64"),
            integer("uint32"),
            Some((X, "uint64 has become uint32")),
            Some((Compatible, "still read it")),
        ),
        (
            integer("int64"),
            integer("uint64"),
            Some((X, "int64 has become uint64")),
            Some((X, "int64 has become uint64")),
        ),
        (
            integer("uint8"),
            json!({"type": "integer", "minimum": 0, "maximum": 255}),
            None,
            None,
        ),
        (
            json!({"type": "integer"}),
            json!({"type": "number"}),
            Some((Compatible, "accepts more")),
            Some((X, "integer has become number")),
        ),
        (
            json!({"type": "number", "minimum": 1}),
            json!({"type": "number"}),
            Some((Compatible, "accepts more")),
            Some((X, "the range was at least 1, and is any number")),
        ),
        (
            json!({"type": "number", "format": "double"}),
            json!({"type": "number", "format": "float"}),
            Some((MayBreak, "fewer digits")),
            None,
        ),
        // Strings.
        (
            string(),
            json!({"type": "string", "format": "date"}),
            Some((X, "string has become string<date>")),
            Some((Compatible, "still read it")),
        ),
        (
            json!({"type": "string", "maxLength": 5}),
            json!({"type": "string", "maxLength": 9}),
            Some((Compatible, "accepts more")),
            Some((X, "at most 9 characters, and was 5")),
        ),
        (
            json!({"type": "string", "maxLength": 5}),
            string(),
            Some((Compatible, "accepts more")),
            Some((X, "any number of characters")),
        ),
        (
            json!({"type": "string", "pattern": "a"}),
            json!({"type": "string", "pattern": "b"}),
            Some((MayBreak, "`pattern`")),
            Some((MayBreak, "`pattern`")),
        ),
        // Null, and other unions.
        (
            string(),
            json!({"type": ["string", "null"]}),
            Some((Compatible, "accepts more")),
            Some((X, "may now be null")),
        ),
        (
            json!({"type": ["string", "null"]}),
            string(),
            Some((X, "null is no longer accepted, only string")),
            Some((Compatible, "still read it")),
        ),
        (
            order(),
            json!({"anyOf": [order(), {"type": "null"}]}),
            Some((Compatible, "accepts more")),
            Some((X, "may now be null")),
        ),
        (
            json!({"anyOf": [string(), {"type": "integer"}]}),
            json!({"type": ["integer", "string"]}),
            None,
            None,
        ),
        (
            json!({"enum": ["a", "b"]}),
            json!({"enum": ["a", "b", "c"]}),
            Some((Compatible, "accepts more")),
            Some((X, "may now be \"c\", and was \"a\" | \"b\"")),
        ),
        (
            json!({"enum": ["a", "b"]}),
            json!({"enum": ["b"]}),
            Some((X, "\"a\" is no longer accepted")),
            Some((Compatible, "still read it")),
        ),
        (json!({"enum": ["a"]}), json!({"const": "a"}), None, None),
        (
            json!({"oneOf": [{"const": "a"}, {"const": "b"}]}),
            json!({"type": "string", "enum": ["b", "a"]}),
            None,
            None,
        ),
        (
            json!({"enum": ["a"]}),
            string(),
            Some((Compatible, "accepts more")),
            Some((X, "\"a\" has become string")),
        ),
        (
            json!({"enum": [1, 2]}),
            integer("uint8"),
            Some((Compatible, "accepts more")),
            Some((X, "may now be uint8")),
        ),
        (
            json!({"enum": [300]}),
            integer("uint8"),
            Some((X, "300 has become uint8")),
            Some((X, "300 has become uint8")),
        ),
        // Enums with data.
        (
            json!({"oneOf": [{"enum": ["cash"]}, card(string())]}),
            json!({"oneOf": [{"enum": ["cash"]}, card(json!({"type": ["string", "null"]}))]}),
            Some((Compatible, "accepts more")),
            Some((X, ".card: may now be null")),
        ),
        (
            json!({"oneOf": [{"enum": ["cash"]}, card(string())]}),
            json!({"oneOf": [{"enum": ["cash"]}, object(&["bank"], json!({"bank": string()}))]}),
            Some((X, "{ card: string } is no longer accepted")),
            Some((X, "may now be { bank: string }")),
        ),
        (
            json!({"oneOf": [tagged("a", string()), tagged("b", string())]}),
            json!({"oneOf": [tagged("b", integer("uint8")), tagged("a", string())]}),
            Some((X, ".size: string has become uint8")),
            Some((X, ".size: string has become uint8")),
        ),
        // Objects.
        (
            object(&[], json!({})),
            object(&[], json!({"a": string()})),
            Some((Compatible, ".a: is new")),
            Some((Compatible, ".a: is new")),
        ),
        (
            object(&[], json!({"a": string()})),
            object(&["a"], json!({"a": string()})),
            Some((X, ".a: is required now")),
            Some((Compatible, "still read it")),
        ),
        (
            object(&["a"], json!({"a": string()})),
            object(&[], json!({"a": string()})),
            Some((Compatible, "accepts more")),
            Some((X, ".a: may be missing now")),
        ),
        (
            object(&["a"], json!({"a": string()})),
            object(&["b"], json!({"b": string()})),
            Some((X, ".b: is required now")),
            Some((X, ".a: is removed")),
        ),
        (
            object(&[], json!({"a": string()})),
            object(&[], json!({})),
            Some((MayBreak, ".a: is now ignored")),
            Some((Compatible, ".a: is removed, and was optional")),
        ),
        (
            closed(json!({})),
            closed(json!({"a": string()})),
            Some((Compatible, "accepts more")),
            Some((X, ".a: is new, and callers reject")),
        ),
        (
            closed(json!({"a": string()})),
            closed(json!({})),
            Some((X, ".a: is rejected now")),
            Some((Compatible, "still read it")),
        ),
        (
            object(&[], json!({"a": string()})),
            closed(json!({"a": string()})),
            Some((MayBreak, "unknown properties are rejected")),
            None,
        ),
        (
            json!({"type": "object", "additionalProperties": integer("uint8")}),
            json!({"type": "object", "additionalProperties": integer("uint16")}),
            Some((Compatible, "accepts more")),
            Some((X, "[key]: uint8 has become uint16")),
        ),
        (
            json!({"allOf": [object(&["a"], json!({"a": string()})), object(&["b"], json!({"b": string()}))]}),
            object(&["b", "a"], json!({"b": string(), "a": string()})),
            None,
            None,
        ),
        // Arrays.
        (
            list(string()),
            list(json!({"type": ["string", "null"]})),
            Some((Compatible, "accepts more")),
            Some((X, "[]: may now be null")),
        ),
        (
            tuple(&[string(), string()]),
            tuple(&[string()]),
            Some((X, "1 elements, and were 2")),
            Some((X, "1 elements, and were 2")),
        ),
        (
            tuple(&[string(), integer("uint8")]),
            tuple(&[string(), integer("int8")]),
            Some((X, "[1]: uint8 has become int8")),
            Some((X, "[1]: uint8 has become int8")),
        ),
        (
            list(string()),
            json!({"type": "array", "items": string(), "uniqueItems": true}),
            Some((X, "unique elements")),
            Some((Compatible, "still read it")),
        ),
        (
            list(string()),
            json!({"type": "array", "items": string(), "minItems": 1}),
            Some((X, "at least 1 elements, and was 0")),
            Some((Compatible, "still read it")),
        ),
        // References.
        (
            order(),
            wider(),
            Some((Compatible, "accepts more")),
            Some((X, ".item: may now be null")),
        ),
        (
            order(),
            json!({"allOf": [order()], "description": "an order"}),
            None,
            None,
        ),
        (reference("Tree"), reference("Tree"), None, None),
        (
            reference("Tree"),
            reference("Bigger"),
            Some((Compatible, "accepts more")),
            Some((X, ".size: uint32 has become uint64")),
        ),
        // Keywords that are not understood.
        (
            json!({"not": string()}),
            json!({"not": string()}),
            None,
            None,
        ),
        (
            json!({"not": string()}),
            json!({"not": {"type": "null"}}),
            Some((MayBreak, "")),
            Some((MayBreak, "")),
        ),
        (
            json!({"type": "object", "propertyNames": {"maxLength": 3}}),
            json!({"type": "object"}),
            Some((MayBreak, "`propertyNames`")),
            Some((MayBreak, "`propertyNames`")),
        ),
        (
            reference("Missing"),
            string(),
            Some((MayBreak, "")),
            Some((MayBreak, "")),
        ),
        // Equivalent schemas with a different notation.
        (
            json!({"type": ["string", "null"], "enum": ["a", null]}),
            json!({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}),
            None,
            None,
        ),
        (
            json!({"enum": [true, false]}),
            json!({"type": "boolean"}),
            None,
            None,
        ),
        (
            json!({"enum": [{"a": 1}]}),
            json!({"type": "object"}),
            Some((Compatible, "accepts more")),
            Some((X, "")),
        ),
        (
            json!({"const": 5.0}),
            json!({"type": "integer"}),
            Some((Compatible, "accepts more")),
            Some((X, "")),
        ),
        // Limits with fractions, and of single values.
        (
            json!({"type": "number", "maximum": 0.2}),
            json!({"type": "number", "maximum": 0.5}),
            Some((Compatible, "accepts more")),
            Some((X, "the maximum was 0.2, and is 0.5")),
        ),
        (
            json!({"const": 1.5}),
            json!({"type": "number", "maximum": 1}),
            Some((X, "1.5 has become number")),
            Some((X, "1.5 has become number")),
        ),
        (
            json!({"const": 5}),
            json!({"type": "integer", "multipleOf": 2}),
            Some((MayBreak, "5 has become integer")),
            Some((X, "")),
        ),
        (
            json!({"type": "number", "exclusiveMinimum": 0}),
            json!({"type": "number", "minimum": 0}),
            None,
            Some((MayBreak, "`exclusiveMinimum`")),
        ),
        // Keywords beside a reference count.
        (
            order(),
            json!({"$ref": "#/components/schemas/Order", "description": "told"}),
            None,
            None,
        ),
        (
            order(),
            json!({"$ref": "#/components/schemas/Order", "additionalProperties": false}),
            Some((MayBreak, "unknown properties")),
            None,
        ),
        // Types that contain themselves, or not.
        (reference("List"), reference("Same"), None, None),
        (
            reference("List"),
            reference("Longer"),
            Some((Compatible, "accepts more")),
            Some((X, ".size: uint32 has become uint64")),
        ),
    ];
    for (old, new, sent, got) in cases {
        let parameter = |schema: &Value| json!({"name": "m", "params": [{"name": "a", "required": true, "schema": schema}]});
        let upload =
            |schema: &Value| json!({"name": "m", "params": [], "x-upload": {"schema": schema}});
        let result =
            |schema: &Value| json!({"name": "m", "params": [], "result": {"schema": schema}});
        let items =
            |schema: &Value| json!({"name": "m", "params": [], "x-items": {"schema": schema}});
        let ways: [(Method, Expected); 4] = [
            (parameter, sent),
            (upload, sent),
            (result, got),
            (items, got),
        ];
        for (method, expected) in ways {
            let (old, new) = (method(&old), method(&new));
            let found = changes(old.clone(), new.clone());
            let worst = found.first();
            let same = match (worst, expected) {
                (None, None) => true,
                (Some((severity, _)), Some((expected, part))) => {
                    *severity == expected
                        && found
                            .iter()
                            .any(|found| found.0 == expected && found.1.contains(part))
                }
                _ => false,
            };
            assert!(
                same,
                "from {old}\nto   {new}\nexpected {expected:?}\nfound    {found:?}"
            );
        }
    }
}

/// Properties that `required` names and `properties` does not.
#[test]
fn property_that_only_required_names_is_compared() {
    let object = |more: Value| {
        let mut object = json!({"type": "object"});
        let more = more.as_object().unwrap().clone();
        object.as_object_mut().unwrap().extend(more);
        object
    };
    let open = object(json!({}));
    let required = object(json!({"required": ["zz"]}));
    let text = json!({"type": "string"});
    let texts = object(json!({"additionalProperties": text}));
    let required_text = object(json!({"additionalProperties": text, "required": ["zz"]}));
    let listed = object(json!({"properties": {"zz": text}, "required": ["zz"]}));
    let optional = object(json!({"properties": {"zz": text}}));
    let combined = json!({"type": "object", "allOf": [{"required": ["zz"]}]});
    let behind = json!({"$ref": "#/components/schemas/Required"});
    let document = |method: Value| {
        let schemas = json!({"Required": required});
        mutated::document(json!({"methods": [method], "components": {"schemas": schemas}}))
    };
    let needed = Some((Breaking, ".zz: is required now"));
    let missing = Some((Breaking, ".zz: is removed"));
    let cases: [(&Value, &Value, Expected, Expected); 10] = [
        (&open, &required, needed, None),
        (&required, &open, None, missing),
        (&open, &combined, needed, None),
        (&open, &behind, needed, None),
        (&texts, &required_text, needed, None),
        (&required_text, &texts, None, missing),
        (&required_text, &listed, None, None),
        (&listed, &required_text, None, None),
        (&required, &listed, Some((Breaking, ".zz: ")), None),
        (
            &optional,
            &required,
            needed,
            Some((Breaking, ".zz: string has become anything")),
        ),
    ];
    for (old, new, sent, got) in cases {
        let parameter = |schema: &Value| json!({"name": "m", "params": [{"name": "a", "required": true, "schema": schema}]});
        let result =
            |schema: &Value| json!({"name": "m", "params": [], "result": {"schema": schema}});
        let ways: [(Method, Expected); 2] = [(parameter, sent), (result, got)];
        for (method, expected) in ways {
            let found = compare(&document(method(old)), &document(method(new)));
            let breaking: Vec<_> = found
                .iter()
                .filter(|change| change.finding.severity == Breaking)
                .map(|change| &change.finding.what)
                .collect();
            let is_expected = match expected {
                None => breaking.is_empty(),
                Some((_, part)) => breaking.iter().any(|what| what.contains(part)),
            };
            assert!(
                is_expected,
                "from {old}\nto   {new}\n{expected:?}\n{found:?}"
            );
        }
    }
}

#[test]
fn ranges_are_shown_in_words_and_compared_exactly() {
    let number = |more: Value| {
        let mut number = json!({"type": "integer"});
        let more = more.as_object().unwrap().clone();
        number.as_object_mut().unwrap().extend(more);
        number
    };
    let below_ten = number(json!({"exclusiveMaximum": 10}));
    let cases = [
        (
            number(json!({})),
            below_ten.clone(),
            Some("the range was any number, and is at most 9"),
        ),
        (
            number(json!({"format": "uint8"})),
            number(json!({"format": "uint8", "exclusiveMinimum": 0})),
            Some("the range was 0..=255, and is 1..=255"),
        ),
        (
            number(json!({"minimum": 0})),
            number(json!({"minimum": 0.5})),
            Some("the range was at least 0, and is at least 1"),
        ),
        (below_ten.clone(), number(json!({"maximum": 9})), None),
        (
            number(json!({"maximum": -0.5})),
            number(json!({"exclusiveMaximum": 0})),
            None,
        ),
        (number(json!({"maximum": 9.5})), below_ten, None),
        (
            number(json!({})),
            json!(false),
            Some("integer is no longer accepted, only nothing"),
        ),
        (
            json!({"type": "string"}),
            json!({"type": "string", "maxLength": 3}),
            Some("at most 3 characters, and was without a limit"),
        ),
    ];
    for (old, new, expected) in cases {
        let method = |schema: &Value| json!({"name": "m", "params": [{"name": "a", "required": true, "schema": schema}]});
        let found = changes(method(&old), method(&new));
        let is_expected = match expected {
            Some(part) => found.iter().any(|(_, what)| what.contains(part)),
            None => found.iter().all(|(severity, _)| *severity == Compatible),
        };
        assert!(
            is_expected,
            "from {old}\nto   {new}\n{expected:?}\n{found:?}"
        );
    }
}

#[test]
fn property_that_is_new_or_removed_is_shown_if_it_breaks_nothing() {
    let object = |names: &[&str]| {
        let properties = names.iter().map(|name| (*name, json!({"type": "string"})));
        let properties: serde_json::Map<_, _> = properties
            .map(|(name, schema)| (name.to_owned(), schema))
            .collect();
        json!({"type": "object", "properties": properties, "required": ["a"]})
    };
    let parameter =
        |schema: &Value| json!({"name": "m", "params": [{"name": "p", "schema": schema}]});
    let result = |schema: &Value| json!({"name": "m", "params": [], "result": {"schema": schema}});
    let listed =
        |schema: Value| json!({"anyOf": [{"type": "array", "items": schema}, {"type": "null"}]});
    let (small, large) = (object(&["a"]), object(&["a", "b"]));
    let (small_list, large_list) = (listed(small.clone()), listed(large.clone()));
    let cases: [(Method, _, _, &str); 4] = [
        (parameter, &small, &large, "parameter `p`.b: is new"),
        (result, &small, &large, "result.b: is new"),
        (
            result,
            &large,
            &small,
            "result.b: is removed, and was optional",
        ),
        (result, &small_list, &large_list, "result[].b: is new"),
    ];
    for (method, old, new, expected) in cases {
        let found = changes(method(old), method(new));
        assert_eq!(found, [(Compatible, expected.to_owned())], "{old} {new}");
    }
}

/// Changes that are easily overlooked, or that seem more severe than they are.
#[test]
fn change_that_is_easily_overlooked_is_reported() {
    let string = json!({"type": "string"});
    let told = json!({"schema": string});
    let untold = json!({"schema": {}, "x-rust-type": "Order"});
    let parameter =
        |schema: &Value| json!({"name": "m", "params": [{"name": "a", "schema": schema}]});
    let with_result = |result: &Value| json!({"name": "m", "params": [], "result": result});
    let bare = json!({"name": "m", "params": []});
    let twice = json!({"name": "m", "params": [], "errors": [{"code": 1, "message": "x"}, {"code": 1, "message": "y"}]});
    let of = |name: &str, more: Value| {
        let mut method =
            json!({"name": name, "params": [{"name": "a", "required": true, "schema": string}]});
        method
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        method
    };
    let aliased = of("m", json!({"x-aliases": ["n"]}));
    let another = json!([of("m", json!({})), {"name": "n", "params": []}]);
    let cases: [Case<'_, Value>; 6] = [
        (
            with_result(&told),
            bare,
            &[(Breaking, "the result is removed")],
        ),
        (
            with_result(&told),
            with_result(&untold),
            &[(MayBreak, "only one")],
        ),
        (
            with_result(&untold),
            with_result(&told),
            &[(MayBreak, "only one")],
        ),
        (
            parameter(&json!({"type": "integer", "default": 1})),
            parameter(&json!({"type": "integer"})),
            &[(MayBreak, "the default 1 is removed")],
        ),
        (twice.clone(), twice, &[]),
        (
            aliased,
            another,
            &[
                (Breaking, "parameter `a` is removed"),
                (MayBreak, "the alias `n` is another method now"),
            ],
        ),
    ];
    for (old, new, expected) in &cases {
        assert_changes(old, new, expected);
    }
}

/// Two nested schemas of this kind would take practically unlimited time.
#[test]
fn types_too_complex_to_compare_are_reported() {
    let mut schemas = serde_json::Map::new();
    for level in 0..60 {
        let next = json!({"$ref": format!("#/components/schemas/T{}", level + 1)});
        let list = json!({"type": "array", "items": next});
        schemas.insert(format!("T{level}"), json!({"anyOf": [next, next, list, {"type": "object", "properties": {"a": list, "b": next}}]}));
    }
    let document = |last: &str| {
        let mut schemas = schemas.clone();
        schemas.insert("T60".into(), json!({"type": last}));
        let result =
            json!({"schema": {"anyOf": [{"$ref": "#/components/schemas/T0"}, {"type": "null"}]}});
        let method = json!({"name": "m", "params": [], "result": result});
        mutated::document(json!({"methods": [method], "components": {"schemas": schemas}}))
    };
    let changes = compare(&document("string"), &document("integer"));
    assert!(!changes.is_empty());
    let document = document("string");
    let method = document.methods().next().unwrap();
    let sample = crate::sample::Samples::of(&document).command(method, "HOST:PORT");
    assert_eq!(sample, "rpc call HOST:PORT m");
}

#[test]
fn types_too_deep_to_compare_are_reported() {
    let worst = |length| {
        let changes = compare(&chain(length, "string"), &chain(length, "integer"));
        changes.iter().map(|change| change.finding.severity).min()
    };
    assert_eq!(worst(50), Some(Breaking));
    assert_eq!(worst(20_000), Some(MayBreak));
}

/// The inner type contains the outer one. It fits only if the outer one does, which is not known yet.
#[test]
fn assumption_about_a_recursive_type_is_not_kept() {
    let document = |size: &str| {
        let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let object = |properties: Value| json!({"type": "object", "properties": properties});
        let outer = object(json!({"inner": named("Inner"), "size": {"type": size}}));
        let inner = object(json!({"outer": named("Outer")}));
        let method =
            |name: &str| json!({"name": name, "params": [], "result": {"schema": named(name)}});
        mutated::document(json!({
            "methods": [method("Outer"), method("Inner")],
            "components": {"schemas": {"Outer": outer, "Inner": inner}},
        }))
    };
    let changes = compare(&document("integer"), &document("string"));
    let broken: Vec<_> = changes.iter().map(|change| &*change.method).collect();
    assert_eq!(broken, ["Outer", "Inner"]);
}

#[test]
fn any_two_documents_can_be_compared() {
    let documents: Vec<_> = crate::document::mutated::documents().collect();
    assert!(documents.len() > 100, "{} can be read", documents.len());
    for pair in documents.windows(2) {
        compare(&pair[0], &pair[1]);
    }
}

/// Returns the changes and the work of a comparison: its own steps, and the values that were read.
fn work(old: &Document, new: &Document) -> (Vec<Change>, u64) {
    let fuel = Fuel::of(old, new);
    let (changes, looked_at) = crate::json::work::of(|| compare_within(old, new, &fuel));
    (changes, looked_at + fuel.taken())
}

#[test]
fn work_grows_with_the_size_of_documents_and_not_with_its_square() {
    // The limit for any two documents.
    let allowance = 1_500_000;
    for shape in &SHAPES {
        let [small, large] = [300, 1200].map(|size| {
            let (old, new) = shape.pair(size);
            let (_, work) = work(&old, &new);
            let bytes = old.json().text().len() + new.json().text().len();
            assert!(
                work < allowance + 16 * bytes as u64,
                "{}: {work}",
                shape.name
            );
            work
        });
        println!(
            "{}: {small} {large} {}",
            shape.name,
            large as f64 / small as f64
        );
        let is_linear = large < small * 9 / 2 + allowance;
        assert!(
            is_linear,
            "{}: {small}, and {large} for four times as much",
            shape.name
        );
    }
}

#[test]
fn documents_of_every_shape_are_compared() {
    for shape in &SHAPES {
        let Shape { name, found, .. } = shape;
        let (old, new) = shape.pair(100);
        let changes = compare(&old, &new);
        let mut found_there = changes.iter().map(|change| &change.finding.what);
        let is_found = found_there.any(|what| what.contains(found));
        assert!(is_found || found.is_empty(), "{name}: {changes:?}");
        assert!(compare(&old, &old).is_empty(), "{name}");
    }
}
