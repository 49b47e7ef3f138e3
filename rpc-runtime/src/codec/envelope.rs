//! The envelope of a message around its parameters, result or error: the constant text, and the members of a request.

use crate::codec::de::Value;
use crate::codec::digits;
use crate::codec::ser::write_signed;

pub(crate) use crate::codec::literals::{DATA, END, ERROR, HEAD, ITEM, MESSAGE, RESULT, VERSION};

/// Appends an error up to and including its message. The caller of the function appends `data`, if any, and `}}`.
pub(crate) fn write_error(out: &mut Vec<u8>, code: i64, message: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(ERROR);
    write_signed(code, out);
    out.extend_from_slice(MESSAGE);
    message(out);
}

/// Returns the id of a message that starts as a response of this implementation, or a request with an id, without parsing
/// it.
pub(crate) fn leading_id(message: &[u8]) -> Option<u64> {
    split_leading_id(message).map(|(id, _)| id)
}

/// Returns the leading id of a message that is no request: a member with the first letter of `result` or `error` follows.
#[inline]
pub(crate) fn leading_reply_id(message: &[u8]) -> Option<u64> {
    match split_leading_id(message)? {
        (id, [b',', b'"', b'r' | b'e', ..]) => Some(id),
        _ => None,
    }
}

/// Splits a message behind its leading id.
#[inline]
fn split_leading_id(message: &[u8]) -> Option<(u64, &[u8])> {
    let start = message.strip_prefix(HEAD)?;
    if let Some((id, rest @ [b',', ..])) = digits::read_long(start) {
        return Some((id, rest));
    }
    // An id has at most twenty digits. A longer one does not fit, or is no id, or is not JSON.
    let end = start.iter().take(40).position(|byte| *byte == b',')?;
    let (digits, rest) = start.split_at_checked(end)?;
    match digits.iter().all(u8::is_ascii_digit) {
        true => Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest)),
        false => None,
    }
}

/// The members of a request, not yet checked.
#[derive(Default)]
pub(super) struct Envelope<'t, 'de> {
    pub(super) jsonrpc: Option<Value<'t, 'de>>,
    pub(super) id: Option<Value<'t, 'de>>,
    pub(super) method: Option<Value<'t, 'de>>,
    pub(super) params: Option<Value<'t, 'de>>,
    pub(super) timeout: Option<Value<'t, 'de>>,
    pub(super) meta: Option<Value<'t, 'de>>,
}

impl<'t, 'de> Envelope<'t, 'de> {
    /// Takes the members of `value`. Returns a reason if `value` is no object or has a member twice.
    pub(super) fn walk(&mut self, value: Value<'t, 'de>) -> Result<(), &'static str> {
        let members = value.members().ok_or("a request is an object")?;
        let mut shape = Ok(());
        for (name, value) in members {
            let member = match name {
                "jsonrpc" => &mut self.jsonrpc,
                "id" => &mut self.id,
                "method" => &mut self.method,
                "params" => &mut self.params,
                "timeout" => &mut self.timeout,
                "meta" => &mut self.meta,
                _ => continue,
            };
            if member.replace(value).is_some() {
                // The walk continues to the end: the reply needs the id, and if there are two ids it uses neither.
                shape = Err("a member stands twice");
                if name == "id" {
                    self.id = Some(Value::null());
                }
            }
        }
        shape
    }
}
