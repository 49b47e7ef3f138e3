//! Inspects JSON of the user's that is written as it is.

use crate::codec::values::{string_length, word_length};

/// The properties of JSON that decide whether its receiver can read it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Verbatim {
    /// The levels of nesting.
    pub(super) depth: usize,
    /// The reason why no receiver can read it, if there is one.
    pub(super) reason: Option<&'static str>,
}

/// Inspects a JSON text.
pub(super) fn inspect(json: &[u8]) -> Verbatim {
    let (mut found, mut offset, mut depth) = (Verbatim::default(), 0_usize, 0_usize);
    while let Some(rest) = json.get(offset..)
        && let Some(byte) = rest.first()
    {
        let mut length = 1;
        match byte {
            b'"' => {
                length = string_length(rest);
                if !is_text(rest.get(..length).unwrap_or_default()) {
                    found.reason = Some("raw JSON has an escaped half of a surrogate pair");
                }
            }
            b'[' | b'{' => {
                depth = depth.saturating_add(1);
                found.depth = found.depth.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                length = word_length(rest).max(1);
                if !is_finite(rest.get(..length).unwrap_or_default()) {
                    found.reason = Some("a number is larger than any double");
                }
            }
            _ => {}
        }
        offset = offset.saturating_add(length);
    }
    found
}

fn is_finite(number: &[u8]) -> bool {
    let number = std::str::from_utf8(number).ok();
    let number = number.and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(f64::is_finite)
}

/// Returns `true` if a string with its quotes is text: serde_json does not check the escapes of raw JSON.
fn is_text(string: &[u8]) -> bool {
    !string.contains(&b'\\') || serde_json::from_slice::<String>(string).is_ok()
}
