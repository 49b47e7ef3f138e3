//! Request ids: strings, integers and null, echoed as received.

use simd_json::{Node, StaticNode};

use crate::codec::INITIAL_BUFFER_BYTES;
use crate::codec::de::Value;
use crate::codec::ser::{write_signed, write_string, write_unsigned};

/// The `id` of a request ([JSON-RPC 2.0, section 4](https://www.jsonrpc.org/specification#request_object)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Id<'de> {
    Null,
    Unsigned(u64),
    Signed(i64),
    String(&'de str),
}

impl<'de> Id<'de> {
    /// Reads an id. Returns `None` for fractions, booleans, objects and arrays.
    pub(crate) fn read(value: Value<'_, 'de>) -> Option<Self> {
        match value.node() {
            Node::String(text) => Some(Self::String(text)),
            Node::Static(StaticNode::U64(number)) => Some(Self::Unsigned(number)),
            Node::Static(StaticNode::I64(number)) => Some(match u64::try_from(number) {
                Ok(number) => Self::Unsigned(number),
                Err(_) => Self::Signed(number),
            }),
            Node::Static(StaticNode::Null) => Some(Self::Null),
            _ => None,
        }
    }

    /// Returns `true` for the id of a reply. An integer that the server has changed to a fraction is one as well.
    pub(crate) fn is_reply_id(value: Value<'_, 'de>) -> bool {
        Self::read(value).is_some() || Self::read_call_id(value).is_some()
    }

    /// Reads the id with which the server names a call of this client, whose id is an integer. Accepts the forms that
    /// [`reply_id`](super::reply_id::reply_id) accepts.
    pub(crate) fn read_call_id(value: Value<'_, 'de>) -> Option<u64> {
        match value.node() {
            // Larger numbers are not exact.
            Node::Static(StaticNode::F64(number)) if number < (1_u64 << 53) as f64 => {
                number.to_string().parse().ok()
            }
            _ => Self::read(value)?.call_id(),
        }
    }

    /// Returns the id of a call of this client, also if the server has made a string of it.
    #[inline]
    fn call_id(self) -> Option<u64> {
        match self {
            Self::Unsigned(id) => Some(id),
            Self::String(text) => text.parse().ok().filter(|id: &u64| id.to_string() == text),
            Self::Null | Self::Signed(_) => None,
        }
    }

    /// Returns `true` for the id of this call.
    #[inline]
    pub(crate) fn is_of_call(self, call: u64) -> bool {
        self.call_id() == Some(call)
    }

    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Unsigned(number) => write_unsigned(number, out),
            Self::Signed(number) => write_signed(number, out),
            Self::String(text) => write_string(text, out),
        }
    }
}

/// An id that outlives its message, in a reused buffer.
#[derive(Debug, Default)]
pub(crate) struct IdBuffer {
    kind: Kind,
    text: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Kind {
    /// No id: the message is a notification, or the buffer is empty.
    #[default]
    Absent,
    Null,
    Unsigned(u64),
    Signed(i64),
    String,
}

impl IdBuffer {
    pub(crate) fn set(&mut self, id: Option<Id<'_>>) {
        self.kind = match id {
            None => Kind::Absent,
            Some(Id::Null) => Kind::Null,
            Some(Id::Unsigned(number)) => Kind::Unsigned(number),
            Some(Id::Signed(number)) => Kind::Signed(number),
            Some(Id::String(text)) => {
                self.text.clear();
                self.text.push_str(text);
                Kind::String
            }
        };
    }

    /// Releases memory that a long id has allocated.
    pub(crate) fn shrink(&mut self) {
        self.kind = Kind::Absent;
        if self.text.capacity() > INITIAL_BUFFER_BYTES {
            self.text = String::new();
        }
    }

    pub(crate) fn is(&self, id: Id<'_>) -> bool {
        match (&self.kind, id) {
            (Kind::Null, Id::Null) => true,
            (Kind::Unsigned(mine), Id::Unsigned(theirs)) => *mine == theirs,
            (Kind::Signed(mine), Id::Signed(theirs)) => *mine == theirs,
            (Kind::String, Id::String(theirs)) => self.text == theirs,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::parser::Parser;

    #[derive(Debug, Clone, PartialEq)]
    enum Owned {
        Null,
        Unsigned(u64),
        Signed(i64),
        String(String),
    }

    impl Owned {
        fn as_id(&self) -> Id<'_> {
            match self {
                Self::Null => Id::Null,
                Self::Unsigned(number) => Id::Unsigned(*number),
                Self::Signed(number) => Id::Signed(*number),
                Self::String(text) => Id::String(text),
            }
        }
    }

    fn id() -> impl Strategy<Value = Owned> {
        prop_oneof![
            Just(Owned::Null),
            (0u64..3).prop_map(Owned::Unsigned),
            any::<u64>().prop_map(Owned::Unsigned),
            (i64::MIN..0).prop_map(Owned::Signed),
            (-3i64..0).prop_map(Owned::Signed),
            "[0-2]?".prop_map(Owned::String),
            any::<String>().prop_map(Owned::String),
        ]
    }

    proptest! {
        #[test]
        fn id_written_and_parsed_is_unchanged(id in id()) {
            let mut json = Vec::new();
            id.as_id().write(&mut json);
            let mut parser = Parser::new(64);
            let document = parser.parse(&mut json).unwrap();
            prop_assert_eq!(Id::read(document.root()), Some(id.as_id()));
        }

        #[test]
        fn buffered_id_equals_its_id_alone(kept in id(), before in id(), other in id()) {
            let mut buffer = IdBuffer::default();
            buffer.set(Some(before.as_id()));
            buffer.set(Some(kept.as_id()));
            prop_assert!(buffer.is(kept.as_id()));
            prop_assert_eq!(buffer.is(other.as_id()), kept == other);
            buffer.set(None);
            prop_assert!(!buffer.is(kept.as_id()));
        }
    }

    #[test]
    fn value_that_is_no_integer_string_or_null_is_no_id() {
        for json in [
            "1.5",
            "1.0",
            "1e3",
            "18446744073709551616",
            "true",
            "{}",
            "[1]",
        ] {
            let mut message = json.as_bytes().to_vec();
            let mut parser = Parser::new(64);
            let document = parser.parse(&mut message).unwrap();
            assert_eq!(Id::read(document.root()), None, "{json}");
        }
    }

    #[test]
    fn buffer_of_a_long_id_is_released() {
        let mut buffer = IdBuffer::default();
        for (length, is_released) in [(10, false), (INITIAL_BUFFER_BYTES + 1, true)] {
            let id = "x".repeat(length);
            buffer.set(Some(Id::String(&id)));
            assert!(buffer.is(Id::String(&id)));
            buffer.shrink();
            assert!(!buffer.is(Id::String(&id)));
            assert_eq!(buffer.text.capacity() == 0, is_released, "{length} bytes");
        }
    }
}
