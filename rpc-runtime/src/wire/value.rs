//! A place on the tape, and serde's view of it.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use simd_json::{Node, StaticNode};

/// One JSON value on the tape. Copying it copies a pointer; strings stay where they were received.
#[derive(Debug, Clone, Copy)]
pub struct Value<'t, 'de> {
    /// The value's own node, then all that it contains. What follows is not looked at.
    nodes: &'t [Node<'de>],
}

impl<'t, 'de> Value<'t, 'de> {
    pub(crate) fn new(nodes: &'t [Node<'de>]) -> Self {
        Self { nodes }
    }

    /// The node and what stands behind it; an empty tape reads as null.
    fn split(self) -> (Node<'de>, &'t [Node<'de>]) {
        match self.nodes.split_first() {
            Some((node, rest)) => (*node, rest),
            None => (Node::Static(StaticNode::Null), &[]),
        }
    }

    pub(crate) fn node(self) -> Node<'de> {
        self.split().0
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

    pub(crate) fn is_null(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::Null))
    }

    /// The elements of an array.
    pub(crate) fn elements(self) -> Option<Elements<'t, 'de>> {
        match self.split() {
            (Node::Array { len, .. }, nodes) => Some(Elements { nodes, left: len }),
            _ => None,
        }
    }

    /// The members of an object, in their order.
    pub(crate) fn members(self) -> Option<Members<'t, 'de>> {
        match self.split() {
            (Node::Object { len, .. }, nodes) => Some(Members { nodes, left: len }),
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

/// Takes the first value off `nodes`, skipping all that it contains in one step.
fn take<'t, 'de>(nodes: &mut &'t [Node<'de>]) -> Option<Value<'t, 'de>> {
    let contained = match nodes.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => *count,
        _ => 0,
    };
    let (value, rest) = nodes.split_at_checked(contained.saturating_add(1))?;
    *nodes = rest;
    Some(Value::new(value))
}

/// The elements of an array that are still to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'t, 'de> {
    nodes: &'t [Node<'de>],
    left: usize,
}

impl<'t, 'de> Iterator for Elements<'t, 'de> {
    type Item = Value<'t, 'de>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        take(&mut self.nodes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_, '_> {}

/// The members of an object that are still to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'t, 'de> {
    nodes: &'t [Node<'de>],
    left: usize,
}

impl<'t, 'de> Iterator for Members<'t, 'de> {
    type Item = (&'de str, Value<'t, 'de>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = take(&mut self.nodes)?.as_str()?;
        Some((name, take(&mut self.nodes)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Why a value is not of the type that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch(Box<str>);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

macro_rules! as_any {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            self.deserialize_any(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.split() {
            (Node::String(text), _) => visitor.visit_borrowed_str(text),
            (Node::Array { len, .. }, nodes) => {
                let mut elements = Elements { nodes, left: len };
                let value = visitor.visit_seq(&mut elements)?;
                match elements.left {
                    0 => Ok(value),
                    _ => Err(de::Error::invalid_length(len, &"fewer elements")),
                }
            }
            (Node::Object { len, .. }, nodes) => {
                let mut members = MemberAccess {
                    members: Members { nodes, left: len },
                    value: None,
                };
                let value = visitor.visit_map(&mut members)?;
                match members.members.left {
                    0 => Ok(value),
                    _ => Err(de::Error::invalid_length(len, &"fewer members")),
                }
            }
            (Node::Static(StaticNode::Bool(value)), _) => visitor.visit_bool(value),
            (Node::Static(StaticNode::I64(value)), _) => visitor.visit_i64(value),
            (Node::Static(StaticNode::U64(value)), _) => visitor.visit_u64(value),
            (Node::Static(StaticNode::F64(value)), _) => visitor.visit_f64(value),
            (Node::Static(StaticNode::Null), _) => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.node() {
            Node::Static(StaticNode::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// A JSON string's bytes, or an array of numbers.
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.node() {
            Node::String(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_bytes(visitor)
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
        if let Some(variant) = self.as_str() {
            return visitor.visit_enum(variant.into_deserializer());
        }
        let mut members = self
            .members()
            .ok_or_else(|| de::Error::invalid_type(self.unexpected(), &"an enum"))?;
        match (members.next(), members.next()) {
            (Some((variant, content)), None) => visitor.visit_enum(Variant { variant, content }),
            _ => Err(de::Error::custom(
                "an enum is a string or an object with one member",
            )),
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

    /// Nothing to walk: whatever stands here is skipped by its count.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    as_any! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier
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
    members: Members<'t, 'de>,
    value: Option<Value<'t, 'de>>,
}

impl<'de> MapAccess<'de> for &mut MemberAccess<'_, 'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        let Some((name, value)) = self.members.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(Key(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let value = self
            .value
            .take()
            .ok_or_else(|| de::Error::custom("a value before its key"))?;
        seed.deserialize(value)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.left)
    }
}

/// A member's name. JSON has only strings there; maps with keys of integers or booleans read them from the string.
struct Key<'de>(&'de str);

macro_rules! parsed_key {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => Err(de::Error::invalid_type(Unexpected::Str(self.0), &visitor)),
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

    serde::forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// An enum in serde's external form: `{"Variant": content}`.
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

/// The value as JSON again: the received text itself was unescaped in place.
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
