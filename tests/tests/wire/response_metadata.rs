//! The metadata of responses on the wire, as PROTOCOL.md describes it. One end is always a raw peer.

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{CallError, Client, Context, ErrorObject, Limits, ResponseMetadata, rpc};
use serde_json::{Value, json};
use tests::message::{call, end, item, line};
use tests::peer::{RawClient, RawServer};
use tests::support::{TestServer, soon};

#[rpc]
trait Desk {
    fn count(&self, cx: &Context, to: u64) -> impl Stream<Item = u64>;
    async fn sum(&self, cx: &Context, items: impl Stream<Item = u64>) -> u64;
    fn fail(&self, cx: &Context) -> impl Stream<Item = Result<u64, ErrorObject>>;
}

struct Clerk;

fn set(cx: &Context) {
    cx.set_response_meta("left", "41").unwrap();
}

impl Desk for Clerk {
    fn count(&self, cx: &Context, to: u64) -> impl Stream<Item = u64> {
        set(cx);
        stream::iter(1..=to)
    }

    async fn sum(&self, cx: &Context, items: impl Stream<Item = u64> + Send) -> u64 {
        let sum = items.fold(0, async |sum, item| sum + item).await;
        set(cx);
        sum
    }

    fn fail(&self, cx: &Context) -> impl Stream<Item = Result<u64, ErrorObject>> {
        set(cx);
        stream::iter([Ok(1), Err(ErrorObject::new(7, "no more"))])
    }
}

#[tokio::test]
async fn metadata_is_sent_with_the_reply_behind_the_items() {
    let server = TestServer::start(DeskServer::new(Clerk), Limits::default());
    let connection = RawClient::connect(&server).await;
    for (sent, expected) in [
        (
            line(call(1, "count", json!([2]))),
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}
{"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}
{"jsonrpc":"2.0","id":1,"result":null,"meta":{"left":"41"}}
"#,
        ),
        (
            line(call(2, "fail", json!([]))),
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":[2,1]}
{"jsonrpc":"2.0","id":2,"error":{"code":7,"message":"no more"},"meta":{"left":"41"}}
"#,
        ),
        (
            [call(3, "sum", json!([])), item(3, 19), item(3, 23), end(3)]
                .map(line)
                .concat(),
            r#"{"jsonrpc":"2.0","id":3,"result":42,"meta":{"left":"41"}}
"#,
        ),
    ] {
        let mut stream = connection.send(sent).await;
        stream.finish();
        let came = soon(stream.recv.read_to_end(usize::MAX)).await.unwrap();
        assert_eq!(String::from_utf8(came).unwrap(), expected);
    }
}

type Outcome = (Result<u64, CallError<ErrorObject>>, ResponseMetadata);

/// Answers the next call with `members` beside the version and the id.
async fn answered(client: &Client, server: &tests::peer::RawConnection, members: &str) -> Outcome {
    let call = client.call::<u64, _>("answer", &()).dedicated_stream();
    let answer = async {
        let (mut stream, call) = server.accept_call().await;
        let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{members}}}\n", call["id"]);
        stream.write(reply).await;
        stream.finish();
    };
    let (outcome, ()) = tokio::join!(soon(call.with_response_metadata()), answer);
    outcome
}

#[tokio::test]
async fn metadata_of_any_server_is_read() {
    let server = RawServer::start();
    let (client, connection) = server.meet(server.client()).await;
    for members in [
        r#""result":3,"meta":{"left":"41","größe":"\"\u00e9"}"#,
        r#" "meta" : { "left" : "41" , "gr\u00f6\u00dfe":"\u0022é" }, "result" : 3"#,
        r#""error":null,"result":3,"unknown":{"meta":1},"meta":{"left":"41","größe":"\"é"}"#,
    ] {
        let (result, metadata) = answered(&client, &connection, members).await;
        assert_eq!(result.unwrap(), 3);
        assert!(
            metadata.iter().eq([("left", "41"), ("größe", "\"é")]),
            "{members}"
        );
    }
    let members = r#""error":{"code":7,"message":"no","data":{"meta":{}}},"meta":{"left":"0"}"#;
    let (result, metadata) = answered(&client, &connection, members).await;
    assert_eq!(result.unwrap_err().code(), Some(7));
    assert!(metadata.iter().eq([("left", "0")]));
    for members in [
        r#""result":3"#,
        r#""result":3,"meta":null"#,
        r#""result":3,"meta":{}"#,
    ] {
        let (result, metadata) = answered(&client, &connection, members).await;
        assert_eq!((result.unwrap(), metadata.len()), (3, 0), "{members}");
    }
}

#[tokio::test]
async fn metadata_that_breaks_a_rule_is_ignored_and_the_result_arrives() {
    let server = RawServer::start();
    let (client, connection) = server.meet(server.client()).await;
    let names = (0..65).map(|number| (number.to_string(), Value::from("")));
    let names = Value::Object(names.collect()).to_string();
    let large = json!({"left": "41", "large": "x".repeat(8_192)}).to_string();
    for meta in [
        "41",
        r#""left""#,
        "true",
        "[]",
        r#"[["left","41"]]"#,
        r#"{"left":41}"#,
        r#"{"left":"41","other":null}"#,
        r#"{"left":"41","left":"41"}"#,
        r#"{"left":"41","l\u0065ft":"40"}"#,
        r#"{"left":"41"},"meta":{"left":"41"}"#,
        r#"{"left":"41"},"\u006deta":null"#,
        r#"{"left":"41\r\nforged: 1"}"#,
        r#"{"le\u0000ft":"41"}"#,
        &names,
        &large,
    ] {
        let members = format!(r#""result":3,"meta":{meta}"#);
        let (result, metadata) = answered(&client, &connection, &members).await;
        assert_eq!(result.unwrap(), 3, "{meta}");
        assert!(metadata.is_empty(), "{meta}");
        let members = format!(r#""meta":{meta},"error":{{"code":7,"message":"no"}}"#);
        let (result, metadata) = answered(&client, &connection, &members).await;
        assert_eq!(result.unwrap_err().code(), Some(7), "{meta}");
        assert!(metadata.is_empty(), "{meta}");
    }
}

#[tokio::test]
async fn metadata_of_the_end_of_a_stream_is_read() {
    let server = RawServer::start();
    let (client, connection) = server.meet(server.client()).await;
    for (end, expected) in [
        (
            r#""result":null,"meta":{"left":"41"}"#,
            &[("left", "41")][..],
        ),
        (r#""meta":{"left":"41"},"result":null"#, &[("left", "41")]),
        (r#""result":null"#, &[]),
        (r#""result":null,"meta":{"left":41}"#, &[]),
    ] {
        let mut items = client.items::<u64, _>("count", &());
        let answer = async {
            let (mut stream, call) = connection.accept_call().await;
            let id = &call["id"];
            stream.write(line(item(id.clone(), 1))).await;
            stream
                .write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{end}}}\n"))
                .await;
            stream.finish();
        };
        let (first, ()) = tokio::join!(soon(items.next()), answer);
        assert_eq!(first.unwrap().unwrap(), 1);
        assert!(soon(items.next()).await.is_none());
        assert!(
            items
                .response_metadata()
                .iter()
                .eq(expected.iter().copied()),
            "{end}"
        );
    }
}

#[tokio::test]
async fn metadata_of_a_batch_is_that_of_each_reply() {
    let server = RawServer::start();
    let (client, connection) = server.meet(server.client()).await;
    let mut batch = client.batch();
    let entries = [1, 2, 3].map(|number| batch.call(client.call::<u64, _>("answer", &[number])));
    let answer = async {
        let mut stream = connection.accept().await;
        let calls = stream.reply().await;
        let ids: Vec<_> = calls
            .as_array()
            .unwrap()
            .iter()
            .map(|call| &call["id"])
            .collect();
        let replies = [
            json!({"jsonrpc": "2.0", "id": ids[2], "result": 3, "meta": {"left": "1"}}),
            json!({"jsonrpc": "2.0", "id": ids[0], "result": 1, "meta": {"left": 1}}),
            json!({"jsonrpc": "2.0", "id": ids[1], "result": 2, "meta": {"left": "2"}}),
        ];
        stream.write(line(replies.to_vec())).await;
        stream.finish();
    };
    let (replies, ()) = tokio::join!(soon(batch.send()), answer);
    let mut replies = replies.unwrap();
    let left = entries
        .each_ref()
        .map(|entry| replies.response_metadata(entry).get("left"));
    assert_eq!(left, [None, Some("2"), Some("1")]);
    for (number, entry) in (1..).zip(entries) {
        assert_eq!(replies.take(entry).unwrap(), number);
    }
}
