//! A service with methods of every shape, and the responses that it must send, computed with serde_json.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use rpc_runtime::description::OpenRpc;
use rpc_runtime::{RpcError, rpc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::oracle::{Members, is_id};

#[rpc]
pub trait Desk {
    async fn nothing(&self);
    async fn echo(&self, value: Value) -> Value;
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn join(&self, a: &str, b: Cow<'_, str>, c: Option<&[u8]>) -> String;
    async fn optional(&self, a: u32, b: Option<u8>, #[rpc(default = 7)] c: i8) -> Optional;
    async fn record(&self, #[rpc(params)] record: Record) -> Record;
    async fn kind(&self, value: Kind) -> Kind;
    async fn map(&self, value: BTreeMap<i16, Vec<f64>>) -> BTreeMap<i16, Vec<f64>>;
    async fn fail(&self, a: bool, b: String) -> Result<(), Failure>;
    async fn later(&self, value: Value) -> Value;
    #[rpc(blocking)]
    fn block(&self, a: u8, b: &str) -> String;
    #[rpc(notification)]
    async fn note(&self, value: Value);
}

/// The names of the methods, the methods of the protocol, and a name that is not served.
pub const METHODS: &[&str] = &[
    "nothing",
    "echo",
    "add",
    "join",
    "optional",
    "record",
    "kind",
    "map",
    "fail",
    "later",
    "block",
    "note",
    "rpc.ping",
    "rpc.cancel",
    "rpc.discover",
    "none",
];

pub type Optional = (u32, Option<u8>, i8);

#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    a: u8,
    b: Option<String>,
    #[serde(default)]
    c: Vec<Kind>,
    x: Option<Box<Record>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Kind {
    Unit,
    New(Value),
    Tuple(u8, String),
    Struct { a: i8, b: Option<Box<Kind>> },
}

#[derive(Debug, thiserror::Error, RpcError)]
pub enum Failure {
    #[error("plain")]
    #[rpc(code = 1)]
    Plain,
    #[error("because of {reason}")]
    #[rpc(code = 2)]
    Reason { reason: String },
}

/// Implements `Desk`.
pub struct Clerk;

impl Desk for Clerk {
    async fn nothing(&self) {}

    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn add(&self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn join(&self, a: &str, b: Cow<'_, str>, c: Option<&[u8]>) -> String {
        let c = c.map_or(Cow::Borrowed("none"), String::from_utf8_lossy);
        [a, &b, &c].concat()
    }

    async fn optional(&self, a: u32, b: Option<u8>, c: i8) -> Optional {
        (a, b, c)
    }

    async fn record(&self, record: Record) -> Record {
        record
    }

    async fn kind(&self, value: Kind) -> Kind {
        value
    }

    async fn map(&self, value: BTreeMap<i16, Vec<f64>>) -> BTreeMap<i16, Vec<f64>> {
        value
    }

    async fn fail(&self, a: bool, b: String) -> Result<(), Failure> {
        Err(if a {
            Failure::Plain
        } else {
            Failure::Reason { reason: b }
        })
    }

    async fn later(&self, value: Value) -> Value {
        tokio::task::yield_now().await;
        value
    }

    fn block(&self, a: u8, b: &str) -> String {
        format!("{a}{b}")
    }

    async fn note(&self, _: Value) {}
}

/// Bytes, which travel as a string or as an array.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Array(Vec<u8>),
}

impl Bytes {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Array(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// The expected outcome of a call.
#[derive(Debug)]
pub enum Answer {
    Result(Value),
    /// An error object of the method.
    Failure(Value),
    /// The code of a protocol error.
    Refusal(i64),
}

/// Returns the expected outcome of a call.
pub fn answer(method: &str, params: Option<&RawValue>) -> Answer {
    let invalid = Answer::Refusal(-32602);
    match method {
        "rpc.ping" => return Answer::Result(Value::Null),
        "rpc.discover" => return Answer::Result(document()),
        "fail" => return fail(params).map_or(invalid, Answer::Failure),
        _ if !METHODS.contains(&method) => return Answer::Refusal(-32601),
        "none" => return Answer::Refusal(-32601),
        _ => {}
    }
    result(method, params).map_or(invalid, Answer::Result)
}

/// Returns the OpenRPC document of the service.
fn document() -> Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    let write = || serde_json::to_value(OpenRpc::of::<DeskClient>()).expect("a document");
    DOCUMENT.get_or_init(write).clone()
}

/// Returns the result of a call; `None` if its parameters are invalid.
fn result(method: &str, params: Option<&RawValue>) -> Option<Value> {
    Some(match method {
        "nothing" => {
            arguments(params, [])?;
            Value::Null
        }
        "echo" | "later" => read(arguments(params, ["value"])?[0])?,
        "note" => {
            read::<Value>(arguments(params, ["value"])?[0])?;
            Value::Null
        }
        "add" => {
            let [a, b] = arguments(params, ["a", "b"])?;
            json!(read::<i64>(a)?.wrapping_add(read(b)?))
        }
        "join" => {
            let [a, b, c] = arguments(params, ["a", "b", "c"])?;
            let (a, b): (String, String) = (read(a)?, read(b)?);
            let c = c.map_or(Some(None), |c| read::<Option<Bytes>>(Some(c)))?;
            json!([a, b, c.map_or("none".into(), Bytes::into_text)].concat())
        }
        "optional" => {
            let [a, b, c] = arguments(params, ["a", "b", "c"])?;
            let b = b.map_or(Some(None), |b| read::<Option<u8>>(Some(b)))?;
            let c = c.map_or(Some(7), |c| read::<i8>(Some(c)))?;
            json!((read::<u32>(a)?, b, c))
        }
        "record" => json!(read::<Record>(params)?),
        "kind" => json!(read::<Kind>(arguments(params, ["value"])?[0])?),
        "map" => json!(read::<BTreeMap<i16, Vec<f64>>>(
            arguments(params, ["value"])?[0]
        )?),
        "block" => {
            let [a, b] = arguments(params, ["a", "b"])?;
            let (a, b): (u8, String) = (read(a)?, read(b)?);
            json!(format!("{a}{b}"))
        }
        "rpc.cancel" => {
            cancelled(params?)?;
            Value::Null
        }
        _ => return None,
    })
}

fn fail(params: Option<&RawValue>) -> Option<Value> {
    let [a, b] = arguments(params, ["a", "b"])?;
    let (a, b): (bool, String) = (read(a)?, read(b)?);
    Some(match a {
        true => json!({"code": 1, "message": "plain"}),
        false => json!({"code": 2, "message": format!("because of {b}"), "data": {"reason": b}}),
    })
}

/// Returns the id in the parameters of `rpc.cancel`.
fn cancelled(params: &RawValue) -> Option<Value> {
    let id = match read::<Vec<Value>>(Some(params)) {
        Some(elements) => elements.into_iter().next()?,
        None => read::<Value>(Some(params))?.get("id")?.clone(),
    };
    is_id(&id).then_some(id)
}

fn read<'a, T: Deserialize<'a>>(argument: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(argument?.get()).ok()
}

/// Returns the arguments with these names, given by position or by name.
fn arguments<'a, const N: usize>(
    params: Option<&'a RawValue>,
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut arguments = [None; N];
    let Some(params) = params else {
        return Some(arguments);
    };
    if let Some(elements) = read::<Vec<&RawValue>>(Some(params)) {
        for (position, element) in elements.into_iter().enumerate() {
            *arguments.get_mut(position)? = Some(element);
        }
    } else {
        let Members(members) = read(Some(params))?;
        for (name, value) in members {
            let position = names.iter().position(|known| *known == name)?;
            if arguments[position].replace(value).is_some() {
                return None;
            }
        }
    }
    Some(arguments)
}
