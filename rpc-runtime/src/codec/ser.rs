//! Writes JSON. Any `Serialize` is written byte for byte as serde_json would, with these differences: the output is always
//! one line, even if it contains JSON of the user's, and strings are searched in blocks for characters to escape. What the
//! receiver could not read back is an error: NaN and infinities, which serde_json writes as null, and more than
//! [`MAX_VALUE_DEPTH`] levels of nesting.

use std::fmt::{self, Display, Write};

use serde::ser::{self, Error as _, Serialize};
use serde_json::Error;

use crate::codec::MAX_VALUE_DEPTH;
use crate::codec::digits::{self, HIGH_BITS};
use crate::codec::verbatim;

/// Appends `value`.
#[inline]
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Json {
        out,
        left: MAX_VALUE_DEPTH,
    })
}

/// Returns `value` as JSON text.
pub(crate) fn to_text<T: Serialize + ?Sized>(value: &T) -> Result<Box<str>, Error> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    String::from_utf8(out)
        .map(Into::into)
        .map_err(Error::custom)
}

/// Appends `text` as a string.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    string_content(text.as_bytes(), out);
    out.push(b'"');
}

/// Appends the text that `value` displays as a string. Returns an error if its `Display` does.
pub(crate) fn write_display<T: Display + ?Sized>(value: &T, out: &mut Vec<u8>) -> fmt::Result {
    out.push(b'"');
    write!(StringContent(out), "{value}")?;
    out.push(b'"');
    Ok(())
}

/// Appends `number` in decimal, with its sign.
#[inline]
pub(crate) fn write_signed(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    digits::write(number.unsigned_abs(), out);
}

/// Appends `number` in decimal.
#[inline]
pub(crate) fn write_unsigned(number: u64, out: &mut Vec<u8>) {
    digits::write(number, out);
}

/// Writes text inside a string.
struct StringContent<'a>(&'a mut Vec<u8>);

impl Write for StringContent<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text.as_bytes(), self.0);
        Ok(())
    }
}

#[inline]
fn string_content(text: &[u8], out: &mut Vec<u8>) {
    let written = match text.len() {
        1..4 => shortest(text, out),
        4..8 => short::<4>(text, out),
        8..16 => short::<8>(text, out),
        16..=32 => short::<16>(text, out),
        _ => false,
    };
    if !written {
        escape(text, out);
    }
}

fn escape(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some((plain, behind)) = rest.split_at_checked(plain(rest)) {
        out.extend_from_slice(plain);
        // If there is much to escape, a search for each character costs more than a check of every byte.
        let looked_at = if plain.len() < 8 { 32 } else { 1 };
        let (bytes, behind) = behind.split_at(looked_at.min(behind.len()));
        for &byte in bytes {
            match is_special(byte) {
                true => escape_byte(byte, out),
                false => out.push(byte),
            }
        }
        if behind.is_empty() {
            return;
        }
        rest = behind;
    }
}

#[inline]
fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let [high, low] = [byte >> 4, byte & 0xf].map(|digit| match digit {
                10.. => digit.wrapping_add(b'a' - 10),
                _ => digit | b'0',
            });
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Returns the number of bytes before the first one that must be escaped.
fn plain(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<32>();
    let blocks = blocks.iter().take_while(|block| is_plain(block)).count();
    let mut before = blocks.saturating_mul(32);
    let (words, rest) = bytes.get(before..).unwrap_or_default().as_chunks::<8>();
    for word in words {
        match specials(u64::from_le_bytes(*word)) {
            0 => before = before.saturating_add(8),
            found => return before.saturating_add(found.trailing_zeros() as usize / 8),
        }
    }
    let tail = rest.iter().take_while(|&&byte| !is_special(byte)).count();
    before.saturating_add(tail)
}

/// Appends text of one to three bytes, if none of them must be escaped.
#[inline]
fn shortest(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (Some(first), Some(middle), Some(last)) =
        (text.first(), text.get(text.len() / 2), text.last())
    else {
        return false;
    };
    let plain = is_plain(&[*first, *middle, *last]);
    if plain {
        let end = out.len().saturating_add(text.len());
        // Of two bytes the last is written twice, of one byte that byte three times; the buffer is truncated
        // afterwards.
        out.extend_from_slice(&[*first, *middle, *last]);
        out.truncate(end);
    }
    plain
}

/// Appends text of `N` to twice `N` bytes, if none of them must be escaped. Its two halves overlap: the compiler copies
/// pieces of a constant size in place, and calls a function for all others.
#[inline]
fn short<const N: usize>(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) else {
        return false;
    };
    let plain = is_plain(first) & is_plain(last);
    if plain {
        let end = out.len().saturating_add(text.len());
        out.extend_from_slice(first);
        out.truncate(end.saturating_sub(N));
        out.extend_from_slice(last);
    }
    plain
}

/// Has no early exit, so that the compiler uses vector instructions.
#[inline]
fn is_plain<const N: usize>(block: &[u8; N]) -> bool {
    !block
        .iter()
        .fold(false, |any, &byte| any | is_special(byte))
}

/// Returns `true` if a byte ends a string or must be escaped in one.
#[inline]
pub(super) fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Sets the highest bit of the first special byte. May also set that of bytes behind it, but of none before it.
#[inline]
pub(super) fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES.wrapping_mul(limit)) & !word;
    let equal = |byte: u8| below(word ^ ONES.wrapping_mul(u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH_BITS
}

/// The position where a value is written, and the levels of nesting that are left there.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl<'a> Json<'a> {
    fn literal(self, text: &str) -> Result<(), Error> {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    #[inline]
    fn several(self, open: u8, close: u8) -> Result<Several<'a>, Error> {
        Ok(Several {
            left: self.left.checked_sub(1).ok_or_else(too_deep)?,
            out: self.out,
            next: open,
            open,
            close,
            within_variant: false,
        })
    }

    /// Writes the start of `{"variant":…}`.
    fn variant(self, variant: &str) -> Result<Self, Error> {
        let left = self.left.checked_sub(1).ok_or_else(too_deep)?;
        self.out.push(b'{');
        write_string(variant, self.out);
        self.out.push(b':');
        Ok(Self {
            out: self.out,
            left,
        })
    }
}

#[cold]
fn too_deep() -> Error {
    Error::custom(format_args!(
        "the value has more than {MAX_VALUE_DEPTH} levels of arrays and objects"
    ))
}

#[cold]
fn not_finite() -> Error {
    Error::custom("JSON has no number for NaN or an infinity")
}

macro_rules! integers {
    ($($method:ident $Integer:ty: $write:ident,)*) => { $(
        #[inline]
        fn $method(self, number: $Integer) -> Result<(), Error> {
            $write(number.into(), self.out);
            Ok(())
        }
    )* };
}

impl<'a> ser::Serializer for Json<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Several<'a>;
    type SerializeTuple = Several<'a>;
    type SerializeTupleStruct = Several<'a>;
    type SerializeTupleVariant = Several<'a>;
    type SerializeMap = Several<'a>;
    type SerializeStruct = Struct<'a>;
    type SerializeStructVariant = Several<'a>;

    integers! {
        serialize_i8 i8: write_signed,
        serialize_i16 i16: write_signed,
        serialize_i32 i32: write_signed,
        serialize_i64 i64: write_signed,
        serialize_u8 u8: write_unsigned,
        serialize_u16 u16: write_unsigned,
        serialize_u32 u32: write_unsigned,
        serialize_u64 u64: write_unsigned,
    }

    fn serialize_i128(self, number: i128) -> Result<(), Error> {
        self.literal(itoa::Buffer::new().format(number))
    }

    fn serialize_u128(self, number: u128) -> Result<(), Error> {
        self.literal(itoa::Buffer::new().format(number))
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.literal(if value { "true" } else { "false" })
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        match value.is_finite() {
            true => self.literal(zmij::Buffer::new().format_finite(value)),
            false => Err(not_finite()),
        }
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        match value.is_finite() {
            true => self.literal(zmij::Buffer::new().format_finite(value)),
            false => Err(not_finite()),
        }
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Error> {
        write_string(text, self.out);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.collect_seq(bytes)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.literal("null")
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.literal("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.literal("null")
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let Json { out, left } = self.variant(variant)?;
        value.serialize(Json { out, left })?;
        out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Several<'a>, Error> {
        self.several(b'[', b']')
    }

    fn serialize_tuple(self, _: usize) -> Result<Several<'a>, Error> {
        self.several(b'[', b']')
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Several<'a>, Error> {
        self.several(b'[', b']')
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Several<'a>, Error> {
        Ok(self.variant(variant)?.several(b'[', b']')?.within_variant())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Several<'a>, Error> {
        self.several(b'{', b'}')
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Struct<'a>, Error> {
        Ok(match name {
            RAW_VALUE | NUMBER => Struct::Verbatim(self.out, self.left),
            _ => Struct::Fields(self.several(b'{', b'}')?),
        })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Several<'a>, Error> {
        Ok(self.variant(variant)?.several(b'{', b'}')?.within_variant())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        write_display(value, self.out).map_err(Error::custom)
    }
}

/// Writes elements or members, separated by commas.
struct Several<'a> {
    out: &'a mut Vec<u8>,
    /// The levels of nesting that are left for an element.
    left: usize,
    /// The byte before the next one: a bracket, then commas.
    next: u8,
    open: u8,
    close: u8,
    within_variant: bool,
}

impl Several<'_> {
    fn within_variant(self) -> Self {
        Self {
            within_variant: true,
            ..self
        }
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(self.next);
        self.next = b',';
        value.serialize(Json {
            out: self.out,
            left: self.left,
        })
    }

    #[inline]
    fn member<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.out.push(self.next);
        self.next = b',';
        self.out.push(b'"');
        string_content(key.as_bytes(), self.out);
        self.out.extend_from_slice(b"\":");
        value.serialize(Json {
            out: self.out,
            left: self.left,
        })
    }

    /// Writes a key. A number or a boolean becomes a string.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let start = self.out.len().saturating_add(1);
        self.element(key)?;
        match self.out.get(start) {
            Some(b'"') => Ok(()),
            Some(b'[' | b'{' | b'n') | None => Err(Error::custom("key must be a string")),
            Some(_) => {
                self.out.insert(start, b'"');
                self.out.push(b'"');
                Ok(())
            }
        }
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        if self.next == self.open {
            self.out.push(self.open);
        }
        self.out.push(self.close);
        if self.within_variant {
            self.out.push(b'}');
        }
        Ok(())
    }
}

macro_rules! elements {
    ($($Trait:ident $method:ident)*) => { $(
        impl ser::$Trait for Several<'_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )* };
}

elements! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

impl ser::SerializeMap for Several<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b':');
        value.serialize(Json {
            out: self.out,
            left: self.left,
        })
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Several<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.member(key, value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// The names by which serde_json's own types tell its serializer that their only field is JSON already: `RawValue` and,
/// with `arbitrary_precision`, `Number`.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";
pub(super) const NUMBER: &str = "$serde_json::private::Number";

enum Struct<'a> {
    Fields(Several<'a>),
    Verbatim(&'a mut Vec<u8>, usize),
}

impl ser::SerializeStruct for Struct<'_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        match self {
            Self::Fields(fields) => fields.member(key, value),
            Self::Verbatim(out, left) => {
                let start = out.len();
                write!(OneLine(out), "{}", Text(value)).map_err(Error::custom)?;
                check_verbatim(out.get(start..).unwrap_or_default(), *left)
            }
        }
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        match self {
            Self::Fields(fields) => fields.finish(),
            Self::Verbatim(..) => Ok(()),
        }
    }
}

/// Checks that the receiver can read JSON of the user's. serde_json accepts more than JSON that has a meaning everywhere.
fn check_verbatim(json: &[u8], left: usize) -> Result<(), Error> {
    let found = verbatim::inspect(json);
    if found.depth > left {
        return Err(too_deep());
    }
    match found.reason {
        Some(reason) => Err(Error::custom(reason)),
        None => Ok(()),
    }
}

/// A string that is known only by its `Serialize`.
struct Text<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Display for Text<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

/// Writes JSON of the user's on one line. A line feed between tokens is white space, and there is none within a token;
/// in a message it would end the message.
struct OneLine<'a>(&'a mut Vec<u8>);

impl Write for OneLine<'_> {
    fn write_str(&mut self, json: &str) -> fmt::Result {
        let bytes = json.bytes();
        self.0
            .extend(bytes.map(|byte| if byte == b'\n' { b' ' } else { byte }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn integers_at_their_bounds_and_around_zero_are_written_as_by_serde_json() {
        assert_as_serde_json(&[i8::MIN, -1, 0, 1, i8::MAX]);
        assert_as_serde_json(&[i16::MIN, -1, 0, 1, i16::MAX]);
        assert_as_serde_json(&[i32::MIN, -1, 0, 1, i32::MAX]);
        assert_as_serde_json(&[i64::MIN, -1, 0, 1, i64::MAX]);
        assert_as_serde_json(&[0, 1, u8::MAX]);
        assert_as_serde_json(&[0, 1, u64::MAX]);
    }

    #[track_caller]
    fn assert_as_serde_json<T: Serialize + ?Sized>(value: &T) {
        let mut out = b"before".to_vec();
        match (write(value, &mut out), serde_json::to_string(value)) {
            (Ok(()), Ok(expected)) => {
                assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected.to_string()),
            (written, expected) => panic!("{written:?}, but serde_json: {expected:?}"),
        }
    }

    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Wrapper<T>(T);
    #[derive(Serialize)]
    struct Two<T>(T, T);
    #[derive(Serialize)]
    struct Empty {}
    #[derive(Serialize)]
    struct Fields<'a> {
        #[serde(rename = "a \"quoted\" name")]
        quoted: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        nested: Two<Option<bool>>,
    }
    #[derive(Serialize)]
    struct Flattened<'a> {
        first: u8,
        #[serde(flatten)]
        fields: Fields<'a>,
    }
    #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
    enum Shape {
        Unit,
        Newtype(u8),
        Tuple(u8, u8),
        Struct { a: u8, b: u8 },
        EmptyTuple(),
        EmptyStruct {},
    }
    #[derive(Serialize)]
    #[serde(tag = "kind", rename_all = "kebab-case")]
    enum Tagged {
        SomeFields { a: u8 },
    }

    const FIELDS: Fields<'_> = Fields {
        quoted: "line\nfeed",
        left_out: None,
        nested: Two(Some(true), None),
    };

    #[test]
    fn every_serde_shape_is_written_as_by_serde_json() {
        assert_as_serde_json(&((), Unit, Wrapper("x"), Two(1, 2), Empty {}, FIELDS));
        assert_as_serde_json(&Flattened {
            first: 1,
            fields: FIELDS,
        });
        assert_as_serde_json(&[
            Shape::Unit,
            Shape::Newtype(1),
            Shape::Tuple(1, 2),
            Shape::Struct { a: 1, b: 2 },
            Shape::EmptyTuple(),
            Shape::EmptyStruct {},
        ]);
        assert_as_serde_json(&Tagged::SomeFields { a: 1 });
        assert_as_serde_json(&(Some(Some(1)), None::<u8>, [0u8; 0], [[1, 2], [3, 4]]));
        assert_as_serde_json(&(i128::MIN, u128::MAX, i64::MIN, u64::MAX, i8::MIN, 'ß', '"'));
        assert_as_serde_json(&(-0.0, 1e300, 1e-7f32));
        assert_as_serde_json(&std::net::Ipv6Addr::LOCALHOST);
        assert_as_serde_json(&format_args!("a \"{}\" in\ntwo", "Display"));
        struct Bytes;
        impl Serialize for Bytes {
            fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&[0, 255])
            }
        }
        assert_as_serde_json(&Bytes);
    }

    #[test]
    fn number_that_is_not_finite_is_an_error() {
        for double in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let single = double as f32;
            assert!(write(&double, &mut Vec::new()).is_err());
            assert!(write(&single, &mut Vec::new()).is_err());
            assert!(write(&Some(Some(double)), &mut Vec::new()).is_err());
            assert!(write(&Wrapper([single]), &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn value_with_too_many_levels_is_an_error_that_names_the_limit() {
        fn nested(levels: usize) -> Value {
            (0..levels).fold(json!(1), |inner, level| match level % 2 {
                0 => json!([inner]),
                _ => json!({ "a": inner }),
            })
        }
        let raw = |levels| serde_json::value::to_raw_value(&nested(levels)).unwrap();
        let mut out = Vec::new();
        write(&nested(MAX_VALUE_DEPTH), &mut out).unwrap();
        write(&raw(MAX_VALUE_DEPTH), &mut out).unwrap();
        write(&[raw(MAX_VALUE_DEPTH - 1)], &mut out).unwrap();
        for error in [
            write(&nested(MAX_VALUE_DEPTH + 1), &mut out),
            write(&raw(MAX_VALUE_DEPTH + 1), &mut out),
            write(&[raw(MAX_VALUE_DEPTH)], &mut out),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&MAX_VALUE_DEPTH.to_string()), "{error}");
        }
    }

    #[test]
    fn raw_json_that_the_receiver_cannot_read_is_an_error() {
        for json in [r#"[1,-1e400]"#, r#"{"a":"\ud800"}"#] {
            let raw: Box<RawValue> = serde_json::from_str(&json.replace(r"\\", r"\")).unwrap();
            assert!(write(&raw, &mut Vec::new()).is_err(), "{json}");
        }
    }

    #[test]
    fn key_that_is_no_string_becomes_a_string_or_an_error() {
        assert_as_serde_json(&BTreeMap::from([(1, 1), (-2, 2)]));
        assert_as_serde_json(&BTreeMap::from([(true, 1), (false, 2)]));
        assert_as_serde_json(&BTreeMap::from([('"', 1), ('a', 2)]));
        assert_as_serde_json(&BTreeMap::from([(Shape::Unit, 1)]));
        assert_as_serde_json(&BTreeMap::from([(Shape::Newtype(1), 1)]));
        assert_as_serde_json(&BTreeMap::from([((), 1)]));
        assert_as_serde_json(&BTreeMap::from([([1, 2], 1)]));
        assert_as_serde_json(&BTreeMap::<(), u8>::new());
    }

    #[test]
    fn raw_json_is_written_verbatim_on_one_line() {
        let raw: Box<RawValue> = serde_json::from_str("{\"a\":\n [1.50,\"\\n\"]}").unwrap();
        let mut out = Vec::new();
        write(&(&raw, 1), &mut out).unwrap();
        assert_eq!(out, br#"[{"a":  [1.50,"\n"]},1]"#);
    }

    #[test]
    fn display_that_fails_is_an_error() {
        struct Lost;
        impl Display for Lost {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        assert!(write_display(&Lost, &mut Vec::new()).is_err());
        assert!(
            ser::Serializer::collect_str(
                Json {
                    out: &mut Vec::new(),
                    left: 1
                },
                &Lost
            )
            .is_err()
        );
    }

    #[test]
    fn byte_to_escape_at_any_position_is_escaped() {
        for length in 0..100 {
            for place in 0..length {
                for byte in *b"\x00\x08\x0b\n\x1f !\"#[\\]\x7f" {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    assert_as_serde_json(str::from_utf8(&text).unwrap());
                }
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x7f]{0,200}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_written_as_by_serde_json(value in value()) {
            assert_as_serde_json(&value);
        }

        #[test]
        fn any_float_is_written_as_by_serde_json(double in any::<f64>(), single in any::<f32>()) {
            assert_as_serde_json(&(double, single));
        }
    }
}
