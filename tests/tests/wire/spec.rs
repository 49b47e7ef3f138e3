//! JSON-RPC 2.0 on the wire, as transcripts in the notation of its specification.
//!
//! ```text
//! Text that explains the transcript.
//!
//! --> {"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}
//! <-- {"jsonrpc": "2.0", "result": 19, "id": 1}
//! ```
//!
//! `-->` is sent. `<--` must be received, in this order; `<~~` must be received at any time. Each continues up to the
//! next arrow or blank line, and is one line on the wire. Where no `<--` follows, or one that starts with `//`, nothing
//! must be received. `\xFF` is a byte, and `\3<[>` is `[[[`.
//!
//! Values are compared, not text; the responses of a batch are a set. An error without `data` matches the same error
//! with any `data`, and one whose `data` ends with `…` matches any that starts so.
//!
//! Every transcript runs twice, with a stream for each paragraph and with one stream for all, each time as written and
//! without whitespace. All transcripts also run concurrently, and shuffled.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rpc_runtime::{Context, ErrorObject, Limits, rpc};
use serde_json::Value;
use tests::peer::RawClient;
use tests::support::TestServer;
use tokio::task::JoinSet;

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            run(stringify!($name)).await;
        })*

        const TRANSCRIPTS: &[&str] = &[$(stringify!($name)),*];
    };
}

// The examples of the specification, in its order.
transcripts! {
    rpc_call_with_positional_parameters
    rpc_call_with_named_parameters
    a_notification
    rpc_call_of_non_existent_method
    rpc_call_with_invalid_json
    rpc_call_with_invalid_request_object
    rpc_call_batch_invalid_json
    rpc_call_with_an_empty_array
    rpc_call_with_an_invalid_batch_but_not_empty
    rpc_call_with_invalid_batch
    rpc_call_batch
    rpc_call_batch_all_notifications

    // Cases that the specification leaves open.
    arguments
    batches
    blank_lines
    byte_order_mark
    bytes_that_are_not_utf8
    concurrent_calls
    duplicate_members
    envelopes
    ids
    members_in_any_order
    nesting
    not_json
    notifications
    numbers
    params_of_the_wrong_type
    reserved_methods
    response_metadata
    strings
    timeout_and_meta
}

#[test]
fn every_transcript_has_a_test() {
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(TRANSCRIPTS.contains(&name), "{name} has no test");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transcripts_run_concurrently_on_one_connection() {
    let server = TestServer::start(ExamplesServer::new(Desk), Limits::default());
    let connection = RawClient::connect(&server).await;
    let mut streams = JoinSet::new();
    for name in TRANSCRIPTS.repeat(5) {
        let connection = connection.clone();
        streams.spawn(async move {
            let exchanges = open(name);
            let came = connection.exchange(sent(&exchanges)).await;
            compare(&exchanges, came)
                .unwrap_or_else(|difference| panic!("{name}.txt\n{difference}"));
        });
    }
    streams.join_all().await;
    drain(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transcripts_shuffled_on_one_stream_in_random_pieces_are_answered() {
    let server = TestServer::start(ExamplesServer::new(Desk), Limits::default());
    let connection = RawClient::connect(&server).await;
    let all: Vec<_> = TRANSCRIPTS.iter().flat_map(|name| open(name)).collect();
    let mut random = TestRunner::deterministic();
    for _ in 0..5 {
        let shuffled = Just(all.clone()).prop_shuffle();
        let exchanges = shuffled.new_tree(&mut random).unwrap().current();
        let sent = sent(&exchanges);
        let mut rest = &sent[..];
        let pieces = std::iter::from_fn(|| {
            let size = (1..4000usize).new_tree(&mut random).unwrap().current();
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        });
        let came = connection.exchange_in_pieces(pieces).await;
        compare(&exchanges, came).unwrap_or_else(|difference| panic!("{difference}"));
    }
    drain(server).await;
}

/// The service of the transcripts.
#[rpc]
trait Examples {
    async fn subtract(&self, minuend: i64, subtrahend: i64) -> i64;
    async fn sum(&self, #[rpc(params)] values: Vec<i64>) -> i64;
    #[rpc(notification)]
    async fn update(&self, #[rpc(params)] values: Vec<i64>);
    #[rpc(notification)]
    async fn notify_hello(&self, value: i64);
    #[rpc(notification)]
    async fn notify_sum(&self, #[rpc(params)] values: Vec<i64>);
    async fn get_data(&self) -> (&str, u32);

    async fn echo(&self, value: Value) -> Value;
    async fn length(&self, text: &str) -> usize;
    async fn optional(&self, a: u32, b: Option<u32>, c: Option<u32>) -> [Option<u32>; 3];
    async fn scale(&self, value: f64, #[rpc(default = 10.0)] factor: f64) -> f64;
    async fn signed(&self, value: i64) -> i64;
    async fn unsigned(&self, value: u64) -> u64;
    async fn small(&self, value: u8) -> u8;
    async fn late(&self, value: u32) -> u32;
    async fn never(&self);
    async fn panic(&self);
    async fn unwritable(&self) -> BTreeMap<(u8, u8), u8>;
    async fn describe(
        &self,
        cx: &Context,
        meta: Vec<(String, String)>,
        end: &str,
    ) -> Result<String, ErrorObject>;
}

struct Desk;

impl Examples for Desk {
    async fn subtract(&self, minuend: i64, subtrahend: i64) -> i64 {
        minuend - subtrahend
    }

    async fn sum(&self, values: Vec<i64>) -> i64 {
        values.iter().sum()
    }

    async fn update(&self, _: Vec<i64>) {}

    async fn notify_hello(&self, _: i64) {}

    async fn notify_sum(&self, _: Vec<i64>) {}

    async fn get_data(&self) -> (&str, u32) {
        ("hello", 5)
    }

    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn length(&self, text: &str) -> usize {
        text.len()
    }

    async fn optional(&self, a: u32, b: Option<u32>, c: Option<u32>) -> [Option<u32>; 3] {
        [Some(a), b, c]
    }

    async fn scale(&self, value: f64, factor: f64) -> f64 {
        value * factor
    }

    async fn signed(&self, value: i64) -> i64 {
        value
    }

    async fn unsigned(&self, value: u64) -> u64 {
        value
    }

    async fn small(&self, value: u8) -> u8 {
        value
    }

    async fn late(&self, value: u32) -> u32 {
        tokio::task::yield_now().await;
        value
    }

    async fn never(&self) {
        std::future::pending().await
    }

    async fn panic(&self) {
        panic!("on purpose")
    }

    async fn unwritable(&self) -> BTreeMap<(u8, u8), u8> {
        BTreeMap::from([((0, 0), 0)])
    }

    async fn describe(
        &self,
        cx: &Context,
        meta: Vec<(String, String)>,
        end: &str,
    ) -> Result<String, ErrorObject> {
        for (name, value) in meta {
            if let Err(reason) = cx.set_response_meta(&name, &value) {
                return Ok(reason.to_string());
            }
        }
        match end {
            "result" => Ok("done".into()),
            "error" => Err(ErrorObject::new(7, "on purpose")),
            "panic" => panic!("on purpose"),
            _ => std::future::pending().await,
        }
    }
}

fn folder() -> String {
    format!("{}/transcripts", env!("CARGO_MANIFEST_DIR"))
}

fn open(name: &str) -> Vec<Exchange> {
    let path = format!("{}/{name}.txt", folder());
    read(&std::fs::read_to_string(path).unwrap())
}

fn sent(exchanges: &[Exchange]) -> Vec<u8> {
    exchanges
        .iter()
        .flat_map(|exchange| exchange.sent.clone())
        .collect()
}

/// Removes the whitespace that JSON does not need.
fn dense(messages: &[u8]) -> Vec<u8> {
    let lines = messages.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(dense_line).collect()
}

fn dense_line(line: &[u8]) -> Vec<u8> {
    if serde_json::from_slice::<Value>(line).is_err() {
        return line.to_vec();
    }
    let (mut in_string, mut escaped) = (false, false);
    let needed = |byte: &u8| {
        let is_space = !in_string && matches!(byte, b' ' | b'\t' | b'\r');
        in_string ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        !is_space
    };
    line.iter().copied().filter(needed).collect()
}

async fn run(name: &str) {
    let exchanges = open(name);
    let server = TestServer::start(ExamplesServer::new(Desk), Limits::default());
    let connection = RawClient::connect(&server).await;
    for part in exchanges.chunks(1).chain([&exchanges[..]]) {
        let sent = sent(part);
        for form in [&dense(&sent), &sent] {
            let came = connection.exchange(form).await;
            if let Err(difference) = compare(part, came) {
                let (some, all) = (part.len(), exchanges.len());
                panic!("{name}.txt, {some} of {all} exchanges on one stream\n{difference}");
            }
        }
    }
    drain(server).await;
}

async fn drain(server: TestServer) {
    let drained = server.handle.shutdown(Duration::from_secs(10)).await;
    assert!(drained, "a call was aborted");
}

/// A paragraph of a transcript: messages, and the responses to them.
#[derive(Debug, Clone, Default)]
struct Exchange {
    sent: Vec<u8>,
    replies: Vec<Reply>,
}

#[derive(Debug, Clone)]
struct Reply {
    value: Value,
    at_any_time: bool,
}

fn read(transcript: &str) -> Vec<Exchange> {
    let paragraphs = transcript.split("\n\n").map(paragraph);
    paragraphs
        .filter(|exchange| !exchange.sent.is_empty())
        .collect()
}

fn paragraph(text: &str) -> Exchange {
    let mut exchange = Exchange::default();
    for (arrow, content) in arrows(text) {
        if arrow == "-->" {
            exchange.sent.extend(bytes(&content));
            exchange.sent.push(b'\n');
        } else if !content.starts_with("//") {
            exchange.replies.push(Reply {
                value: serde_json::from_slice(&bytes(&content)).expect(&content),
                at_any_time: arrow == "<~~",
            });
        }
    }
    exchange
}

/// Returns the lines that start with an arrow, each with its continuation.
fn arrows(paragraph: &str) -> Vec<(&str, String)> {
    let mut arrows: Vec<(&str, String)> = Vec::new();
    for line in paragraph.lines() {
        if let Some((arrow @ ("-->" | "<--" | "<~~"), content)) = line.split_at_checked(3) {
            let content = content.strip_prefix(' ').unwrap_or(content);
            arrows.push((arrow, content.to_owned()));
        } else if let Some((_, content)) = arrows.last_mut() {
            content.push_str(line);
        }
    }
    arrows
}

/// Returns the bytes of a line.
fn bytes(mut line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((before, escape)) = line.split_once('\\') {
        bytes.extend(before.as_bytes());
        if let Some(hex) = escape.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            line = &hex[2..];
        } else if escape.starts_with(|first: char| first.is_ascii_digit()) {
            let (count, rest) = escape.split_once('<').unwrap();
            let (repeated, rest) = rest.split_once('>').unwrap();
            bytes.extend(repeated.repeat(count.parse().unwrap()).as_bytes());
            line = rest;
        } else {
            // An escape of JSON, whose second character may be a backslash.
            bytes.push(b'\\');
            bytes.extend(&escape.as_bytes()[..1]);
            line = &escape[1..];
        }
    }
    bytes.extend(line.as_bytes());
    bytes
}

/// Compares the responses with the expected ones, and describes the first difference.
fn compare(exchanges: &[Exchange], came: Vec<Value>) -> Result<(), String> {
    let expected = || {
        exchanges
            .iter()
            .flat_map(|exchange| exchange.replies.iter().map(move |reply| (exchange, reply)))
    };
    let mut in_order = expected()
        .filter(|(_, reply)| !reply.at_any_time)
        .peekable();
    let mut at_any_time: Vec<_> = expected().filter(|(_, reply)| reply.at_any_time).collect();
    for value in came {
        if in_order
            .next_if(|(_, reply)| is(&reply.value, &value))
            .is_some()
        {
            continue;
        }
        let expected = at_any_time
            .iter()
            .position(|(_, reply)| is(&reply.value, &value));
        match expected {
            Some(expected) => drop(at_any_time.swap_remove(expected)),
            None => return Err(difference(in_order.peek().copied(), Some(&value))),
        }
    }
    match in_order.next().or_else(|| at_any_time.pop()) {
        Some(missing) => Err(difference(Some(missing), None)),
        None => Ok(()),
    }
}

fn difference(expected: Option<(&Exchange, &Reply)>, came: Option<&Value>) -> String {
    let mut text = String::new();
    if let Some((exchange, _)) = expected {
        let sent = exchange
            .sent
            .escape_ascii()
            .to_string()
            .replace(r#"\""#, "\"");
        let _ = writeln!(text, "    --> {sent:.2000}");
    }
    let show = |value: Option<&Value>| value.map_or("// nothing".to_owned(), Value::to_string);
    let wanted = show(expected.map(|(_, reply)| &reply.value));
    let _ = writeln!(
        text,
        "    <-- {wanted:.2000}   expected\n    <-- {:.2000}   came",
        show(came)
    );
    text
}

/// Returns `true` if a response, or the responses of a batch, match the expected ones.
fn is(expected: &Value, came: &Value) -> bool {
    match (expected, came) {
        (Value::Array(expected), Value::Array(came)) => {
            let mut came: Vec<_> = came.iter().collect();
            expected.len() == came.len()
                && expected.iter().all(|expected| {
                    let found = came.iter().position(|came| is(expected, came));
                    found.map(|found| came.swap_remove(found)).is_some()
                })
        }
        _ => {
            let mut came = came.clone();
            match (
                expected.pointer("/error/data"),
                came.pointer_mut("/error/data"),
            ) {
                (None, Some(_)) => drop(came["error"].as_object_mut().unwrap().remove("data")),
                (Some(Value::String(start)), Some(Value::String(data))) => abbreviate(data, start),
                _ => {}
            }
            *expected == came
        }
    }
}

/// Replaces `text` by `start`, if `start` ends with `…` and `text` starts with the rest of it.
fn abbreviate(text: &mut String, start: &String) {
    if start
        .strip_suffix('…')
        .is_some_and(|start| text.starts_with(start))
    {
        text.clone_from(start);
    }
}
