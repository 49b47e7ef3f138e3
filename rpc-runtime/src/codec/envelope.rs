//! What surrounds the parameters, the result and the error of a message: its constant text, and the members of a request.

use crate::codec::de::Value;
use crate::codec::ser::write_integer;

/// The start of every message.
pub(crate) const VERSION: &[u8] = br#"{"jsonrpc":"2.0""#;
/// The start of every response; the id follows.
pub(crate) const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
/// Between the id and the value of a result.
pub(crate) const RESULT: &[u8] = br#","result":"#;
/// Between the id and an error's code.
pub(crate) const ERROR: &[u8] = br#","error":{"code":"#;
/// Between an error's code and its message.
pub(crate) const MESSAGE: &[u8] = br#","message":"#;
/// Between an error's message and its data.
pub(crate) const DATA: &[u8] = br#","data":"#;
/// Before the call's id and its item.
pub(super) const ITEM: &[u8] = br#"{"jsonrpc":"2.0","method":"rpc.item","params":["#;
/// Before the id of a call whose items are complete.
pub(super) const END: &[u8] = br#"{"jsonrpc":"2.0","method":"rpc.end","params":["#;

/// Appends an error up to its message; `data`, if any, and `}}` follow.
pub(crate) fn write_error(out: &mut Vec<u8>, code: i64, message: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(ERROR);
    write_integer(code, out);
    out.extend_from_slice(MESSAGE);
    message(out);
}

/// The id of a response that starts as this implementation's do, without parsing it.
pub(crate) fn leading_id(response: &[u8]) -> Option<u64> {
    let rest = response.strip_prefix(HEAD)?;
    let mut id = 0u64;
    for (position, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte.wrapping_sub(b'0'));
                id = id.checked_mul(10)?.checked_add(digit)?;
            }
            b',' if position > 0 => return Some(id),
            _ => return None,
        }
    }
    None
}

/// The members of a request, as they stand.
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
    /// Takes the members of `value`. A reason comes back if it is no object, or a member stands twice.
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
                // Walked on to its end all the same: the answer wants the id, and of two ids neither.
                shape = Err("a member stands twice");
                if name == "id" {
                    self.id = Some(Value::new(&[]));
                }
            }
        }
        shape
    }
}
