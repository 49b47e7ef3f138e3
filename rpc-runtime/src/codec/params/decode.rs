//! Decodes `params` into a handler's arguments in one walk over the tape, by position or by name.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::codec::de::{Mismatch, Value};
use crate::codec::params::encode::{Sent, Write};
use crate::codec::ser;

/// A type that a method can take as an argument: the client serializes it, the server deserializes it.
///
/// Implemented for every type that serde can serialize and deserialize; derive both to implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross the wire",
    label = "not `Deserialize` and `Serialize`",
    note = "to send a type of your own, add `#[derive(serde::Deserialize, serde::Serialize)]` to it",
    note = "to send a type of another crate, enable serde in its features; `Arc` and `Rc` need the feature `rc` of serde",
    note = "if the name is an alias of a `Result` or of an array, write `Result` or the array here"
)]
pub trait Argument<'de>: Deserialize<'de> + Serialize {}

#[diagnostic::do_not_recommend]
impl<'de, T: Deserialize<'de> + Serialize> Argument<'de> for T {}

/// The reason why `params` do not match those of a method.
#[derive(Debug)]
pub enum InvalidParams {
    /// The argument of a parameter without a default is missing.
    Missing(&'static str),
    /// A parameter has two arguments.
    Twice(&'static str),
    /// An argument has a name that no parameter has.
    Unknown(Box<str>),
    /// There are more arguments than this number of parameters.
    Surplus(usize),
    /// An argument has the wrong type. The name is empty if the argument is the entire `params`.
    Mismatch(&'static str, Mismatch),
}

impl fmt::Display for InvalidParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "missing argument `{name}`"),
            Self::Twice(name) => write!(f, "argument `{name}` stands twice"),
            Self::Unknown(name) => write!(f, "unknown argument `{name}`"),
            Self::Surplus(0) => write!(f, "no arguments expected"),
            Self::Surplus(1) => write!(f, "one argument expected"),
            Self::Surplus(most) => write!(f, "at most {most} arguments expected"),
            Self::Mismatch("", mismatch) => write!(f, "{mismatch}"),
            Self::Mismatch(name, mismatch) => write!(f, "argument `{name}`: {mismatch}"),
        }
    }
}

/// The `params` of one request.
#[derive(Clone, Copy)]
pub struct Params<'t, 'de> {
    value: Option<Value<'t, 'de>>,
    lenient: bool,
}

/// Hides the arguments, which may be secret.
impl fmt::Debug for Params<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("lenient", &self.lenient)
            .finish_non_exhaustive()
    }
}

impl<'t, 'de> Params<'t, 'de> {
    pub(crate) fn new(value: Option<Value<'t, 'de>>) -> Self {
        Self {
            value,
            lenient: false,
        }
    }

    /// Returns the same parameters, with surplus positions and unknown names ignored.
    pub(crate) fn lenient(self) -> Self {
        Self {
            lenient: true,
            ..self
        }
    }

    /// Returns the parameters as JSON text, for a thread that cannot borrow the request.
    pub(crate) fn to_json(self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.value?.write_received(&mut out).ok()?;
        Some(out)
    }

    /// Reads the entire `params` as one value.
    pub(crate) fn entire<P: Parameter<'de>>(self, parameter: P) -> Result<P::Value, InvalidParams> {
        match self.value {
            Some(value) => {
                let mismatch = |mismatch| InvalidParams::Mismatch("", mismatch);
                parameter.read(value).map_err(mismatch)
            }
            None => parameter.missing().ok_or(InvalidParams::Missing("params")),
        }
    }
}

/// The parameters of a method, as a tuple of [`Parameter`]s.
pub trait Arguments<'de> {
    /// The types of the arguments, in the same order.
    type Values;

    /// Reads the arguments from `params`. The case of an array with one element for each parameter is handled here,
    /// inlined into the generated code.
    fn read(self, params: Params<'_, 'de>) -> Result<Self::Values, InvalidParams>;

    /// Reads the arguments from `params` of any form.
    fn read_any(self, params: Params<'_, 'de>) -> Result<Self::Values, InvalidParams>;
}

/// One parameter of a method: its name on the wire, its type, and its default.
pub trait Parameter<'de> {
    /// The type of the argument.
    type Value;

    /// Returns the name on the wire.
    fn name(&self) -> &'static str;

    /// Reads an argument that is present.
    fn read(&self, value: Value<'_, 'de>) -> Result<Self::Value, Mismatch>;

    /// Returns the value of an argument that is missing, if the parameter has one.
    fn missing(self) -> Option<Self::Value>;
}

/// Creates a parameter of type `T`. If its argument is missing, its value is what serde reads for a missing field:
/// `None` for an `Option`.
///
/// Only this function requires `T` to be an [`Argument`]. The parameter carries the functions of `T` with it, so that
/// an unsuitable type causes one compile error, not one at each use of the parameter.
pub fn arg<'de, T: Argument<'de>>(name: &'static str) -> Arg<'de, T> {
    Arg {
        name,
        read: deserialize::<T>,
        missing: || T::deserialize(Absent).ok(),
        is_optional: || T::deserialize(Absent).is_ok(),
        write: ser::write,
    }
}

/// Deserializes a value. There is one instance for each type, however many methods have arguments of it.
#[inline(never)]
fn deserialize<'de, T: Deserialize<'de>>(value: Value<'_, 'de>) -> Result<T, Mismatch> {
    T::deserialize(value)
}

/// Creates a parameter of text that is borrowed from the request. serde's own `Cow` would copy it.
pub fn cow<'de>(name: &'static str) -> Arg<'de, Cow<'de, str>> {
    Arg {
        name,
        read: |value| <&str>::deserialize(value).map(Cow::Borrowed),
        missing: || None,
        is_optional: || false,
        write: ser::write,
    }
}

/// Creates the same parameter as [`cow`], but optional.
pub fn optional_cow<'de>(name: &'static str) -> Arg<'de, Option<Cow<'de, str>>> {
    Arg {
        name,
        read: |value| Ok(<Option<&str>>::deserialize(value)?.map(Cow::Borrowed)),
        missing: || Some(None),
        is_optional: || true,
        write: ser::write,
    }
}

/// Creates a parameter of bytes that are sent as a JSON string, so they must be UTF-8.
pub fn bytes<'de>(name: &'static str) -> Arg<'de, &'de [u8]> {
    Arg {
        name,
        read: |value| <&[u8]>::deserialize(value),
        missing: || None,
        is_optional: || false,
        write: |bytes, out| ser::write(text(bytes)?, out),
    }
}

/// Creates the same parameter as [`bytes()`], but optional.
pub fn optional_bytes<'de>(name: &'static str) -> Arg<'de, Option<&'de [u8]>> {
    Arg {
        name,
        read: |value| <Option<&[u8]>>::deserialize(value),
        missing: || Some(None),
        is_optional: || true,
        write: |bytes, out| ser::write(&bytes.map(text).transpose()?, out),
    }
}

fn text(bytes: &[u8]) -> Result<&str, serde_json::Error> {
    let no_text = |_| serde::ser::Error::custom("bytes that are no UTF-8 fit no JSON string");
    std::str::from_utf8(bytes).map_err(no_text)
}

/// A parameter that [`arg`] has created.
pub struct Arg<'de, T> {
    name: &'static str,
    read: fn(Value<'_, 'de>) -> Result<T, Mismatch>,
    missing: fn() -> Option<T>,
    is_optional: fn() -> bool,
    write: Write<T>,
}

impl<T> Arg<'_, T> {
    /// Sets a default for a missing argument.
    pub fn or<F: FnOnce() -> T>(self, default: F) -> OrDefault<Self, F> {
        OrDefault {
            parameter: self,
            default,
        }
    }

    /// Appends a value as the client sends it.
    pub(crate) fn write(&self, value: &T, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        (self.write)(value, out)
    }

    /// Returns the argument to be sent. If it is `None` and the last one, the client leaves it out.
    pub fn send(self, value: &T) -> Sent<'_, T> {
        Sent::new(self.name, value, self.write, self.is_optional)
    }

    /// Returns the argument of a parameter with a default, which the server would use if the argument were left out.
    pub fn send_always(self, value: &T) -> Sent<'_, T> {
        Sent::new(self.name, value, self.write, || false)
    }
}

impl<'de, T> Parameter<'de> for Arg<'de, T> {
    type Value = T;

    fn name(&self) -> &'static str {
        self.name
    }

    fn read(&self, value: Value<'_, 'de>) -> Result<T, Mismatch> {
        (self.read)(value)
    }

    fn missing(self) -> Option<T> {
        (self.missing)()
    }
}

/// A parameter with a default.
#[derive(Debug)]
pub struct OrDefault<P, F> {
    parameter: P,
    default: F,
}

impl<'de, P: Parameter<'de>, F: FnOnce() -> P::Value> Parameter<'de> for OrDefault<P, F> {
    type Value = P::Value;

    fn name(&self) -> &'static str {
        self.parameter.name()
    }

    fn read(&self, value: Value<'_, 'de>) -> Result<P::Value, Mismatch> {
        self.parameter.read(value)
    }

    fn missing(self) -> Option<P::Value> {
        Some((self.default)())
    }
}

#[inline]
fn decode<'de, P: Parameter<'de>>(
    parameter: &P,
    value: Value<'_, 'de>,
) -> Result<P::Value, InvalidParams> {
    let mismatch = |mismatch| mismatched(parameter.name(), mismatch);
    parameter.read(value).map_err(mismatch)
}

#[inline]
fn missing<'de, P: Parameter<'de>>(parameter: P) -> Result<P::Value, InvalidParams> {
    let name = parameter.name();
    parameter.missing().ok_or(InvalidParams::Missing(name))
}

#[cold]
fn mismatched(name: &'static str, mismatch: Mismatch) -> InvalidParams {
    InvalidParams::Mismatch(name, mismatch)
}

macro_rules! tuples {
    ($($count:literal: $($P:ident $slot:ident),*;)*) => { $(
        impl<'de, $($P: Parameter<'de>),*> Arguments<'de> for ($($P,)*) {
            type Values = ($($P::Value,)*);

            #[inline]
            #[allow(non_snake_case)]
            #[allow(irrefutable_let_patterns, unused_mut, unused_variables)] // for the empty tuple
            fn read(self, params: Params<'_, 'de>) -> Result<Self::Values, InvalidParams> {
                let elements = params.value.and_then(Value::elements);
                if let Some(mut elements) = elements.filter(|elements| elements.len() == $count) {
                    let ($($P,)*) = &self;
                    let ($($slot,)*) = ($({ let _ = $P; elements.next() },)*);
                    if let ($(Some($slot),)*) = ($($slot,)*) {
                        return Ok(($(decode($P, $slot)?,)*));
                    }
                }
                self.read_any(params)
            }

            #[allow(non_snake_case)]
            #[allow(unused_mut)] // for the empty tuple
            fn read_any(self, params: Params<'_, 'de>) -> Result<Self::Values, InvalidParams> {
                let ($($P,)*) = self;
                $(let mut $slot = None;)*
                if let Some(mut elements) = params.value.and_then(Value::elements) {
                    $(if let Some(value) = elements.next() {
                        $slot = Some(decode(&$P, value)?);
                    })*
                    if !params.lenient && elements.next().is_some() {
                        return Err(InvalidParams::Surplus($count));
                    }
                }
                for (name, _value) in params.value.and_then(Value::members).into_iter().flatten() {
                    $(if name == $P.name() {
                        if $slot.replace(decode(&$P, _value)?).is_some() {
                            return Err(InvalidParams::Twice($P.name()));
                        }
                        continue;
                    })*
                    if !params.lenient {
                        return Err(InvalidParams::Unknown(name.chars().take(64).collect()));
                    }
                }
                Ok(($(match $slot {
                    Some(argument) => argument,
                    None => missing($P)?,
                },)*))
            }
        }
    )* };
}

tuples! {
    0: ;
    1: A a;
    2: A a, B b;
    3: A a, B b, C c;
    4: A a, B b, C c, D d;
    5: A a, B b, C c, D d, E e;
    6: A a, B b, C c, D d, E e, F f;
    7: A a, B b, C c, D d, E e, F f, G g;
    8: A a, B b, C c, D d, E e, F f, G g, H h;
    9: A a, B b, C c, D d, E e, F f, G g, H h, I i;
    10: A a, B b, C c, D d, E e, F f, G g, H h, I i, J j;
    11: A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k;
    12: A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l;
    13: A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l, M m;
    14: A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l, M m, N n;
    15: A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l, M m, N n, O o;
    16: A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l, M m, N n, O o, P p;
}

/// The deserializer of a missing field: `None` for an `Option`, an error for all other types.
struct Absent;

impl<'de> Deserializer<'de> for Absent {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch::custom("missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::codec::parser::Parser;

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    type Read = (u32, Option<String>, f64, Vec<String>);

    /// Reads four arguments of different kinds, of which only the first is required.
    fn read(params: Params<'_, '_>) -> Result<Read, String> {
        let parameters = (
            arg::<u32>("a"),
            arg::<Option<String>>("b"),
            arg::<f64>("c").or(|| 1.5),
            arg::<Vec<String>>("d").or(Vec::new),
        );
        let read = parameters.read(params);
        read.map_err(|fault| fault.to_string())
    }

    fn with_params<T>(json: &str, then: impl FnOnce(Params<'_, '_>) -> T) -> T {
        let mut message = json.as_bytes().to_vec();
        let mut parser = Parser::new(64);
        let document = parser.parse(&mut message).unwrap();
        then(Params::new(Some(document.root())))
    }

    fn strict(json: &str) -> Result<Read, String> {
        with_params(json, read)
    }

    fn lenient(json: &str) -> Result<Read, String> {
        with_params(json, |params| read(params.lenient()))
    }

    /// Returns an object with its members in this order.
    fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a Json)>) -> String {
        let members = members
            .into_iter()
            .map(|(name, value)| format!("{}:{value}", Json::from(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn any_argument() -> impl Strategy<Value = Json> {
        prop_oneof![
            Just(Json::Null),
            any::<u32>().prop_map(Json::from),
            any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
            any::<String>().prop_map(Json::from),
            prop::collection::vec(any::<String>(), 0..3).prop_map(Json::from),
        ]
    }

    /// Arguments of the right types.
    fn all_arguments() -> impl Strategy<Value = Vec<Json>> {
        let words = prop::collection::vec(any::<String>(), 0..3);
        (any::<u32>(), any::<Option<String>>(), any::<i32>(), words)
            .prop_map(|(a, b, c, d)| vec![json!(a), json!(b), json!(f64::from(c) / 8.0), json!(d)])
    }

    proptest! {
        #[test]
        fn arguments_by_name_in_any_order_equal_those_by_position(
            arguments in prop_oneof![all_arguments(), prop::collection::vec(any_argument(), 4)],
            count in 0usize..=4,
            order in Just([0, 1, 2, 3]).prop_shuffle(),
        ) {
            let arguments = &arguments[..count];
            let by_position = strict(&json!(arguments).to_string());
            let present = order.into_iter().filter(|index| *index < count);
            let by_name = strict(&object(present.map(|index| (NAMES[index], &arguments[index]))));
            // The order decides which of several mistakes is reported.
            prop_assert_eq!(by_position.ok(), by_name.ok());
        }

        #[test]
        fn arguments_of_the_right_types_are_decoded(arguments in all_arguments(), count in 1usize..=4) {
            let (a, b, c, d) = strict(&json!(arguments[..count]).to_string()).unwrap();
            let mut expected = vec![json!(null), json!(null), json!(1.5), json!([])];
            expected[..count].clone_from_slice(&arguments[..count]);
            prop_assert_eq!([json!(a), json!(b), json!(c), json!(d)].to_vec(), expected);
        }

        #[test]
        fn surplus_argument_is_rejected_or_ignored_if_lenient(mut arguments in all_arguments(), surplus in any_argument()) {
            let without = strict(&json!(arguments).to_string());
            arguments.push(surplus);
            let with = json!(arguments).to_string();
            prop_assert_eq!(strict(&with), Err("at most 4 arguments expected".into()));
            prop_assert_eq!(lenient(&with), without);
        }

        #[test]
        fn unknown_argument_is_rejected_or_ignored_if_lenient(unknown in any::<String>(), value in any_argument(), first in any::<bool>()) {
            prop_assume!(!NAMES.contains(&unknown.as_str()));
            let mut members = [("a", &json!(1)), (&unknown, &value)];
            if first {
                members.reverse();
            }
            let named: String = unknown.chars().take(64).collect();
            prop_assert_eq!(strict(&object(members)), Err(format!("unknown argument `{named}`")));
            prop_assert_eq!(lenient(&object(members)), Ok((1, None, 1.5, vec![])));
        }
    }

    #[test]
    fn repeated_argument_is_rejected() {
        for (params, name) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":1,"b":null,"b":null}"#, "b"),
            (r#"{"d":[],"a":1,"c":1,"d":[]}"#, "d"),
        ] {
            let rejected = Err(format!("argument `{name}` stands twice"));
            assert_eq!(strict(params), rejected);
            assert_eq!(lenient(params), rejected);
        }
    }

    #[test]
    fn absent_params_are_missing_all_arguments() {
        let missing = Err("missing argument `a`".to_owned());
        assert_eq!(read(Params::new(None)), missing);
        assert_eq!(strict("[]"), missing);
        assert_eq!(strict("{}"), missing);
    }
}
