//! serde_json and a `match`, written by hand for these five methods: the least that typed JSON-RPC can do with serde_json.
//!
//! All ids are numbers. There are no errors, no named parameters, no batches and no notifications, and nothing is
//! asynchronous. Strings without escapes are borrowed; serde_json has to copy strings with escapes.

use std::borrow::Cow;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answers::Answers;
use super::handlers::Receipt;
use super::message::Method;
use crate::work::Order;

#[derive(Deserialize)]
struct Request<P> {
    #[serde(rename = "jsonrpc")]
    _version: Version,
    id: u64,
    method: Method,
    params: P,
}

#[derive(Deserialize)]
enum Version {
    #[serde(rename = "2.0")]
    Two,
}

#[derive(Serialize)]
struct Response<R> {
    jsonrpc: &'static str,
    id: u64,
    result: R,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A message whose method is known, and whose parameters are still to be decoded.
trait Undecoded<'a> {
    fn decode<P: Deserialize<'a>>(self) -> Result<(u64, P)>;
}

/// Calls the method, and writes the response.
fn dispatch<'a>(method: Method, message: impl Undecoded<'a>, answer: &mut Vec<u8>) -> Result<()> {
    match method {
        Method::Add => {
            let (id, (a, b)) = message.decode::<(i64, i64)>()?;
            encode(answer, id, a + b)
        }
        Method::Place => {
            let (id, (order,)) = message.decode::<(Order<Text>,)>()?;
            encode(answer, id, Receipt::of(&[order]))
        }
        Method::Echo => {
            let (id, (order,)) = message.decode::<(Order<Text>,)>()?;
            encode(answer, id, order)
        }
        Method::Batch => {
            let (id, (orders,)) = message.decode::<(Vec<Order<Text>>,)>()?;
            encode(answer, id, Receipt::of(&orders))
        }
        Method::Text => {
            let (id, (text,)) = message.decode::<(Text,)>()?;
            encode(answer, id, text.0.len())
        }
    }
}

fn encode(answer: &mut Vec<u8>, id: u64, result: impl Serialize) -> Result<()> {
    answer.clear();
    let response = Response {
        jsonrpc: "2.0",
        id,
        result,
    };
    Ok(serde_json::to_writer(answer, &response)?)
}

/// Reads the envelope and skips the parameters, then decodes them in a second pass.
#[derive(Default)]
pub(crate) struct EnvelopeFirst {
    answer: Vec<u8>,
}

impl Answers for EnvelopeFirst {
    fn answer(&mut self, message: &[u8]) -> Result<&[u8]> {
        let message = str::from_utf8(message)?;
        let request: Request<&RawValue> = serde_json::from_str(message)?;
        let params = Params {
            id: request.id,
            params: request.params,
        };
        dispatch(request.method, params, &mut self.answer)?;
        Ok(&self.answer)
    }
}

struct Params<'a> {
    id: u64,
    params: &'a RawValue,
}

impl<'a> Undecoded<'a> for Params<'a> {
    fn decode<P: Deserialize<'a>>(self) -> Result<(u64, P)> {
        Ok((self.id, serde_json::from_str(self.params.get())?))
    }
}

/// Decodes the entire message in one pass, which is possible only if the method is known in advance.
pub(crate) struct Foreseen {
    method: Method,
    answer: Vec<u8>,
}

impl Foreseen {
    pub(crate) fn new(method: Method) -> Self {
        Self {
            method,
            answer: Vec::new(),
        }
    }
}

impl Answers for Foreseen {
    fn answer(&mut self, message: &[u8]) -> Result<&[u8]> {
        let message = Entire {
            method: self.method,
            message: str::from_utf8(message)?,
        };
        dispatch(self.method, message, &mut self.answer)?;
        Ok(&self.answer)
    }
}

struct Entire<'a> {
    method: Method,
    message: &'a str,
}

impl<'a> Undecoded<'a> for Entire<'a> {
    fn decode<P: Deserialize<'a>>(self) -> Result<(u64, P)> {
        let request: Request<P> = serde_json::from_str(self.message)?;
        ensure!(request.method == self.method, "another method");
        Ok((request.id, request.params))
    }
}
