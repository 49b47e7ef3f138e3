//! Tests the message that cancels a call, and the reuse of ids.

use std::collections::HashSet;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{PeerStream, parse, run_until_idle, scripted};
use crate::client::builder::ClientBuilder;
use crate::client::handle::Client;

/// Starts a call and drops it, before or after the request was handed to the transport.
async fn cancel(client: &Client, after_sending: bool) {
    let mut call = client.call::<(), _>("wait", &(1,));
    assert!((&mut call).now_or_never().is_none());
    if after_sending {
        run_until_idle().await;
    }
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn call_cancelled_after_its_request_was_sent_is_named_by_its_position() {
    let (client, peer) = scripted(ClientBuilder::default());
    cancel(&client, true).await;
    cancel(&client, true).await;
    let mut stream = PeerStream::accept_bi(&peer).await;
    let mut control = PeerStream::accept_uni(&peer).await;
    let id = stream.recv.id();
    for _ in 0..2 {
        let request = parse(&stream.line().await.unwrap());
        assert_eq!(request["method"], "wait");
        let expected = json!({
            "jsonrpc": "2.0",
            "method": "rpc.cancel",
            "params": {"id": request["id"], "stream": id, "offset": stream.offset},
        });
        assert_eq!(parse(&control.line().await.unwrap()), expected);
    }
    client.close().await;
    assert_eq!(stream.line().await, None);
    assert_eq!(control.line().await, None);
}

#[tokio::test(start_paused = true)]
async fn call_cancelled_before_its_request_was_sent_is_cancelled_behind_it() {
    let (client, peer) = scripted(ClientBuilder::default());
    cancel(&client, false).await;
    let mut stream = PeerStream::accept_bi(&peer).await;
    let request = parse(&stream.line().await.unwrap());
    let expected = json!({
        "jsonrpc": "2.0",
        "method": "rpc.cancel",
        "params": [request["id"]],
    });
    assert_eq!(parse(&stream.line().await.unwrap()), expected);
    client.close().await;
    assert_eq!(stream.line().await, None);
    assert!(peer.accept_uni().now_or_never().is_none_or(|s| s.is_err()));
}

#[tokio::test(start_paused = true)]
async fn position_on_a_reopened_stream_counts_from_its_start() {
    let (client, peer) = scripted(ClientBuilder::default());
    let lost = client.call::<(), _>("wait", &());
    let lost = tokio::spawn(lost.into_future());
    let mut stream = PeerStream::accept_bi(&peer).await;
    stream.line().await.unwrap();
    drop(stream);
    lost.await.unwrap().unwrap_err();
    cancel(&client, true).await;
    let mut stream = PeerStream::accept_bi(&peer).await;
    stream.line().await.unwrap();
    let mut control = PeerStream::accept_uni(&peer).await;
    let cancellation = parse(&control.line().await.unwrap());
    assert_eq!(cancellation["params"]["stream"], json!(stream.recv.id()));
    assert_eq!(cancellation["params"]["offset"], stream.offset);
}

#[tokio::test(start_paused = true)]
async fn call_cancelled_while_the_control_stream_is_stopped_is_cancelled_behind_its_request() {
    let (client, peer) = scripted(ClientBuilder::default());
    cancel(&client, true).await;
    let mut stream = PeerStream::accept_bi(&peer).await;
    stream.line().await.unwrap();
    let mut control = PeerStream::accept_uni(&peer).await;
    control.line().await.unwrap();
    drop(control);
    // When the client sends this cancellation, it detects that the control stream is stopped.
    cancel(&client, true).await;
    run_until_idle().await;
    stream.line().await.unwrap();
    cancel(&client, true).await;
    let request = parse(&stream.line().await.unwrap());
    let cancellation = parse(&stream.line().await.unwrap());
    assert_eq!(cancellation["params"], json!([request["id"]]));
}

#[tokio::test(start_paused = true)]
async fn id_of_a_call_is_used_again_unless_it_was_cancelled() {
    let (client, peer) = scripted(ClientBuilder::default());
    let mut stream = None;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let call = tokio::spawn(client.call::<u32, _>("get", &()).into_future());
        let stream = match &mut stream {
            Some(stream) => stream,
            None => stream.insert(PeerStream::accept_bi(&peer).await),
        };
        let request = parse(&stream.line().await.unwrap());
        let reply = json!({"jsonrpc": "2.0", "id": request["id"], "result": 7});
        stream.reply(&reply.to_string()).await;
        assert_eq!(call.await.unwrap().unwrap(), 7);
        ids.push(request["id"].clone());
    }
    assert_eq!(ids[1], ids[0]);
    assert_eq!(ids[2], ids[0]);
    cancel(&client, true).await;
    let mut stream = stream.unwrap();
    let cancelled = parse(&stream.line().await.unwrap());
    assert_eq!(cancelled["id"], ids[0]);
    let call = tokio::spawn(client.call::<u32, _>("get", &()).into_future());
    let request = parse(&stream.line().await.unwrap());
    assert_ne!(request["id"], ids[0]);
    // The reply to the cancelled call is not mistaken for the reply to the next call.
    for (id, result) in [(&ids[0], 1), (&request["id"], 2)] {
        let reply = json!({"jsonrpc": "2.0", "id": id, "result": result});
        stream.reply(&reply.to_string()).await;
    }
    assert_eq!(call.await.unwrap().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn id_of_a_cancelled_call_is_used_again_once_its_reply_has_come() {
    let (client, peer) = scripted(ClientBuilder::default());
    cancel(&client, true).await;
    let mut stream = PeerStream::accept_bi(&peer).await;
    let first = parse(&stream.line().await.unwrap())["id"].clone();
    // Until the reply with the first id arrives, the id of each cancelled call is used only once.
    let mut ids = vec![first.clone()];
    for _ in 0..2 {
        cancel(&client, true).await;
        ids.push(parse(&stream.line().await.unwrap())["id"].clone());
    }
    let distinct: HashSet<_> = ids.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 3);
    for id in &ids {
        let error = json!({"code": -32001, "message": "Cancelled"});
        let reply = json!({"jsonrpc": "2.0", "id": id, "error": error});
        stream.reply(&reply.to_string()).await;
    }
    run_until_idle().await;
    for _ in 0..2 {
        let call = tokio::spawn(client.call::<u32, _>("get", &()).into_future());
        let request = parse(&stream.line().await.unwrap());
        assert_eq!(request["id"], first);
        let reply = json!({"jsonrpc": "2.0", "id": first, "result": 7});
        stream.reply(&reply.to_string()).await;
        assert_eq!(super::soon(call).await.unwrap().unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn id_of_a_cancelled_call_is_used_again_after_the_call_during_which_its_reply_came() {
    let (client, peer) = scripted(ClientBuilder::default());
    cancel(&client, true).await;
    let mut stream = PeerStream::accept_bi(&peer).await;
    let first = parse(&stream.line().await.unwrap())["id"].clone();
    let call = tokio::spawn(client.call::<u32, _>("get", &()).into_future());
    let second = parse(&stream.line().await.unwrap())["id"].clone();
    assert_ne!(second, first);
    for (id, result) in [(&first, 1), (&second, 2)] {
        let reply = json!({"jsonrpc": "2.0", "id": id, "result": result});
        stream.reply(&reply.to_string()).await;
    }
    assert_eq!(super::soon(call).await.unwrap().unwrap(), 2);
    cancel(&client, true).await;
    assert_eq!(parse(&stream.line().await.unwrap())["id"], first);
}
