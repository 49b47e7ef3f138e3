//! Tests that text of a peer can neither forge a line of a log nor fill it.

use futures_util::StreamExt;

use super::{PeerStream, parse, scripted, soon};
use crate::client::builder::ClientBuilder;
use crate::client::error::CallError;
use crate::client::handle::Client;
use crate::codec::error::ErrorObject;
use crate::transport::Connection;

/// Replies to the next message with this error, given as members of the error object.
async fn reply_error(peer: &Connection, members: &str) {
    let mut stream = PeerStream::accept_bi(peer).await;
    let request = parse(&stream.line().await.unwrap());
    let (open, close) = if request.is_array() {
        ("[", "]")
    } else {
        ("", "")
    };
    let id = &request.get(0).unwrap_or(&request)["id"];
    let reply = format!(r#"{open}{{"jsonrpc":"2.0","id":{id},"error":{{{members}}}}}{close}"#);
    stream.reply(&reply).await;
    stream.send.as_mut().unwrap().finish();
}

/// Calls a method in every way. Returns the errors.
async fn fail(members: &str) -> Vec<CallError<ErrorObject>> {
    let (client, peer) = scripted(ClientBuilder::default());
    let dedicated = client.call::<u64, _>("get", &()).dedicated_stream();
    let (dedicated, ()) = tokio::join!(dedicated, reply_error(&peer, members));
    let mut items = client.items::<u64, _>("count", &());
    let (item, ()) = tokio::join!(items.next(), reply_error(&peer, members));
    let mut batch = client.batch();
    let entry = batch.call(client.call::<u64, _>("get", &()));
    let (replies, ()) = tokio::join!(batch.send(), reply_error(&peer, members));
    let entry = replies.unwrap().take(entry);
    let shared = client.call::<u64, _>("get", &());
    let (shared, ()) = tokio::join!(shared, reply_error(&peer, members));
    let failed = [dedicated, item.unwrap(), entry, shared];
    failed.map(Result::unwrap_err).into()
}

fn message(error: &CallError<ErrorObject>) -> &str {
    match error {
        CallError::Application(error) | CallError::Remote(error) => error.message(),
        error => panic!("{error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn message_of_a_peer_is_escaped_and_truncated_where_it_is_shown() {
    let hostile = "x\nERROR forged \u{1b}[31m\u{202e}\u{2028}".to_owned() + &"y".repeat(100_000);
    let text = serde_json::to_string(&hostile).unwrap();
    for code in [7, -32603] {
        let members = format!(r#""code":{code},"message":{text},"data":{text}"#);
        for error in soon(fail(&members)).await {
            let (CallError::Application(object) | CallError::Remote(object)) = &error else {
                panic!("{error:?}")
            };
            for shown in [
                error.to_string(),
                format!("{error:?}"),
                object.to_string(),
                format!("{object:?}"),
            ] {
                assert!(shown.len() < 1_500, "{}", shown.len());
                assert!(
                    shown.contains(r"x\nERROR forged \u{1b}[31m\u{202e}"),
                    "{shown}"
                );
                let is_plain = |c: char| c.is_ascii_graphic() || c == ' ' || c == '…';
                assert!(shown.chars().all(is_plain), "{shown}");
            }
            assert_eq!(message(&error), hostile);
            assert_eq!(object.data::<String>(), Some(hostile.clone()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn code_is_shown_after_a_message_of_any_length() {
    for length in [0, 1, 1_024, 1_025, 5_000] {
        let members = format!(r#""code":-32603,"message":"{}""#, "y".repeat(length));
        for error in soon(fail(&members)).await {
            let shown = error.to_string();
            assert!(shown.ends_with(" (code -32603)"), "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reason_of_a_mismatch_is_escaped() {
    #[derive(Debug, serde::Deserialize)]
    enum Colour {
        Red,
    }
    let (client, peer): (Client, _) = scripted(ClientBuilder::default());
    let call = client.call::<Colour, _>("get", &()).dedicated_stream();
    let call = tokio::spawn(call.into_future());
    let mut stream = PeerStream::accept_bi(&peer).await;
    let id = parse(&stream.line().await.unwrap())["id"].clone();
    let reply = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"x\ny\u202e"}}"#);
    stream.reply(&reply).await;
    let shown = soon(call).await.unwrap().unwrap_err().to_string();
    assert!(shown.contains(r"unknown variant `x\ny\u{202e}`"), "{shown}");
    assert!(matches!(Colour::Red, Colour::Red));
}
