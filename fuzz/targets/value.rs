//! The parser accepts the same JSON as serde_json, and reads the same values of any type.
#![no_main]

use std::any::type_name;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use fuzz::{grammar, oracle};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::fuzzing::{self, parse};
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    check(data);
    check(grammar::text(data, grammar::value).as_bytes());
});

/// The maximum depth of a message.
const DEPTH: usize = 64;

fn check(json: &[u8]) {
    if oracle::has_minus_zero(json) {
        return;
    }
    let shallow = parse(json, 3, |_| ()).is_some();
    assert_eq!(shallow, oracle::accepts(json, 3), "{}", json.escape_ascii());
    let deep = oracle::accepts(json, DEPTH);
    let read = parse(json, DEPTH, |value| {
        assert!(deep, "{}", json.escape_ascii());
        let text = std::str::from_utf8(json).unwrap();
        check_types(value, text);
        check_keys(value, text);
        check_without_copies(value, text);
        let written = serde_json::to_vec(&value).unwrap();
        assert_eq!(fuzzing::write(&value).as_ref(), Some(&written));
        agree::<Value, _>(&mut serde_json::Deserializer::from_slice(&written), text);
    });
    assert_eq!(read.is_some(), deep, "{}", json.escape_ascii());
}

/// Checks that the value of a type is the one that serde_json reads in the text.
fn agree<'de, T, D>(value: D, text: &str)
where
    T: DeserializeOwned + PartialEq + Debug,
    D: Deserializer<'de>,
{
    let expected = serde_json::from_str::<T>(text).ok();
    assert_eq!(
        T::deserialize(value).ok(),
        expected,
        "{} from {text}",
        type_name::<T>()
    );
}

macro_rules! agree {
    ($value:ident, $text:ident: $($type:ty),*) => { $(agree::<$type, _>($value, $text);)* };
}

fn check_types<'de>(value: impl Deserializer<'de> + Copy, text: &str) {
    agree!(value, text: Value, bool, i8, i16, i32, i64, u8, u16, u32, u64, f64);
    agree!(value, text: char, String, (), Nothing, Newtype, Pair, Option<Option<Newtype>>);
    agree!(value, text: Bytes, Vec<Value>, (Value, Value), [Value; 3], Ignored);
    agree!(value, text: Record, Strict, Flat, External, Internal, Adjacent, Untagged);
    agree!(value, text: i128, u128);
}

fn check_keys<'de>(value: impl Deserializer<'de> + Copy, text: &str) {
    agree!(value, text: Map<String>, Map<Option<String>>, Map<char>, Map<Name>);
    // serde_json reads no number from a key with escapes, and removes a byte of a key that is no boolean.
    if !text.contains('\\') {
        agree!(value, text: Map<i64>, Map<u8>, Map<Newtype>);
        if text.is_ascii() {
            agree!(value, text: Map<bool>);
        }
    }
}

/// Checks borrowed strings and `f32`, in which serde_json differs: it does not borrow strings with escapes, and reads a number
/// beyond the range of `f32` as an infinity.
fn check_without_copies<'de>(value: impl Deserializer<'de> + Copy, text: &str) {
    let string = serde_json::from_str::<String>(text).ok();
    assert_eq!(<&str>::deserialize(value).ok(), string.as_deref());
    assert_eq!(
        <&[u8]>::deserialize(value).ok(),
        string.as_deref().map(str::as_bytes)
    );
    let borrowing = Borrowing::deserialize(value).ok();
    assert!(matches!(
        borrowing,
        None | Some(Borrowing(Cow::Borrowed(_)))
    ));
    assert_eq!(
        borrowing.as_ref().map(|Borrowing(text)| &**text),
        string.as_deref()
    );
    let single = serde_json::from_str::<f32>(text).ok();
    let expected = single.filter(|single| single.is_finite());
    assert_eq!(f32::deserialize(value).ok(), expected);
}

type Map<K> = BTreeMap<K, Value>;

#[derive(Deserialize)]
struct Borrowing<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, PartialEq, Deserialize)]
struct Ignored(IgnoredAny);

#[derive(Debug, PartialEq, Deserialize)]
struct Nothing;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Newtype(i16);

#[derive(Debug, PartialEq, Deserialize)]
struct Pair(Newtype, String);

#[derive(Debug, PartialEq, Deserialize)]
struct Record {
    a: u8,
    b: Option<String>,
    #[serde(default)]
    c: Vec<External>,
    x: Option<Box<Record>>,
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
    a: Option<Value>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
enum External {
    Unit,
    New(Value),
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
    New(Value),
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

/// A key with one of two names.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Name {
    #[serde(rename = "a")]
    A,
    #[serde(rename = "1")]
    One,
}

/// Bytes, written as a string or as an array of numbers.
#[derive(Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = elements.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
