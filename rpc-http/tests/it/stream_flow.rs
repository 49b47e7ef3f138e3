//! Back pressure on streams, and clients that read slowly.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rpc_runtime::Limits;

use crate::stream_client::{Exchange, HttpClient, Protocol, VERSIONS};
use crate::stream_service::{Watched, serve_items, serve_items_with};

/// The size of an item or a text.
const SIZE: usize = 32 << 10;

/// More than the buffers of both sides, the kernel and HTTP hold.
const MOST_HELD: usize = 32 << 20;

/// Returns the value of a count once it has stopped growing.
async fn settled(mut count: impl FnMut() -> usize) -> usize {
    let mut last = count();
    let mut same = 0;
    while same < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        assert!(now < MOST_HELD / SIZE, "{now} grows without bound");
    }
    last
}

/// Returns the line of an item.
fn item() -> String {
    let text = "x".repeat(SIZE);
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[1,\"{text}\"]}}\n")
}

fn produced(watched: &Watched) -> usize {
    watched.produced.load(Ordering::Relaxed)
}

async fn flood(client: &mut HttpClient) -> Exchange {
    let mut stream = client.open_stream().await;
    stream
        .run(&format!(
            r#"--> {{"jsonrpc":"2.0","id":1,"method":"flood","params":[{SIZE}]}}"#
        ))
        .await;
    stream
}

#[tokio::test]
async fn items_are_produced_as_the_client_reads_them() {
    for version in VERSIONS {
        let (address, watched) = serve_items().await;
        let mut client = HttpClient::connect(version, address).await;
        let mut stream = flood(&mut client).await;
        stream.line().await.unwrap();
        let unread = settled(|| produced(&watched)).await;
        for _ in 0..2 * unread {
            stream.line().await.unwrap();
        }
        assert!(produced(&watched) > 2 * unread);
        drop(stream);
        watched.runs(0).await;
    }
}

#[tokio::test]
async fn client_that_reads_no_items_is_not_reset_and_other_streams_go_on() {
    let limits = Limits {
        write_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let (address, watched) = serve_items_with(limits).await;
    let mut client = HttpClient::connect(Protocol::Http2, address).await;
    let mut stream = flood(&mut client).await;
    let unread = settled(|| produced(&watched)).await;
    client
        .open_stream()
        .await
        .run(
            r#"--> {"jsonrpc":"2.0","id":1,"method":"echo","params":["a"]}
            <-- {"jsonrpc":"2.0","id":1,"result":"a"}"#,
        )
        .await;
    for _ in 0..2 * unread {
        stream.line().await.unwrap();
    }
}

#[tokio::test]
async fn client_sends_items_as_the_handler_takes_them() {
    for version in VERSIONS {
        let (address, watched) = serve_items().await;
        let mut client = HttpClient::connect(version, address).await;
        let mut stream = client.open_stream().await;
        stream
            .run(r#"--> {"jsonrpc":"2.0","id":1,"method":"wait_to_sum"}"#)
            .await;
        watched.runs(1).await;
        let item = item();
        let mut sent = 0;
        while stream.sends_soon(&item).await {
            sent += 1;
            assert!(
                sent < MOST_HELD / SIZE,
                "the server takes items without bound"
            );
        }
        watched.opened.send_replace(true);
        for _ in 0..100 {
            stream.send(item.clone()).await;
            sent += 1;
        }
        let bytes = sent * SIZE;
        stream
            .run(&format!(
                r#"--> {{"jsonrpc":"2.0","method":"rpc.end","params":[1]}}
                --> (end)
                <-- {{"jsonrpc":"2.0","id":1,"result":{bytes}}}
                <-- (end)"#
            ))
            .await;
    }
}

#[tokio::test]
async fn items_that_wait_for_their_handlers_leave_room_for_other_streams() {
    let (address, watched) = serve_items().await;
    let mut client = HttpClient::connect(Protocol::Http2, address).await;
    let item = item();
    let mut streams = Vec::new();
    for count in 1..=10 {
        let mut stream = client.open_stream().await;
        stream
            .run(r#"--> {"jsonrpc":"2.0","id":1,"method":"wait_to_sum"}"#)
            .await;
        watched.runs(count).await;
        while stream.sends_soon(&item).await {}
        streams.push(stream);
    }
    client
        .open_stream()
        .await
        .run(
            r#"--> {"jsonrpc":"2.0","id":1,"method":"echo","params":["a"]}
            <-- {"jsonrpc":"2.0","id":1,"result":"a"}"#,
        )
        .await;
}

#[tokio::test]
async fn streams_that_the_server_no_longer_reads_leave_room_for_other_streams() {
    let (address, _) = serve_items().await;
    let mut client = HttpClient::connect(Protocol::Http2, address).await;
    let window = " ".repeat(256 << 10);
    let mut streams = Vec::new();
    for _ in 0..60 {
        let mut stream = client.open_stream().await;
        stream
            .run(
                r#"--> {"jsonrpc":"2.0","id":1,"method":"gate"}
                --> {"jsonrpc":"2.0","id":2,"method":"first"}
                --> {"jsonrpc":"2.0","method":"rpc.item","params":[2,5]}
                <-- {"jsonrpc":"2.0","id":2,"result":5}"#,
            )
            .await;
        // Together more than the window of the connection.
        stream.send(window.clone()).await;
        streams.push(stream);
        client
            .open_stream()
            .await
            .run(
                r#"--> {"jsonrpc":"2.0","id":1,"method":"echo","params":["a"]}
                <-- {"jsonrpc":"2.0","id":1,"result":"a"}"#,
            )
            .await;
    }
}

#[tokio::test]
async fn bytes_that_a_client_of_http_1_sends_after_its_last_item_was_taken_are_bounded() {
    let (address, watched) = serve_items().await;
    let mut client = HttpClient::connect(Protocol::Http1, address).await;
    let mut stream = client.open_stream().await;
    stream
        .run(
            r#"--> {"jsonrpc":"2.0","id":1,"method":"gate"}
            --> {"jsonrpc":"2.0","id":2,"method":"first"}
            --> {"jsonrpc":"2.0","method":"rpc.item","params":[2,5]}
            <-- {"jsonrpc":"2.0","id":2,"result":5}"#,
        )
        .await;
    let blank = " ".repeat(SIZE);
    let mut sent = 0;
    while stream.sends_soon(&blank).await {
        sent += 1;
        assert!(sent < MOST_HELD / SIZE, "the server reads without bound");
    }
    assert!(sent * SIZE > 8 << 20);
    // The end of the response does not wait for the end of the request.
    watched.opened.send_replace(true);
    stream
        .run(
            r#"<-- {"jsonrpc":"2.0","id":1,"result":null}
            <-- (end)"#,
        )
        .await;
}

#[tokio::test]
async fn client_that_reads_no_replies_is_bounded_and_its_calls_are_cancelled_in_time() {
    let limits = Limits {
        max_unsent_bytes_per_stream: 64 << 10,
        write_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    for version in VERSIONS {
        let (address, watched) = serve_items_with(limits.clone()).await;
        let mut client = HttpClient::connect(version, address).await;
        let mut stream = client.open_stream().await;
        stream
            .run(r#"--> {"jsonrpc":"2.0","id":0,"method":"sleep"}"#)
            .await;
        watched.runs(1).await;
        let text = "x".repeat(SIZE);
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[\"{text}\"]}}\n"
        );
        let mut sent = 0;
        while stream.sends_soon(&call).await {
            sent += 1;
            assert!(
                sent < MOST_HELD / SIZE,
                "the server takes calls without bound"
            );
        }
        watched.runs(0).await;
        while let Ok(line) = stream.line().await {
            assert!(line.is_some(), "the response looks complete");
        }
    }
}
