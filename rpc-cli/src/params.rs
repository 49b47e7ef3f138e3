//! The arguments of a call, as people type them.

use std::io::Read;

use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::document::{Document, Method, Parameter, Typed, nearest};
use crate::failure::Failure;
use crate::schema;
use crate::types;

/// The arguments of a call.
#[derive(Debug, Clone, Args)]
pub(crate) struct Params {
    /// A JSON object or array, `-` to read one from standard input, or arguments of the form `name=value`: the server's
    /// description says which are text, all others are JSON
    #[arg(value_name = "PARAMS")]
    given: Vec<String>,
}

/// What goes over the wire: text that is JSON, as it was written.
pub(crate) type Json = Option<Box<RawValue>>;

impl Params {
    /// Whether they come from standard input.
    pub(crate) fn are_input(&self) -> bool {
        self.given == ["-"]
    }

    /// Takes standard input, if they are there.
    pub(crate) fn read(self) -> Result<Given, Failure> {
        match self.given.as_slice() {
            [] => Ok(Given::Nothing),
            _ if self.are_input() => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
                whole(&text).map(Given::Entire)
            }
            [json] if json.trim_start().starts_with(['{', '[']) => whole(json).map(Given::Entire),
            named => named
                .iter()
                .map(|one| split(one))
                .collect::<Result<_, _>>()
                .map(Given::Named),
        }
    }
}

/// What was given, before anything is known of the method.
#[derive(Debug)]
pub(crate) enum Given {
    Nothing,
    Entire(Box<RawValue>),
    Named(Vec<(String, String)>),
}

impl Given {
    /// As JSON, typed by what is known of the method.
    pub(crate) fn to_json(&self, known: Option<(&Document, &Method)>) -> Result<Json, Failure> {
        match self {
            Self::Nothing => Ok(None),
            Self::Entire(json) => Ok(Some(json.clone())),
            Self::Named(named) => by_name(named, known).map(Some),
        }
    }
}

/// All of them in one.
fn whole(text: &str) -> Result<Box<RawValue>, Failure> {
    let json: Box<RawValue> = parse(text.trim())
        .map_err(|error| Failure::usage(format!("the arguments are no JSON: {error}")))?;
    match json.get().starts_with(['{', '[']) {
        true => Ok(json),
        false => Err(Failure::usage("the arguments are a JSON object or array")),
    }
}

fn parse(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    RawValue::from_string(text.to_owned())
}

fn split(argument: &str) -> Result<(String, String), Failure> {
    let parts = argument.split_once('=');
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| {
            Failure::usage(format!("`{argument}` is no argument")).tip(
                "write `name=value`, or all arguments as one JSON object or array: '{\"a\": 1}'",
            )
        })
}

fn by_name(
    named: &[(String, String)],
    known: Option<(&Document, &Method)>,
) -> Result<Box<RawValue>, Failure> {
    let mut members: Vec<(&str, Box<RawValue>)> = Vec::new();
    for (name, text) in named {
        if members.iter().any(|(other, _)| *other == name) {
            return Err(Failure::usage(format!("`{name}` is given twice")));
        }
        let value = match known {
            Some((document, method)) => {
                let parameter = parameter(method, name)?;
                typed(document, name, &parameter.typed, text)?
            }
            None => parse(text).or_else(|_| string(text))?,
        };
        members.push((name, value));
    }
    if let Some((_, method)) = known {
        let missing = |parameter: &&Parameter| {
            parameter.required && members.iter().all(|(name, _)| *name != parameter.name)
        };
        let missing: Vec<_> = method.params.iter().filter(missing).map(written).collect();
        if !missing.is_empty() {
            let missing = missing.join(" ");
            return Err(Failure::usage(format!("`{}` needs {missing}", method.name)));
        }
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{}", Value::from(*name), value.get()))
        .collect();
    parse(&format!("{{{}}}", members.join(","))).map_err(unwritable)
}

/// As one would type it.
fn written(parameter: &Parameter) -> String {
    format!(
        "{}={}",
        parameter.name,
        types::text(&types::of(&parameter.typed))
    )
}

fn parameter<'a>(method: &'a Method, name: &str) -> Result<&'a Parameter, Failure> {
    let found = method
        .params
        .iter()
        .find(|parameter| parameter.name == name);
    found.ok_or_else(|| {
        let failure = Failure::usage(format!("`{}` has no parameter `{name}`", method.name));
        let names = method
            .params
            .iter()
            .map(|parameter| parameter.name.as_str());
        let all: Vec<_> = method.params.iter().map(written).collect();
        match (nearest(name, names).first(), &method.entire_params) {
            (Some(near), _) => failure.tip(format!("did you mean `{near}`?")),
            (None, Some(whole)) if all.is_empty() => {
                let whole = types::text(&types::of(whole));
                failure.tip(format!("its arguments are one JSON value: {whole}"))
            }
            (None, _) if all.is_empty() => failure.tip("it has none"),
            (None, _) => failure.tip(format!("it has {}", all.join(" "))),
        }
    })
}

/// One argument: text where the parameter is a string, JSON where it is not.
fn typed(
    document: &Document,
    name: &str,
    parameter: &Typed,
    text: &str,
) -> Result<Box<RawValue>, Failure> {
    let kinds = Kinds::of(document, parameter);
    let json = parse(text.trim()).ok();
    if kinds == Kinds::STRING || kinds == Kinds::STRING.or(Kinds::NULL) && text != "null" {
        return string(text);
    }
    match json {
        Some(json) if kinds.take(Kinds::of_json(json.get())) => Ok(json),
        _ if kinds.take(Kinds::STRING) => string(text),
        json => {
            let is = types::text(&types::of(parameter));
            let why = match json {
                Some(_) => "and",
                None => "that is, JSON, and",
            };
            Err(Failure::usage(format!(
                "`{name}` is of type {is}, {why} `{text}` is not"
            )))
        }
    }
}

fn string(text: &str) -> Result<Box<RawValue>, Failure> {
    parse(&Value::from(text).to_string()).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::usage(format!("the arguments cannot be written: {error}"))
}

/// Kinds of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds(u8);

impl Kinds {
    const NONE: Self = Self(0);
    const NULL: Self = Self(1);
    const BOOLEAN: Self = Self(2);
    const INTEGER: Self = Self(4);
    const NUMBER: Self = Self(4 | 8);
    const STRING: Self = Self(16);
    const ARRAY: Self = Self(32);
    const OBJECT: Self = Self(64);
    const ALL: Self = Self(127);

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a value of `other` can be one of these.
    fn take(self, other: Self) -> bool {
        self.and(other) != Self::NONE
    }

    /// What a parameter takes.
    fn of(document: &Document, typed: &Typed) -> Self {
        match Self::of_schema(document, &typed.schema, &mut 1000) {
            Self::ALL => Self::of_rust(typed.rust_type.as_deref().unwrap_or_default()),
            kinds => kinds,
        }
    }

    /// Where there is no schema: text can be told by its name.
    fn of_rust(name: &str) -> Self {
        let name: String = name.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(inner) = name.strip_prefix("Option<") {
            return Self::of_rust(inner.trim_end_matches('>')).or(Self::NULL);
        }
        let is_text = name == "String"
            || name.starts_with('&') && name.ends_with("str")
            || name.starts_with("Cow<") && name.contains("str");
        if is_text { Self::STRING } else { Self::ALL }
    }

    /// `left` is how many schemas may still be looked into: unions of unions may have no end.
    fn of_schema(document: &Document, schema: &Value, left: &mut usize) -> Self {
        let schema = document.resolve(schema);
        if *left == 0 || schema::says_nothing(schema) {
            return Self::ALL;
        }
        *left -= 1;
        let named = match schema.get("type") {
            Some(Value::String(name)) => Self::named(name),
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .fold(Self::NONE, |kinds, name| kinds.or(Self::named(name))),
            _ => Self::ALL,
        };
        let values = schema.get("const").map(std::slice::from_ref);
        let values = values.or_else(|| schema::list(schema, "enum").map(Vec::as_slice));
        let values = values.map_or(Self::ALL, |values| {
            let kinds = values.iter().map(|value| Self::of_json(&value.to_string()));
            kinds.fold(Self::NONE, Self::or)
        });
        let mut each = |schema: &Value| Self::of_schema(document, schema, left);
        let either = schema::alternatives(schema).map_or(Self::ALL, |schemas| {
            schemas.iter().map(&mut each).fold(Self::NONE, Self::or)
        });
        let all = schema::list(schema, "allOf").map_or(Self::ALL, |schemas| {
            schemas.iter().map(&mut each).fold(Self::ALL, Self::and)
        });
        named.and(values).and(either).and(all)
    }

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ALL,
        }
    }

    /// Of text that is JSON.
    fn of_json(json: &str) -> Self {
        match json.as_bytes().first() {
            Some(b'n') => Self::NULL,
            Some(b't' | b'f') => Self::BOOLEAN,
            Some(b'"') => Self::STRING,
            Some(b'[') => Self::ARRAY,
            Some(b'{') => Self::OBJECT,
            // `1.0` and `1e3` are whole numbers, too; the server says whether it takes them.
            _ if json
                .parse::<f64>()
                .is_ok_and(|number| number.fract() == 0.0) =>
            {
                Self::INTEGER
            }
            _ => Self(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one_parameter(typed: Value) -> (Document, Method) {
        let mut parameter = typed;
        parameter["name"] = json!("a");
        let document = json!({
            "methods": [{"name": "m", "params": [parameter]}],
            "components": {"schemas": {
                "Text": {"type": "string"},
                "Color": {"oneOf": [{"const": "red"}, {"enum": ["green", "blue"]}]},
                "Loop": {"$ref": "#/components/schemas/Loop"},
                "Shape": {"anyOf": [{"enum": ["point"]}, {"type": "object"}]},
            }},
        });
        let document = Document::new(document).unwrap();
        let method = document.methods[0].clone();
        (document, method)
    }

    fn typed(parameter: Value, text: &str) -> Result<String, String> {
        let (document, method) = one_parameter(parameter);
        let given = Params {
            given: vec![format!("a={text}")],
        };
        match given
            .read()
            .and_then(|given| given.to_json(Some((&document, &method))))
        {
            Ok(json) => Ok(json.unwrap().get().to_owned()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn the_description_types_an_argument() {
        let text = json!({"schema": {"type": "string"}});
        let optional = json!({"schema": {"type": ["string", "null"]}});
        let number = json!({"schema": {"type": "number"}});
        let color = json!({"schema": {"$ref": "#/components/schemas/Color"}});
        let shape = json!({"schema": {"$ref": "#/components/schemas/Shape"}});
        let borrowed = json!({"schema": {}, "x-rust-type": "& str"});
        let unknown = json!({"schema": {}, "x-rust-type": "Anything"});
        let circle = json!({"schema": {"$ref": "#/components/schemas/Loop"}});
        let cases = [
            (&text, "5", r#"{"a":"5"}"#),
            (&text, "a \"b\"=c", r#"{"a":"a \"b\"=c"}"#),
            (&text, "", r#"{"a":""}"#),
            (&text, "null", r#"{"a":"null"}"#),
            (&optional, "null", r#"{"a":null}"#),
            (&optional, "5", r#"{"a":"5"}"#),
            (&number, "5", r#"{"a":5}"#),
            (
                &number,
                "0.1000000000000000000001",
                r#"{"a":0.1000000000000000000001}"#,
            ),
            (&color, "green", r#"{"a":"green"}"#),
            (&shape, "point", r#"{"a":"point"}"#),
            (&shape, r#"{"r":1}"#, r#"{"a":{"r":1}}"#),
            (&borrowed, "5", r#"{"a":"5"}"#),
            (&unknown, "5", r#"{"a":5}"#),
            (&unknown, "five", r#"{"a":"five"}"#),
            (&circle, "five", r#"{"a":"five"}"#),
        ];
        for (parameter, given, sent) in cases {
            assert_eq!(
                typed(parameter.clone(), given).as_deref(),
                Ok(sent),
                "{parameter} {given}"
            );
        }
    }

    #[test]
    fn an_argument_of_another_type_is_refused_by_name_and_type() {
        let integer = json!({"schema": {"type": "integer", "format": "int64"}});
        for wrong in ["five", "1.5", "\"5\"", "[5]", ""] {
            let refused = typed(integer.clone(), wrong).unwrap_err();
            assert!(refused.contains("`a` is of type int64"), "{refused}");
            assert!(refused.contains(&format!("`{wrong}` is not")), "{refused}");
        }
        assert_eq!(typed(integer, "-5").as_deref(), Ok(r#"{"a":-5}"#));
    }

    #[test]
    fn without_a_description_it_is_json_if_it_can_be() {
        let given = |all: &[&str]| {
            let given = all.iter().map(|one| (*one).to_owned()).collect();
            Params { given }.read()?.to_json(None)
        };
        let json = given(&["a=1", "b=x", "c=[2]"]).unwrap().unwrap();
        assert_eq!(json.get(), r#"{"a":1,"b":"x","c":[2]}"#);
        assert!(given(&[]).unwrap().is_none());
        for wrong in [&["5"][..], &["{"], &["a=1", "a=2"], &["{}", "{}"]] {
            assert!(given(wrong).is_err(), "{wrong:?}");
        }
    }
}
