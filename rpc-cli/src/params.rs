//! Parses the arguments of a call from the command line.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io::Read;

use clap::Args;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::document::{Document, Method, Parameter, Typed, nearest};
use crate::escape::Short;
use crate::failure::Failure;
use crate::input::decode;
use crate::json::{Decimal, Value};
use crate::schema;
use crate::types;

/// The arguments of a call.
#[derive(Debug, Clone, Args)]
pub(crate) struct Params {
    /// The arguments: pairs `name=value`, whose values are text or JSON according to the description of the server, or one
    /// JSON object or array: as it is, `@FILE` to read it from a file, or `-` to read it from standard input
    #[arg(value_name = "PARAMS")]
    given: Vec<String>,
}

/// The `params` to send: JSON text, as it was written.
pub(crate) type Sent = Option<Box<RawValue>>;

impl Params {
    #[cfg(test)]
    pub(crate) fn of(given: &[&str]) -> Self {
        let given = given.iter().map(|one| (*one).to_owned()).collect();
        Self { given }
    }

    /// Returns `true` if the arguments come from standard input.
    pub(crate) fn are_input(&self) -> bool {
        self.given == ["-"]
    }

    /// Returns the arguments as they were given.
    pub(crate) fn words(&self) -> &[String] {
        &self.given
    }

    /// Reads the file or standard input, if the arguments come from there.
    pub(crate) fn read(self) -> Result<Given, Failure> {
        match self.given.as_slice() {
            [] => Ok(Given::Nothing),
            _ if self.are_input() => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().read_to_end(&mut bytes);
                let unreadable = |error| Failure::usage(format!("standard input: {error}"));
                read.map_err(unreadable)?;
                from_bytes(bytes, "standard input").map(Given::Entire)
            }
            [file] if file.starts_with('@') => {
                let name = &file[1..];
                if name.is_empty() {
                    return Err(Failure::usage("`@` names no file").tip(SPELLINGS));
                }
                let unreadable = |error| Failure::usage(format!("cannot read {name}: {error}"));
                from_bytes(fs::read(name).map_err(unreadable)?, name).map(Given::Entire)
            }
            [json] if json.trim_start().starts_with(['{', '[']) => {
                let read = whole(json, "the arguments are");
                let tip = format!("the shell passed {json}; without its quotes it is not JSON");
                read.map_err(|failure| failure.tip(tip).tip(SPELLINGS))
                    .map(Given::Entire)
            }
            named => {
                if let Some(entire) = named.iter().find(|word| is_entire(word)) {
                    let why = format!(
                        "`{entire}` stands for all arguments, so it cannot be combined with others"
                    );
                    return Err(Failure::usage(why));
                }
                let named = named.iter().map(|one| split(one));
                named.collect::<Result<_, _>>().map(Given::Named)
            }
        }
    }
}

/// The given arguments, before the method is known.
#[derive(Debug)]
pub(crate) enum Given {
    Nothing,
    Entire(Box<RawValue>),
    Named(Vec<(String, String)>),
}

impl Given {
    /// Returns the arguments as JSON, typed by the description of the method.
    pub(crate) fn to_json(&self, known: Option<(&Document, Method<'_>)>) -> Result<Sent, Failure> {
        match self {
            Self::Nothing => Ok(None),
            Self::Entire(json) => {
                if let Some((_, method)) = known {
                    check_structure(method, json.get())?;
                }
                Ok(Some(json.clone()))
            }
            Self::Named(named) => by_name(named, known).map(Some),
        }
    }
}

/// Checks that the description allows arguments in this form: an array or an object.
fn check_structure(method: Method<'_>, json: &str) -> Result<(), Failure> {
    let is_array = json.starts_with('[');
    let name = method.name();
    let failure = match is_array {
        true if method.is_by_name() => Failure::usage(format!(
            "`{name}` takes its arguments by name: the description does not show their positions"
        )),
        false if method.is_by_position() => {
            Failure::usage(format!("`{name}` takes its arguments by position"))
        }
        _ => return Ok(()),
    };
    Err(match method.params().next() {
        Some(_) => failure.tip(format!("write {}", all_written(method.params()))),
        None => failure,
    })
}

/// Returns `true` for a word that stands for all arguments: JSON, `@FILE` or `-`.
fn is_entire(word: &str) -> bool {
    let is_json = word.trim_start().starts_with(['{', '[']) && parse(word.trim()).is_ok();
    is_json || word == "-" || word.starts_with('@') && !word.contains('=')
}

impl Given {
    /// Checks arguments that are one JSON value as arguments by name are checked.
    pub(crate) fn check(&self, known: Option<(&Document, Method<'_>)>) -> Result<(), Failure> {
        let Some((document, method)) = known.filter(|(_, it)| it.entire_params().is_none()) else {
            return Ok(());
        };
        let unreadable = |error| Failure::usage(format!("the arguments are not JSON: {error}"));
        let json = match self {
            Self::Named(_) => return Ok(()),
            Self::Nothing => "[]",
            Self::Entire(json) => json.get(),
        };
        let given: Vec<(Cow<'_, str>, &RawValue)> = match json.starts_with('{') {
            true => {
                serde_json::from_str::<Members<'_>>(json)
                    .map_err(unreadable)?
                    .0
            }
            false => {
                let values: Vec<&RawValue> = serde_json::from_str(json).map_err(unreadable)?;
                let count = method.params().count();
                if values.len() > count {
                    let why = format!("`{}` has {count} parameters", method.name());
                    return Err(Failure::usage(why));
                }
                let names = method.params().map(|parameter| parameter.name());
                names.zip(values).collect()
            }
        };
        for (index, (name, value)) in given.iter().enumerate() {
            if given[..index].iter().any(|(other, _)| other == name) {
                return Err(given_twice(name));
            }
            let typed = parameter(method, name)?.typed();
            if !Kinds::of(document, typed).take(Kinds::of_json(value.get())) {
                return Err(mistyped(name, typed, value.get()));
            }
        }
        complete(method, |name| given.iter().any(|(given, _)| given == name))
    }
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(members: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(name), value));
                }
                Ok(Members(members))
            }
        }

        members.deserialize_map(Read)
    }
}

fn given_twice(name: &str) -> Failure {
    Failure::usage(format!("argument `{name}` is given twice"))
}

/// Checks that no required argument is missing.
fn complete(method: Method<'_>, is_given: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let missing =
        |parameter: &Parameter<'_>| parameter.is_required() && !is_given(&parameter.name());
    let mut missing = method.params().filter(missing).peekable();
    if missing.peek().is_none() {
        return Ok(());
    }
    let missing = all_written(missing);
    Err(Failure::usage(format!(
        "`{}` requires {missing}",
        method.name()
    )))
}

/// The spellings of arguments that no shell changes. Windows shells remove the quotes of JSON.
const SPELLINGS: &str = "`name=value` needs no quotes within the value; `@FILE` reads the arguments as JSON from a \
    file, and `-` from standard input";

/// Reads all arguments from the bytes of a file or of standard input.
fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Box<RawValue>, Failure> {
    let text = decode(bytes).map_err(|why| Failure::usage(format!("{name} is {why}")))?;
    whole(&text, &format!("the arguments in {name} are"))
}

/// Reads all arguments from one JSON value.
fn whole(text: &str, subject: &str) -> Result<Box<RawValue>, Failure> {
    let json: Box<RawValue> = parse(text.trim())
        .map_err(|error| Failure::usage(format!("{subject} not JSON: {error}")))?;
    match json.get().starts_with(['{', '[']) {
        true => Ok(json),
        false => Err(Failure::usage(format!("{subject} no JSON object or array"))),
    }
}

fn parse(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    RawValue::from_string(text.to_owned())
}

fn split(argument: &str) -> Result<(String, String), Failure> {
    let parts = argument.split_once('=');
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| Failure::usage(format!("`{argument}` is not an argument")).tip(SPELLINGS))
}

fn by_name(
    named: &[(String, String)],
    known: Option<(&Document, Method<'_>)>,
) -> Result<Box<RawValue>, Failure> {
    let mut members: Vec<(&str, Box<RawValue>)> = Vec::new();
    for (name, text) in named {
        if members.iter().any(|(other, _)| *other == name) {
            return Err(given_twice(name));
        }
        let value = match known {
            Some((document, method)) => {
                let parameter = parameter(method, name)?;
                typed(document, name, parameter.typed(), text)?
            }
            None => parse(text).or_else(|_| string(text))?,
        };
        members.push((name, value));
    }
    if let Some((_, method)) = known {
        complete(method, |name| {
            members.iter().any(|(given, _)| *given == name)
        })?;
    }
    if let Some((_, method)) = known.filter(|(_, method)| method.is_by_position()) {
        return by_position(method, &members);
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(*name), value.get()))
        .collect();
    parse(&format!("{{{}}}", members.join(","))).map_err(unwritable)
}

/// Returns the arguments as an array, up to the last one that is given.
fn by_position(
    method: Method<'_>,
    members: &[(&str, Box<RawValue>)],
) -> Result<Box<RawValue>, Failure> {
    let mut values = Vec::new();
    let mut skipped: Option<Cow<'_, str>> = None;
    for parameter in method.params() {
        let name = parameter.name();
        match members.iter().find(|(given, _)| *given == name) {
            None => skipped = skipped.or(Some(name)),
            Some((_, value)) if skipped.is_none() => values.push(value.get()),
            Some(_) => {
                let skipped = skipped.unwrap_or_default();
                return Err(Failure::usage(format!(
                    "`{}` takes its arguments by position, so `{name}` requires `{skipped}` before it",
                    method.name()
                )));
            }
        }
    }
    parse(&format!("[{}]", values.join(","))).map_err(unwritable)
}

/// The maximum number of shown parameters, and of characters of a type.
const TOLD: usize = 20;
const TYPE: usize = 500;

/// Returns the parameters as they are typed on a command line.
fn all_written<'a>(parameters: impl Iterator<Item = Parameter<'a>>) -> String {
    let mut parameters = parameters.map(|parameter| {
        let name = parameter.name();
        format!("{}={}", Short(&name), type_of(parameter.typed()))
    });
    let mut written: Vec<_> = parameters.by_ref().take(TOLD).collect();
    if parameters.next().is_some() {
        written.push("…".into());
    }
    written.join(" ")
}

fn type_of(typed: Typed<'_>) -> String {
    types::text(TYPE, |out| types::of(typed, out))
}

fn parameter<'a>(method: Method<'a>, name: &str) -> Result<Parameter<'a>, Failure> {
    let found = method.params().find(|parameter| parameter.name() == name);
    found.ok_or_else(|| {
        let failure = Failure::usage(format!("`{}` has no parameter `{name}`", method.name()));
        let names = method.params().map(|parameter| parameter.name());
        let has_none = method.params().next().is_none();
        match (nearest(name, names).first(), method.entire_params()) {
            (Some(near), _) => failure.tip(format!("did you mean `{near}`?")),
            (None, Some(whole)) if has_none => {
                let whole = type_of(whole);
                failure.tip(format!("its arguments are one JSON value: {whole}"))
            }
            (None, _) if has_none => failure.tip("it has no parameters"),
            (None, _) => failure.tip(format!(
                "its parameters are {}",
                all_written(method.params())
            )),
        }
    })
}

/// Reads one argument: as text if the parameter is a string, otherwise as JSON.
fn typed(
    document: &Document,
    name: &str,
    parameter: Typed<'_>,
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
        Some(_) => Err(mistyped(name, parameter, text)),
        None => {
            let is = type_of(parameter);
            let why = format!("`{name}` is of type {is}, which is JSON, but `{text}` is not");
            Err(Failure::usage(why))
        }
    }
}

fn mistyped(name: &str, parameter: Typed<'_>, text: &str) -> Failure {
    let is = type_of(parameter);
    Failure::usage(format!("`{name}` is of type {is}, but `{text}` is not"))
}

fn string(text: &str) -> Result<Box<RawValue>, Failure> {
    parse(&serde_json::Value::from(text).to_string()).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::usage(format!("the arguments cannot be encoded: {error}"))
}

/// A set of JSON types.
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

    /// Returns `true` if a value of `other` can be one of these.
    fn take(self, other: Self) -> bool {
        self.and(other) != Self::NONE
    }

    /// Returns the JSON types that a parameter accepts.
    fn of(document: &Document, typed: Typed<'_>) -> Self {
        let schema = typed.schema();
        let kinds = schema.map(|schema| Self::of_schema(document, schema, &mut 1000));
        match kinds.unwrap_or(Self::ALL) {
            Self::ALL => Self::of_rust(typed.rust_type().as_deref().unwrap_or_default()),
            kinds => kinds,
        }
    }

    /// Returns the JSON types of a Rust type, if there is no schema. Only text is recognized by its name.
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

    /// Returns the JSON types that a schema accepts. `left` is the number of schemas and values that may still be read,
    /// because nested unions may be unbounded.
    fn of_schema(document: &Document, schema: Value<'_>, left: &mut usize) -> Self {
        let schema = document.resolve(schema);
        if *left == 0 || schema::says_nothing(schema) {
            return Self::ALL;
        }
        *left -= 1;
        let named = match schema.get("type") {
            Some(names) if names.is_array() => {
                let names = names.elements().filter_map(Value::as_str).take(8);
                names.fold(Self::NONE, |kinds, name| kinds.or(Self::named(&name)))
            }
            Some(name) => name.as_str().map_or(Self::ALL, |name| Self::named(&name)),
            None => Self::ALL,
        };
        let values = match (schema.get("const"), schema.list("enum")) {
            (Some(constant), _) => Self::of_json(constant.text()),
            (None, Some(mut values)) => {
                let all = values.by_ref().take(*left).map(|value| {
                    *left -= 1;
                    Self::of_json(value.text())
                });
                let all = all.fold(Self::NONE, Self::or);
                if values.is_empty() { all } else { Self::ALL }
            }
            (None, None) => Self::ALL,
        };
        let mut kinds = named.and(values);
        if let Some(mut schemas) = schema::alternatives(schema) {
            let mut either = Self::NONE;
            while let (true, Some(schema)) = (either != Self::ALL, schemas.next()) {
                either = either.or(Self::of_schema(document, schema, left));
            }
            kinds = kinds.and(either);
        }
        let mut schemas = schema.list("allOf").into_iter().flatten();
        while let (true, Some(schema)) = (*left > 0, schemas.next()) {
            kinds = kinds.and(Self::of_schema(document, schema, left));
        }
        kinds
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

    /// Returns the type of a JSON text.
    fn of_json(json: &str) -> Self {
        match json.as_bytes().first() {
            Some(b'n') => Self::NULL,
            Some(b't' | b'f') => Self::BOOLEAN,
            Some(b'"') => Self::STRING,
            Some(b'[') => Self::ARRAY,
            Some(b'{') => Self::OBJECT,
            // `1.0` and `1e3` are integers, too; the server decides if it accepts them.
            _ if Decimal::of(json).is_some_and(|number| !number.has_fraction()) => Self::INTEGER,
            _ => Self(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Tree, json};

    use super::*;
    use crate::document::mutated;

    fn one_parameter(typed: Tree) -> Document {
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
        mutated::document(document)
    }

    fn typed(parameter: Tree, text: &str) -> Result<String, String> {
        let document = one_parameter(parameter);
        let method = document.methods().next().unwrap();
        let given = Params::of(&[&format!("a={text}")]);
        match given
            .read()
            .and_then(|given| given.to_json(Some((&document, method))))
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
        for wrong in ["five", "1.5", "1e-400", "\"5\"", "[5]", ""] {
            let refused = typed(integer.clone(), wrong).unwrap_err();
            assert!(refused.contains("`a` is of type int64"), "{refused}");
            assert!(refused.contains(&format!("`{wrong}` is not")), "{refused}");
        }
        for whole in ["-5", "1.0", "1e3", "0e-400"] {
            let sent = format!(r#"{{"a":{whole}}}"#);
            assert_eq!(typed(integer.clone(), whole), Ok(sent));
        }
    }

    #[test]
    fn arguments_have_the_form_that_the_description_allows() {
        let given = |structure: &str, all: &[&str]| {
            let schema = json!({"type": "integer"});
            let document = mutated::document(json!({"methods": [{
                "name": "pay",
                "paramStructure": structure,
                "params": [
                    {"name": "to", "required": true, "schema": schema},
                    {"name": "from", "schema": schema},
                    {"name": "at", "schema": schema},
                ],
            }]}));
            let method = document.methods().next().unwrap();
            let known = Some((&document, method));
            match Params::of(all)
                .read()
                .and_then(|given| given.to_json(known))
            {
                Ok(sent) => Ok(sent.unwrap().get().to_owned()),
                Err(failure) => Err(anstream::adapter::strip_str(&failure.to_string()).to_string()),
            }
        };
        for structure in ["either", "by-position"] {
            assert_eq!(given(structure, &["[1, 2]"]).as_deref(), Ok("[1, 2]"));
        }
        for structure in ["either", "by-name"] {
            let sent = given(structure, &[r#"{"to":1}"#]);
            assert_eq!(sent.as_deref(), Ok(r#"{"to":1}"#));
            let sent = given(structure, &["from=1", "to=2"]);
            assert_eq!(sent.as_deref(), Ok(r#"{"from":1,"to":2}"#));
        }
        let rejected = given("by-name", &["[1, 2]"]).unwrap_err();
        assert!(
            rejected.contains("`pay` takes its arguments by name"),
            "{rejected}"
        );
        assert!(
            rejected.contains("tip: write to=integer from=integer at=integer"),
            "{rejected}"
        );
        let rejected = given("by-position", &[r#"{"to":1}"#]).unwrap_err();
        assert!(
            rejected.contains("`pay` takes its arguments by position"),
            "{rejected}"
        );
        let sent = given("by-position", &["from=1", "to=2"]);
        assert_eq!(sent.as_deref(), Ok("[2,1]"));
        let rejected = given("by-position", &["to=1", "at=2"]).unwrap_err();
        assert!(
            rejected.contains("`at` requires `from` before it"),
            "{rejected}"
        );
    }

    #[test]
    fn all_arguments_and_single_ones_cannot_be_combined() {
        for entire in ["-", "@file.json", "{}", r#"["a=b"]"#] {
            for both in [[entire, "a=1"], ["a=1", entire]] {
                let told = Params::of(&both).read().unwrap_err().to_string();
                assert!(told.contains("cannot be combined with others"), "{told}");
                assert!(told.contains(&format!("`{entire}`")), "{told}");
            }
        }
    }

    #[test]
    fn without_a_description_it_is_json_if_it_can_be() {
        let given = |all: &[&str]| Params::of(all).read()?.to_json(None);
        let json = given(&["a=1", "b=x", "c=[2]"]).unwrap().unwrap();
        assert_eq!(json.get(), r#"{"a":1,"b":"x","c":[2]}"#);
        assert!(given(&[]).unwrap().is_none());
        for wrong in [&["5"][..], &["{"], &["a=1", "a=2"], &["{}", "{}"]] {
            assert!(given(wrong).is_err(), "{wrong:?}");
        }
    }
}
