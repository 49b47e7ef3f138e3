//! Tests replies that other implementations may send: each ends its call at once.

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;

use super::{PeerStream, parse, run_until_idle, scripted, soon};
use crate::client::builder::ClientBuilder;
use crate::client::error::CallError;
use crate::client::handle::Client;
use crate::codec::error::ErrorObject;
use crate::transport::Connection;

/// Lines that are the reply to the call with the id `ID`, and the result, or a part of the error that the caller gets.
const REPLIES: [(&str, Result<u64, &str>); 21] = [
    (r#"{"id":ID,"result":7}"#, Ok(7)),
    (r#"{"result":7,"jsonrpc":"2.0","id":ID}"#, Ok(7)),
    (
        r#"{"jsonrpc":"1.0","id":ID,"result":7,"error":null}"#,
        Ok(7),
    ),
    (" { \"id\" : ID ,\t\"result\" : 7 }\r", Ok(7)),
    (r#"{"id":"ID","result":7}"#, Ok(7)),
    (r#"{"id":ID.0,"result":7}"#, Ok(7)),
    (r#"{"id":0,"id":ID,"result":6,"result":7}"#, Ok(7)),
    (
        r#"{"id":ID,"error":{"code":7,"message":"no"}}"#,
        Err("no (code 7)"),
    ),
    (
        r#"{"id":ID,"error":{"code":7}}"#,
        Err("error without a message (code 7)"),
    ),
    (
        r#"{"id":ID,"error":"too many entries"}"#,
        Err("too many entries"),
    ),
    (
        r#"{"id":ID,"error":{"code":"E1","message":"x"}}"#,
        Err("E1"),
    ),
    (
        r#"{"id":ID,"error":{"code":1.5,"message":"x"}}"#,
        Err("1.5"),
    ),
    (
        r#"{"id":ID,"error":{"code":1,"message":null}}"#,
        Err(r#""message":null"#),
    ),
    (r#"{"id":ID,"error":{"message":"x"}}"#, Err("message")),
    (r#"{"id":ID,"error":[]}"#, Err("[]")),
    (r#"{"id":ID}"#, Err("it is not a JSON-RPC response: {")),
    (r#"{"id":ID,"result":}"#, Err("result")),
    (r#"{"id":ID,"result":[7"#, Err("[7")),
    (r#"{"id":ID,"result":"seven"}"#, Err("seven")),
    (
        r#"{"id":ID,"error":{"code":-32002,"message":"x","data":"waited for max_calls (1)"}}"#,
        Err("did not start: it waited for max_calls (1)"),
    ),
    (
        r#"{"id":ID,"error":{"code":-32002,"message":"x","data":"why"}}"#,
        Err("the call took too long"),
    ),
];

/// Lines that have no id of a call.
const WITHOUT_ID: [&str; 8] = [
    "<html>502 Bad Gateway</html>",
    "[]",
    "7",
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
    r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"}}"#,
    r#"{"result":7}"#,
    r#"{"id":true,"result":7}"#,
    r#"{"id":-1,"result":7}"#,
];

/// Requests of the server with the id of a call, and their members in several orders.
const REQUESTS: [&str; 5] = [
    r#"{"jsonrpc":"2.0","id":ID,"method":"ask"}"#,
    r#"{"jsonrpc":"2.0","id":ID,"method":"ask","params":[{"result":7}]}"#,
    r#"{"jsonrpc":"2.0","id":ID,"params":[7],"method":"ask"}"#,
    r#"{"jsonrpc":"2.0", "id":ID, "method":"ask"}"#,
    r#"{"method":"ask","jsonrpc":"2.0","id":ID}"#,
];

/// Lines that belong to no call.
const OF_NO_CALL: [&str; 3] = [
    r#"{"jsonrpc":"2.0","method":"tick","params":[1]}"#,
    // The answer to a notification that is too large, or that found no room.
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32007,"message":"Request too large"}}"#,
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32013,"message":"Memory limit reached"}}"#,
];

/// A client whose server the test plays, and the stream of its calls.
struct Caller {
    client: Client,
    peer: Connection,
    stream: Option<PeerStream>,
}

type Outcome = Result<u64, CallError<ErrorObject>>;

impl Caller {
    fn new() -> Self {
        let (client, peer) = scripted(ClientBuilder::default());
        Self {
            client,
            peer,
            stream: None,
        }
    }

    /// Makes a call on the shared stream. Returns its id.
    async fn call(&mut self) -> (tokio::task::JoinHandle<Outcome>, Value) {
        let call = self.client.call::<u64, _>("get", &());
        let call = tokio::spawn(call.into_future());
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(PeerStream::accept_bi(&self.peer).await),
        };
        let request = soon(stream.line()).await.unwrap();
        (call, parse(&request)["id"].clone())
    }

    async fn reply(&mut self, line: &str) {
        let stream = self.stream.as_mut().unwrap();
        stream.reply(line).await;
    }
}

/// Makes a call on a dedicated stream. Returns the stream at the peer, and the id of the call as JSON.
async fn call_on_dedicated_stream(
    client: &Client,
    peer: &Connection,
) -> (tokio::task::JoinHandle<Outcome>, PeerStream, String) {
    let call = client.call::<u64, _>("get", &()).dedicated_stream();
    let call = tokio::spawn(call.into_future());
    let mut stream = PeerStream::accept_bi(peer).await;
    let id = parse(&soon(stream.line()).await.unwrap())["id"].to_string();
    (call, stream, id)
}

fn assert_is(line: &str, outcome: Outcome, right: Result<u64, &str>) {
    match (outcome, right) {
        (Ok(result), Ok(right)) => assert_eq!(result, right, "{line}"),
        (Err(error), Err(part)) => {
            let text = error.to_string();
            assert!(text.contains(part), "{line}: {text}");
        }
        (outcome, _) => panic!("{line}: {outcome:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn reply_of_another_implementation_ends_its_call_on_the_shared_stream() {
    let mut caller = Caller::new();
    for (line, right) in REPLIES {
        let (call, id) = caller.call().await;
        let line = line.replace("ID", &id.to_string());
        caller.reply(&line).await;
        assert_is(&line, soon(call).await.unwrap(), right);
    }
}

#[tokio::test(start_paused = true)]
async fn reply_of_another_implementation_ends_its_call_on_a_dedicated_stream() {
    let (client, peer) = scripted(ClientBuilder::default());
    for (line, right) in REPLIES {
        let (call, mut stream, id) = call_on_dedicated_stream(&client, &peer).await;
        let line = line.replace("ID", &id);
        stream.reply(&line).await;
        assert_is(&line, soon(call).await.unwrap(), right);
    }
}

#[tokio::test(start_paused = true)]
async fn reply_of_another_implementation_ends_its_entry_of_a_batch() {
    let (client, peer) = scripted(ClientBuilder::default());
    for (line, right) in REPLIES {
        if serde_json::from_str::<Value>(&line.replace("ID", "1")).is_err() {
            continue;
        }
        let mut batch = client.batch();
        let other = batch.call(client.call::<u64, _>("other", &()));
        let entry = batch.call(client.call::<u64, _>("get", &()));
        let sent = tokio::spawn(batch.send());
        let mut stream = PeerStream::accept_bi(&peer).await;
        let request = parse(&soon(stream.line()).await.unwrap());
        let [other_id, id] = [0, 1].map(|entry| request[entry]["id"].to_string());
        let line = line.replace("ID", &id);
        let array = format!(r#"[{line},{{"id":{other_id},"result":1}}]"#);
        stream.reply(&array.replace('\r', " ")).await;
        let mut replies = soon(sent).await.unwrap().unwrap();
        assert_is(&line, replies.take(entry), right);
        assert_eq!(replies.take(other).unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn line_without_an_id_ends_all_calls_that_were_sent() {
    for line in WITHOUT_ID {
        let mut caller = Caller::new();
        let (first, _) = caller.call().await;
        let (second, _) = caller.call().await;
        caller.reply(line).await;
        for call in [first, second] {
            let start = line.get(..4).unwrap_or(line);
            assert_is(line, soon(call).await.unwrap(), Err(start));
        }
        // The next call uses another stream, since replies to the former calls may follow on this one.
        caller.stream = None;
        let (third, id) = caller.call().await;
        caller.reply(&format!(r#"{{"id":{id},"result":3}}"#)).await;
        assert_eq!(soon(third).await.unwrap().unwrap(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn line_of_no_call_is_skipped() {
    let mut caller = Caller::new();
    for line in OF_NO_CALL.iter().chain(&WITHOUT_ID) {
        let (call, id) = match WITHOUT_ID.contains(line) {
            // While no call waits.
            true => {
                caller.reply(line).await;
                caller.call().await
            }
            false => {
                let called = caller.call().await;
                caller.reply(line).await;
                called
            }
        };
        caller.reply(&format!(r#"{{"id":{id},"result":3}}"#)).await;
        assert_eq!(soon(call).await.unwrap().unwrap(), 3, "{line}");
    }
}

/// Replies whose ids no call has had: of a slot, a generation and a stream that were not used.
const NEVER_ISSUED: [u64; 4] = [64 * 500, 1 << 40, 1, 62];

#[tokio::test(start_paused = true)]
async fn reply_with_an_id_that_no_call_had_ends_the_only_call() {
    for id in NEVER_ISSUED {
        let mut caller = Caller::new();
        let (call, own) = caller.call().await;
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":7}}"#);
        caller.reply(&line).await;
        assert_is(&line, soon(call).await.unwrap(), Err("another id"));
        // The call's own reply, if it comes after all, is not that of the next call.
        let (next, next_id) = caller.call().await;
        assert_ne!(next_id, own);
        caller.reply(&format!(r#"{{"id":{own},"result":5}}"#)).await;
        caller
            .reply(&format!(r#"{{"id":{next_id},"result":3}}"#))
            .await;
        assert_eq!(soon(next).await.unwrap().unwrap(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn reply_with_an_id_that_no_call_had_ends_none_of_several_calls() {
    for id in NEVER_ISSUED {
        let mut caller = Caller::new();
        let (first, one) = caller.call().await;
        let (second, two) = caller.call().await;
        caller.reply(&format!(r#"{{"id":{id},"result":7}}"#)).await;
        for (call, id) in [(first, one), (second, two)] {
            caller.reply(&format!(r#"{{"id":{id},"result":3}}"#)).await;
            assert_eq!(soon(call).await.unwrap().unwrap(), 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn late_reply_with_any_id_ends_no_call_after_a_call_was_cancelled() {
    let mut caller = Caller::new();
    let (cancelled, id) = caller.call().await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    let (call, own) = caller.call().await;
    for id in NEVER_ISSUED.map(Value::from).iter().chain([&id]) {
        caller.reply(&format!(r#"{{"id":{id},"result":7}}"#)).await;
    }
    caller.reply(&format!(r#"{{"id":{own},"result":3}}"#)).await;
    assert_eq!(soon(call).await.unwrap().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn doubled_reply_to_an_earlier_call_does_not_end_the_only_call() {
    let mut caller = Caller::new();
    let (first, one) = caller.call().await;
    let (second, two) = caller.call().await;
    for (call, id) in [(first, one), (second, two.clone())] {
        caller.reply(&format!(r#"{{"id":{id},"result":1}}"#)).await;
        assert_eq!(soon(call).await.unwrap().unwrap(), 1);
    }
    let (third, three) = caller.call().await;
    if three != two {
        caller.reply(&format!(r#"{{"id":{two},"result":1}}"#)).await;
    }
    caller
        .reply(&format!(r#"{{"id":{three},"result":3}}"#))
        .await;
    assert_eq!(soon(third).await.unwrap().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn error_without_an_id_is_the_reply_to_the_only_call() {
    for (line, part) in [
        (
            r#"{"id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
            "Parse error (code -32700)",
        ),
        (
            r#"{"error":{"code":-32600,"message":"x","data":"why"}}"#,
            "x (code -32600)",
        ),
        (
            r#"{"id":null,"error":{"code":7,"message":"x"}}"#,
            "x (code 7)",
        ),
        // It may be the reply to a notification, and the call would be sent again.
        (
            r#"{"id":null,"error":{"code":-32003,"message":"x"}}"#,
            "not a JSON-RPC response",
        ),
        (
            r#"{"id":null,"error":{"code":-32009,"message":"x"}}"#,
            "not a JSON-RPC response",
        ),
    ] {
        let mut caller = Caller::new();
        let (call, _) = caller.call().await;
        caller.reply(line).await;
        assert_is(line, soon(call).await.unwrap(), Err(part));
        // The next call uses another stream.
        caller.stream = None;
        let (next, id) = caller.call().await;
        caller.reply(&format!(r#"{{"id":{id},"result":3}}"#)).await;
        assert_eq!(soon(next).await.unwrap().unwrap(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn request_with_the_id_of_a_call_is_skipped() {
    let mut caller = Caller::new();
    for line in REQUESTS {
        let (call, id) = caller.call().await;
        caller.reply(&line.replace("ID", &id.to_string())).await;
        caller
            .reply(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":3}}"#))
            .await;
        assert_eq!(soon(call).await.unwrap().unwrap(), 3, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_replies_in_one_line_end_all_calls_that_were_sent() {
    for between in ["", " ", "\r", ","] {
        let mut caller = Caller::new();
        let (first, one) = caller.call().await;
        let (second, two) = caller.call().await;
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{one},"result":7}}{between}{{"jsonrpc":"2.0","id":{two},"result":8}}"#
        );
        caller.reply(&line).await;
        for call in [first, second] {
            assert_is(&line, soon(call).await.unwrap(), Err(r#"{"jsonrpc":"#));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reply_with_two_ids_ends_both_calls_with_an_error() {
    let mut caller = Caller::new();
    let (first, one) = caller.call().await;
    let (second, two) = caller.call().await;
    let line = format!(r#"{{"jsonrpc":"2.0","id":{one},"result":7,"id":{two}}}"#);
    caller.reply(&line).await;
    for call in [first, second] {
        assert_is(&line, soon(call).await.unwrap(), Err(&line));
    }
}

#[tokio::test(start_paused = true)]
async fn doubled_reply_ends_no_later_call() {
    let mut caller = Caller::new();
    let mut ids = std::collections::HashSet::new();
    for result in 0..20 {
        let (call, id) = caller.call().await;
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        caller.reply(&format!("{line}\n{line}")).await;
        assert_eq!(soon(call).await.unwrap().unwrap(), result);
        run_until_idle().await;
        // From the second call on, the reply to another call comes first.
        for id in &ids {
            caller
                .reply(&format!(r#"{{"id":{id},"result":100}}"#))
                .await;
        }
        ids.insert(id);
    }
    assert_eq!(ids.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn reply_cut_at_any_byte_ends_its_call_and_no_other_one() {
    for end in ["finish", "reset"] {
        for length in 0..56 {
            let mut caller = Caller::new();
            let (first, one) = caller.call().await;
            let (second, two) = caller.call().await;
            let line =
                format!(r#"{{"jsonrpc":"2.0","id":{two},"result":[1,"\u00e9"],"more":{one}}}"#);
            let send = caller.stream.as_mut().unwrap().send.as_mut().unwrap();
            let part = Bytes::copy_from_slice(&line.as_bytes()[..length]);
            soon(send.write_chunk(part)).await.unwrap();
            match end {
                "finish" => send.finish(),
                _ => caller.stream = None,
            }
            for call in [first, second] {
                let error = soon(call).await.unwrap().unwrap_err();
                assert!(error.code().is_none(), "{error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_reply_ends_no_other_call() {
    for result in ["", "[7", "7 8", "\"}{\"}", "}", "7}}"] {
        let mut caller = Caller::new();
        let (first, one) = caller.call().await;
        let (second, two) = caller.call().await;
        let line = format!(r#"{{"jsonrpc":"2.0","id":{one},"result":{result}}}"#);
        caller.reply(&line).await;
        assert_is(&line, soon(first).await.unwrap(), Err("result"));
        caller.reply(&format!(r#"{{"id":{two},"result":3}}"#)).await;
        assert_eq!(soon(second).await.unwrap().unwrap(), 3, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn reply_that_is_too_large_ends_its_call_even_if_its_id_is_last() {
    let (client, peer) = scripted(ClientBuilder::default().max_response_bytes(64 << 10));
    let call = client.call::<String, _>("get", &());
    let call = tokio::spawn(call.into_future());
    let mut stream = PeerStream::accept_bi(&peer).await;
    let id = parse(&soon(stream.line()).await.unwrap())["id"].clone();
    let send = stream.send.as_mut().unwrap();
    let start = Bytes::from_static(br#"{"jsonrpc":"2.0","result":""#);
    soon(send.write_chunk(start)).await.unwrap();
    for _ in 0..10 {
        let part = Bytes::from(vec![b'x'; 16 << 10]);
        soon(send.write_chunk(part)).await.unwrap();
    }
    stream.reply(&format!(r#"","id":{id}}}"#)).await;
    let error = soon(call).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("larger") || error.contains("xxx"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn reply_truncated_within_its_id_ends_no_other_call_as_its_own() {
    let mut caller = Caller::new();
    let mut calls = Vec::new();
    for _ in 0..11 {
        calls.push(caller.call().await);
    }
    // The id of the second call is the start of the id of the last call.
    let (second, last) = (calls[1].1.to_string(), calls[10].1.to_string());
    assert_eq!(second, last[..second.len()]);
    let part = format!(r#"{{"jsonrpc":"2.0","id":{second}"#);
    let send = caller.stream.as_mut().unwrap().send.as_mut().unwrap();
    soon(send.write_chunk(Bytes::from(part))).await.unwrap();
    send.finish();
    for (call, _) in calls {
        // The server may have executed each of them.
        assert_is("truncated", soon(call).await.unwrap(), Err(r#""id":64"#));
    }
}

/// Lines that are no reply to a call with the id `ID` on a stream of its own, and a part of the error that its caller gets.
const OF_ANOTHER_CALL: [(&str, &str); 5] = [
    (r#"{"jsonrpc":"2.0","id":1ID,"result":7}"#, r#""result":7"#),
    (r#"{"result":7,"id":"x"}"#, r#""id":"x""#),
    (r#"{"id":null,"result":7}"#, r#""id":null"#),
    (r#"{"result":7}"#, r#"{"result":7}"#),
    (
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[ID,7]}"#,
        "rpc.item",
    ),
];

#[tokio::test(start_paused = true)]
async fn reply_to_another_call_ends_a_call_on_a_dedicated_stream_with_an_error() {
    let (client, peer) = scripted(ClientBuilder::default());
    for (line, part) in OF_ANOTHER_CALL {
        let (call, mut stream, id) = call_on_dedicated_stream(&client, &peer).await;
        let line = line.replace("ID", &id);
        stream.reply(&line).await;
        assert_is(&line, soon(call).await.unwrap(), Err(part));
    }
}

#[tokio::test(start_paused = true)]
async fn error_without_an_id_is_the_reply_on_a_dedicated_stream() {
    let (client, peer) = scripted(ClientBuilder::default());
    for members in [r#""id":null,"#, ""] {
        let (call, mut stream, _) = call_on_dedicated_stream(&client, &peer).await;
        let error = r#""error":{"code":-32700,"message":"Parse error"}"#;
        let line = format!(r#"{{"jsonrpc":"2.0",{members}{error}}}"#);
        stream.reply(&line).await;
        assert_is(&line, soon(call).await.unwrap(), Err("-32700"));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_and_notifications_before_the_reply_are_skipped_on_a_dedicated_stream() {
    let (client, peer) = scripted(ClientBuilder::default());
    let (call, mut stream, id) = call_on_dedicated_stream(&client, &peer).await;
    stream
        .reply(r#"{"jsonrpc":"2.0","method":"tick","params":[1]}"#)
        .await;
    for line in REQUESTS {
        stream.reply(&line.replace("ID", &id)).await;
    }
    stream.reply(&format!(r#"{{"id":{id},"result":3}}"#)).await;
    assert_eq!(soon(call).await.unwrap().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn reply_to_a_batch_that_fits_no_entry_is_shown() {
    for (line, parts) in [
        (
            r#"{"id":ID,"result":7}"#,
            [r#"the reply to a batch is an array: {"id":"#; 2],
        ),
        (r#"[{"id":null,"result":7}]"#, [r#""id":null"#; 2]),
        ("[7]", ["to this call: 7"; 2]),
        ("[]", ["none to this call"; 2]),
        ("7", ["response: 7"; 2]),
        (
            r#"[{"id":ID,"result":"seven"},[true]]"#,
            ["seven", "to this call: [true]"],
        ),
    ] {
        let (client, peer) = scripted(ClientBuilder::default());
        let mut batch = client.batch();
        let entries = [(); 2].map(|()| batch.call(client.call::<u64, _>("get", &())));
        let sent = tokio::spawn(batch.send());
        let mut stream = PeerStream::accept_bi(&peer).await;
        let id = parse(&soon(stream.line()).await.unwrap())[0]["id"].to_string();
        let line = line.replace("ID", &id);
        stream
            .reply(r#"{"jsonrpc":"2.0","method":"tick","params":[1]}"#)
            .await;
        stream.reply(&line).await;
        match soon(sent).await.unwrap() {
            Ok(mut replies) => {
                for (entry, part) in entries.into_iter().zip(parts) {
                    assert_is(&line, replies.take(entry), Err(part));
                }
            }
            Err(error) => assert!(error.to_string().contains(parts[0]), "{line}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn item_for_a_call_that_takes_none_ends_the_call() {
    let mut caller = Caller::new();
    for line in [
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[ID,7]}"#,
        r#"{"params":{"item":7,"id":ID},"jsonrpc":"2.0","method":"rpc.\u0069tem"}"#,
    ] {
        let (call, id) = caller.call().await;
        let (other, other_id) = caller.call().await;
        let line = line.replace("ID", &id.to_string());
        caller.reply(&line).await;
        assert_is(&line, soon(call).await.unwrap(), Err("rpc."));
        // The next call is not ended by the rest of the items.
        let next = tokio::spawn(caller.client.call::<u64, _>("get", &()).into_future());
        let stream = caller.stream.as_mut().unwrap();
        let next_id = loop {
            let sent = parse(&soon(stream.line()).await.unwrap());
            if sent["method"] == "get" {
                break sent["id"].clone();
            }
        };
        assert_ne!(next_id, id);
        caller.reply(&line).await;
        caller
            .reply(&format!(r#"{{"id":{id},"result":null}}"#))
            .await;
        for (call, id, result) in [(next, next_id, 4), (other, other_id, 3)] {
            caller
                .reply(&format!(r#"{{"id":{id},"result":{result}}}"#))
                .await;
            assert_eq!(soon(call).await.unwrap().unwrap(), result, "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn line_of_another_call_ends_a_stream_of_items_with_an_error() {
    let (client, peer) = scripted(ClientBuilder::default());
    for line in [
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1ID,8]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":["0ID",8]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":["+ID",8]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[null,8]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[ID]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.end","params":[ID]}"#,
        r#"{"jsonrpc":"2.0","id":1ID,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":1ID,"error":{"code":7,"message":"x"}}"#,
        r#"{"id":null,"result":null}"#,
        r#"{"result":null}"#,
        "[]",
        "",
    ] {
        let mut items = client.items::<u64, _>("count", &());
        let first = tokio::spawn(async move { (items.next().await, items) });
        let mut stream = PeerStream::accept_bi(&peer).await;
        let id = parse(&soon(stream.line()).await.unwrap())["id"].to_string();
        for line in [
            r#"{"jsonrpc":"2.0","method":"tick","params":[1]}"#,
            r#"{"jsonrpc":"2.0","id":ID,"method":"ask"}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":["ID",7]}"#,
            r#"{"jsonrpc":"2.0","method":"tick"}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":[ID.0,6]}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":{"id":"ID","item":5}}"#,
        ] {
            stream.reply(&line.replace("ID", &id)).await;
        }
        let (first, mut items) = soon(first).await.unwrap();
        assert_eq!(first.unwrap().unwrap(), 7);
        for item in [6, 5] {
            assert_eq!(soon(items.next()).await.unwrap().unwrap(), item);
        }
        if line.is_empty() {
            stream
                .reply(&format!(r#"{{"id":"{id}","result":null}}"#))
                .await;
            assert!(soon(items.next()).await.is_none());
            continue;
        }
        let line = line.replace("ID", &id);
        stream.reply(&line).await;
        let error = soon(items.next()).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(&line), "{line}: {error}");
        assert!(soon(items.next()).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn single_result_is_an_error_for_a_stream_of_items() {
    let (client, peer) = scripted(ClientBuilder::default());
    for result in ["7", "[]", r#"{"a":null}"#] {
        let mut items = client.items::<u64, _>("count", &());
        let next = tokio::spawn(async move { (items.next().await, items) });
        let mut stream = PeerStream::accept_bi(&peer).await;
        let id = parse(&soon(stream.line()).await.unwrap())["id"].to_string();
        stream
            .reply(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
            ))
            .await;
        let (next, mut items) = soon(next).await.unwrap();
        let error = next.unwrap().unwrap_err().to_string();
        assert!(
            error.contains(&format!("stream of items: {result}")),
            "{error}"
        );
        assert!(soon(items.next()).await.is_none());
    }
}
