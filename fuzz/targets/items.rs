//! A line of a stream of items is read as serde_json reads it.
#![no_main]

use fuzz::oracle::{self, Members, is_id};
use fuzz::{grammar, replies::Request};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::fuzzing::{StreamItem, stream_item};
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    check(data);
    for (before, after) in [
        (r#"{"jsonrpc":"2.0","method":"rpc.item","params":["#, "]}"),
        (
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":{"id":1,"item":"#,
            "}}",
        ),
        (r#"{"jsonrpc":"2.0","method":"rpc.end","params":["#, "]}"),
    ] {
        check(&[before.as_bytes(), data, after.as_bytes()].concat());
    }
    check(grammar::text(data, grammar::line).as_bytes());
});

/// The maximum depth of a line.
const DEPTH: usize = 64;

fn check(line: &[u8]) {
    if oracle::has_minus_zero(line) {
        return;
    }
    let came = stream_item(line).map(|stream_item| match stream_item {
        StreamItem::Item(id, item) => (json(&id), Some(json(&item))),
        StreamItem::End(id) => (json(&id), None),
    });
    let text = oracle::accepts(line, DEPTH).then(|| std::str::from_utf8(line).expect("JSON"));
    let expected = text.and_then(expected);
    assert_eq!(came, expected, "{}", line.escape_ascii());
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

/// Returns the id and the item of a line; no item for the end of the items.
fn expected(line: &str) -> Option<(Value, Option<Value>)> {
    let request = Request::read(line).ok()?;
    let (id, item) = match request.id {
        Some(_) => return None,
        None => parameters(request.params?)?,
    };
    match request.method.as_str() {
        "rpc.item" => Some((id, Some(item?))),
        "rpc.end" => Some((id, None)),
        _ => None,
    }
}

fn parameters(params: &RawValue) -> Option<(Value, Option<Value>)> {
    let (mut id, mut item) = (None, None);
    match serde_json::from_str::<Vec<Value>>(params.get()) {
        Ok(elements) => {
            let mut elements = elements.into_iter();
            (id, item) = (Some(item_id(elements.next()?)?), elements.next());
        }
        Err(_) => {
            let Members(members) = serde_json::from_str(params.get()).ok()?;
            for (name, value) in members {
                let value: Value = serde_json::from_str(value.get()).ok()?;
                match name.as_str() {
                    "id" => id = Some(item_id(value)?),
                    "item" => item = Some(value),
                    _ => {}
                }
            }
        }
    }
    Some((id?, item))
}

/// Returns the id of a call. The sender may have changed an integer to a fraction; larger fractions are not exact.
fn item_id(id: Value) -> Option<Value> {
    match id.as_f64() {
        _ if is_id(&id) => Some(id),
        Some(number) if number.is_sign_positive() && number < 2_f64.powi(53) => {
            (number.fract() == 0.0).then(|| (number as u64).into())
        }
        _ => None,
    }
}
