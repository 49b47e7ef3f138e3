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

/// Returns `true` if the text has a `-0`. This implementation reads it as an integer or as a floating-point number, whichever
/// is expected, and serde_json as a floating-point number.
pub fn has_minus_zero(text: &[u8]) -> bool {
    let is_minus_zero = |place: usize| {
        text[place..].starts_with(b"-0")
            && !matches!(text.get(place + 2), Some(b'.' | b'e' | b'E' | b'0'..=b'9'))
            && !matches!(
                place.checked_sub(1).map(|before| text[before]),
                Some(b'e' | b'E')
            )
    };
    (0..text.len()).any(is_minus_zero)
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
