//! Each call of a client ends with the result that serde_json reads in the bytes of the server.
//!
//! Lines that are no usual replies may end several calls, by rules that only the client knows. If there is such a line, each
//! call ends, and a result is one that serde_json reads in some line.
#![no_main]

use std::collections::HashSet;
use std::fmt::Debug;

use bytes::Bytes;
use fuzz::oracle::{self, Members, is_id, leading_id};
use fuzz::service::{DeskClient, Failure};
use fuzz::{block_on, grammar};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::{CallError, Client, ErrorObject, ResponseMetadata, RpcError, fuzzing};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    check(data);
    check(grammar::text(data, grammar::responses).as_bytes());
});

/// The ids of a client's first calls.
const IN_SHARED_STREAM: [u64; 3] = [0, 64, 128];
const IN_BATCH: [u64; 3] = [63, 127, 191];

fn check(stream: &[u8]) {
    // The stream may nest more deeply than serde_json reads.
    if stream.iter().filter(|byte| b"[{".contains(byte)).count() > 120 {
        return;
    }
    if oracle::has_minus_zero(stream) {
        return;
    }
    let is_blank = |byte: &&u8| b" \t\r".contains(byte);
    let lines = stream.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| &line[line.iter().take_while(is_blank).count()..]);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    let chunks = stream.chunks(stream.len().div_ceil(3).max(1));
    let chunks: Vec<_> = chunks.map(Bytes::copy_from_slice).collect();
    // The end of a stream means that the server shuts down, so each client has one stream.
    let client = || fuzzing::client(chunks.clone());
    block_on(async {
        check_shared_stream(&client(), &lines).await;
        check_dedicated_stream(&client(), &lines).await;
        check_batch(&client(), &lines).await;
    });
}

/// Checks calls on a shared stream: the first line with the id of a call decides its result.
async fn check_shared_stream(client: &Client, lines: &[&[u8]]) {
    let id = |line: &[u8]| leading_id(line).or_else(|| id_of(line));
    let line = |wanted| lines.iter().find(|line| id(line) == Some(wanted)).copied();
    let ((number, metadata), text, failure) = tokio::join!(
        client.call::<u64, _>("m", &()).with_response_metadata(),
        client.call::<String, _>("m", &()),
        DeskClient::new(client.clone()).fail(true, String::new()),
    );
    let (number, text) = (outcome(number, object), outcome(text, object));
    if !lines.iter().all(|line| usual_id(line).is_some()) {
        assert_is_in(lines, &number);
        assert_is_in(lines, &text);
        return;
    }
    let [of_number, of_text, of_failure] = IN_SHARED_STREAM.map(line);
    assert_metadata(
        &metadata,
        of_number.and_then(Reply::read).as_ref(),
        &lines.join(&b"\n"[..]),
    );
    assert_eq!(number, in_line(of_number));
    assert_eq!(text, in_line(of_text));
    let result = outcome(failure, |failure| {
        Outcome::Error(failure.code(), failure.to_string(), None)
    });
    assert_eq!(result, as_failure(in_line(of_failure)));
}

/// Asserts that a result is that of one of the lines.
fn assert_is_in<T: DeserializeOwned + PartialEq + Debug>(lines: &[&[u8]], outcome: &Outcome<T>) {
    let mut read = lines.iter().map(|line| in_line::<T>(Some(line)));
    if let Outcome::Result(_) = outcome {
        let text = lines.join(&b"\n"[..]);
        assert!(
            read.any(|line| line == *outcome),
            "{outcome:?} in {}",
            text.escape_ascii()
        );
    }
}

/// Asserts that the metadata is that which serde_json reads in a reply.
fn assert_metadata(metadata: &ResponseMetadata, reply: Option<&Reply>, text: &[u8]) {
    let expected = reply.map_or(&[][..], |reply| &reply.metadata);
    let expected = expected
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let came: Vec<_> = metadata.iter().collect();
    assert!(
        expected.eq(came.iter().copied()),
        "{came:?} in {}",
        text.escape_ascii()
    );
}

/// Returns the id of a line that is JSON and has one integer of 0 or more as its id, and no method.
fn usual_id(line: &[u8]) -> Option<u64> {
    let text = text_of(line)?;
    let Members(members) = serde_json::from_str(&text).ok()?;
    let mut ids = members.iter().filter(|(name, _)| name == "id");
    let ((_, id), None) = (ids.next()?, ids.next()) else {
        return None;
    };
    let has_method = members.iter().any(|(name, _)| name == "method");
    parsed(id).filter(|_| !has_method)
}

/// Checks a call on a dedicated stream: the first line is its reply.
async fn check_dedicated_stream(client: &Client, lines: &[&[u8]]) {
    let line = lines.first().copied();
    let answered = client.call::<Value, _>("m", &()).dedicated_stream().await;
    let answered = outcome(answered, object);
    match line.map(|line| (usual_id(line), line)) {
        Some((Some(id), _)) if id != IN_BATCH[0] => assert_eq!(answered, Outcome::Unreadable),
        // The reply may follow a notification.
        Some((None, _)) => assert_is_in(lines, &answered),
        Some(_) | None => assert_eq!(answered, in_line(line)),
    }
}

async fn check_batch(client: &Client, lines: &[&[u8]]) {
    let line = lines.first().copied();
    let mut batch = client.batch();
    let value = batch.call(client.call::<Value, _>("m", &()));
    let number = batch.call(client.call::<u64, _>("m", &()));
    let text = batch.call(client.call::<String, _>("m", &()));
    let sent = batch.send().await;
    let array = line.and_then(text_of);
    let array = array.as_deref().map(serde_json::from_str::<Vec<&RawValue>>);
    let Some(Ok(entries)) = array else {
        if line.is_some_and(|line| usual_id(line).is_none()) {
            // The reply may follow a notification.
            let texts: Vec<_> = lines.iter().filter_map(|line| text_of(line)).collect();
            let entries = texts
                .iter()
                .filter_map(|text| serde_json::from_str::<Vec<&RawValue>>(text).ok());
            let entries: Vec<_> = entries
                .flatten()
                .map(|entry| entry.get().as_bytes())
                .collect();
            if let Ok(mut came) = sent {
                assert_is_in(&entries, &outcome(came.take(value), object));
                assert_is_in(&entries, &outcome(came.take(number), object));
                assert_is_in(&entries, &outcome(came.take(text), object));
            }
            return;
        }
        // The line is no array, so it is an error for all entries.
        let expected = match in_line::<Value>(line) {
            Outcome::Result(_) => Outcome::Unreadable,
            expected => expected,
        };
        return assert_eq!(
            outcome(sent.map(|_| Value::Null), |never| match never {}),
            expected
        );
    };
    let mut came = sent.expect("an array was sent");
    let texts: Vec<_> = entries.iter().map(|entry| entry.get().as_bytes()).collect();
    if !texts.iter().all(|entry| usual_id(entry).is_some()) {
        assert_is_in(&texts, &outcome(came.take(value), object));
        assert_is_in(&texts, &outcome(came.take(number), object));
        assert_is_in(&texts, &outcome(came.take(text), object));
        return;
    }
    let replies: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((usual_id(entry.get().as_bytes())?, Reply::parse(entry.get()))))
        .collect();
    let [of_value, of_number, of_text] =
        IN_BATCH.map(|id| replies.iter().find(|(of, _)| *of == id)?.1.as_ref());
    let metadata = came.response_metadata(&value);
    assert_metadata(metadata, of_value, &texts.join(&b"\n"[..]));
    assert_eq!(outcome(came.take(value), object), in_reply(of_value));
    assert_eq!(outcome(came.take(number), object), in_reply(of_number));
    assert_eq!(outcome(came.take(text), object), in_reply(of_text));
}

/// The result of a call.
#[derive(Debug, PartialEq)]
enum Outcome<T> {
    Result(T),
    Error(i64, String, Option<Value>),
    Timeout,
    Cancelled,
    Lost,
    Ended,
    Unreadable,
}

/// Converts the result of the client.
fn outcome<T, E>(result: Result<T, CallError<E>>, application: fn(E) -> Outcome<T>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Result(value),
        Err(CallError::Application(error)) => application(error),
        Err(CallError::Remote(error)) => object(error),
        Err(CallError::Timeout | CallError::TimeoutAtLimit(_) | CallError::TimeoutBehindItems(_)) => Outcome::Timeout,
        Err(CallError::Cancelled) => Outcome::Cancelled,
        Err(CallError::Connection { .. }) => Outcome::Lost,
        Err(CallError::StreamEnded) => Outcome::Ended,
        Err(CallError::Decode(_)) => Outcome::Unreadable,
        Err(_) => panic!("a call that was not made"),
    }
}

fn object<T>(error: ErrorObject) -> Outcome<T> {
    let data = error
        .raw_data()
        .map(|data| serde_json::from_str(data).expect("JSON"));
    Outcome::Error(error.code(), error.message().to_owned(), data)
}

/// Returns the result that serde_json reads in a line.
fn in_line<T: DeserializeOwned>(line: Option<&[u8]>) -> Outcome<T> {
    line.map_or(Outcome::Lost, |line| in_reply(Reply::read(line).as_ref()))
}

fn in_reply<T: DeserializeOwned>(reply: Option<&Reply>) -> Outcome<T> {
    match reply.map(|reply| &reply.outcome) {
        None => Outcome::Unreadable,
        Some(Ok(result)) => match serde_json::from_str(result) {
            Ok(value) => Outcome::Result(value),
            Err(_) => Outcome::Unreadable,
        },
        Some(Err((-32001, ..))) => Outcome::Cancelled,
        Some(Err((-32002, ..))) => Outcome::Timeout,
        Some(Err((-32003, ..))) => Outcome::Lost,
        Some(Err((-32004, ..))) => Outcome::Ended,
        Some(Err((code, message, data))) => Outcome::Error(*code, message.clone(), data.clone()),
    }
}

/// Converts an error with a code of [`Failure`] to that error.
fn as_failure(result: Outcome<()>) -> Outcome<()> {
    let failure = match &result {
        Outcome::Error(1, ..) => Failure::Plain,
        Outcome::Error(2, _, Some(data)) => {
            match data.get("reason").or(data.get(0)).and_then(Value::as_str) {
                Some(reason) => Failure::Reason {
                    reason: reason.to_owned(),
                },
                None => return result,
            }
        }
        _ => return result,
    };
    Outcome::Error(failure.code(), failure.to_string(), None)
}

/// Returns the id of a line, also if the line is no valid response: its call fails. In a line that is no JSON, only the
/// client itself can find the id.
fn id_of(line: &[u8]) -> Option<u64> {
    let Some(text) = text_of(line) else {
        return fuzzing::reply_id(line);
    };
    let Members(members) = serde_json::from_str(&text).ok()?;
    let ids = members.iter().filter(|(name, _)| name == "id");
    parsed::<Value>(ids.last()?.1)?.as_u64()
}

struct Reply {
    id: Value,
    /// The result as JSON, or the error.
    outcome: Result<String, (i64, String, Option<Value>)>,
    /// The names and the values, if they obey the rules.
    metadata: Vec<(String, String)>,
}

impl Reply {
    fn read(line: &[u8]) -> Option<Self> {
        Self::parse(&text_of(line)?)
    }

    fn parse(text: &str) -> Option<Self> {
        let Members(members) = serde_json::from_str(text).ok()?;
        let (mut id, mut result, mut error) = (None, None, None);
        let metadata = metadata(&members).unwrap_or_default();
        for (name, value) in members {
            match name.as_str() {
                "id" => id = Some(parsed(value).filter(|id| is_id(id) || id.is_f64())?),
                "result" => result = Some(value.get().to_owned()),
                "error" => error = Some(value),
                _ => {}
            }
        }
        let outcome = match (result, error) {
            (Some(result), None) => Ok(result),
            (Some(result), Some(error)) if error.get() == "null" => Ok(result),
            (_, error) => Err(error_object(error?)?),
        };
        Some(Self {
            id: id?,
            outcome,
            metadata,
        })
    }
}

/// Returns the metadata among the members of a reply. Returns `None` if it breaks a rule.
fn metadata(members: &[(String, &RawValue)]) -> Option<Vec<(String, String)>> {
    let mut metas = members.iter().filter(|(name, _)| name == "meta");
    let ((_, meta), None) = (metas.next()?, metas.next()) else {
        return None;
    };
    let Members(pairs) = parsed(meta)?;
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| Some((name, parsed::<String>(value)?)));
    let pairs: Vec<_> = pairs.collect::<Option<_>>()?;
    let names: HashSet<_> = pairs.iter().map(|(name, _)| name).collect();
    let texts = || pairs.iter().flat_map(|(name, value)| [name, value]);
    let bytes: usize = texts().map(String::len).sum();
    let is_plain = texts().all(|text| !text.contains(char::is_control));
    let is_right = names.len() == pairs.len() && is_plain && pairs.len() <= 64 && bytes <= 8192;
    is_right.then_some(pairs)
}

fn error_object(error: &RawValue) -> Option<(i64, String, Option<Value>)> {
    let Members(members) = parsed(error)?;
    let (mut code, mut message, mut data) = (None, String::new(), None);
    for (name, value) in members {
        match name.as_str() {
            "code" => code = Some(parsed(value)?),
            "message" => message = parsed(value)?,
            "data" => data = Some(parsed(value)?),
            _ => {}
        }
    }
    Some((code?, message, data))
}

fn parsed<'a, T: serde::Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// Returns a line in the form that serde_json reads as the client does; `None` if it is no JSON.
fn text_of(line: &[u8]) -> Option<String> {
    let json = serde_json::from_slice::<Value>(line).ok().and(Some(line))?;
    std::str::from_utf8(json).ok().map(str::to_owned)
}
