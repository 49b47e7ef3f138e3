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
