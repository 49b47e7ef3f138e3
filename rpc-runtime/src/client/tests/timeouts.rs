//! Tests that calls, batches and notifications end with their timeouts, for every cause of waiting.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{DeskClient, PeerStream, run_until_idle, scripted, soon};
use crate::client::builder::ClientBuilder;
use crate::client::error::{CallError, Execution};
use crate::client::handle::Client;
use crate::transport::ConnectionError;

const CLIENTS: Duration = Duration::from_secs(5);
const OWN: Duration = Duration::from_secs(2);

/// Returns the error of `sent`. Fails the test unless it ends after this time.
async fn fails<T: std::fmt::Debug>(
    after: Duration,
    sent: impl IntoFuture<Output = Result<T, CallError>>,
) -> CallError {
    let since = Instant::now();
    let ended = soon(sent.into_future()).await;
    let took = since.elapsed();
    assert!(took >= after && took < after + OWN / 2, "{took:?}");
    ended.unwrap_err()
}

/// Fails the test unless `sent` times out after this time.
async fn times_out<T: std::fmt::Debug>(
    after: Duration,
    sent: impl IntoFuture<Output = Result<T, CallError>>,
) {
    let error = fails(after, sent).await;
    assert!(matches!(error, CallError::Timeout), "{error:?}");
}

/// Fails the test unless `sent` ends after this time with an error that says that there was no connection.
async fn finds_no_connection<T: std::fmt::Debug>(
    after: Duration,
    sent: impl IntoFuture<Output = Result<T, CallError>>,
) {
    let error = fails(after, sent).await;
    assert!(error.is_retryable(), "{error:?}");
    let CallError::Connection {
        execution, reason, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(*execution, Execution::NotSent);
    assert!(
        matches!(reason, ConnectionError::NotConnected(_)),
        "{reason:?}"
    );
    let shown = "the call was not sent: there was no connection within its time: ";
    assert!(error.to_string().starts_with(shown), "{error}");
}

/// Fails the test unless everything that waits on `client` ends with its timeout, since there is no connection.
async fn everything_finds_no_connection(client: &Client) {
    let desk = DeskClient::new(client.clone());
    let large = "x".repeat(100_000);
    finds_no_connection(CLIENTS, desk.add(1, 2)).await;
    finds_no_connection(OWN, desk.add(1, 2).timeout(OWN)).await;
    finds_no_connection(CLIENTS, desk.add(1, 2).dedicated_stream()).await;
    finds_no_connection(CLIENTS, desk.note("x")).await;
    finds_no_connection(OWN, desk.note("x").timeout(OWN)).await;
    finds_no_connection(OWN, desk.note(&large).timeout(OWN)).await;
    let mut batch = client.batch();
    let _ = batch.call(desk.add(1, 2));
    finds_no_connection(CLIENTS, batch.send()).await;
    let mut batch = client.batch().timeout(OWN);
    let _ = batch.call(desk.add(1, 2));
    finds_no_connection(OWN, batch.send()).await;
    let mut batch = client.batch().timeout(OWN);
    batch.notify(desk.note("x")).unwrap();
    finds_no_connection(OWN, batch.send()).await;
}

#[tokio::test(start_paused = true)]
async fn timeout_without_a_connection_ends_everything_that_waits() {
    let (client, _endpoints) = Client::builder().timeout(CLIENTS).balanced().unwrap();
    everything_finds_no_connection(&client).await;
    let desk = DeskClient::new(client);
    finds_no_connection(CLIENTS, desk.note("x").unreliable()).await;
}

#[tokio::test(start_paused = true)]
async fn timeout_without_a_connection_ends_items_in_both_directions() {
    let (client, _endpoints) = Client::builder().balanced().unwrap();
    let upload = client.call::<u64, _>("sum", &());
    let upload = upload.upload(stream::iter([1])).timeout(OWN);
    let mut items = client.items::<u64, _>("count", &()).timeout(OWN);
    let items = async { items.next().await.unwrap() };
    let (upload, items) = soon(async { tokio::join!(upload, items) }).await;
    for error in [upload.unwrap_err(), items.unwrap_err()] {
        assert!(error.is_retryable(), "{error:?}");
        let error = error.to_string();
        assert!(error.contains("no connection within its time"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_of_zero_sends_nothing() {
    let (client, peer) = scripted(ClientBuilder::default());
    let desk = DeskClient::new(client.clone());
    times_out(Duration::ZERO, desk.add(1, 2).timeout(Duration::ZERO)).await;
    let mut batch = client.batch().timeout(Duration::ZERO);
    let _ = batch.call(desk.add(1, 2));
    times_out(Duration::ZERO, batch.send()).await;
    client.close().await;
    assert!(peer.accept_bi().await.is_err());
}

/// Fails the test unless `sent` times out, with an error that says that the server reads nothing.
async fn times_out_unread<T: std::fmt::Debug>(
    sent: impl IntoFuture<Output = Result<T, CallError>>,
) {
    let since = Instant::now();
    let ended = soon(sent.into_future()).await;
    let Err(CallError::TimeoutAtLimit(reason)) = ended else {
        panic!("{ended:?}")
    };
    assert!(reason.contains("the server reads no more"), "{reason}");
    let took = since.elapsed();
    assert!(took >= OWN && took < OWN * 3 / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn timeout_while_the_server_reads_nothing_ends_what_waits_for_room() {
    let (client, peer) = scripted(Client::builder().timeout(CLIENTS));
    let desk = DeskClient::new(client.clone());
    // Fills the window of the stream and the client's queue.
    let text = "x".repeat(15_000);
    let mut notes = tokio::task::JoinSet::new();
    for _ in 0..100 {
        notes.spawn(desk.note(&text).into_future());
    }
    run_until_idle().await;
    let sent = std::iter::from_fn(|| notes.try_join_next()).count();
    assert!(sent < 100, "{sent}");
    times_out_unread(desk.note("x").timeout(OWN)).await;
    times_out_unread(desk.add(1, 2).timeout(OWN)).await;
    let mut stream = PeerStream::accept_bi(&peer).await;
    for note in notes.join_all().await {
        assert!(
            matches!(note, Err(CallError::TimeoutAtLimit(_))),
            "{note:?}"
        );
    }
    // Messages that timed out were not sent.
    let read = async {
        let mut lines = 0;
        while let Some(line) = stream.line().await {
            assert!(line.len() > text.len(), "{line}");
            lines += 1;
        }
        lines
    };
    let ((), lines) = tokio::join!(client.close(), read);
    assert_eq!(lines, sent);
}

#[tokio::test(start_paused = true)]
async fn batch_made_by_a_handler_inherits_its_deadline() {
    let (client, _endpoints) = Client::builder().balanced().unwrap();
    let batch = || {
        let mut batch = client.batch();
        let _ = batch.call(DeskClient::new(client.clone()).add(1, 2));
        batch
    };
    let batch = crate::deadline::with(Instant::now() + OWN, batch);
    finds_no_connection(OWN, batch.send()).await;
}
