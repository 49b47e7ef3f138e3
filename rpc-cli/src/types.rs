//! Writes JSON Schema as a short type: `{ id: uint64, tags?: string[] } | null`.
//!
//! The text of a type is written in pieces and never held in memory, because a schema may have any size.

use std::fmt::{self, Display, Write};
use std::io;

use crate::document::{Method, Typed};
use crate::json::{Compact, Value};
use crate::schema::{Field, alternatives, docs, fields, has_fields, named, says_nothing};

/// The category of a piece of a type's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Punctuation.
    Sign,
    /// The name of a method.
    Method,
    /// A JSON type, or a format of one.
    Basic,
    /// A named type of the document.
    Name,
    /// The name of a property.
    Property,
    /// A JSON value.
    Literal,
    /// A Rust type, if there is no schema.
    Rust,
}

/// Receives the pieces of a type in order. An error ends the writing.
pub(crate) type Pieces<'p> = dyn FnMut(Piece, &dyn Display) -> io::Result<()> + 'p;

/// The maximum length of a shown value, in bytes.
const LITERAL: usize = 1000;

/// A value in a type or a signature, truncated if it is long.
pub(crate) struct Literal<'a>(pub(crate) Value<'a>);

impl Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, is_all) = self.0.text_within(LITERAL);
        Compact(start).fmt(f)?;
        match is_all {
            true => Ok(()),
            false => f.write_str("…"),
        }
    }
}

/// Writes a method on one line: `text.count(text: string, limit?: uint32 = 10) -> uint64`.
pub(crate) fn signature(method: Method<'_>, out: &mut Pieces<'_>) -> io::Result<()> {
    out(Piece::Method, &method.name())?;
    out(Piece::Sign, &"(")?;
    let mut separator = "";
    for parameter in method.params() {
        if !separator.is_empty() {
            out(Piece::Sign, &separator)?;
        }
        separator = ", ";
        property(&parameter.name(), parameter.is_required(), out)?;
        of(parameter.typed(), out)?;
        with_default(parameter.typed().default(), out)?;
    }
    if let (Some(whole), "") = (method.entire_params(), separator) {
        out(Piece::Sign, &"...")?;
        of(whole, out)?;
        separator = ", ";
    }
    if let Some(upload) = method.upload() {
        if !separator.is_empty() {
            out(Piece::Sign, &separator)?;
        }
        stream(upload, out)?;
    }
    out(Piece::Sign, &")")?;
    match (method.items(), method.result()) {
        (Some(items), _) => {
            out(Piece::Sign, &" -> ")?;
            stream(items, out)
        }
        (None, Some(result)) => {
            out(Piece::Sign, &" -> ")?;
            of(result, out)
        }
        (None, None) => Ok(()),
    }
}

/// Writes the name of a property or a parameter.
pub(crate) fn property(name: &str, is_required: bool, out: &mut Pieces<'_>) -> io::Result<()> {
    out(Piece::Property, &name)?;
    out(Piece::Sign, if is_required { &": " } else { &"?: " })
}

fn with_default(default: Option<Value<'_>>, out: &mut Pieces<'_>) -> io::Result<()> {
    let Some(default) = default else {
        return Ok(());
    };
    out(Piece::Sign, &" = ")?;
    out(Piece::Literal, &Literal(default))
}

/// Writes a property with its type: `quantity?: uint32 = 1`.
pub(crate) fn field(field: &Field<'_>, out: &mut Pieces<'_>) -> io::Result<()> {
    property(&field.name, field.is_required, out)?;
    alternative(field.schema, out)
}

/// Writes one of several types, and its default.
pub(crate) fn alternative(schema: Value<'_>, out: &mut Pieces<'_>) -> io::Result<()> {
    of_schema(schema, out)?;
    with_default(schema.get("default"), out)
}

/// Writes the type of a stream of items.
fn stream(item: Typed<'_>, out: &mut Pieces<'_>) -> io::Result<()> {
    out(Piece::Basic, &"stream")?;
    out(Piece::Sign, &"<")?;
    of(item, out)?;
    out(Piece::Sign, &">")
}

/// The maximum nesting of a written type.
const DEPTH: usize = 8;

/// Writes a value's type: from the schema, or the Rust type if the schema has no restrictions.
pub(crate) fn of(typed: Typed<'_>, out: &mut Pieces<'_>) -> io::Result<()> {
    match (typed.schema(), typed.rust_type()) {
        (None, Some(rust)) => out(Piece::Rust, &rust),
        (Some(schema), Some(rust)) if says_nothing(schema) => out(Piece::Rust, &rust),
        (Some(schema), _) => of_schema(schema, out),
        (None, None) => out(Piece::Basic, &"any"),
    }
}

pub(crate) fn of_schema(schema: Value<'_>, out: &mut Pieces<'_>) -> io::Result<()> {
    write(schema, out, DEPTH)
}

/// Text of at most `left` more characters.
struct Limited {
    text: String,
    left: usize,
}

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}

/// Returns the text of a type, truncated to `most` characters.
pub(crate) fn text(most: usize, write: impl FnOnce(&mut Pieces<'_>) -> io::Result<()>) -> String {
    let mut limited = Limited {
        text: String::new(),
        left: most,
    };
    let written = write(&mut |_, piece| {
        let written = write!(limited, "{piece}");
        written.map_err(io::Error::other)
    });
    match written {
        Ok(()) => limited.text,
        Err(_) => limited.text + "…",
    }
}

/// Returns the number of characters of a type, counting at most `most`.
pub(crate) fn width(most: usize, write: impl FnOnce(&mut Pieces<'_>) -> io::Result<()>) -> usize {
    text(most, write).chars().count().min(most)
}

fn write(schema: Value<'_>, out: &mut Pieces<'_>, depth: usize) -> io::Result<()> {
    let keywords = Keywords::of(schema);
    if let Some(name) = keywords.reference.and_then(named) {
        return out(Piece::Name, &name);
    }
    if schema.as_bool() == Some(false) {
        return out(Piece::Basic, &"never");
    }
    if says_nothing(schema) || depth == 0 {
        return out(Piece::Basic, &"any");
    }
    if let Some(constant) = keywords.constant {
        return out(Piece::Literal, &Literal(constant));
    }
    if let Some(values) = keywords.values {
        return join(values.elements(), " | ", out, |value, out| {
            out(Piece::Literal, &Literal(value))
        });
    }
    for (union, sign) in keywords.unions() {
        if let Some(union) = union {
            return join(union.elements(), sign, out, |schema, out| {
                write(schema, out, depth - 1)
            });
        }
    }
    if let Some(names) = keywords.name.filter(|names| names.is_array()) {
        return join(names.elements(), " | ", out, |name, out| {
            write_type(name.as_str().as_deref(), &keywords, out, depth)
        });
    }
    let name = keywords.name.and_then(Value::as_str);
    write_type(name.as_deref(), &keywords, out, depth)
}

/// Writes the type with this name, which is one of a schema's types.
pub(crate) fn of_type(name: &str, schema: Value<'_>, out: &mut Pieces<'_>) -> io::Result<()> {
    write_type(Some(name), &Keywords::of(schema), out, DEPTH)
}

/// The keywords of a schema that describe its type.
struct Keywords<'a> {
    schema: Value<'a>,
    reference: Option<Value<'a>>,
    constant: Option<Value<'a>>,
    /// This and the next three keywords are `None` if their value is not a list.
    values: Option<Value<'a>>,
    one_of: Option<Value<'a>>,
    any_of: Option<Value<'a>>,
    all_of: Option<Value<'a>>,
    name: Option<Value<'a>>,
    format: Option<Value<'a>>,
    properties: Option<Value<'a>>,
    additional: Option<Value<'a>>,
    items: Option<Value<'a>>,
}

impl<'a> Keywords<'a> {
    fn of(schema: Value<'a>) -> Self {
        let list = |value: &Value<'a>| value.is_array();
        let [
            reference,
            constant,
            name,
            format,
            properties,
            additional,
            items,
        ] = schema.get_all([
            "$ref",
            "const",
            "type",
            "format",
            "properties",
            "additionalProperties",
            "items",
        ]);
        let lists = schema.get_all(["enum", "oneOf", "anyOf", "allOf"]);
        let [values, one_of, any_of, all_of] = lists.map(|value| value.filter(list));
        Self {
            schema,
            reference,
            constant,
            values,
            one_of,
            any_of,
            all_of,
            name,
            format,
            properties,
            additional,
            items,
        }
    }

    /// Returns the lists of types that are combined, and the sign between their elements.
    fn unions(&self) -> [(Option<Value<'a>>, &'static str); 3] {
        [
            (self.one_of, " | "),
            (self.any_of, " | "),
            (self.all_of, " & "),
        ]
    }

    /// Returns `true` if the type has signs between several types, and thus needs parentheses before `[]`.
    fn are_union(&self) -> bool {
        if self.reference.and_then(named).is_some() || self.constant.is_some() {
            return false;
        }
        let names = self.name.filter(|names| names.is_array());
        let mut lists = [self.values, self.one_of, self.any_of, self.all_of, names].into_iter();
        let first = lists.find_map(|list| list);
        first.is_some_and(|list| list.elements().nth(1).is_some())
    }

    fn have_fields(&self) -> bool {
        let properties = self.properties;
        properties.is_some_and(|properties| !properties.members().is_empty())
    }
}

fn write_type(
    name: Option<&str>,
    keywords: &Keywords<'_>,
    out: &mut Pieces<'_>,
    depth: usize,
) -> io::Result<()> {
    let format = keywords.format.and_then(Value::as_str);
    let name = name.unwrap_or(match () {
        () if keywords.properties.is_some() => "object",
        () if keywords.items.is_some() => "array",
        () => "any",
    });
    match (name, format) {
        ("object", _) => write_object(keywords, out, depth),
        ("array", _) => write_array(keywords, out, depth),
        ("integer" | "number", Some(format)) => out(Piece::Basic, &format),
        ("string", Some(format)) => out(Piece::Basic, &format_args!("string<{format}>")),
        (name, _) => out(Piece::Basic, &name),
    }
}

fn write_object(keywords: &Keywords<'_>, out: &mut Pieces<'_>, depth: usize) -> io::Result<()> {
    let has_fields = keywords.have_fields();
    let others = keywords.additional.filter(|others| match others.as_bool() {
        Some(are_taken) => are_taken && !has_fields,
        None => true,
    });
    if !has_fields && others.is_none() {
        let is_closed = keywords.additional.and_then(Value::as_bool) == Some(false);
        return out(Piece::Basic, if is_closed { &"{}" } else { &"object" });
    }
    out(Piece::Sign, &"{ ")?;
    join(fields(keywords.schema), ", ", out, |field, out| {
        property(&field.name, field.is_required, out)?;
        write(field.schema, out, depth - 1)
    })?;
    if let Some(others) = others {
        if has_fields {
            out(Piece::Sign, &", ")?;
        }
        out(Piece::Sign, &"[key]: ")?;
        write(others, out, depth - 1)?;
    }
    out(Piece::Sign, &" }")
}

fn write_array(keywords: &Keywords<'_>, out: &mut Pieces<'_>, depth: usize) -> io::Result<()> {
    match keywords.items {
        Some(elements) if elements.is_array() => {
            out(Piece::Sign, &"[")?;
            join(elements.elements(), ", ", out, |schema, out| {
                write(schema, out, depth - 1)
            })?;
            out(Piece::Sign, &"]")
        }
        Some(element) if depth > 1 && Keywords::of(element).are_union() => {
            out(Piece::Sign, &"(")?;
            write(element, out, depth - 1)?;
            out(Piece::Sign, &")[]")
        }
        Some(element) => {
            write(element, out, depth - 1)?;
            out(Piece::Sign, &"[]")
        }
        None => {
            out(Piece::Basic, &"any")?;
            out(Piece::Sign, &"[]")
        }
    }
}

/// Writes each element, with a sign between them.
fn join<T>(
    all: impl Iterator<Item = T>,
    sign: &'static str,
    out: &mut Pieces<'_>,
    mut each: impl FnMut(T, &mut Pieces<'_>) -> io::Result<()>,
) -> io::Result<()> {
    for (index, one) in all.enumerate() {
        if index > 0 {
            out(Piece::Sign, &sign)?;
        }
        each(one, out)?;
    }
    Ok(())
}

/// The layout in which a named type is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One property per line.
    Fields,
    /// One alternative per line, because the alternatives have documentation of their own.
    Alternatives,
    /// A single line.
    Line,
}

pub(crate) fn shape(schema: Value<'_>) -> Shape {
    if has_fields(schema) {
        return Shape::Fields;
    }
    let is_told = |one: Value<'_>| docs(one).is_some() || has_fields(one);
    match alternatives(schema).is_some_and(|mut all| all.any(is_told)) {
        true => Shape::Alternatives,
        false => Shape::Line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::mutated;
    use crate::json::tests::of_tree;

    fn told(schema: &serde_json::Value) -> String {
        let document = of_tree(schema);
        text(usize::MAX, |out| of_schema(document.root(), out))
    }

    #[test]
    fn types_are_read_at_a_glance() {
        let cases = [
            (json!({}), "any"),
            (json!(true), "any"),
            (json!(false), "never"),
            (json!({"description": "told"}), "any"),
            (json!({"type": "string"}), "string"),
            (
                json!({"type": "string", "format": "date-time"}),
                "string<date-time>",
            ),
            (json!({"type": "integer", "format": "int64"}), "int64"),
            (json!({"type": "integer"}), "integer"),
            (json!({"type": ["string", "null"]}), "string | null"),
            (json!({"$ref": "#/components/schemas/Order"}), "Order"),
            (json!({"$ref": "#/components/schemas/a~1b"}), "a/b"),
            (
                json!({"anyOf": [{"$ref": "#/x/Order"}, {"type": "null"}]}),
                "Order | null",
            ),
            (
                json!({"allOf": [{"$ref": "#/x/A"}, {"$ref": "#/x/B"}]}),
                "A & B",
            ),
            (json!({"enum": ["red", 3]}), r#""red" | 3"#),
            (json!({"const": "red"}), r#""red""#),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                "string[]",
            ),
            (
                json!({"type": "array", "items": {"type": ["string", "null"]}}),
                "(string | null)[]",
            ),
            (
                json!({"type": "array", "items": [{"type": "string"}, {"type": "null"}]}),
                "[string, null]",
            ),
            (json!({"type": "array"}), "any[]"),
            (json!({"type": "object"}), "object"),
            (
                json!({"type": "object", "additionalProperties": {"type": "integer"}}),
                "{ [key]: integer }",
            ),
            (
                json!({"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}, "a": {}}}),
                "{ b: string, a?: any }",
            ),
            (
                json!({"type": "array", "items": {"properties": {"a": {"type": ["null", "string"]}}}}),
                "{ a?: null | string }[]",
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(told(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn rust_type_is_shown_where_there_is_no_schema() {
        let told = |schema: serde_json::Value| {
            let typed = json!({"schema": schema, "x-rust-type": "&str"});
            let document = mutated::document(json!({"methods": [{"result": typed}]}));
            let result = document.methods().next().unwrap().result().unwrap();
            text(usize::MAX, |out| of(result, out))
        };
        assert_eq!(told(json!({})), "&str");
        assert_eq!(told(json!({"type": "string"})), "string");
    }

    #[test]
    fn long_type_is_cut_and_counted_up_to_a_limit() {
        let values: Vec<_> = (0..1000).collect();
        let document = of_tree(&json!({"enum": values}));
        let write = |out: &mut Pieces<'_>| of_schema(document.root(), out);
        assert_eq!(text(7, write), "0 | 1 |…");
        assert_eq!((width(3, write), width(40, write)), (3, 40));
        assert_eq!(width(40, |out| out(Piece::Basic, &"é")), 1);
        let document = of_tree(&json!({"const": "x".repeat(5000)}));
        let told = text(usize::MAX, |out| of_schema(document.root(), out));
        assert_eq!(told, format!("\"{}…", "x".repeat(LITERAL - 1)));
    }

    #[test]
    fn type_that_never_ends_is_cut_off() {
        let mut schema = json!({"type": "string"});
        for _ in 0..100 {
            schema = json!({"type": "array", "items": schema});
        }
        assert_eq!(told(&schema), format!("any{}", "[]".repeat(DEPTH)));
    }
}
