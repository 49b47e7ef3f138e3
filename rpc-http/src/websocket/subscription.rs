//! The messages of subscriptions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Sleep, sleep};

use crate::subscriptions::Target;

/// The time after which a subscription counts as accepted if its method has neither sent an item nor failed. An error within
/// this time is the reply to the request.
const ACCEPTED_AFTER: Duration = Duration::from_millis(50);

/// The `error` of the notification that tells the end of a complete stream.
const COMPLETE: &str = r#"{"code":0,"message":"Subscription complete"}"#;

/// The members of a request, as text of JSON.
type Members<'m> = BTreeMap<Cow<'m, str>, &'m RawValue>;

/// Returns the request to the method of a subscription, for the request that subscribes. Returns `None` if its first
/// parameter names no method.
pub(super) fn call_of(message: &[u8], target: &Target) -> Option<Bytes> {
    let mut members: Members<'_> = serde_json::from_slice(message).ok()?;
    let (method, rest);
    match target {
        Target::Method(name) => method = to_raw(name)?,
        Target::ByParameter(methods) => {
            let params: Vec<&RawValue> = serde_json::from_str(members.get("params")?.get()).ok()?;
            let (first, others) = params.split_first()?;
            let first: Cow<'_, str> = serde_json::from_str(first.get()).ok()?;
            method = to_raw(methods.get(&*first)?)?;
            rest = to_raw(others)?;
            members.insert("params".into(), &rest);
        }
    }
    members.insert("method".into(), &method);
    serde_json::to_vec(&members).ok().map(Bytes::from)
}

fn to_raw(value: &(impl Serialize + ?Sized)) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

/// Returns the ID of the subscription that the parameters of a request name: by position, or as `subscription`.
pub(super) fn id_to_end(message: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Request<'m> {
        #[serde(borrow)]
        params: &'m RawValue,
    }
    #[derive(Deserialize)]
    struct Params {
        subscription: String,
    }
    let Request { params } = serde_json::from_slice(message).ok()?;
    // A struct is read from an array as well, by position.
    let Params { subscription } = serde_json::from_str(params.get()).ok()?;
    Some(subscription)
}

/// Returns the reply to a request that ends a subscription.
pub(super) fn ended_reply(id: &str, was_open: bool) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{was_open}}}"#).into()
}

/// Returns the reply to a request for a subscription that does not exist.
pub(super) fn unknown_reply(id: &str) -> Bytes {
    let reply = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Method not found","data":"the first parameter names no subscription"}}}}"#
    );
    reply.into()
}

/// A subscription, whose lines become the messages that the client expects.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The text of the ID.
    id: Box<str>,
    /// The text of the method of its notifications.
    notification: Box<str>,
    /// The text of the id of the request, until it is answered.
    request: Option<Box<str>>,
    accepted: Pin<Box<Sleep>>,
}

#[derive(Deserialize)]
struct Line<'m> {
    #[serde(borrow, default)]
    method: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    params: Option<&'m RawValue>,
    #[serde(borrow, default)]
    error: Option<&'m RawValue>,
}

impl Subscription {
    /// `notification` and `request` are text of JSON.
    pub(super) fn new(number: usize, notification: &str, request: &str) -> Self {
        Self {
            id: id_of(number).into(),
            notification: notification.into(),
            request: Some(request.into()),
            accepted: Box::pin(sleep(ACCEPTED_AFTER)),
        }
    }

    /// Returns the reply with the ID, once the subscription counts as accepted.
    pub(super) fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if self.request.is_none() {
            return Poll::Pending;
        }
        self.accepted.as_mut().poll(cx).map(|()| self.accept())
    }

    /// Returns the reply with the ID, which ends the wait.
    fn accept(&mut self) -> Bytes {
        let request = self.request.take().unwrap_or_default();
        let id = &self.id;
        format!(r#"{{"jsonrpc":"2.0","id":{request},"result":"{id}"}}"#).into()
    }

    /// Returns the message for a line of the method, and the one after it if the subscription was accepted by this line.
    pub(super) fn messages(&mut self, line: Bytes) -> (Bytes, Option<Bytes>) {
        let Ok(Line {
            method,
            params,
            error,
        }) = serde_json::from_slice(&line)
        else {
            return (line, None);
        };
        let item = params.filter(|_| method.as_deref() == Some("rpc.item"));
        let message = match (item.and_then(item_of), error) {
            (Some(item), _) => self.notify("result", item),
            // Other messages of the services are no part of the subscription.
            _ if method.is_some() => return (line, None),
            (None, Some(_)) if self.request.take().is_some() => return (line, None),
            (None, Some(error)) => self.notify("error", error.get()),
            (None, None) => self.notify("error", COMPLETE),
        };
        match self.request.is_some() {
            true => (self.accept(), Some(message)),
            false => (message, None),
        }
    }

    fn notify(&self, member: &str, value: &str) -> Bytes {
        let Self {
            id, notification, ..
        } = self;
        let notification = format!(
            r#"{{"jsonrpc":"2.0","method":{notification},"params":{{"subscription":"{id}","{member}":{value}}}}}"#
        );
        notification.into()
    }
}

/// Returns the ID of the subscription whose stream has this number.
fn id_of(number: usize) -> String {
    format!("{number:#x}")
}

/// Returns the number of the stream of a subscription.
pub(super) fn number_of(id: &str) -> Option<usize> {
    let number = usize::from_str_radix(id.strip_prefix("0x")?, 16).ok()?;
    (id_of(number) == id).then_some(number)
}

/// Returns the text of the item of `rpc.item`.
fn item_of(params: &RawValue) -> Option<&str> {
    let (_, item): (&RawValue, &RawValue) = serde_json::from_str(params.get()).ok()?;
    Some(item.get())
}
