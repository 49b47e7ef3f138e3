//! Tests replies that other implementations may send: each ends its call at once.

use serde_json::Value;

use super::{PeerStream, parse, scripted, soon};
use crate::client::builder::ClientBuilder;
use crate::client::error::CallError;
use crate::client::handle::Client;
use crate::codec::error::ErrorObject;
use crate::transport::Connection;

/// Lines that are the reply to the call with the id `ID`, and the result, or a part of the error that the caller gets.
const REPLIES: [(&str, Result<u64, &str>); 19] = [
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
    (r#"{"id":ID,"error":{"code":7}}"#, Err("(code 7)")),
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

/// Lines that belong to no call.
const OF_NO_CALL: [&str; 4] = [
    r#"{"jsonrpc":"2.0","method":"tick","params":[1]}"#,
    r#"{"jsonrpc":"2.0","id":4711000,"result":7}"#,
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
        let call = client.call::<u64, _>("get", &()).dedicated_stream();
        let call = tokio::spawn(call.into_future());
        let mut stream = PeerStream::accept_bi(&peer).await;
        let id = parse(&soon(stream.line()).await.unwrap())["id"].to_string();
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
