//! Tests of replies for which there is no room.

use super::*;
use crate::client::error::CallError;
use crate::codec::error::ErrorObject;
use crate::limits::Limits;
use crate::transport::ConnectionError;

/// The memory budget of a connection, in bytes.
const BUDGET: usize = 200_000;

fn limited() -> (Client, Connection) {
    scripted(
        Client::builder()
            .max_response_bytes(1 << 20)
            .limits(Limits {
                max_memory_bytes_per_connection: BUDGET,
                ..Limits::default()
            }),
    )
}

/// Makes a call, and replies with the beginning of a reply that exceeds the budget.
async fn call(client: &Client, peer: &Connection) -> Result<String, CallError<ErrorObject>> {
    let call = tokio::spawn(client.call("text", &()).dedicated_stream().into_future());
    let mut stream = PeerStream::accept_bi(peer).await;
    soon(stream.line()).await.unwrap();
    let text = "x".repeat(BUDGET + 1);
    let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{text}");
    let send = stream.send.as_mut().unwrap();
    soon(send.write_chunk(Bytes::from(reply))).await.unwrap();
    soon(call).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn reply_without_room_fails_after_one_to_two_seconds() {
    let (client, peer) = limited();
    let start = tokio::time::Instant::now();
    let ended = call(&client, &peer).await;
    assert!(matches!(&ended, Err(CallError::Decode(text)) if text.contains("200000 bytes")));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn server_that_goes_on_after_eight_replies_without_room_is_disconnected() {
    let (client, peer) = limited();
    for _ in 0..8 {
        let ended = call(&client, &peer).await;
        assert!(matches!(ended, Err(CallError::Decode(_))), "{ended:?}");
    }
    run_until_idle().await;
    drop(call(&client, &peer).await);
    match soon(peer.closed()).await {
        ConnectionError::ClosedByPeer { code, .. } => assert_eq!(code, 0x13),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn reply_without_room_for_want_of_the_callers_does_not_disconnect_the_server() {
    let (client, peer) = limited();
    // The caller does not take the reply to this call.
    let mut untaken = Box::pin(client.call::<String, _>("text", &()));
    assert!(futures_util::poll!(&mut untaken).is_pending());
    let mut shared = PeerStream::accept_bi(&peer).await;
    soon(shared.line()).await.unwrap();
    let text = "x".repeat(150_000);
    for part in [r#"{"jsonrpc":"2.0","id":0,"result":""#, &text, "\"}\n"] {
        let send = shared.send.as_mut().unwrap();
        let part = Bytes::copy_from_slice(part.as_bytes());
        soon(send.write_chunk(part)).await.unwrap();
    }
    run_until_idle().await;
    for _ in 0..12 {
        let call = tokio::spawn(
            client
                .call::<String, _>("text", &())
                .dedicated_stream()
                .into_future(),
        );
        let mut stream = PeerStream::accept_bi(&peer).await;
        soon(stream.line()).await.unwrap();
        let reply = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{}",
            &text[..20_000]
        );
        let send = stream.send.as_mut().unwrap();
        soon(send.write_chunk(Bytes::from(reply))).await.unwrap();
        let ended = soon(call).await.unwrap();
        assert!(matches!(ended, Err(CallError::Decode(_))), "{ended:?}");
    }
    assert_eq!(soon(untaken).await.unwrap().len(), 150_000);
}

#[tokio::test(start_paused = true)]
async fn reply_that_waits_for_room_ends_with_its_connection() {
    let (client, peer) = limited();
    let call = tokio::spawn(
        client
            .call::<String, _>("text", &())
            .dedicated_stream()
            .into_future(),
    );
    let mut stream = PeerStream::accept_bi(&peer).await;
    soon(stream.line()).await.unwrap();
    let text = "x".repeat(BUDGET + 1);
    let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{text}");
    let send = stream.send.as_mut().unwrap();
    soon(send.write_chunk(Bytes::from(reply))).await.unwrap();
    run_until_idle().await;
    let start = tokio::time::Instant::now();
    peer.close(0, "");
    let ended = soon(call).await.unwrap();
    assert!(
        matches!(ended, Err(CallError::Connection { .. })),
        "{ended:?}"
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
}
