//! Checks the types of a document's members.

use crate::json::{Type, Value};

/// The required type of a value. An object may have additional members, and any member may be missing.
enum Is {
    Text,
    Flag,
    Integer,
    List(&'static Is),
    Object(&'static [(&'static str, Is)]),
    /// A value of this type, or null.
    Optional(&'static Is),
    Anything,
}

const TYPED: Is = Is::Object(&[("schema", Is::Anything), ("x-rust-type", OPTIONAL_TEXT)]);

const OPTIONAL_TEXT: Is = Is::Optional(&Is::Text);

const OPTIONAL_TYPED: Is = Is::Optional(&TYPED);

const INFO: Is = Is::Object(&[
    ("title", Is::Text),
    ("version", Is::Text),
    ("description", OPTIONAL_TEXT),
]);

const TAG: Is = Is::Object(&[("name", Is::Text), ("description", OPTIONAL_TEXT)]);

const PARAMETER: Is = Is::Object(&[
    ("name", Is::Text),
    ("description", OPTIONAL_TEXT),
    ("required", Is::Flag),
    ("schema", Is::Anything),
    ("x-rust-type", OPTIONAL_TEXT),
]);

const ERROR: Is = Is::Object(&[("code", Is::Integer), ("message", Is::Text)]);

const NAMED: Is = Is::Object(&[("name", Is::Text), ("value", Is::Anything)]);

const EXAMPLE: Is = Is::Object(&[
    ("name", Is::Text),
    ("params", Is::List(&NAMED)),
    ("result", Is::Optional(&NAMED)),
]);

const METHOD: Is = Is::Object(&[
    ("name", Is::Text),
    ("summary", OPTIONAL_TEXT),
    ("description", OPTIONAL_TEXT),
    ("tags", Is::List(&TAG)),
    ("deprecated", Is::Flag),
    ("paramStructure", OPTIONAL_TEXT),
    ("params", Is::List(&PARAMETER)),
    ("result", OPTIONAL_TYPED),
    ("errors", Is::List(&ERROR)),
    ("examples", Is::List(&EXAMPLE)),
    ("x-aliases", Is::List(&Is::Text)),
    ("x-idempotent", Is::Flag),
    ("x-notification", Is::Flag),
    ("x-unreliable", Is::Flag),
    ("x-params", OPTIONAL_TYPED),
    ("x-items", OPTIONAL_TYPED),
    ("x-upload", OPTIONAL_TYPED),
]);

const COMPONENTS: Is = Is::Object(&[("schemas", Is::Object(&[]))]);

const DOCUMENT: Is = Is::Object(&[
    ("info", INFO),
    ("methods", Is::List(&METHOD)),
    ("components", COMPONENTS),
]);

/// Checks an entire document. The error says what is wrong, and where.
pub(super) fn check(document: Value<'_>) -> Result<(), String> {
    let methods = document.get("methods");
    if !methods.is_some_and(Value::is_array) {
        return Err("it has no `methods`".into());
    }
    matches(document, &DOCUMENT).map_err(|(place, what)| format!("{place} is not {what}"))
}

/// The path of a value and the type that it should have.
type Mismatch = (String, &'static str);

fn matches(value: Value<'_>, is: &Is) -> Result<(), Mismatch> {
    let mismatch = |what| Err((String::new(), what));
    let value = match is {
        Is::Object(_) => value.resolved(),
        _ => value,
    };
    match (is, value.kind()) {
        (Is::Optional(_), Type::Null) | (Is::Anything, _) => Ok(()),
        (Is::Optional(is), _) => matches(value, is),
        (Is::Text, Type::String) | (Is::Flag, Type::Boolean) => Ok(()),
        (Is::Integer, Type::Number) if value.as_i64().is_some() => Ok(()),
        (Is::List(is), Type::Array) => {
            let mut elements = value.elements().enumerate();
            elements.try_for_each(|(index, element)| {
                matches(element, is).map_err(|(place, what)| (format!("[{index}]{place}"), what))
            })
        }
        (Is::Object(known), Type::Object) => {
            let mut members = value.members();
            members.try_for_each(|(name, value)| {
                let Some((name, is)) = known.iter().find(|(known, _)| name.is(known)) else {
                    return Ok(());
                };
                matches(value, is).map_err(|(place, what)| (format!(".{name}{place}"), what))
            })
        }
        (Is::Text, _) => mismatch("text"),
        (Is::Flag, _) => mismatch("true or false"),
        (Is::Integer, _) => mismatch("an integer of 64 bits"),
        (Is::List(_), _) => mismatch("a list"),
        (Is::Object(_), _) => mismatch("an object"),
    }
}

#[cfg(test)]
mod tests {
    use crate::json::Json;

    fn check(text: &str) -> Result<(), String> {
        super::check(Json::parse(text.into()).unwrap().root())
    }

    #[test]
    fn member_that_is_not_what_it_should_be_is_named() {
        let cases = [
            ("[]", "it has no `methods`"),
            (r#"{"methods":{}}"#, "it has no `methods`"),
            (r#"{"methods":[{},3]}"#, ".methods[1] is not an object"),
            (
                r#"{"methods":[],"info":{"title":3}}"#,
                ".info.title is not text",
            ),
            (
                r#"{"methods":[{"params":[{"required":null}]}]}"#,
                ".methods[0].params[0].required is not true or false",
            ),
            (
                r#"{"methods":[{"errors":[{"code":1.5}]}]}"#,
                ".methods[0].errors[0].code is not an integer of 64 bits",
            ),
            (
                r#"{"methods":[{"tags":{}}]}"#,
                ".methods[0].tags is not a list",
            ),
            (
                r#"{"methods":[],"components":{"schemas":[]}}"#,
                ".components.schemas is not an object",
            ),
        ];
        for (text, why) in cases {
            assert_eq!(check(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_may_be_missing_may_be_null_or_unknown() {
        let text = r#"{"methods":[{"result":null,"summary":null,"more":[{"name":3}]}],"other":1}"#;
        assert_eq!(check(text), Ok(()));
    }
}
