//! How long a client takes to close.

use std::time::{Duration, Instant};

use rpc_runtime::{Client, Limits, Trust, rpc};
use tests::relay::Relay;
use tests::support::{TestServer, soon};

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    #[rpc(notification)]
    async fn note(&self);
}

struct Clerk;

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn note(&self) {}
}

/// Connects a client through a relay.
async fn connect() -> (TestServer, Relay, Client, DeskClient) {
    let server = TestServer::start(DeskServer::new(Clerk), Limits::default());
    let relay = Relay::start(server.address, 0).unwrap();
    let client = Client::builder()
        .trust(Trust::certificate(server.certificate.clone()))
        .connect(relay.address());
    let client = soon(client).await.unwrap();
    let desk = DeskClient::new(client.clone());
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    (server, relay, client, desk)
}

async fn time_to_close(client: &Client) -> Duration {
    let begin = Instant::now();
    soon(client.close()).await;
    begin.elapsed()
}

#[tokio::test]
async fn client_whose_calls_were_answered_closes_at_once_although_the_server_is_silent() {
    let (_server, relay, client, _desk) = connect().await;
    relay.set_blackhole(true);
    let time = time_to_close(&client).await;
    assert!(time < Duration::from_secs(2), "{time:?}");
}

#[tokio::test]
async fn client_waits_three_seconds_for_notifications_to_arrive_at_a_silent_server() {
    let (_server, relay, client, desk) = connect().await;
    relay.set_blackhole(true);
    soon(desk.note()).await.unwrap();
    let time = time_to_close(&client).await;
    assert!(time >= Duration::from_secs(3), "{time:?}");
}
