//! JSON Schema as a type that is read at a glance: `{ id: uint64, tags?: string[] } | null`.

use serde_json::Value;

use crate::document::{Method, Typed};
use crate::schema::{Field, alternatives, docs, fields, list, reference, says_nothing};

/// A piece of a type's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Punctuation.
    Sign(&'static str),
    /// A type of JSON's, or a format of one.
    Basic(String),
    /// A type of the document's.
    Name(String),
    /// The name of a property.
    Property(String),
    /// A value.
    Literal(String),
    /// A type of Rust's: all that is known where there is no schema.
    Rust(String),
}

impl Piece {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Sign(text) => text,
            Self::Basic(text)
            | Self::Name(text)
            | Self::Property(text)
            | Self::Literal(text)
            | Self::Rust(text) => text,
        }
    }
}

/// A method on one line: `text.count(text: string, limit?: uint32 = 10) -> uint64`.
pub(crate) fn signature(method: &Method) -> Vec<Piece> {
    let mut pieces = vec![Piece::Name(method.name.clone()), Piece::Sign("(")];
    let mut separator = None;
    for parameter in &method.params {
        pieces.extend(separator.replace(Piece::Sign(", ")));
        pieces.push(Piece::Property(parameter.name.clone()));
        pieces.push(Piece::Sign(if parameter.required { ": " } else { "?: " }));
        pieces.extend(of(&parameter.typed));
        if let Some(default) = parameter.typed.schema.get("default") {
            pieces.push(Piece::Sign(" = "));
            pieces.push(Piece::Literal(default.to_string()));
        }
    }
    if let (Some(whole), true) = (&method.entire_params, method.params.is_empty()) {
        pieces.push(Piece::Sign("..."));
        pieces.extend(of(whole));
        separator = Some(Piece::Sign(", "));
    }
    if let Some(upload) = &method.upload {
        pieces.extend(separator);
        pieces.extend(stream(upload));
    }
    pieces.push(Piece::Sign(")"));
    if let Some(answer) = answer(method) {
        pieces.push(Piece::Sign(" -> "));
        pieces.extend(answer);
    }
    pieces
}

/// What a method is answered with.
pub(crate) fn answer(method: &Method) -> Option<Vec<Piece>> {
    let items = method.items.as_ref().map(stream);
    items.or_else(|| method.result.as_ref().map(of))
}

/// Items of a type.
pub(crate) fn stream(item: &Typed) -> Vec<Piece> {
    let mut pieces = vec![Piece::Basic("stream".into()), Piece::Sign("<")];
    pieces.extend(of(item));
    pieces.push(Piece::Sign(">"));
    pieces
}

/// How deep a type is told.
const DEPTH: usize = 8;

/// A value's type: of the schema, or of Rust if that says nothing.
pub(crate) fn of(typed: &Typed) -> Vec<Piece> {
    match &typed.rust_type {
        Some(rust) if says_nothing(&typed.schema) => vec![Piece::Rust(rust.clone())],
        _ => of_schema(&typed.schema),
    }
}

pub(crate) fn of_schema(schema: &Value) -> Vec<Piece> {
    let mut pieces = Vec::new();
    write(schema, &mut pieces, DEPTH);
    pieces
}

/// The same as text.
pub(crate) fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(Piece::text).collect()
}

fn write(schema: &Value, out: &mut Vec<Piece>, depth: usize) {
    if let Some(name) = reference(schema) {
        return out.push(Piece::Name(name));
    }
    if schema == &Value::Bool(false) {
        return out.push(Piece::Basic("never".into()));
    }
    if says_nothing(schema) || depth == 0 {
        return out.push(Piece::Basic("any".into()));
    }
    if let Some(constant) = schema.get("const") {
        return out.push(Piece::Literal(constant.to_string()));
    }
    if let Some(values) = list(schema, "enum") {
        let literal =
            |value: &Value, out: &mut Vec<Piece>| out.push(Piece::Literal(value.to_string()));
        return join(values, " | ", out, literal);
    }
    for (keyword, sign) in [("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")] {
        if let Some(schemas) = list(schema, keyword) {
            return join(schemas, sign, out, |schema, out| {
                write(schema, out, depth - 1)
            });
        }
    }
    match schema.get("type") {
        Some(Value::Array(names)) => {
            join(names, " | ", out, |name, out| {
                write_type(name.as_str(), schema, out, depth);
            });
        }
        name => write_type(name.and_then(Value::as_str), schema, out, depth),
    }
}

fn write_type(name: Option<&str>, schema: &Value, out: &mut Vec<Piece>, depth: usize) {
    let format = schema.get("format").and_then(Value::as_str);
    let name = name.unwrap_or(match () {
        () if schema.get("properties").is_some() => "object",
        () if schema.get("items").is_some() => "array",
        () => "any",
    });
    match (name, format) {
        ("object", _) => write_object(schema, out, depth),
        ("array", _) => write_array(schema, out, depth),
        ("integer" | "number", Some(format)) => out.push(Piece::Basic(format.to_owned())),
        ("string", Some(format)) => out.push(Piece::Basic(format!("string<{format}>"))),
        (name, _) => out.push(Piece::Basic(name.to_owned())),
    }
}

fn write_object(schema: &Value, out: &mut Vec<Piece>, depth: usize) {
    let fields = fields(schema);
    let others = schema.get("additionalProperties").filter(|others| {
        **others != Value::Bool(false) && (fields.is_empty() || **others != Value::Bool(true))
    });
    if fields.is_empty() && others.is_none() {
        return out.push(Piece::Basic(match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => "{}".into(),
            _ => "object".into(),
        }));
    }
    out.push(Piece::Sign("{ "));
    join(&fields, ", ", out, |field, out| {
        out.push(Piece::Property(field.name.to_owned()));
        out.push(Piece::Sign(if field.required { ": " } else { "?: " }));
        write(field.schema, out, depth - 1);
    });
    if let Some(others) = others {
        if !fields.is_empty() {
            out.push(Piece::Sign(", "));
        }
        out.push(Piece::Sign("[key]: "));
        write(others, out, depth - 1);
    }
    out.push(Piece::Sign(" }"));
}

fn write_array(schema: &Value, out: &mut Vec<Piece>, depth: usize) {
    match schema.get("items") {
        Some(Value::Array(elements)) => {
            out.push(Piece::Sign("["));
            join(elements, ", ", out, |schema, out| {
                write(schema, out, depth - 1)
            });
            out.push(Piece::Sign("]"));
        }
        element => {
            let mut inner = Vec::new();
            write(element.unwrap_or(&Value::Bool(true)), &mut inner, depth - 1);
            let is_union = inner
                .iter()
                .any(|piece| matches!(piece, Piece::Sign(" | " | " & ")))
                && !matches!(inner.first(), Some(Piece::Sign("{ " | "[")));
            let (open, close) = if is_union { ("(", ")[]") } else { ("", "[]") };
            if is_union {
                out.push(Piece::Sign(open));
            }
            out.append(&mut inner);
            out.push(Piece::Sign(close));
        }
    }
}

/// Writes each, with a sign between them.
fn join<'a, T>(
    all: impl IntoIterator<Item = &'a T>,
    sign: &'static str,
    out: &mut Vec<Piece>,
    mut each: impl FnMut(&'a T, &mut Vec<Piece>),
) where
    T: 'a,
{
    for (index, one) in all.into_iter().enumerate() {
        if index > 0 {
            out.push(Piece::Sign(sign));
        }
        each(one, out);
    }
}

/// How a type with a name is shown best.
#[derive(Debug)]
pub(crate) enum Shape<'a> {
    /// Property by property.
    Fields(Vec<Field<'a>>),
    /// Alternative by alternative, since they have docs of their own.
    Alternatives(&'a [Value]),
    /// On one line.
    Line,
}

pub(crate) fn shape(schema: &Value) -> Shape<'_> {
    let fields = fields(schema);
    match alternatives(schema) {
        _ if !fields.is_empty() => Shape::Fields(fields),
        Some(all)
            if all
                .iter()
                .any(|one| docs(one).is_some() || !self::fields(one).is_empty()) =>
        {
            Shape::Alternatives(all)
        }
        _ => Shape::Line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
            assert_eq!(text(&of_schema(&schema)), expected, "{schema}");
        }
    }

    #[test]
    fn where_there_is_no_schema_rust_tells() {
        let typed = |schema| Typed {
            schema,
            rust_type: Some("&str".into()),
        };
        assert_eq!(text(&of(&typed(json!({})))), "&str");
        assert_eq!(text(&of(&typed(json!({"type": "string"})))), "string");
    }

    #[test]
    fn a_type_that_never_ends_is_cut_off() {
        let mut schema = json!({"type": "string"});
        for _ in 0..100 {
            schema = json!({"type": "array", "items": schema});
        }
        assert_eq!(
            text(&of_schema(&schema)),
            format!("any{}", "[]".repeat(DEPTH))
        );
    }
}
