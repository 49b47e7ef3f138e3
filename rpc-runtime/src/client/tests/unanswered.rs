//! Tests the execution status of calls whose stream ends after lines that answer no call: the server may have meant such a
//! line as the reply.

use bytes::Bytes;
use futures_util::StreamExt;

use super::{PeerStream, parse, run_until_idle, scripted, soon};
use crate::client::builder::ClientBuilder;
use crate::client::error::{CallError, Execution};
use crate::transport::close;

/// Kinds of calls.
#[derive(Debug, Clone, Copy)]
enum CallKind {
    Shared,
    Dedicated,
    Items,
    Batch,
}

/// How the peer ends the stream.
#[derive(Debug, Clone, Copy)]
enum End {
    Finish,
    Close,
}

/// Makes a call, replies with this text, and ends the stream. Returns the error of the call.
async fn fail(kind: CallKind, text: &str, end: End) -> CallError {
    let (client, peer) = scripted(ClientBuilder::default());
    let call = match kind {
        CallKind::Shared | CallKind::Dedicated => {
            let mut call = client.call::<u64, _>("get", &());
            if let CallKind::Dedicated = kind {
                call = call.dedicated_stream();
            }
            tokio::spawn(async move { without_own(call.await.unwrap_err()) })
        }
        CallKind::Items => {
            let mut items = client.items::<u64, _>("count", &());
            tokio::spawn(async move { without_own(items.next().await.unwrap().unwrap_err()) })
        }
        CallKind::Batch => {
            let mut batch = client.batch();
            let _ = batch.call(client.call::<u64, _>("get", &()));
            tokio::spawn(async move { batch.send().await.unwrap_err() })
        }
    };
    let mut stream = PeerStream::accept_bi(&peer).await;
    let request = parse(&stream.line().await.unwrap());
    let id = request.get(0).unwrap_or(&request)["id"].to_string();
    let send = stream.send.as_mut().unwrap();
    if !text.is_empty() {
        let reply = Bytes::from(text.replace("ID", &id));
        soon(send.write_chunk(reply)).await.unwrap();
    }
    run_until_idle().await;
    match end {
        End::Finish => stream.send.as_mut().unwrap().finish(),
        End::Close => peer.close(close::SHUTDOWN, ""),
    }
    soon(call).await.unwrap()
}

fn without_own<E: std::fmt::Debug>(error: CallError<E>) -> CallError {
    match error {
        CallError::Connection {
            execution,
            reason,
            retries_exhausted,
        } => CallError::Connection {
            execution,
            reason,
            retries_exhausted,
        },
        CallError::Decode(reason) => CallError::Decode(reason),
        error => panic!("{error:?}"),
    }
}

#[track_caller]
fn assert_execution(error: &CallError, expected: Execution, context: &str) {
    match error {
        CallError::Connection { execution, .. } => assert_eq!(*execution, expected, "{context}"),
        error => panic!("{context}: {error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn call_whose_stream_ends_after_a_line_that_answers_no_call_may_have_been_executed() {
    for kind in [
        CallKind::Shared,
        CallKind::Dedicated,
        CallKind::Items,
        CallKind::Batch,
    ] {
        for end in [End::Finish, End::Close] {
            for text in [
                "{\"jsonrpc\":\"2.0\",\"id\":ID,\"method\":\"x\"}\n",
                "{\"jsonrpc\":\"2.0\",\"method\":\"tick\"}\n",
                "\n",
                " \r\n",
                "\n \n",
            ] {
                let error = fail(kind, text, end).await;
                let context = format!("{kind:?} {end:?} {text:?}");
                assert_execution(&error, Execution::MayHaveExecuted, &context);
                let shown = error.to_string();
                assert!(shown.contains("a line that answers no call"), "{shown}");
            }
            let error = fail(kind, "", end).await;
            assert_execution(&error, Execution::NotExecuted, &format!("{kind:?} {end:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_whose_shared_stream_ends_after_a_reply_with_an_unknown_id_may_have_been_executed() {
    let (client, peer) = scripted(ClientBuilder::default());
    let calls = [(); 2].map(|()| tokio::spawn(client.call::<u64, _>("get", &()).into_future()));
    let mut stream = PeerStream::accept_bi(&peer).await;
    for _ in 0..2 {
        stream.line().await.unwrap();
    }
    stream.reply(r#"{"id":4711000,"result":1}"#).await;
    stream.send.as_mut().unwrap().finish();
    for call in calls {
        let error = without_own(soon(call).await.unwrap().unwrap_err());
        assert_execution(&error, Execution::MayHaveExecuted, "");
    }
}

#[tokio::test(start_paused = true)]
async fn call_whose_connection_is_closed_within_a_reply_may_have_been_executed() {
    for kind in [
        CallKind::Shared,
        CallKind::Dedicated,
        CallKind::Items,
        CallKind::Batch,
    ] {
        for text in ["{", "{\"jsonrpc\":\"2.0\",\"id\":ID,\"res"] {
            let error = fail(kind, text, End::Close).await;
            assert_execution(
                &error,
                Execution::MayHaveExecuted,
                &format!("{kind:?} {text}"),
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reply_to_a_notification_leaves_the_other_calls_not_executed() {
    for code in [-32007, -32013] {
        let line = format!("{{\"id\":null,\"error\":{{\"code\":{code},\"message\":\"x\"}}}}\n");
        let error = fail(CallKind::Shared, &line, End::Finish).await;
        assert_execution(&error, Execution::NotExecuted, &line);
    }
}

#[tokio::test(start_paused = true)]
async fn call_sent_after_a_line_that_answers_no_call_was_not_executed() {
    let (client, peer) = scripted(ClientBuilder::default());
    let call = || tokio::spawn(client.call::<u64, _>("get", &()).into_future());
    let first = call();
    let mut stream = PeerStream::accept_bi(&peer).await;
    stream.line().await.unwrap();
    stream.reply(r#"{"jsonrpc":"2.0","method":"tick"}"#).await;
    run_until_idle().await;
    let second = call();
    stream.line().await.unwrap();
    stream.send.as_mut().unwrap().finish();
    for (call, expected) in [
        (first, Execution::MayHaveExecuted),
        (second, Execution::NotExecuted),
    ] {
        let error = without_own(soon(call).await.unwrap().unwrap_err());
        assert_execution(&error, expected, "");
    }
}

#[tokio::test(start_paused = true)]
async fn late_reply_to_a_cancelled_call_leaves_the_other_calls_not_executed() {
    let (client, peer) = scripted(ClientBuilder::default());
    let call = || tokio::spawn(client.call::<u64, _>("get", &()).into_future());
    let cancelled = call();
    let mut stream = PeerStream::accept_bi(&peer).await;
    let id = parse(&stream.line().await.unwrap())["id"].clone();
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    let other = call();
    stream.line().await.unwrap();
    stream.reply(&format!(r#"{{"id":{id},"result":1}}"#)).await;
    run_until_idle().await;
    stream.send.as_mut().unwrap().finish();
    let error = without_own(soon(other).await.unwrap().unwrap_err());
    assert_execution(&error, Execution::NotExecuted, "");
}
