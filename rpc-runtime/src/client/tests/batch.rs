//! Tests of the entries of a batch and of taking its replies.

use futures_util::FutureExt;

use super::{Calculator, DeskClient, DeskServer, PeerStream, scripted};
use crate::client::error::CallError;
use crate::client::handle::Client;

fn client() -> Client {
    Client::local(DeskServer::new(Calculator))
}

#[tokio::test]
async fn entry_taken_from_the_replies_of_another_batch_is_an_error() {
    let client = client();
    let desk = DeskClient::new(client.clone());
    let (mut first, mut second) = (client.batch(), client.batch());
    let one = first.call(desk.add(1, 1));
    let two = second.call(desk.add(20, 20));
    let mut second = second.send().await.unwrap();
    match second.take(one) {
        Err(CallError::Decode(reason)) => assert!(reason.contains("another batch"), "{reason}"),
        taken => panic!("{taken:?}"),
    }
    assert_eq!(second.take(two).unwrap(), 40);
    assert!(first.send().await.is_ok());
}

#[tokio::test]
async fn call_of_another_client_is_refused_as_an_entry() {
    let (mine, other) = (client(), client());
    let mut batch = mine.batch();
    let foreign = batch.call(DeskClient::new(other.clone()).add(1, 2));
    let own = batch.call(DeskClient::new(mine.clone()).add(3, 4));
    let notified = batch.notify(DeskClient::new(other).note("x"));
    assert!(
        matches!(notified, Err(CallError::Encode(_))),
        "{notified:?}"
    );
    batch.notify(DeskClient::new(mine).note("x")).unwrap();
    let mut replies = batch.send().await.unwrap();
    let refused = replies.take(foreign);
    assert!(matches!(refused, Err(CallError::Encode(_))), "{refused:?}");
    assert_eq!(replies.take(own).unwrap(), 7);
}

#[tokio::test]
async fn batch_of_refused_calls_is_not_sent() {
    let (mine, other) = (client(), client());
    let mut batch = mine.batch();
    let foreign = batch.call(DeskClient::new(other).add(1, 2));
    let mut replies = batch.send().now_or_never().unwrap().unwrap();
    let refused = replies.take(foreign);
    assert!(matches!(refused, Err(CallError::Encode(_))), "{refused:?}");
}

#[tokio::test]
async fn malformed_response_of_a_batch_has_no_metadata() {
    let malformed = r#"{"jsonrpc":"2.0","id":63,"error":{"data":1},"meta":{"left":"1"}}"#;
    let response = r#"{"jsonrpc":"2.0","id":127,"result":3,"meta":{"left":"2"}}"#;
    let (client, peer) = scripted(Client::builder());
    let mut batch = client.batch();
    let first = batch.call(client.call::<i64, _>("add", &(1, 1)));
    let second = batch.call(client.call::<i64, _>("add", &(1, 2)));
    let answering = async {
        let mut stream = PeerStream::accept_bi(&peer).await;
        assert!(stream.line().await.is_some());
        stream.reply(&format!("[{malformed},{response}]")).await;
        stream
    };
    let (replies, _stream) = tokio::join!(batch.send(), answering);
    let mut replies = replies.unwrap();
    assert!(replies.response_metadata(&first).is_empty());
    assert_eq!(replies.response_metadata(&second).get("left"), Some("2"));
    let failed = replies.take(first);
    assert!(matches!(failed, Err(CallError::Decode(_))), "{failed:?}");
    assert_eq!(replies.take(second).unwrap(), 3);
}
