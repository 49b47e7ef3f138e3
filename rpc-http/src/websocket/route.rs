//! Decides by its envelope which stream a message belongs to.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The stream that a message of the client belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'m> {
    /// A message of its own: a request, a notification or a batch, or what the server answers with an error.
    Call(CallHead<'m>),
    /// An item of the client's call with this id.
    Item { id: &'m str },
    /// The end of the items of the client's call with this id.
    End { id: &'m str },
    /// A cancellation of the client's call with this id.
    Cancel { id: &'m str },
    /// An item of the client's answer to the server's call with this id.
    ReplyItem { id: &'m str },
    /// The reply to the server's call with this id.
    Reply { id: &'m str },
}

/// The method and the id of a call, as text of JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CallHead<'m> {
    pub(super) method: Cow<'m, str>,
    pub(super) id: Option<&'m str>,
}

#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(borrow, default)]
    method: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    id: Option<&'m RawValue>,
    #[serde(borrow, default)]
    params: Option<&'m RawValue>,
}

#[derive(Deserialize)]
struct NamedId<'m> {
    #[serde(borrow)]
    id: &'m RawValue,
}

impl<'m> Route<'m> {
    /// Returns the route of a message of the client. `is_call_of_server` returns `true` if the server waits for the reply to
    /// a call with this id.
    pub(super) fn of(message: &'m [u8], is_call_of_server: impl Fn(&str) -> bool) -> Self {
        let Some(Envelope { method, id, params }) = read(message) else {
            // The services answer what is no request with an error.
            return Self::Call(CallHead::default());
        };
        let id = id.map(RawValue::get);
        let named = || params.and_then(id_of_params);
        match (method.as_deref(), id) {
            (None, Some(id)) => Self::Reply { id },
            (Some("rpc.item"), None) => match named() {
                Some(id) if is_call_of_server(id) => Self::ReplyItem { id },
                Some(id) => Self::Item { id },
                None => Self::Call(CallHead::default()),
            },
            (Some("rpc.end"), None) => {
                named().map_or(Self::Call(CallHead::default()), |id| Self::End { id })
            }
            (Some("rpc.cancel"), None) => {
                named().map_or(Self::Call(CallHead::default()), |id| Self::Cancel { id })
            }
            _ => Self::Call(CallHead {
                method: method.unwrap_or_default(),
                id,
            }),
        }
    }
}

/// Returns `true` if [`Route::of`] returns [`Route::Call`] for a message whose method has no items. Returns `false` as well
/// where more than the first members would have to be read.
///
/// Most messages are such calls. What this reads is right for messages that are JSON. Others are calls whatever they contain,
/// since the services answer them with an error.
pub(super) fn is_call_without_items(message: &[u8], has_items: impl Fn(&str) -> bool) -> bool {
    let Some(method) = plain_method(message) else {
        return false;
    };
    !method.starts_with("rpc.") && !has_items(method)
}

/// Returns the value of the member `method`, if it and all members before it are written without white space and escapes, and
/// no member before it is an object or an array.
fn plain_method(message: &[u8]) -> Option<&str> {
    let mut rest = message.strip_prefix(b"{")?;
    loop {
        let (name, value) = plain_string(rest)?;
        let value = value.strip_prefix(b":")?;
        if name == b"method" {
            let (method, _) = plain_string(value)?;
            return std::str::from_utf8(method).ok();
        }
        let after = match plain_string(value) {
            Some((_, after)) => after,
            None => {
                let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
                let digits = value.iter().position(|byte| !is_number(byte))?;
                value.get(digits..).filter(|_| digits > 0)?
            }
        };
        rest = after.strip_prefix(b",")?;
    }
}

/// Returns the content of the string without escapes at the start of a text, and the text after it.
fn plain_string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (content, rest) = text.split_at(end);
    Some((content, rest.strip_prefix(b"\"")?))
}

/// Returns the id of a call that the server makes, if a line is one.
pub(super) fn id_of_call(line: &[u8]) -> Option<&str> {
    let Envelope { method, id, .. } = read(line)?;
    method.and(id).map(RawValue::get)
}

/// Returns the id of the reply that a line is, if it is one.
pub(super) fn id_of_reply(line: &[u8]) -> Option<&str> {
    let Envelope { method, id, .. } = read(line)?;
    id.filter(|_| method.is_none()).map(RawValue::get)
}

/// Returns `true` if two texts are the same id. A client may escape characters that the services do not escape.
pub(super) fn is_same_id(left: &str, right: &str) -> bool {
    let text = |id| serde_json::from_str::<Cow<'_, str>>(id).ok();
    left == right || text(left).is_some_and(|left| text(right) == Some(left))
}

fn read(message: &[u8]) -> Option<Envelope<'_>> {
    serde_json::from_slice(message).ok()
}

/// Returns the id of the call that `rpc.item`, `rpc.end` or `rpc.cancel` is about.
fn id_of_params(params: &RawValue) -> Option<&str> {
    let text = params.get();
    let id = match text.starts_with('{') {
        true => serde_json::from_str::<NamedId<'_>>(text).ok()?.id,
        false => serde_json::from_str::<Vec<&RawValue>>(text)
            .ok()?
            .first()
            .copied()?,
    };
    Some(id.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages, and whether they are known to be calls without items by their first members.
    const MESSAGES: [(&str, bool); 19] = [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}"#,
            true,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"add","params":[1,2],"id":"a"}"#,
            true,
        ),
        (r#"{"id":-1.5,"method":"add"}"#, true),
        (
            r#"{"jsonrpc":"2.0","method":"add","method":"rpc.item"}"#,
            true,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"add","params":"#, true),
        (r#"{"method":"prices","id":1}"#, false),
        (r#"{"method":"rpc.item","params":[1,2]}"#, false),
        (r#"{"method":"rpc.cancel","params":[1]}"#, false),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"method":"add"}}"#,
            false,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":[{"method":"add"}]}"#,
            false,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":"\",\"method\":\"add"}"#,
            false,
        ),
        (r#"{"params":{"method":"add"},"method":"rpc.end"}"#, false),
        (r#"{"m\u0065thod":"add"}"#, false),
        (r#"{"method":"rpc\u002eitem"}"#, false),
        (r#"{ "method":"add"}"#, false),
        (r#"{"id":null,"method":"add"}"#, false),
        (r#"["add"]"#, false),
        (r#"{"method":1}"#, false),
        ("", false),
    ];

    #[test]
    fn call_without_items_is_known_by_its_first_members() {
        for (message, is_known) in MESSAGES {
            let known = is_call_without_items(message.as_bytes(), |method| method == "prices");
            assert_eq!(known, is_known, "{message}");
            let route = Route::of(message.as_bytes(), |_| true);
            assert!(!known || matches!(route, Route::Call(_)), "{message}");
        }
    }

    #[test]
    fn every_part_of_a_message_that_is_known_as_a_call_is_one() {
        for (message, _) in MESSAGES {
            for end in 0..message.len() {
                let part = &message.as_bytes()[..end];
                let known = is_call_without_items(part, |_| false);
                let route = Route::of(part, |_| true);
                assert!(!known || matches!(route, Route::Call(_)), "{message} {end}");
            }
        }
    }
}
