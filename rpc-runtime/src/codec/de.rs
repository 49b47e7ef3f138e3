//! A value on the tape, and its serde deserializer.

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use simd_json::{Node, StaticNode};

use crate::codec::ser::{self, NUMBER, RAW_VALUE};
use crate::codec::values::{NONE, NULL, Values};
use crate::codec::{number, steps};

/// One JSON value on the tape. A copy is two pointers; strings stay in the receive buffer.
#[derive(Clone, Copy)]
pub struct Value<'t, 'de> {
    /// The values of the message.
    values: &'t Values<'de>,
    /// The value's own node. The nodes of all values that it contains follow on the tape.
    node: &'t Node<'de>,
}

/// Shows the value's part of the tape.
impl fmt::Debug for Value<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contained = self.nodes_behind().iter();
        let contained = contained.take(self.node_count().saturating_sub(1));
        f.debug_list().entry(self.node).entries(contained).finish()
    }
}

impl<'t, 'de> Value<'t, 'de> {
    /// Returns the first value of a tape. It is null if the tape is empty.
    #[inline]
    pub(super) fn first(values: &'t Values<'de>) -> Self {
        match values.tape.0.first() {
            Some(node) => Self { values, node },
            None => Self::null(),
        }
    }

    /// Returns a null of no message.
    pub(super) fn null() -> Self {
        Self {
            values: &NONE,
            node: &NULL,
        }
    }

    #[inline]
    pub(crate) fn node(self) -> Node<'de> {
        *self.node
    }

    #[inline]
    fn nodes_behind(self) -> &'t [Node<'de>] {
        self.values.behind(self.node)
    }

    /// Returns the text from which the value was read. If it was not kept, returns JSON with the same meaning.
    pub(crate) fn text(self) -> Option<&'de str> {
        if !self.values.text.is_empty() {
            return self.values.text(self.node);
        }
        let mut out = Vec::new();
        ser::write(&self, &mut out).ok()?;
        std::str::from_utf8(self.values.arena?.keep(out)?).ok()
    }

    /// Appends the value as it was received.
    pub(crate) fn write_received(self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self.values.text(self.node) {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            None => ser::write(&self, out),
        }
    }

    pub(crate) fn as_str(self) -> Option<&'de str> {
        match self.node() {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_i64(self) -> Option<i64> {
        match self.node() {
            Node::Static(StaticNode::I64(number)) => Some(number),
            Node::Static(StaticNode::U64(number)) => i64::try_from(number).ok(),
            _ => None,
        }
    }

    pub(crate) fn as_u64(self) -> Option<u64> {
        match self.node() {
            Node::Static(StaticNode::U64(number)) => Some(number),
            Node::Static(StaticNode::I64(number)) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::Null))
    }

    /// Returns the elements, if the value is an array.
    #[inline]
    pub(crate) fn elements(self) -> Option<Elements<'t, 'de>> {
        match self.node() {
            Node::Array { len, .. } => Some(Elements {
                values: self.values,
                nodes: self.nodes_behind(),
                left: len,
            }),
            _ => None,
        }
    }

    /// Returns the members in their order, if the value is an object.
    #[inline]
    pub(crate) fn members(self) -> Option<Members<'t, 'de>> {
        match self.node() {
            Node::Object { len, .. } => Some(Members {
                values: self.values,
                nodes: self.nodes_behind(),
                left: len,
            }),
            _ => None,
        }
    }

    /// Returns the number of values that this one contains, including itself.
    pub(crate) fn node_count(self) -> usize {
        contained(self.node).saturating_add(1)
    }

    /// Returns a copy of the value's part of the tape.
    pub(crate) fn to_values(self) -> Values<'de> {
        self.values.copy(self.node, self.node_count())
    }

    /// Returns the elements of an array of bytes.
    fn bytes(self) -> Option<Vec<u8>> {
        let byte = |value: Value<'_, '_>| u8::try_from(value.as_u64()?).ok();
        self.elements()?.map(byte).collect()
    }

    /// Returns an integer that does not fit into 64 bits.
    fn long_integer<T: FromStr>(self) -> Option<T> {
        match self.node() {
            Node::Static(StaticNode::F64(_)) => self.text()?.parse().ok(),
            _ => None,
        }
    }

    /// Returns a number that is no integer, or −0.
    #[inline]
    fn double(self) -> Option<f64> {
        match self.node() {
            Node::Static(StaticNode::F64(number)) => Some(number),
            // simd-json writes 0 as an unsigned integer.
            Node::Static(StaticNode::I64(0)) => Some(-0.0),
            _ => None,
        }
    }

    fn unexpected(self) -> Unexpected<'de> {
        match self.node() {
            Node::String(text) => Unexpected::Str(text),
            Node::Object { .. } => Unexpected::Map,
            Node::Array { .. } => Unexpected::Seq,
            Node::Static(StaticNode::Bool(value)) => Unexpected::Bool(value),
            Node::Static(StaticNode::I64(value)) => Unexpected::Signed(value),
            Node::Static(StaticNode::U64(value)) => Unexpected::Unsigned(value),
            Node::Static(StaticNode::F64(value)) => Unexpected::Float(value),
            Node::Static(StaticNode::Null) => Unexpected::Unit,
        }
    }
}

/// Returns the number of values that the value of this node contains.
#[inline]
fn contained(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => *count,
        _ => 0,
    }
}

/// Takes the first value off `nodes`, and skips everything that it contains in one step.
#[inline]
fn take<'t, 'de>(nodes: &mut &'t [Node<'de>]) -> Option<&'t Node<'de>> {
    steps::step();
    let (node, behind) = nodes.split_first()?;
    *nodes = behind.get(contained(node)..)?;
    Some(node)
}

/// The remaining elements of an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'t, 'de> {
    values: &'t Values<'de>,
    nodes: &'t [Node<'de>],
    left: usize,
}

impl<'t, 'de> Iterator for Elements<'t, 'de> {
    type Item = Value<'t, 'de>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (values, node) = (self.values, take(&mut self.nodes)?);
        Some(Value { values, node })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_, '_> {}

/// The remaining members of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'t, 'de> {
    values: &'t Values<'de>,
    nodes: &'t [Node<'de>],
    left: usize,
}

impl<'t, 'de> Iterator for Members<'t, 'de> {
    type Item = (&'de str, Value<'t, 'de>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.nodes.split_first()?;
        let Node::String(name) = name else {
            return None;
        };
        self.left = self.left.checked_sub(1)?;
        self.nodes = value;
        let (values, node) = (self.values, take(&mut self.nodes)?);
        Some((name, Value { values, node }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The maximum length of a mismatch's text, in characters: serde quotes the value that it found.
const MAX_MISMATCH_CHARACTERS: usize = 256;

/// The reason why a value does not have the expected type.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch(Box<str>);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// Takes the first characters that are written, then fails, so that no more text is formatted.
struct MismatchText {
    text: String,
    left: usize,
}

impl Write for MismatchText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            steps::step();
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}

/// Truncates a string that serde is about to quote, since quoting reads all of it.
fn shortened(found: Unexpected<'_>) -> Unexpected<'_> {
    match found {
        Unexpected::Str(text) => {
            let end = text
                .char_indices()
                .nth(MAX_MISMATCH_CHARACTERS)
                .map_or(text.len(), |(at, _)| at);
            Unexpected::Str(text.get(..end).unwrap_or(text))
        }
        found => found,
    }
}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut truncated = MismatchText {
            text: String::new(),
            left: MAX_MISMATCH_CHARACTERS,
        };
        // Fails if the text is longer; the remainder is left out.
        let _ = write!(truncated, "{message}");
        let text = truncated.text.split(" of untagged enum ").next();
        Self(text.unwrap_or_default().into())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!(
            "invalid type: {}, expected {}",
            shortened(found),
            nameless(expected)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!(
            "invalid value: {}, expected {}",
            shortened(found),
            nameless(expected)
        ))
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        Self::custom(format_args!(
            "invalid length {found}, expected {}",
            nameless(expected)
        ))
    }
}

/// The JSON form of an enum, for error messages.
const ENUM: &str = "a string or an object with one member";

/// The name that serde's derived code gives to a Rust type, and the JSON form of that type.
const KINDS: [(&str, &str); 9] = [
    ("struct variant ", "an object"),
    ("struct ", "an object"),
    ("tuple struct ", "an array"),
    ("tuple variant ", "an array"),
    ("unit struct ", "null"),
    ("unit variant ", "null"),
    ("enum ", ENUM),
    ("internally tagged enum ", "an object"),
    ("adjacently tagged enum ", "an object"),
];

/// Describes the expected type without the names of Rust types, which do not concern the caller.
fn nameless(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    for (kind, shape) in KINDS {
        if let Some(named) = expected.strip_prefix(kind) {
            return match named.split_once(" with ") {
                Some((_, size)) => format!("{shape} with {size}"),
                None => shape.to_owned(),
            };
        }
    }
    expected
}

macro_rules! as_any {
    ($($method:ident)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            self.deserialize_any(visitor)
        })*
    };
}

/// Tries an integer first, so that the usual case is inlined.
macro_rules! as_integer {
    ($($method:ident)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.node() {
                Node::Static(StaticNode::U64(number)) => visitor.visit_u64(number),
                Node::Static(StaticNode::I64(number)) => visitor.visit_i64(number),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if let Some(number) = self.double() {
            return match number::inexact_text(number, || self.text()) {
                Some(text) if number::takes_text::<V>(text, number) => {
                    visitor.visit_map(Private::new(NUMBER, text))
                }
                _ => visitor.visit_f64(number),
            };
        }
        match self.node() {
            Node::String(text) => visitor.visit_borrowed_str(text),
            Node::Array { len, .. } => {
                let mut elements = Elements {
                    values: self.values,
                    nodes: self.nodes_behind(),
                    left: len,
                };
                let value = visitor.visit_seq(&mut elements)?;
                match elements.left {
                    0 => Ok(value),
                    _ => Err(de::Error::invalid_length(len, &"fewer elements")),
                }
            }
            Node::Object { len, .. } => {
                let mut members = MemberAccess {
                    values: self.values,
                    nodes: self.nodes_behind(),
                    left: len,
                    at_value: false,
                };
                let value = visitor.visit_map(&mut members)?;
                match members.left {
                    0 => Ok(value),
                    _ => Err(de::Error::invalid_length(len, &"fewer members")),
                }
            }
            Node::Static(StaticNode::Bool(value)) => visitor.visit_bool(value),
            Node::Static(StaticNode::I64(value)) => visitor.visit_i64(value),
            Node::Static(StaticNode::U64(value)) => visitor.visit_u64(value),
            Node::Static(StaticNode::F64(value)) => visitor.visit_f64(value),
            Node::Static(StaticNode::Null) => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.node() {
            Node::Static(StaticNode::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Reads the bytes of a JSON string, or an array of numbers. The bytes of an array are lent if the arguments of a
    /// handler may borrow them.
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.node() {
            Node::String(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            Node::Array { .. } => match self.values.arena.zip(self.bytes()) {
                Some((arena, bytes)) => match arena.keep(bytes) {
                    Some(bytes) => visitor.visit_borrowed_bytes(bytes),
                    None => Err(de::Error::custom("too many arrays of bytes")),
                },
                None => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.node() {
            Node::String(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Passes raw JSON as the map that the visitor of serde_json's `RawValue` expects.
    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match name {
            RAW_VALUE => {
                let text = self.text().or(self.is_null().then_some("null"));
                let text = text.ok_or_else(|| de::Error::custom("the text is lost"))?;
                visitor.visit_map(Private::new(RAW_VALUE, text))
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.long_integer() {
            Some(number) => visitor.visit_i128(number),
            None => self.deserialize_i64(visitor),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.long_integer() {
            Some(number) => visitor.visit_u128(number),
            None => self.deserialize_i64(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        if let Some(variant) = self.as_str() {
            return visitor.visit_enum(variant.into_deserializer());
        }
        let mut members = self
            .members()
            .ok_or_else(|| de::Error::invalid_type(self.unexpected(), &ENUM))?;
        match (members.next(), members.next()) {
            (Some((variant, content)), None) => visitor.visit_enum(Variant { variant, content }),
            _ => Err(de::Error::invalid_value(Unexpected::Map, &ENUM)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    /// Reads a name, such as that of a tag's variant. Derived code would also accept an index, which has no meaning in
    /// JSON.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.as_str() {
            Some(name) => visitor.visit_borrowed_str(name),
            None => Err(de::Error::invalid_type(self.unexpected(), &visitor)),
        }
    }

    /// Does not walk the value: it is skipped by its node count.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.node() {
            Node::String(text) => visitor.visit_borrowed_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Passes a number as the double on the tape, unless the cast to an `f32` would round it a second time.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Some(double) = self.double() else {
            return self.deserialize_any(visitor);
        };
        let is_between = number::is_between_singles(double);
        let text = is_between.then(|| self.values.text(self.node)).flatten();
        let number = match text.and_then(|text| text.parse::<f32>().ok()) {
            Some(single) => f64::from(single),
            None => double,
        };
        match (number as f32).is_finite() {
            true => visitor.visit_f64(number),
            false => Err(de::Error::invalid_value(
                Unexpected::Float(double),
                &"a number within the range of f32",
            )),
        }
    }

    /// Passes a number as the double on the tape: a double needs no text.
    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.double() {
            Some(number) => visitor.visit_f64(number),
            None => self.deserialize_any(visitor),
        }
    }

    as_integer! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    as_any! {
        deserialize_bool deserialize_char deserialize_string
        deserialize_unit deserialize_seq deserialize_map
    }
}

impl<'de> IntoDeserializer<'de, Mismatch> for Value<'_, 'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de> {
    type Error = Mismatch;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mismatch> {
        self.next().map(|value| seed.deserialize(value)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

struct MemberAccess<'t, 'de> {
    values: &'t Values<'de>,
    nodes: &'t [Node<'de>],
    left: usize,
    /// `true` if the next node is the value of the key that was read last.
    at_value: bool,
}

impl<'de> MapAccess<'de> for &mut MemberAccess<'_, 'de> {
    type Error = Mismatch;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        if self.at_value {
            take(&mut self.nodes);
        }
        self.at_value = false;
        let Some((Node::String(name), value)) = self.nodes.split_first() else {
            return Ok(None);
        };
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        (self.nodes, self.left, self.at_value) = (value, left, true);
        seed.deserialize(Key(name)).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let node = match std::mem::take(&mut self.at_value) {
            true => take(&mut self.nodes),
            false => None,
        };
        let values = self.values;
        let value = node.map(|node| Value { values, node });
        seed.deserialize(value.ok_or_else(|| de::Error::custom("a value before its key"))?)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A member's name. JSON has only string names; maps with integer or boolean keys parse them from the string.
struct Key<'de>(&'de str);

impl Key<'_> {
    /// Returns `true` if the number has JSON's notation: no plus sign, no leading zero.
    fn is_canonical(&self) -> bool {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        !digits.starts_with('+')
            && (digits == self.0 || digits != "0")
            && (digits.len() == 1 || !digits.starts_with('0'))
    }
}

macro_rules! parsed_key {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.0.parse() {
                Ok(key) if self.is_canonical() => visitor.$visit(key),
                _ => Err(de::Error::invalid_type(Unexpected::Str(self.0), &visitor)),
            }
        })*
    };
}

macro_rules! float_key {
    ($($method:ident $visit:ident $float:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.0.parse::<$float>() {
                Ok(key) if number::is_json(self.0) && key.is_finite() => visitor.$visit(key),
                _ => Err(de::Error::invalid_type(Unexpected::Str(self.0), &visitor)),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    parsed_key! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_i128 visit_i128
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32
        deserialize_u64 visit_u64 deserialize_u128 visit_u128
    }

    float_key! { deserialize_f32 visit_f32 f32 deserialize_f64 visit_f64 f64 }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// The map with one member as which serde_json passes JSON text to its own types and to those that know it.
struct Private<'de> {
    name: &'static str,
    text: Option<&'de str>,
}

impl<'de> Private<'de> {
    fn new(name: &'static str, text: &'de str) -> Self {
        Self {
            name,
            text: Some(text),
        }
    }
}

impl<'de> MapAccess<'de> for Private<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        let name = self.text.is_some().then_some(self.name);
        name.map(|name| seed.deserialize(BorrowedStrDeserializer::new(name)))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let text = self.text.take().unwrap_or_default();
        seed.deserialize(BorrowedStrDeserializer::new(text))
    }
}

/// An enum in serde's externally tagged form: `{"Variant": content}`.
struct Variant<'t, 'de> {
    variant: &'de str,
    content: Value<'t, 'de>,
}

impl<'t, 'de> EnumAccess<'de> for Variant<'t, 'de> {
    type Error = Mismatch;
    type Variant = Value<'t, 'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Mismatch> {
        Ok((seed.deserialize(Key(self.variant))?, self.content))
    }
}

impl<'de> VariantAccess<'de> for Value<'_, 'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        match self.node() {
            Node::Static(StaticNode::Null) => Ok(()),
            _ => Err(de::Error::invalid_type(self.unexpected(), &"unit variant")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }
}

/// Writes the value as JSON again, since the received text was unescaped in place.
impl Serialize for Value<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.node() {
            Node::String(text) => serializer.serialize_str(text),
            Node::Static(StaticNode::Null) => serializer.serialize_unit(),
            Node::Static(StaticNode::Bool(value)) => serializer.serialize_bool(value),
            Node::Static(StaticNode::I64(value)) => serializer.serialize_i64(value),
            Node::Static(StaticNode::U64(value)) => serializer.serialize_u64(value),
            Node::Static(StaticNode::F64(value)) => serializer.serialize_f64(value),
            Node::Array { len, .. } => {
                let mut array = serializer.serialize_seq(Some(len))?;
                for element in self.elements().into_iter().flatten() {
                    array.serialize_element(&element)?;
                }
                array.end()
            }
            Node::Object { len, .. } => {
                let mut object = serializer.serialize_map(Some(len))?;
                for (name, value) in self.members().into_iter().flatten() {
                    object.serialize_entry(name, &value)?;
                }
                object.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde::de::{DeserializeOwned, IgnoredAny};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::codec::parser::Parser;

    fn decode<T: DeserializeOwned>(json: &str) -> Result<T, Mismatch> {
        let mut message = json.as_bytes().to_vec();
        let mut parser = Parser::new(128);
        let document = parser.parse(&mut message).expect(json);
        T::deserialize(document.root())
    }

    #[test]
    fn elements_and_members_tell_how_many_are_left() {
        let mut message = br#"{"a":[1,[2,3],4],"b":{"c":5},"d":6}"#.to_vec();
        let mut parser = Parser::new(128);
        let document = parser.parse(&mut message).unwrap();
        let mut members = document.root().members().unwrap();
        let mut elements = members.clone().next().unwrap().1.elements().unwrap();
        for left in [3, 2, 1, 0] {
            assert_eq!(members.size_hint(), (left, Some(left)));
            assert_eq!(elements.size_hint(), (left, Some(left)));
            assert_eq!(members.next().is_some(), left > 0);
            assert_eq!(elements.next().is_some(), left > 0);
        }
    }

    #[test]
    fn shared_value_is_written_and_read_as_the_value() {
        let shared: Vec<Arc<str>> = vec!["a".into(), "b".into()];
        let json = crate::codec::ser::to_text(&shared).unwrap();
        assert_eq!(&*json, r#"["a","b"]"#);
        assert_eq!(decode::<Vec<Arc<str>>>(&json).unwrap(), shared);
    }

    /// Whatever serde_json makes of the text, the tape makes of it, too.
    fn agree<T: DeserializeOwned + PartialEq + fmt::Debug>(json: &str) {
        let expected = serde_json::from_str::<T>(json).map_err(drop);
        assert_eq!(decode::<T>(json).map_err(drop), expected, "{json}");
    }

    /// Asserts the same for an object read as a map with keys of this type.
    fn agree_on_keys<K: DeserializeOwned + Ord + fmt::Debug>(json: &Json) {
        let [dense, spaced, escaped] = texts(json);
        agree::<BTreeMap<K, u8>>(&dense);
        agree::<BTreeMap<K, u8>>(&spaced);
        // serde_json reads no number from a key with escapes.
        let read = decode::<BTreeMap<K, u8>>;
        assert_eq!(
            read(&escaped).map_err(drop),
            read(&dense).map_err(drop),
            "{escaped}"
        );
    }

    /// Returns three notations of the same value: dense, with white space, and with every character escaped.
    fn texts(json: &Json) -> [String; 3] {
        let mut escaped = String::new();
        write_escaped(json, &mut escaped);
        [
            json.to_string(),
            format!(" {json:#}\r\n").replace('\n', "\t \r"),
            escaped,
        ]
    }

    fn write_escaped(json: &Json, out: &mut String) {
        let string = |text: &str, out: &mut String| {
            out.push('"');
            out.extend(text.encode_utf16().map(|unit| format!("\\u{unit:04x}")));
            out.push('"');
        };
        match json {
            Json::String(text) => string(text, out),
            Json::Array(elements) => {
                out.push('[');
                for (position, element) in elements.iter().enumerate() {
                    out.push_str(if position > 0 { "," } else { "" });
                    write_escaped(element, out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (position, (name, value)) in members.iter().enumerate() {
                    out.push_str(if position > 0 { "," } else { "" });
                    string(name, out);
                    out.push(':');
                    write_escaped(value, out);
                }
                out.push('}');
            }
            other => out.push_str(&other.to_string()),
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Record {
        a: u8,
        b: Option<String>,
        #[serde(default)]
        c: Vec<External>,
        x: Option<Box<Record>>,
        t: (i64, f64),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        a: Option<u8>,
        #[serde(alias = "b")]
        c: Option<bool>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Flat {
        a: Option<Json>,
        #[serde(flatten)]
        rest: BTreeMap<String, Json>,
    }

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    struct Newtype(i16);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Pair(Newtype, String);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Nothing;

    #[derive(Debug, PartialEq, Deserialize)]
    enum External {
        Unit,
        New(Json),
        Tuple(u8, String),
        Struct { a: i8, b: Option<Box<External>> },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "t")]
    enum Internal {
        Unit,
        New(Strict),
        Struct { a: i8, b: Option<Box<Internal>> },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        Unit,
        New(Json),
        Tuple(u8, String),
        Struct { a: i8, b: Option<Box<Adjacent>> },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Nothing,
        Flag(bool),
        Number(i64),
        Fraction(f64),
        Text(String),
        Pair(Box<Untagged>, Box<Untagged>),
        Struct { a: u8 },
        Other(BTreeMap<String, Untagged>),
    }

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    enum Name {
        #[serde(rename = "a")]
        A,
        #[serde(rename = "1")]
        One,
    }

    /// Words that the types above know, and unknown words.
    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => prop::sample::select(vec!["a", "b", "c", "x", "t", "Unit", "New", "Tuple", "Struct"])
                .prop_map(str::to_owned),
            1 => prop::sample::select(vec!["1", "-1", "0", "255", "256", "true", "false", ""])
                .prop_map(str::to_owned),
            1 => any::<String>(),
        ]
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            (-2i64..300).prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            // Fractions that serde_json reads exactly.
            any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
            word().prop_map(Json::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                prop::collection::btree_map(word(), inner, 0..5)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    fn external() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(json!("Unit")),
            Just(json!({"Unit": null})),
            json().prop_map(|content| json!({"New": content})),
            (any::<u8>(), word()).prop_map(|content| json!({"Tuple": content})),
        ];
        leaf.prop_recursive(3, 8, 1, |inner| {
            (any::<i8>(), prop::option::of(inner))
                .prop_map(|(a, b)| json!({"Struct": {"a": a, "b": b}}))
        })
    }

    fn record() -> impl Strategy<Value = Json> {
        let fields = (
            any::<u8>(),
            prop::option::of(word()),
            prop::collection::vec(external(), 0..3),
            (any::<i64>(), any::<i32>()),
        );
        let leaf = fields.prop_map(|(a, b, c, t)| json!({"a": a, "b": b, "c": c, "t": t}));
        leaf.prop_recursive(3, 6, 1, |inner| {
            (inner.clone(), inner).prop_map(|(mut outer, inner)| {
                outer["x"] = inner;
                outer
            })
        })
    }

    proptest! {
        #[test]
        fn any_value_is_read_as_by_serde_json(json in json()) {
            for text in texts(&json) {
                prop_assert_eq!(decode::<Json>(&text).unwrap(), json.clone());
                decode::<IgnoredAny>(&text).unwrap();
            }
        }

        #[test]
        fn any_value_is_written_as_it_was_read(json in json()) {
            for text in texts(&json) {
                let mut message = text.into_bytes();
                let mut parser = Parser::new(128);
                let document = parser.parse(&mut message).unwrap();
                let written = serde_json::to_string(&document.root()).unwrap();
                prop_assert_eq!(serde_json::from_str::<Json>(&written).unwrap(), json.clone());
            }
        }

        #[test]
        fn record_is_read_as_by_serde_json(json in record()) {
            for text in texts(&json) {
                prop_assert!(decode::<Record>(&text).is_ok(), "{}", text);
                agree::<Record>(&text);
                agree::<Flat>(&text);
                agree::<Untagged>(&text);
            }
        }

        #[test]
        fn enum_is_read_as_by_serde_json(json in external()) {
            for text in texts(&json) {
                prop_assert!(decode::<External>(&text).is_ok(), "{}", text);
                agree::<External>(&text);
                agree::<Untagged>(&text);
            }
        }

        #[test]
        fn value_of_any_type_is_read_or_rejected_as_by_serde_json(json in json()) {
            for text in texts(&json) {
                agree::<bool>(&text);
                agree::<i8>(&text);
                agree::<u64>(&text);
                agree::<i64>(&text);
                agree::<u128>(&text);
                agree::<f32>(&text);
                agree::<f64>(&text);
                agree::<char>(&text);
                agree::<String>(&text);
                agree::<()>(&text);
                agree::<Nothing>(&text);
                agree::<Newtype>(&text);
                agree::<Pair>(&text);
                agree::<Option<Option<Newtype>>>(&text);
                agree::<Vec<Json>>(&text);
                agree::<(Json, Json)>(&text);
                agree::<[Json; 3]>(&text);
                agree::<BTreeMap<String, Json>>(&text);
                agree::<Record>(&text);
                agree::<Strict>(&text);
                agree::<Flat>(&text);
                agree::<External>(&text);
                agree::<Internal>(&text);
                agree::<Adjacent>(&text);
                agree::<Untagged>(&text);
            }
        }

        #[test]
        fn tagged_enum_is_read_as_by_serde_json(tag in word(), a in any::<i8>(), content in json()) {
            for json in [
                json!({"t": tag, "a": a, "c": content}),
                json!({"t": tag, "c": {"a": a, "b": content}}),
                json!({"c": [a, tag], "t": tag}),
                json!({"t": "Struct", "a": a, "b": {"t": tag, "a": a}}),
            ] {
                for text in texts(&json) {
                    agree::<Internal>(&text);
                    agree::<Adjacent>(&text);
                }
            }
        }

        #[test]
        fn key_of_another_type_is_read_from_a_string(
            keys in prop::collection::vec(prop_oneof![word(), any::<i64>().prop_map(|key| key.to_string())], 0..4),
        ) {
            let json = Json::Object(keys.into_iter().map(|key| (key, json!(0))).collect());
            agree_on_keys::<i64>(&json);
            agree_on_keys::<u8>(&json);
            agree_on_keys::<i128>(&json);
            // serde_json drops the first byte of a key that is no boolean, even in the middle of a character.
            if json.as_object().unwrap().keys().all(|key| key.is_ascii()) {
                agree_on_keys::<bool>(&json);
            }
            agree_on_keys::<char>(&json);
            agree_on_keys::<String>(&json);
            agree_on_keys::<Newtype>(&json);
            agree_on_keys::<Option<Newtype>>(&json);
            agree_on_keys::<Name>(&json);
        }

        #[test]
        fn string_with_or_without_escapes_is_borrowed(string in any::<String>()) {
            #[derive(Deserialize)]
            struct Borrowing<'a> {
                text: &'a str,
                bytes: &'a [u8],
                #[serde(borrow)]
                cow: Cow<'a, str>,
            }
            for text in texts(&json!({"text": string, "bytes": string, "cow": string})) {
                let mut message = text.into_bytes();
                let mut parser = Parser::new(128);
                let document = parser.parse(&mut message).unwrap();
                let read = Borrowing::deserialize(document.root()).unwrap();
                prop_assert_eq!(read.text, &string);
                prop_assert_eq!(read.bytes, string.as_bytes());
                prop_assert!(matches!(read.cow, Cow::Borrowed(cow) if cow == string));
            }
        }

        #[test]
        fn fraction_is_read_as_the_nearest_double(number in any::<f64>(), digits in "-?[1-9][0-9]{0,40}(\\.[0-9]{1,40})?([eE][-+]?[0-9]{1,2})?") {
            prop_assume!(number.is_finite());
            for text in [format!("{number:?}"), format!("{number:e}"), format!("{number:.30}"), digits] {
                prop_assert_eq!(decode::<f64>(&text).unwrap(), text.parse::<f64>().unwrap(), "{}", text);
            }
        }

        #[test]
        fn integer_keeps_every_digit(signed in any::<i64>(), unsigned in any::<u64>()) {
            prop_assert_eq!(decode::<i64>(&signed.to_string()).unwrap(), signed);
            prop_assert_eq!(decode::<u64>(&unsigned.to_string()).unwrap(), unsigned);
        }

        #[test]
        fn value_that_is_not_asked_for_is_skipped(before in json(), after in json()) {
            #[derive(Debug, PartialEq, Deserialize)]
            struct Middle {
                wanted: u8,
            }
            let text = format!(r#"{{"before":{before},"wanted":7,"after":{after}}}"#);
            prop_assert_eq!(decode::<Middle>(&text).unwrap(), Middle { wanted: 7 });
            let text = format!("[{before},7,{after}]");
            prop_assert_eq!(decode::<(IgnoredAny, u8, IgnoredAny)>(&text).unwrap().1, 7);
        }
    }

    #[test]
    fn variant_by_number_is_rejected() {
        for json in [
            r#"{"t":0}"#,
            "[0]",
            r#"{"t":1,"c":1}"#,
            r#"[1,{"a":1}]"#,
            r#"{"0":null}"#,
            "0",
            r#"{"t":true}"#,
        ] {
            agree::<Internal>(json);
            agree::<Adjacent>(json);
            agree::<External>(json);
        }
    }

    #[test]
    fn key_that_is_no_canonical_number_is_rejected() {
        for key in [
            "+1", "01", "-01", "1.0", "1e0", " 1", "1 ", "", "-", "1", "-1", "0", "True",
        ] {
            agree_on_keys::<i64>(&json!({ key: 0 }));
            agree_on_keys::<u8>(&json!({ key: 0 }));
            agree_on_keys::<bool>(&json!({ key: 0 }));
        }
    }
}
