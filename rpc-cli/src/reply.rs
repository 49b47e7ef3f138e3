//! Reads replies as the text that the server sent. A tree of values would take many times the memory.

use std::borrow::Cow;
use std::ops::Range;

use rpc_runtime::{CallError, ErrorObject, Escaped, code};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::failure::{ErrorReply, Failure, Status};

/// A line of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The result of the call as JSON.
    Result(String),
    /// An item of a stream, as JSON.
    Item(String),
    Error(ErrorReply),
}

/// The reason why a call has no result.
#[derive(Debug)]
pub(crate) enum CallFailed {
    /// The server answered with an error.
    Answered(ErrorReply),
    /// There is no reply.
    Unanswered(CallError<ErrorObject>),
    /// The reply is malformed. Holds its start, escaped.
    Malformed(String),
}

impl From<CallError<ErrorObject>> for CallFailed {
    fn from(error: CallError<ErrorObject>) -> Self {
        match error {
            CallError::Application(error) | CallError::Remote(error) => {
                Self::Answered(ErrorReply {
                    code: error.code(),
                    message: error.message().to_owned(),
                    data: error.raw_data().map(str::to_owned),
                })
            }
            error => Self::Unanswered(error),
        }
    }
}

impl CallFailed {
    fn malformed(received: &str) -> Self {
        Self::Malformed(Escaped(received).to_string())
    }
}

impl From<ErrorReply> for CallFailed {
    fn from(error_reply: ErrorReply) -> Self {
        match error_reply.code {
            code::DEADLINE_PASSED => {
                let data = error_reply.data.as_deref();
                // The server says for which limit the call waited.
                let waited = data.and_then(|data| serde_json::from_str::<String>(data).ok());
                Self::Unanswered(match waited {
                    Some(waited) => CallError::TimeoutAtLimit(format!("it {}", Escaped(waited))),
                    None => CallError::Timeout,
                })
            }
            code::CANCELLED => Self::Unanswered(CallError::Cancelled),
            code::STREAM_ENDED => Self::Unanswered(CallError::StreamEnded),
            _ => Self::Answered(error_reply),
        }
    }
}

impl From<CallFailed> for Failure {
    fn from(failed: CallFailed) -> Self {
        match failed {
            CallFailed::Answered(error_reply) if error_reply.code == code::SHUTTING_DOWN => {
                Self::new(
                    Status::Unreachable,
                    format!("the call was not executed: {}", error_reply.message),
                )
            }
            CallFailed::Answered(error_reply) => Self::answered(error_reply),
            CallFailed::Unanswered(error) => Self::unanswered(&error),
            CallFailed::Malformed(received) => Self::new(
                Status::Unusable,
                format!("the reply cannot be read: it is not a JSON-RPC response: {received}"),
            ),
        }
    }
}

/// Reads a line of a reply.
pub(crate) fn read(line: Vec<u8>) -> Result<Line, CallFailed> {
    let text = String::from_utf8(line)
        .map_err(|error| CallFailed::malformed(&String::from_utf8_lossy(error.as_bytes())))?;
    match find(&text).ok_or_else(|| CallFailed::malformed(&text))? {
        Found::Result(range) => Ok(Line::Result(extract(text, range))),
        Found::Item(range) => Ok(Line::Item(extract(text, range))),
        Found::Error(error_reply) => Ok(Line::Error(error_reply)),
    }
}

/// Reads the line of a call's response.
pub(crate) fn read_result(line: Vec<u8>) -> Result<String, CallFailed> {
    match read(line)? {
        Line::Result(result) => Ok(result),
        Line::Error(error_reply) => Err(error_reply.into()),
        Line::Item(item) => Err(CallFailed::malformed(&item)),
    }
}

/// The positions of the parts of a line.
enum Found {
    Result(Range<usize>),
    Item(Range<usize>),
    Error(ErrorReply),
}

/// A response, or the notification that holds an item.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<ErrorFrame<'a>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorFrame<'a> {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ItemByName<'a> {
    #[serde(borrow)]
    item: &'a RawValue,
}

/// Distinguishes a null from a missing member.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

fn find(text: &str) -> Option<Found> {
    let frame: Frame<'_> = serde_json::from_str(text).ok()?;
    if let Some(error) = frame.error {
        return Some(Found::Error(ErrorReply {
            code: error.code,
            message: error.message,
            data: error.data.map(|data| data.get().to_owned()),
        }));
    }
    if let Some(result) = frame.result {
        // A result without an id may be that of any call.
        frame.id?;
        return Some(Found::Result(place(text, result)));
    }
    let params = frame.params?.get();
    if frame.method? != "rpc.item" {
        return None;
    }
    let item = match params.starts_with('[') {
        true => {
            serde_json::from_str::<(IgnoredAny, &RawValue)>(params)
                .ok()?
                .1
        }
        false => serde_json::from_str::<ItemByName<'_>>(params).ok()?.item,
    };
    Some(Found::Item(place(text, item)))
}

/// Returns the position of a part in a text.
fn place(text: &str, part: &RawValue) -> Range<usize> {
    let start = (part.get().as_ptr() as usize) - (text.as_ptr() as usize);
    start..start + part.get().len()
}

/// Returns a part of a text without copying it.
fn extract(mut text: String, range: Range<usize>) -> String {
    text.truncate(range.end);
    text.drain(..range.start);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<Line> {
        read(text.as_bytes().to_vec()).ok()
    }

    #[test]
    fn result_or_item_of_a_line_is_its_text() {
        let result = |text: &str| Some(Line::Result(text.into()));
        let item = |text: &str| Some(Line::Item(text.into()));
        let cases = [
            (
                r#"{"jsonrpc":"2.0","id":1,"result":[1.50, "a"]}"#,
                result(r#"[1.50, "a"]"#),
            ),
            (r#"{"result":null,"id":1}"#, result("null")),
            (
                r#"{"id":1,"error":null,"result":"\u0041"}"#,
                result(r#""\u0041""#),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,{"a":[]}]}"#,
                item(r#"{"a":[]}"#),
            ),
            (
                r#"{"params": {"item": null, "id": 1}, "method": "rpc.item"}"#,
                item("null"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(line(text), expected, "{text}");
        }
    }

    #[test]
    fn error_of_a_line_is_read_with_its_data() {
        let text = r#"{"id":1,"error":{"code":7,"message":"n\u00f6","data":null,"more":1}}"#;
        let expected = ErrorReply {
            code: 7,
            message: "nö".into(),
            data: Some("null".into()),
        };
        assert_eq!(line(text), Some(Line::Error(expected)));
    }

    #[test]
    fn line_that_is_no_answer_is_malformed() {
        for text in [
            "",
            "[]",
            "{}",
            "nothing",
            r#"{"id":1}"#,
            r#"{"result":1}"#,
            r#"{"id":null,"result":1}"#,
            r#"{"id":1,"result":1} 2"#,
            r#"{"id":1,"result":[1}"#,
            r#"{"id":1,"result":01}"#,
            r#"{"id":1,"error":{"code":"1","message":""}}"#,
            r#"{"id":1,"error":"no"}"#,
            r#"{"method":"rpc.item","params":[1]}"#,
            r#"{"method":"rpc.end","params":[1,2]}"#,
        ] {
            assert_eq!(line(text), None, "{text}");
        }
        assert!(read(b"{\"id\":1,\"result\":\"\xff\"}".to_vec()).is_err());
        let deep = format!(
            "{{\"id\":1,\"result\":{}{}}}",
            "[".repeat(1 << 20),
            "]".repeat(1 << 20)
        );
        assert!(line(&deep).is_some(), "any depth is read without a stack");
    }
}
