//! Reads the envelope of a request: a call, a notification, a batch, or an honest error.

use simd_json::{Node, StaticNode};

use super::id::Id;
use super::response::Refusal;
use super::value::{Elements, Value};

/// What a message turned out to be.
#[derive(Debug)]
pub(crate) enum Message<'t, 'de> {
    Single(Value<'t, 'de>),
    Batch(Elements<'t, 'de>),
}

impl<'t, 'de> Message<'t, 'de> {
    pub(crate) fn read(root: Value<'t, 'de>) -> Self {
        match root.elements() {
            Some(entries) => Self::Batch(entries),
            None => Self::Single(root),
        }
    }
}

/// A request object ([JSON-RPC 2.0, section 4](https://www.jsonrpc.org/specification#request_object)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'t, 'de> {
    /// Absent in a notification.
    pub(crate) id: Option<Id<'de>>,
    pub(crate) method: &'de str,
    pub(crate) params: Option<Value<'t, 'de>>,
    /// How many milliseconds the caller will still wait.
    pub(crate) timeout: Option<u64>,
    /// An object of strings.
    pub(crate) meta: Option<Value<'t, 'de>>,
}

/// Why a value is no request, and the id to say so with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invalid<'de> {
    pub(crate) id: Id<'de>,
    pub(crate) refusal: Refusal,
}

impl<'t, 'de> Request<'t, 'de> {
    /// Reads a request in one walk over its members, in whatever order they come.
    pub(crate) fn read(value: Value<'t, 'de>) -> Result<Self, Invalid<'de>> {
        let mut envelope = Envelope::default();
        let shape = envelope.walk(value);
        let id = envelope.id.map(Id::read);
        let request = shape.and_then(|()| envelope.check());
        match (request, id) {
            (Ok(request), None) => Ok(Self {
                id: None,
                ..request
            }),
            (Ok(request), Some(Some(id))) => Ok(Self {
                id: Some(id),
                ..request
            }),
            (Ok(_), Some(None)) => Err(Invalid {
                id: Id::Null,
                refusal: Refusal::InvalidRequest("`id` is not a string, an integer or null"),
            }),
            (Err(reason), id) => Err(Invalid {
                id: id.flatten().unwrap_or(Id::Null),
                refusal: Refusal::InvalidRequest(reason),
            }),
        }
    }
}

impl<'de> Request<'_, 'de> {
    /// The id that `rpc.cancel` names, by position or as `id`.
    pub(crate) fn cancelled_id(&self) -> Option<Id<'de>> {
        let params = self.params?;
        let by_position = params.elements().and_then(|mut elements| elements.next());
        let by_name = || {
            params
                .members()?
                .find_map(|(name, value)| (name == "id").then_some(value))
        };
        Id::read(by_position.or_else(by_name)?)
    }
}

#[derive(Default)]
struct Envelope<'t, 'de> {
    jsonrpc: Option<Value<'t, 'de>>,
    id: Option<Value<'t, 'de>>,
    method: Option<Value<'t, 'de>>,
    params: Option<Value<'t, 'de>>,
    timeout: Option<Value<'t, 'de>>,
    meta: Option<Value<'t, 'de>>,
}

impl<'t, 'de> Envelope<'t, 'de> {
    fn walk(&mut self, value: Value<'t, 'de>) -> Result<(), &'static str> {
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

    fn check(&self) -> Result<Request<'t, 'de>, &'static str> {
        if self.jsonrpc.and_then(Value::as_str) != Some("2.0") {
            return Err("`jsonrpc` is not \"2.0\"");
        }
        let method = self
            .method
            .and_then(Value::as_str)
            .ok_or("`method` is not a string")?;
        let structured = |value: &Value<'_, '_>| {
            matches!(value.node(), Node::Object { .. } | Node::Array { .. })
        };
        if !self.params.as_ref().is_none_or(structured) {
            return Err("`params` is not an array or an object");
        }
        let timeout = self.timeout.map(milliseconds).transpose()?;
        if !self.meta.is_none_or(is_object_of_strings) {
            return Err("`meta` is not an object of strings");
        }
        Ok(Request {
            id: None,
            method,
            params: self.params,
            timeout,
            meta: self.meta,
        })
    }
}

fn milliseconds(value: Value<'_, '_>) -> Result<u64, &'static str> {
    match value.node() {
        Node::Static(StaticNode::U64(number)) => Ok(number),
        Node::Static(StaticNode::I64(number)) => Ok(u64::try_from(number).unwrap_or(0)),
        // Past 64 bits, or a fraction of a millisecond: the cast saturates.
        Node::Static(StaticNode::F64(number)) => Ok(number.ceil() as u64),
        _ => Err("`timeout` is not a number of milliseconds"),
    }
}

fn is_object_of_strings(value: Value<'_, '_>) -> bool {
    value
        .members()
        .is_some_and(|mut members| members.all(|(_, value)| value.as_str().is_some()))
}
