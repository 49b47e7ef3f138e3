//! What surrounds the parameters, the result and the error of a message: its constant text, and the members of a request.

use crate::codec::de::Value;
use crate::codec::digits;
use crate::codec::ser::write_signed;

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
    write_signed(code, out);
    out.extend_from_slice(MESSAGE);
    message(out);
}

/// Returns the id of a message that starts as a response of this implementation, or a request with an id, without parsing
/// it.
pub(crate) fn leading_id(message: &[u8]) -> Option<u64> {
    let start = message.strip_prefix(HEAD)?;
    if let Some((id, [b',', ..])) = digits::read_long(start) {
        return Some(id);
    }
    // Twenty digits, which fit or not, or what is no id or no JSON.
    let end = start.iter().take(40).position(|byte| *byte == b',')?;
    let digits = start.get(..end)?;
    match digits.iter().all(u8::is_ascii_digit) {
        true => std::str::from_utf8(digits).ok()?.parse().ok(),
        false => None,
    }
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
