//! Reads the envelope of a call, a notification or a batch.

use simd_json::{Node, StaticNode};

use crate::codec::de::{Elements, Value};
use crate::codec::envelope::Envelope;
use crate::codec::error_code::ProtocolError;
use crate::codec::fast_path::Compact;
use crate::codec::id::Id;
use crate::codec::metadata;
use crate::codec::parser::Document;
use crate::codec::values::Values;

/// The number of values from which on an allocation pays off if the values need not be kept afterwards.
const MANY_NODES: usize = 1024;

/// The most copies of an id that a call makes.
const ID_COPIES: usize = 4;

/// A message that a server receives.
#[derive(Debug)]
pub(crate) enum Message<'t, 'de> {
    Single(Result<Request<'t, 'de>, Invalid<'de>>),
    Batch(Elements<'t, 'de>),
}

impl<'t, 'de> Message<'t, 'de> {
    pub(crate) fn read(root: Value<'t, 'de>) -> Self {
        match root.elements() {
            Some(entries) => Self::Batch(entries),
            None => Self::Single(Request::read(root)),
        }
    }
}

impl<'de> Document<'_, 'de> {
    /// Interprets the document as a message that a server receives.
    #[inline]
    pub(crate) fn message(&self) -> Message<'_, 'de> {
        let Some(compact) = self.compact() else {
            return Message::read(self.root());
        };
        Message::Single(match compact {
            Compact::Request {
                id,
                method,
                timeout,
            } => Ok(Request {
                id: id.map(Id::Unsigned),
                method: self.text(method).unwrap_or_default(),
                params: self.value(),
                timeout,
                meta: None,
            }),
            Compact::Response { id } | Compact::Item { id } => Err(Invalid {
                id: Id::Unsigned(id),
                error: ProtocolError::InvalidRequest("not a request"),
            }),
        })
    }
}

/// A request object ([JSON-RPC 2.0, section 4](https://www.jsonrpc.org/specification#request_object)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'t, 'de> {
    /// `None` for a notification.
    pub(crate) id: Option<Id<'de>>,
    pub(crate) method: &'de str,
    pub(crate) params: Option<Value<'t, 'de>>,
    /// The time that the caller will still wait, in milliseconds.
    pub(crate) timeout: Option<u64>,
    /// An object of strings.
    pub(crate) meta: Option<Value<'t, 'de>>,
}

/// Copies of the parts of a request that are on the tape.
#[derive(Debug)]
pub(crate) struct RequestParts<'de> {
    params: Option<Values<'de>>,
    meta: Option<Values<'de>>,
}

impl<'de> RequestParts<'de> {
    /// Returns `request` with these parts in place of its own.
    pub(crate) fn request(&self, request: Request<'_, 'de>) -> Request<'_, 'de> {
        Request {
            id: request.id,
            method: request.method,
            params: self.params.as_ref().map(Value::first),
            timeout: request.timeout,
            meta: self.meta.as_ref().map(Value::first),
        }
    }

    /// Returns how many bytes the copies take.
    pub(crate) fn bytes(&self) -> usize {
        let nodes = [&self.params, &self.meta].into_iter().flatten();
        nodes
            .map(|values| size_of_val(values.tape.0.as_slice()))
            .sum()
    }
}

/// The reason why a value is no request, and the id for the reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invalid<'de> {
    pub(crate) id: Id<'de>,
    pub(crate) error: ProtocolError,
}

impl<'t, 'de> Request<'t, 'de> {
    /// Returns `true` if the document is large and most of it consists of members that no request has.
    pub(crate) fn leaves_unread(&self, document: &Document<'_, '_>) -> bool {
        let parts = [self.params, self.meta].into_iter().flatten();
        let read = parts.map(Value::node_count).fold(0, usize::saturating_add);
        let unread = document.root().node_count().saturating_sub(read);
        unread > MANY_NODES && unread > read
    }

    /// Returns how many bytes the copies of the id and of the metadata take while the call runs, if they are many. The id
    /// stands in the reply, in the table of calls in flight, and in the lines of items in both directions.
    pub(crate) fn copied_bytes(&self) -> usize {
        let id = match self.id {
            Some(Id::String(text)) => text.len().saturating_mul(ID_COPIES),
            _ => 0,
        };
        let members = self.meta.and_then(Value::members).into_iter().flatten();
        let member = |(name, value): (&str, Value<'_, '_>)| {
            name.len()
                .saturating_add(value.as_str().map_or(0, str::len))
        };
        members.map(member).fold(id, usize::saturating_add)
    }

    /// Copies the parts that are on the tape.
    pub(crate) fn copy_parts(&self) -> RequestParts<'de> {
        RequestParts {
            params: self.params.map(Value::to_values),
            meta: self.meta.map(Value::to_values),
        }
    }

    /// Reads a request in one walk over its members, in any order.
    pub(crate) fn read(value: Value<'t, 'de>) -> Result<Self, Invalid<'de>> {
        let mut envelope = Envelope::default();
        let shape = envelope.walk(value);
        let id = envelope.id.map(Id::read);
        let request = shape.and_then(|()| check(&envelope));
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
                error: ProtocolError::InvalidRequest("`id` is not a string, an integer or null"),
            }),
            (Err(reason), id) => Err(Invalid {
                id: id.flatten().unwrap_or(Id::Null),
                error: ProtocolError::InvalidRequest(reason),
            }),
        }
    }
}

impl<'de> Request<'_, 'de> {
    /// Returns the parameters of `rpc.cancel`, given by position or by name.
    pub(crate) fn cancellation(&self) -> Option<CancelParams<'de>> {
        let params = self.params?;
        if let Some(mut elements) = params.elements() {
            let id = Id::read(elements.next()?)?;
            return Some(CancelParams {
                id,
                request_end: None,
            });
        }
        let (mut id, mut stream, mut offset) = (None, None, None);
        for (name, value) in params.members()? {
            match name {
                "id" => id = Id::read(value),
                "stream" => stream = value.as_u64(),
                "offset" => offset = value.as_u64(),
                _ => {}
            }
        }
        let request_end = stream
            .zip(offset)
            .map(|(stream, offset)| RequestEnd { stream, offset });
        Some(CancelParams {
            id: id?,
            request_end,
        })
    }
}

impl<'de> Request<'_, 'de> {
    /// Returns the service that `rpc.health` asks for, given by position or by name; `None` for the entire server.
    ///
    /// Other parameters are rejected: a probe that misspells `service` would otherwise receive the state of the entire server.
    pub(crate) fn health_service(&self) -> Result<Option<&'de str>, &'static str> {
        const OTHER: &str = "the only parameter is `service`";
        let mut service = None;
        let elements = self.params.and_then(Value::elements).into_iter().flatten();
        let members = self.params.and_then(Value::members).into_iter().flatten();
        let positional = elements.map(|value| ("service", value));
        for (name, value) in positional.chain(members) {
            if name != "service" || service.replace(value).is_some() {
                return Err(OTHER);
            }
        }
        match service.filter(|name| !name.is_null()) {
            None => Ok(None),
            Some(name) => match name.as_str() {
                Some(name) => Ok(Some(name)),
                None => Err("`service` is the name of a service"),
            },
        }
    }
}

/// The parameters of `rpc.cancel`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CancelParams<'de> {
    pub(crate) id: Id<'de>,
    /// The position where the request ends, if the client reports it.
    pub(crate) request_end: Option<RequestEnd>,
}

/// The end of a request in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestEnd {
    /// The ID of the stream (RFC 9000, section 2.1).
    pub(crate) stream: u64,
    /// The offset of the byte behind the request's line feed.
    pub(crate) offset: u64,
}

/// Reads the members except the id.
fn check<'t, 'de>(envelope: &Envelope<'t, 'de>) -> Result<Request<'t, 'de>, &'static str> {
    if envelope.jsonrpc.and_then(Value::as_str) != Some("2.0") {
        return Err("`jsonrpc` is not \"2.0\"");
    }
    let method = envelope
        .method
        .and_then(Value::as_str)
        .ok_or("`method` is not a string")?;
    let structured =
        |value: &Value<'_, '_>| matches!(value.node(), Node::Object { .. } | Node::Array { .. });
    if !envelope.params.as_ref().is_none_or(structured) {
        return Err("`params` is not an array or an object");
    }
    let timeout = envelope.timeout.map(milliseconds).transpose()?;
    envelope.meta.map(metadata::check).transpose()?;
    Ok(Request {
        id: None,
        method,
        params: envelope.params,
        timeout,
        meta: envelope.meta,
    })
}

fn milliseconds(value: Value<'_, '_>) -> Result<u64, &'static str> {
    match value.node() {
        Node::Static(StaticNode::U64(number)) => Ok(number),
        Node::Static(StaticNode::I64(number)) => Ok(u64::try_from(number).unwrap_or(0)),
        // A number of more than 64 bits, or a fraction of a millisecond: the cast saturates.
        Node::Static(StaticNode::F64(number)) => Ok(number.ceil() as u64),
        _ => Err("`timeout` is not a number of milliseconds"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::codec::parser::Parser;

    /// Reads a message as a server does: the envelope of each request in it, if it is JSON.
    fn read(message: &[u8]) {
        let mut message = message.to_vec();
        let mut parser = Parser::new(64);
        let Ok(document) = parser.parse(&mut message) else {
            return;
        };
        let request = |value| match Request::read(value) {
            Ok(request) => drop(request.cancellation()),
            Err(invalid) => invalid.error.write(invalid.id, &mut Vec::new()),
        };
        match Message::read(document.root()) {
            Message::Single(_) => request(document.root()),
            Message::Batch(entries) => entries.for_each(request),
        }
    }

    /// Returns the expected result of [`Request::read`] for an object with these members, computed without a tape.
    fn expected(members: &[(String, Json)]) -> Result<Option<Json>, Json> {
        let all = |wanted: &str| {
            let matching = members.iter().filter(|(name, _)| name == wanted);
            matching.map(|(_, value)| value).collect::<Vec<_>>()
        };
        let is_id = |id: &Json| id.is_string() || id.is_null() || id.is_i64() || id.is_u64();
        let id = match all("id")[..] {
            [] => None,
            [id] if is_id(id) => Some(id.clone()),
            _ => return Err(Json::Null),
        };
        let one = |name: &str, is_good: fn(&Json) -> bool, needed: bool| match all(name)[..] {
            [] => !needed,
            [value] => is_good(value),
            _ => false,
        };
        // `Json` never repeats a name; the tests of `metadata` do.
        let strings = |meta: &Json| {
            meta.as_object()
                .is_some_and(|meta| meta.values().all(Json::is_string))
        };
        let is_request = one("jsonrpc", |version| version == "2.0", true)
            && one("method", Json::is_string, true)
            && one(
                "params",
                |params| params.is_array() || params.is_object(),
                false,
            )
            && one("timeout", Json::is_number, false)
            && one("meta", strings, false);
        if is_request {
            Ok(id)
        } else {
            Err(id.unwrap_or_default())
        }
    }

    fn object(members: &[(String, Json)]) -> String {
        let members = members
            .iter()
            .map(|(name, value)| format!("{}:{value}", Json::from(name.as_str())));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn id_of(id: Id<'_>) -> Json {
        let mut json = Vec::new();
        id.write(&mut json);
        serde_json::from_slice(&json).unwrap()
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            Just(json!("2.0")),
            any::<String>().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(name(), inner, 0..4)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    fn name() -> impl Strategy<Value = String> {
        let known = vec!["jsonrpc", "id", "method", "params", "timeout", "meta"];
        prop_oneof![
            5 => prop::sample::select(known).prop_map(str::to_owned),
            1 => any::<String>(),
        ]
    }

    /// The members of a valid request, in any order, with unknown members between them.
    fn request() -> impl Strategy<Value = Vec<(String, Json)>> {
        let member = |name: &'static str| move |value| (name.to_owned(), value);
        let known = (
            prop::option::of(prop_oneof![
                Just(Json::Null),
                any::<i64>().prop_map(Json::from),
                any::<String>().prop_map(Json::from),
            ]),
            any::<String>(),
            prop::option::of(prop::collection::vec(any_json(), 0..3)),
            prop::option::of(any::<u32>()),
            prop::collection::vec((any::<String>(), any_json()), 0..3),
        );
        let members = known.prop_map(move |(id, method, params, timeout, mut members)| {
            members.retain(|(name, _)| {
                !["jsonrpc", "id", "method", "params", "timeout", "meta"].contains(&name.as_str())
            });
            members.push(member("jsonrpc")("2.0".into()));
            members.push(member("method")(method.into()));
            members.extend(id.map(member("id")));
            members.extend(params.map(Json::from).map(member("params")));
            members.extend(timeout.map(Json::from).map(member("timeout")));
            members
        });
        members.prop_shuffle()
    }

    #[test]
    fn compact_message_that_is_no_request_is_rejected_with_its_id() {
        let cancel = r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":[7]}"#;
        for line in [
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{cancel}}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"rpc.item","params":[1,{cancel}]}}"#),
        ] {
            let mut message = line.clone().into_bytes();
            let mut parser = Parser::new(64);
            let document = parser.parse_line(&mut message).unwrap();
            match document.message() {
                Message::Single(Err(invalid)) => assert_eq!(invalid.id, Id::Unsigned(1), "{line}"),
                read => panic!("{line} is read as {read:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
            read(&bytes);
        }

        #[test]
        fn any_json_is_read_without_panic(json in any_json()) {
            read(json.to_string().as_bytes());
        }

        #[test]
        fn damaged_request_is_read_without_panic(
            members in request(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut message = object(&members).into_bytes();
            for (place, byte) in damage {
                let place = place.index(message.len());
                message[place] = byte;
            }
            read(&message);
        }

        #[test]
        fn members_in_any_order_are_read(members in request()) {
            let text = object(&members);
            let mut message = text.clone().into_bytes();
            let mut parser = Parser::new(64);
            let document = parser.parse(&mut message).unwrap();
            let request = Request::read(document.root());
            prop_assert!(request.is_ok(), "{}", text);
            let request = request.unwrap();
            let find = |wanted: &str| {
                let mut members = members.iter();
                members.find_map(|(name, value)| (name == wanted).then(|| value.clone()))
            };
            let params = request.params.map(|params| serde_json::to_value(params).unwrap());
            prop_assert_eq!(request.id.map(id_of), find("id"));
            prop_assert_eq!(Json::from(request.method), find("method").unwrap());
            prop_assert_eq!(params.map(|params| params.to_string()), find("params").map(|params| params.to_string()));
            prop_assert_eq!(request.timeout.map(Json::from), find("timeout"));
        }

        #[test]
        fn object_that_is_no_request_is_rejected_with_its_id(
            members in prop::collection::vec((name(), any_json()), 0..8),
            valid in request(),
            spliced in 0usize..8,
        ) {
            let close = valid.into_iter().chain(members.iter().take(spliced % 3).cloned());
            for members in [close.collect(), members] {
                let text = object(&members);
                let mut message = text.clone().into_bytes();
                let mut parser = Parser::new(64);
                let document = parser.parse(&mut message).unwrap();
                let read = match Request::read(document.root()) {
                    Ok(request) => Ok(request.id.map(id_of)),
                    Err(invalid) => Err(id_of(invalid.id)),
                };
                prop_assert_eq!(read, expected(&members), "{}", text);
            }
        }

        #[test]
        fn timeout_with_a_fraction_is_rounded_up(timeout in prop_oneof![any::<f64>(), -10.0..1e6]) {
            prop_assume!(timeout.is_finite());
            let text = json!({"jsonrpc": "2.0", "method": "", "timeout": timeout}).to_string();
            let mut message = text.into_bytes();
            let mut parser = Parser::new(64);
            let document = parser.parse(&mut message).unwrap();
            let read = Request::read(document.root()).unwrap().timeout.unwrap();
            let (least, most) = (timeout.max(0.0), (timeout + 1.0).max(1.0));
            prop_assert!(timeout >= u64::MAX as f64 || (least <= read as f64 && read as f64 <= most));
        }
    }
}
