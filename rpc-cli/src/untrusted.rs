//! Tests that no text of a document reaches a terminal or a command line unescaped, at any position.

use serde_json::{Map, Value, json};

use crate::check;
use crate::describe;
use crate::document::Document;
use crate::document::mutated;
use crate::escape::is_unprintable;
use crate::json::{Compact, Json};
use crate::output::write_pretty;
use crate::page;
use crate::params::Params;

/// Text with control sequences and the end of a quoted word. An escape sequence of this crate's own is followed by `[`.
fn hostile() -> String {
    let of_unicode = ('\0'..='\u{ffff}').filter(|c| is_unprintable(*c) && *c != '\u{1b}');
    let others = "\u{1b}]0;gone\u{7}\u{1b}\\'; reboot #\r\n\u{e0041}\u{e007f}";
    of_unicode.chain(others.chars()).collect()
}

/// A document with every part that is shown.
fn document() -> Value {
    let schema = json!({
        "description": "d", "title": "t", "type": "object", "required": ["p"], "format": "f",
        "properties": {"p": {"type": "string", "format": "f", "default": "x", "description": "d", "pattern": "x"},
                       "q": {"enum": ["x", "y"], "x-a": "x"}, "r": {"const": "x"}, "s": {"$ref": "#/components/schemas/Other"},
                       "t": {"type": ["integer", "null"], "format": "f", "minimum": 1}, "u": {"type": "array", "items": [{"type": "string"}, {}]},
                       "v": {"not": {"type": "x"}}},
        "additionalProperties": {"type": "string"},
    });
    let either = json!({"oneOf": [{"type": "object", "description": "d", "properties": {"k": {"const": "x"}}, "required": ["k"]},
                                  {"type": "string", "description": "d"}], "description": "d"});
    let typed = json!({"schema": {"$ref": "#/components/schemas/Order"}, "x-rust-type": "R"});
    let method = json!({
        "name": "m", "summary": "s", "description": "d\n\nd `c` [l](https://example.org/ \"t\") &#27; &#x202e;",
        "tags": [{"name": "T", "description": "d"}], "paramStructure": "either", "deprecated": true,
        "params": [{"name": "a", "description": "d", "required": true, "schema": schema},
                   {"name": "b", "required": true, "schema": {}, "x-rust-type": "R"},
                   {"name": "c", "schema": {"type": "string", "default": "x"}}],
        "result": typed, "errors": [{"code": 1, "message": "e", "data": {"type": "string", "format": "f"}}],
        "examples": [{"name": "E", "params": [{"name": "a", "value": {"p": "x"}}], "result": {"name": "r", "value": ["x"]}},
                     {"name": "E", "params": [{"name": "c", "value": "x"}]}],
        "x-aliases": ["n"], "x-idempotent": true,
    });
    let stream = json!({"name": "s", "params": [], "x-params": typed, "x-items": typed, "x-upload": typed, "result": typed});
    let plain = json!({"name": "p", "params": [{"name": "c", "required": true, "schema": either}]});
    json!({
        "openrpc": "1.4.1", "info": {"title": "I", "version": "1", "description": "d"},
        "methods": [method, stream, plain],
        "components": {"schemas": {"Order": schema, "Other": either, "Alias": {"type": "string", "format": "f", "description": "d"}}},
    })
}

/// Returns the same value with hostile text behind its `place`th text or name, counted from one. `place` is reduced by
/// the number of texts in the value.
fn changed(value: &Value, place: &mut usize, hostile: &str) -> Value {
    let mut text = |text: &str| {
        *place = place.wrapping_sub(1);
        match *place {
            0 => format!("{text}{hostile}"),
            _ => text.to_owned(),
        }
    };
    match value {
        Value::String(own) => text(own).into(),
        Value::Array(elements) => {
            let elements = elements.iter();
            elements.map(|one| changed(one, place, hostile)).collect()
        }
        Value::Object(members) => {
            let mut all = Map::new();
            for (name, member) in members {
                let Value::String(name) = changed(&name.as_str().into(), place, hostile) else {
                    continue;
                };
                all.insert(name, changed(member, place, hostile));
            }
            all.into()
        }
        other => other.clone(),
    }
}

#[track_caller]
fn assert_clean(shown: &str, place: &str) {
    let mut rest = shown.char_indices();
    let leak = rest.find(|(at, c)| match c {
        '\n' => false,
        '\u{1b}' => !shown[at + 1..].starts_with('['),
        c => is_unprintable(*c),
    });
    if let Some((at, c)) = leak {
        let before: String = shown[..at].chars().rev().take(80).collect();
        let before: String = before.chars().rev().collect();
        panic!("{c:?} in {place} behind {before:?}");
    }
}

fn shown(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Returns everything that can be shown of a document, with a name for each output.
fn all_outputs(tree: &Value, old: &Document) -> Vec<(&'static str, String)> {
    let text = tree.to_string();
    let mut all = vec![
        ("json", Compact(&text).to_string()),
        ("json in colours", shown(|out| write_pretty(out, &text))),
    ];
    let document = match Document::new(Json::parse(text).unwrap()) {
        Ok(document) => document,
        Err(failure) => {
            all.push(("failure", failure.to_string()));
            return all;
        }
    };
    all.push(("page", shown(|out| page::write(out, &document))));
    all.extend(describe::outputs(&document).map(|shown| ("description", shown)));
    for method in document.methods() {
        for given in ["a=1", "b=1", "c=1", "unknown=1", "a=[1]"] {
            let given = Params::of(&[given]).read().unwrap();
            if let Err(failure) = given.to_json(Some((&document, method))) {
                all.push(("failure of arguments", failure.to_string()));
            }
        }
    }
    if let Err(failure) = document.find("mm") {
        all.push(("failure of a name", failure.to_string()));
    }
    for (old, new) in [(old, &document), (&document, old)] {
        all.extend(check::outputs(old, new).map(|shown| ("changes", shown)));
    }
    all
}

#[test]
fn text_of_any_place_of_a_document_is_escaped_in_all_outputs() {
    let (hostile, tree) = (hostile(), document());
    let old = mutated::document(tree.clone());
    let mut count = usize::MAX;
    changed(&tree, &mut count, "");
    let count = usize::MAX - count;
    assert!(count > 200, "{count}");
    for place in 1..=count {
        let mut left = place;
        let tree = changed(&tree, &mut left, &hostile);
        for (output, shown) in all_outputs(&tree, &old) {
            assert_clean(&shown, output);
        }
    }
}

#[test]
fn leak_into_an_output_is_noticed() {
    let leaks = |shown: &str| std::panic::catch_unwind(|| assert_clean(shown, "test")).is_err();
    assert!(!leaks("a\n\u{1b}[31mb\u{1b}[0m"));
    for leak in [
        "\u{1b}]0;",
        "\u{9b}2J",
        "\u{202e}",
        "\r",
        "\t",
        "\u{2028}",
        "\u{feff}",
        "a\u{1b}",
    ] {
        assert!(leaks(leak), "{leak:?}");
    }
}
