//! From `params` to a handler's arguments: one walk over the tape, by position or by name.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::value::{Mismatch, Value};

/// A type that a method can take as an argument.
///
/// Implemented for all that serde can read; `#[derive(serde::Deserialize)]` is how a type becomes one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument: it does not implement `Deserialize`",
    label = "not `Deserialize`",
    note = "add `#[derive(serde::Deserialize, serde::Serialize)]` to the type"
)]
pub trait Argument<'de>: Deserialize<'de> {}

#[diagnostic::do_not_recommend]
impl<'de, T: Deserialize<'de>> Argument<'de> for T {}

/// Why the arguments of a call could not be read.
#[derive(Debug)]
pub struct Fault(pub(crate) FaultKind);

#[derive(Debug)]
pub(crate) enum FaultKind {
    Missing(&'static str),
    Twice(&'static str),
    Unknown(Box<str>),
    Surplus(usize),
    Mismatch(&'static str, Mismatch),
    /// The method's number is not the service's: generated code out of step with itself.
    UnknownMethod,
    /// A result that serde could not write.
    Unwritable,
}

impl fmt::Display for FaultKind {
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
            Self::UnknownMethod => write!(f, "unknown method"),
            Self::Unwritable => write!(f, "the result cannot be written"),
        }
    }
}

/// The `params` of one request.
#[derive(Debug, Clone, Copy)]
pub struct Params<'t, 'de> {
    value: Option<Value<'t, 'de>>,
    lenient: bool,
}

impl<'t, 'de> Params<'t, 'de> {
    pub(crate) fn new(value: Option<Value<'t, 'de>>) -> Self {
        Self {
            value,
            lenient: false,
        }
    }

    /// The same, with surplus positions and unknown names ignored.
    pub(crate) fn lenient(self) -> Self {
        Self {
            lenient: true,
            ..self
        }
    }

    /// The same as JSON text, for a thread that cannot borrow the request.
    pub(crate) fn to_json(self) -> Option<Vec<u8>> {
        self.value
            .map(|value| serde_json::to_vec(&value).unwrap_or_default())
    }

    /// All of `params` as one value.
    pub(crate) fn whole<T: Argument<'de>>(self) -> Result<T, Fault> {
        match self.value {
            Some(value) => {
                T::deserialize(value).map_err(|mismatch| Fault(FaultKind::Mismatch("", mismatch)))
            }
            None => T::deserialize(Absent).map_err(|_| Fault(FaultKind::Missing("params"))),
        }
    }
}

/// The parameters of a method, as a tuple of [`Parameter`]s.
pub trait Arguments<'de> {
    /// The arguments, in the same order.
    type Values;

    /// Reads the arguments off `params`.
    fn read(self, params: Params<'_, 'de>) -> Result<Self::Values, Fault>;
}

/// One parameter of a method: its name on the wire, its type, and what stands in for it.
pub trait Parameter<'de> {
    /// The argument.
    type Value;

    /// The name on the wire.
    fn name(&self) -> &'static str;

    /// Reads an argument that is there.
    fn decode<D: Deserializer<'de>>(&self, value: D) -> Result<Self::Value, D::Error>;

    /// What stands in for an argument that is not there.
    fn missing(self) -> Option<Self::Value>;
}

/// A parameter of type `T`. One that may be absent (`Option`, say) is what serde makes of a missing field.
pub fn arg<'de, T: Argument<'de>>(name: &'static str) -> Arg<T> {
    Arg {
        name,
        marker: PhantomData,
    }
}

/// What [`arg`] makes.
#[derive(Debug)]
pub struct Arg<T> {
    name: &'static str,
    marker: PhantomData<fn() -> T>,
}

impl<T> Arg<T> {
    /// With a default for when it is missing.
    pub fn or<F: FnOnce() -> T>(self, default: F) -> OrDefault<Self, F> {
        OrDefault {
            parameter: self,
            default,
        }
    }

    /// Converted after it was read.
    pub fn map<U>(self, convert: fn(T) -> U) -> Mapped<Self, T, U> {
        Mapped {
            parameter: self,
            convert,
        }
    }
}

impl<'de, T: Argument<'de>> Parameter<'de> for Arg<T> {
    type Value = T;

    fn name(&self) -> &'static str {
        self.name
    }

    fn decode<D: Deserializer<'de>>(&self, value: D) -> Result<T, D::Error> {
        T::deserialize(value)
    }

    fn missing(self) -> Option<T> {
        T::deserialize(Absent).ok()
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

    fn decode<D: Deserializer<'de>>(&self, value: D) -> Result<P::Value, D::Error> {
        self.parameter.decode(value)
    }

    fn missing(self) -> Option<P::Value> {
        Some((self.default)())
    }
}

/// A parameter that is converted after it was read.
#[derive(Debug)]
pub struct Mapped<P, T, U> {
    parameter: P,
    convert: fn(T) -> U,
}

impl<P, T, U> Mapped<P, T, U> {
    /// With a default for when it is missing.
    pub fn or<F: FnOnce() -> U>(self, default: F) -> OrDefault<Self, F> {
        OrDefault {
            parameter: self,
            default,
        }
    }
}

impl<'de, P: Parameter<'de, Value = T>, T, U> Parameter<'de> for Mapped<P, T, U> {
    type Value = U;

    fn name(&self) -> &'static str {
        self.parameter.name()
    }

    fn decode<D: Deserializer<'de>>(&self, value: D) -> Result<U, D::Error> {
        self.parameter.decode(value).map(self.convert)
    }

    fn missing(self) -> Option<U> {
        self.parameter.missing().map(self.convert)
    }
}

fn decode<'de, P: Parameter<'de>>(parameter: &P, value: Value<'_, 'de>) -> Result<P::Value, Fault> {
    let mismatch = |mismatch| Fault(FaultKind::Mismatch(parameter.name(), mismatch));
    parameter.decode(value).map_err(mismatch)
}

fn settle<'de, P: Parameter<'de>>(
    parameter: P,
    value: Option<P::Value>,
) -> Result<P::Value, Fault> {
    let name = parameter.name();
    value
        .or_else(|| parameter.missing())
        .ok_or(Fault(FaultKind::Missing(name)))
}

macro_rules! tuples {
    ($($count:literal: $($P:ident $slot:ident),*;)*) => { $(
        impl<'de, $($P: Parameter<'de>),*> Arguments<'de> for ($($P,)*) {
            type Values = ($($P::Value,)*);

            #[allow(non_snake_case, unused_mut, clippy::unused_unit)] // the tuple of none
            fn read(self, params: Params<'_, 'de>) -> Result<Self::Values, Fault> {
                let ($($P,)*) = self;
                $(let mut $slot = None;)*
                if let Some(mut elements) = params.value.and_then(Value::elements) {
                    $(if let Some(value) = elements.next() {
                        $slot = Some(decode(&$P, value)?);
                    })*
                    if !params.lenient && elements.next().is_some() {
                        return Err(Fault(FaultKind::Surplus($count)));
                    }
                }
                for (name, _value) in params.value.and_then(Value::members).into_iter().flatten() {
                    $(if name == $P.name() {
                        if $slot.replace(decode(&$P, _value)?).is_some() {
                            return Err(Fault(FaultKind::Twice($P.name())));
                        }
                        continue;
                    })*
                    if !params.lenient {
                        return Err(Fault(FaultKind::Unknown(name.chars().take(64).collect())));
                    }
                }
                Ok(($(settle($P, $slot)?,)*))
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

/// What serde sees of a field that is not there: `None` for an `Option`, an error for all else.
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
