//! Tests that calls, batches and notifications end with their timeouts, for every cause of waiting.

use std::time::Duration;

use tokio::time::Instant;

use super::{DeskClient, PeerStream, run_until_idle, scripted, soon};
use crate::client::builder::ClientBuilder;
use crate::client::error::CallError;
use crate::client::handle::Client;

const CLIENTS: Duration = Duration::from_secs(5);
const OWN: Duration = Duration::from_secs(2);

/// Fails the test unless `sent` times out after this time.
async fn times_out<T: std::fmt::Debug>(
    after: Duration,
    sent: impl IntoFuture<Output = Result<T, CallError>>,
) {
    let since = Instant::now();
    let ended = soon(sent.into_future()).await;
    assert!(matches!(ended, Err(CallError::Timeout)), "{ended:?}");
    let took = since.elapsed();
    assert!(took >= after && took < after + OWN / 2, "{took:?}");
}

/// Fails the test unless everything that waits on `client` times out.
async fn everything_times_out(client: &Client) {
    let desk = DeskClient::new(client.clone());
    let large = "x".repeat(100_000);
    times_out(CLIENTS, desk.add(1, 2)).await;
    times_out(OWN, desk.add(1, 2).timeout(OWN)).await;
    times_out(CLIENTS, desk.add(1, 2).dedicated_stream()).await;
    times_out(CLIENTS, desk.note("x")).await;
    times_out(OWN, desk.note("x").timeout(OWN)).await;
    times_out(OWN, desk.note(&large).timeout(OWN)).await;
    let mut batch = client.batch();
    let _ = batch.call(desk.add(1, 2));
    times_out(CLIENTS, batch.send()).await;
    let mut batch = client.batch().timeout(OWN);
    let _ = batch.call(desk.add(1, 2));
    times_out(OWN, batch.send()).await;
    let mut batch = client.batch().timeout(OWN);
    batch.notify(desk.note("x")).unwrap();
    times_out(OWN, batch.send()).await;
}

#[tokio::test(start_paused = true)]
async fn timeout_without_a_connection_ends_everything_that_waits() {
    let (client, _endpoints) = Client::builder().timeout(CLIENTS).balanced().unwrap();
    everything_times_out(&client).await;
    let desk = DeskClient::new(client);
    times_out(CLIENTS, desk.note("x").unreliable()).await;
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
    times_out(OWN, batch.send()).await;
}
