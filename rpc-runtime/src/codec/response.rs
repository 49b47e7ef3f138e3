//! Reads a response of any implementation.

use crate::codec::de::Value;
use crate::codec::error::ErrorData;
use crate::codec::error_code::code;
use crate::codec::fast_path::Compact;
use crate::codec::id::Id;
use crate::codec::parser::Document;

/// A response as a caller reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseMessage<'t, 'de> {
    /// The id, if a call of a client of this crate can have it.
    pub(crate) id: Option<u64>,
    pub(crate) outcome: ResponseBody<'t, 'de>,
}

/// The result or the error of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ResponseBody<'t, 'de> {
    Result(Value<'t, 'de>),
    Error {
        code: i64,
        message: &'de str,
        data: ErrorData<'t, 'de>,
    },
}

impl<'t, 'de> ResponseMessage<'t, 'de> {
    /// Reads a response object. Returns `None` if `value` is none. A result has an id; an error may have none.
    pub(crate) fn read(value: Value<'t, 'de>) -> Option<Self> {
        let (mut has_id, mut id, mut result, mut error) = (false, None, None, None);
        for (name, value) in value.members()? {
            match name {
                "id" => {
                    has_id = Id::is_reply_id(value);
                    if !has_id {
                        return None;
                    }
                    id = Id::read_call_id(value);
                }
                "result" => result = Some(value),
                "error" => error = Some(value),
                _ => {}
            }
        }
        let outcome = match (result, error) {
            (Some(value), None) => ResponseBody::Result(value),
            // Some servers send a null `error` beside a result.
            (Some(value), Some(error)) if error.is_null() => ResponseBody::Result(value),
            (_, Some(error)) => ResponseBody::error(error)?,
            (None, None) => return None,
        };
        (has_id || outcome.is_error()).then_some(Self { id, outcome })
    }
}

impl<'de> Document<'_, 'de> {
    /// Interprets the document as a message that a caller receives.
    pub(crate) fn response(&self) -> Option<ResponseMessage<'_, 'de>> {
        match self.compact() {
            Some(Compact::Response { id }) => Some(ResponseMessage {
                id: Some(id),
                outcome: ResponseBody::Result(self.root()),
            }),
            _ => ResponseMessage::read(self.root()),
        }
    }
}

impl<'t, 'de> ResponseBody<'t, 'de> {
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error { .. })
    }

    /// Returns `true` if the server rejected the call because it is shutting down.
    pub(crate) fn is_shutting_down(&self) -> bool {
        matches!(self, Self::Error { code, .. } if *code == code::SHUTTING_DOWN)
    }

    fn error(value: Value<'t, 'de>) -> Option<Self> {
        let (mut code, mut message, mut data) = (None, "", None);
        for (name, value) in value.members()? {
            match name {
                "code" => code = Some(value.as_i64()?),
                "message" => message = value.as_str()?,
                "data" => data = Some(value),
                _ => {}
            }
        }
        Some(Self::Error {
            code: code?,
            message,
            data: ErrorData { value: data },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::codec::envelope::{HEAD, leading_id};
    use crate::codec::error::ErrorObject;
    use crate::codec::error_code::{ProtocolError, Setting};
    use crate::codec::parser::Parser;
    use crate::codec::reply::Reply;
    use crate::codec::result::{returns, returns_result};

    /// Reads a response as a caller does, and returns it as JSON.
    fn read(response: &[u8]) -> Option<Json> {
        let mut message = response.to_vec();
        let mut parser = Parser::new(128);
        let document = parser.parse(&mut message).ok()?;
        let response = ResponseMessage::read(document.root())?;
        let mut id = Vec::new();
        let members = document.root().members()?;
        let (_, value) = members.filter(|(name, _)| *name == "id").last()?;
        Id::read(value)?.write(&mut id);
        let id: Json = serde_json::from_slice(&id).unwrap();
        Some(match response.outcome {
            ResponseBody::Result(value) => json!({"id": id, "result": value.to_json()}),
            ResponseBody::Error {
                code,
                message,
                data,
            } => {
                let data = data.value.map(Value::to_json);
                json!({"id": id, "error": [code, message, data]})
            }
        })
    }

    impl Value<'_, '_> {
        fn to_json(self) -> Json {
            serde_json::to_value(self).unwrap()
        }
    }

    fn id() -> impl Strategy<Value = Json> {
        prop_oneof![
            Just(Json::Null),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<String>().prop_map(Json::from),
        ]
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
            any::<String>().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Writes the reply to a request with this id.
    fn reply<T>(id: &Json, write: impl FnOnce(&mut Reply) -> T) -> Vec<u8> {
        let mut text = id.to_string().into_bytes();
        let mut parser = Parser::new(64);
        let document = parser.parse(&mut text).unwrap();
        let mut reply = Reply::new(usize::MAX);
        reply.begin(Some(Id::Null));
        reply.reject(ProtocolError::Internal);
        reply.begin(Id::read(document.root()));
        write(&mut reply);
        reply.bytes().to_vec()
    }

    proptest! {
        #[test]
        fn result_written_is_read_back(id in id(), value in json()) {
            let response = reply(&id, |reply| reply.value(&value, returns::<_, Json>()).unwrap());
            let whole: Json = serde_json::from_slice(&response).unwrap();
            prop_assert_eq!(whole, json!({"jsonrpc": "2.0", "id": id, "result": value}));
            prop_assert_eq!(read(&response).unwrap(), json!({"id": id, "result": value}));
            prop_assert_eq!(leading_id(&response), id.as_u64());
        }

        #[test]
        fn error_written_is_read_back(id in id(), code in any::<i64>(), message in any::<String>(), data in prop::option::of(json())) {
            let mut error = ErrorObject::new(code, message.clone());
            if let Some(data) = &data {
                error = error.with_data(data);
            }
            let response = reply(&id, |reply| reply.result(Err::<(), _>(error), returns_result::<_, (), _>()).unwrap_err());
            prop_assert_eq!(read(&response).unwrap(), json!({"id": id, "error": [code, message, data]}));
            prop_assert_eq!(leading_id(&response), id.as_u64());
        }

        #[test]
        fn members_in_any_order_are_read(id in id(), value in json(), order in Just(["jsonrpc", "id", "result", "extra"]).prop_shuffle()) {
            let member = |name: &&str| match *name {
                "jsonrpc" => r#""jsonrpc":"2.0""#.to_owned(),
                "id" => format!(r#""id":{id}"#),
                "result" => format!(r#""result":{value}"#),
                other => format!(r#""{other}":{value}"#),
            };
            let response = format!("{{{}}}", order.iter().map(member).collect::<Vec<_>>().join(","));
            prop_assert_eq!(read(response.as_bytes()).unwrap(), json!({"id": id, "result": value}));
        }

        #[test]
        fn any_bytes_are_read_without_panic(json in json(), bytes in any::<Vec<u8>>(), digits in "[0-9]{0,30}[,}]?") {
            read(json.to_string().as_bytes());
            read(&bytes);
            leading_id(&bytes);
            let head = std::str::from_utf8(HEAD).unwrap();
            let response = format!("{head}{digits}");
            let id = digits.strip_suffix(',').and_then(|digits| digits.parse().ok());
            prop_assert_eq!(leading_id(response.as_bytes()), id);
            for shape in [json!({"id": json}), json!({"error": json, "id": 1}), json!({"error": {"code": json}, "id": 1})] {
                read(shape.to_string().as_bytes());
            }
        }
    }

    #[test]
    fn json_that_is_no_response_is_none() {
        for json in [
            "[]",
            "{}",
            r#"{"id":1}"#,
            r#"{"result":1}"#,
            r#"{"id":1.5,"result":1}"#,
            r#"{"id":1,"error":null}"#,
            r#"{"id":1,"error":{}}"#,
            r#"{"id":1,"error":{"code":"1","message":""}}"#,
            r#"{"id":1,"error":{"code":1.5,"message":""}}"#,
            r#"{"id":1,"error":{"code":1,"message":null}}"#,
        ] {
            assert_eq!(read(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn null_error_beside_a_result_is_ignored() {
        let response = br#"{"id":1,"result":2,"error":null}"#;
        assert_eq!(read(response), Some(json!({"id": 1, "result": 2})));
    }

    #[test]
    fn every_protocol_error_is_a_response() {
        for error in [
            ProtocolError::Parse,
            ProtocolError::TooDeep(Setting::new("max_levels", 9)),
            ProtocolError::InvalidRequest("why"),
            ProtocolError::MethodNotFound,
            ProtocolError::InvalidParams("why"),
            ProtocolError::Internal,
            ProtocolError::Cancelled,
            ProtocolError::DeadlinePassed,
            ProtocolError::ShuttingDown,
            ProtocolError::DeadlinePassedAt(Setting::new("max_calls", 1)),
            ProtocolError::RequestTooLarge(Setting::new("max_bytes", 2)),
            ProtocolError::ReplyTooLarge(Setting::new("max_bytes", 3)),
            ProtocolError::NoRoomForReply(Setting::new("max_memory", 6)),
            ProtocolError::MemoryLimit(Setting::new("max_memory", 7)),
            ProtocolError::TooManyCalls(Setting::new("max_calls", 4)),
            ProtocolError::BatchTooLarge(Setting::new("max_entries", 5)),
            ProtocolError::BatchReplyTooLarge(Setting::new("max_bytes", 7)),
            ProtocolError::NoRoomForBatchReply(Setting::new("max_memory", 8)),
        ] {
            let mut response = Vec::new();
            error.write(Id::String("é\""), &mut response);
            let (code, message, data) = error.parts();
            let data = data.map(|data| data.to_string());
            assert_eq!(
                read(&response),
                Some(json!({"id": "é\"", "error": [code, message, data]}))
            );
        }
    }
}
