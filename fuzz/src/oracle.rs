//! Reads JSON with serde_json, and accounts for the intended differences of this implementation.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Returns `true` if a message must be accepted: it is JSON and nests no deeper than `limit`.
pub fn accepts(json: &[u8], limit: usize) -> bool {
    serde_json::from_slice::<Value>(json).is_ok() && depth(json) <= limit
}

/// Returns the depth of nested arrays and objects.
pub fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in outside_strings(json).map(|(_, byte)| byte) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Replaces `-0` by `0`. This implementation reads `-0` as an integer, serde_json as a floating-point number.
pub fn without_minus_zero(json: &str) -> String {
    let bytes = json.as_bytes();
    let is_minus_zero = |place: usize| {
        bytes[place..].starts_with(b"-0")
            && !matches!(bytes.get(place + 2), Some(b'.' | b'e' | b'E' | b'0'..=b'9'))
            && !matches!(
                place.checked_sub(1).map(|before| bytes[before]),
                Some(b'e' | b'E')
            )
    };
    let mut text = json.to_owned();
    let signs = outside_strings(bytes).map(|(place, _)| place);
    for place in signs.filter(|place| is_minus_zero(*place)) {
        text.replace_range(place..=place, " ");
    }
    text
}

/// Returns `true` if the JSON has an integer of more than 64 bits, which this implementation reads as a floating-point
/// number.
pub fn has_big_integer(json: &str) -> bool {
    let numbers = json.split(|byte: char| !matches!(byte, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
    let is_big = |number: &str| {
        number
            .parse::<i128>()
            .is_err_and(|_| number.len() > 18 && !number.contains(['.', 'e', 'E']))
            || number.parse::<i128>().is_ok_and(|number| {
                i64::try_from(number).is_err() && u64::try_from(number).is_err()
            })
    };
    numbers.into_iter().any(is_big)
}

/// Returns `true` if this is a valid id of a request.
pub fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64() || id.is_null()
}

/// Returns the id of a message that begins as the messages of this project's clients do.
pub fn leading_id(message: &[u8]) -> Option<u64> {
    let rest = message.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let digits = std::str::from_utf8(&rest[..end]).ok()?;
    digits.parse::<u64>().ok().filter(|_| rest[end] == b',')
}

/// Returns the bytes of JSON outside strings, with their positions.
fn outside_strings(json: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let (mut inside, mut escaped) = (false, false);
    json.iter().copied().enumerate().filter(move |(_, byte)| {
        let is_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !is_escaped => {
                inside = !inside;
                false
            }
            b'\\' => {
                escaped = inside && !is_escaped;
                !inside
            }
            _ => !inside,
        }
    })
}

/// The members of an object in their order, with duplicates.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
