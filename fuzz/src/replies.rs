//! Checks that the replies to requests are those that JSON-RPC requires.

use std::collections::HashSet;

use rpc_runtime::{Limits, RawService};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::oracle::{self, Members, is_id, leading_id};
use crate::service::{Answer, Clerk, DeskServer, answer};

/// A call that must be answered after any message, and its answer.
const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":"next","method":"add","params":{"b":2,"a":1}}"#;
const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":"next","result":3}"#;

/// Serves a message twice, each time followed by a call, and checks every reply.
pub async fn check(message: &[u8], limits: &Limits) {
    let mut responder = RawService::with_limits(DeskServer::new(Clerk), limits.clone());
    if oracle::has_minus_zero(message) {
        return;
    }
    let expected = Expected::to(message, limits);
    for _ in 0..2 {
        let came = responder.respond(message).await;
        assert!(came.len() <= limits.max_response_bytes + message.len());
        expected.check(came);
        assert_eq!(responder.respond(CALL).await, ANSWER);
    }
}

/// The expected replies.
#[derive(Debug)]
enum Expected {
    /// One reply, if any.
    One(Option<Reply>),
    /// One array of replies, in any order.
    Many(Vec<Reply>),
}

#[derive(Debug)]
struct Reply {
    id: Value,
    answer: Answer,
    /// Codes of errors that may replace the answer.
    instead: Vec<i64>,
}

impl Expected {
    fn to(message: &[u8], limits: &Limits) -> Self {
        let refuse = |id, code| Self::One(Some(Reply::refusal(id, code)));
        if message.len() > limits.max_request_bytes {
            return refuse(leading_id(message).into(), -32007);
        }
        if !oracle::accepts(message, limits.max_depth) {
            return refuse(leading_id(message).into(), -32700);
        }
        let message = std::str::from_utf8(message).expect("JSON is UTF-8");
        let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(message) else {
            return Self::One(Reply::to(message));
        };
        if entries.is_empty() {
            return refuse(Value::Null, -32600);
        }
        if entries.len() > limits.max_batch_entries {
            return refuse(Value::Null, -32010);
        }
        let mut replies: Vec<_> = entries
            .iter()
            .filter_map(|entry| Reply::to(entry.get()))
            .collect();
        // An entry may be cancelled by another one, be too large, or not fit behind other replies.
        let is_tight = limits.max_response_bytes < Limits::default().max_response_bytes;
        let instead: &[i64] = if is_tight {
            &[-32001, -32008, -32011]
        } else {
            &[-32001]
        };
        for reply in &mut replies {
            reply.instead.extend(instead);
        }
        Self::Many(replies)
    }

    fn check(&self, came: &[u8]) {
        match self {
            Self::One(None) => assert!(came.is_empty(), "{} to nothing", came.escape_ascii()),
            Self::One(Some(reply)) => {
                let came = serde_json::from_slice(came).expect("a reply");
                let fits = reply.is_answered(&came) || reply.is_stopped(&came);
                assert!(fits, "{came} to {reply:?}");
            }
            Self::Many(replies) if replies.is_empty() => assert!(came.is_empty()),
            Self::Many(replies) => {
                let mut came: Vec<Value> = serde_json::from_slice(came).expect("an array");
                assert_eq!(came.len(), replies.len());
                // Replies that match only one request are assigned first.
                let mut left: Vec<_> = replies.iter().collect();
                left.sort_by_key(|reply| reply.instead.len());
                came.sort_by_key(|came| !left.iter().any(|reply| reply.is_answered(came)));
                for came in came {
                    let answered = left.iter().position(|reply| reply.is_answered(&came));
                    let stopped = || left.iter().position(|reply| reply.is_stopped(&came));
                    let place = answered.or_else(stopped);
                    left.remove(place.unwrap_or_else(|| panic!("{came} to one of {left:?}")));
                }
            }
        }
    }
}

impl Reply {
    fn refusal(id: Value, code: i64) -> Self {
        Self {
            id,
            answer: Answer::Refusal(code),
            instead: Vec::new(),
        }
    }

    /// Returns the expected reply to one request; `None` for a notification.
    fn to(request: &str) -> Option<Self> {
        match Request::read(request) {
            Err(id) => Some(Self::refusal(id, -32600)),
            Ok(request) => Some(Self {
                id: request.id?,
                answer: answer(&request.method, request.params),
                instead: match request.has_timeout {
                    true => vec![-32002],
                    false => Vec::new(),
                },
            }),
        }
    }

    /// Returns `true` if `came` is the expected answer, without other members than those of JSON-RPC.
    fn is_answered(&self, came: &Value) -> bool {
        match &self.answer {
            Answer::Result(result) => {
                *came == json!({"jsonrpc": "2.0", "id": self.id, "result": result})
            }
            Answer::Failure(error) => {
                *came == json!({"jsonrpc": "2.0", "id": self.id, "error": error})
            }
            Answer::Refusal(code) => self.is_refused(came, *code),
        }
    }

    fn is_stopped(&self, came: &Value) -> bool {
        self.instead.iter().any(|code| self.is_refused(came, *code))
    }

    fn is_refused(&self, came: &Value, code: i64) -> bool {
        let error = &came["error"];
        let mut wanted = json!({"code": code, "message": error["message"].as_str()});
        if let Some(data) = error["data"].as_str() {
            wanted["data"] = json!(data);
        }
        error["message"].is_string()
            && *came == json!({"jsonrpc": "2.0", "id": self.id, "error": wanted})
    }
}

/// A request as serde_json reads it.
pub struct Request<'a> {
    pub id: Option<Value>,
    pub method: String,
    pub params: Option<&'a RawValue>,
    has_timeout: bool,
}

impl<'a> Request<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// The id of the error response, if this is no valid request.
    pub fn read(request: &'a str) -> Result<Self, Value> {
        let Ok(Members(members)) = serde_json::from_str::<Members<'a>>(request) else {
            return Err(Value::Null);
        };
        let all = |wanted: &str| {
            let wanted = members.iter().filter(|(name, _)| name == wanted);
            wanted.map(|(_, value)| *value).collect::<Vec<_>>()
        };
        let is = |name, is_right: fn(&RawValue) -> bool| match all(name)[..] {
            [] => None,
            [value] => Some(is_right(value)),
            _ => Some(false),
        };
        let is_request = is("jsonrpc", |version| parsed(version) == "2.0") == Some(true)
            && is("method", |method| parsed(method).is_string()) == Some(true)
            && is("params", |params| params.get().starts_with(['[', '{'])) != Some(false)
            && is("timeout", |timeout| parsed(timeout).is_number()) != Some(false)
            && is("meta", is_meta) != Some(false);
        let has_bad_id = is("id", |id| is_id(&parsed(id))) == Some(false);
        let id = all("id").pop().filter(|_| !has_bad_id).map(parsed);
        if !is_request || has_bad_id {
            return Err(id.unwrap_or_default());
        }
        Ok(Self {
            id,
            method: serde_json::from_str(all("method")[0].get()).expect("a string"),
            params: all("params").pop(),
            has_timeout: !all("timeout").is_empty(),
        })
    }
}

fn is_meta(meta: &RawValue) -> bool {
    let Ok(Members(members)) = serde_json::from_str(meta.get()) else {
        return false;
    };
    let names: HashSet<_> = members.iter().map(|(name, _)| name).collect();
    let are_strings = members.iter().all(|(_, value)| parsed(value).is_string());
    are_strings && names.len() == members.len() && names.len() <= 64
}

fn parsed(value: &RawValue) -> Value {
    serde_json::from_str(value.get()).expect("JSON")
}
