//! Requests whose body is the client's half of a stream, and whose response is the server's half.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use rpc_http::HttpService;
use rpc_runtime::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::stream_client::{HttpClient, Protocol, VERSIONS, read_until, soon};
use crate::stream_service::{serve_items, serve_items_with, start};
use crate::support::{exchange, post_as};

#[tokio::test]
async fn stream_transcripts_are_as_specified() {
    let transcripts = [
        // Calls one after the other, side by side, and a notification.
        r#"
        --> {"jsonrpc":"2.0","id":1,"method":"echo","params":["a"]}
        <-- {"jsonrpc":"2.0","id":1,"result":"a"}
        --> {"jsonrpc":"2.0","id":7,"method":"sleep"}
        --> {"jsonrpc":"2.0","id":"2","method":"echo","params":["b"]}
        <-- {"jsonrpc":"2.0","id":"2","result":"b"}
        --> {"jsonrpc":"2.0","method":"rpc.cancel","params":[7]}
        <-- {"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"Cancelled"}}
        --> {"jsonrpc":"2.0","method":"echo","params":["c"]}
        --> (end)
        <-- (end)"#,
        // A batch.
        r#"
        --> [{"jsonrpc":"2.0","id":1,"method":"echo","params":["a"]}]
        <-- [{"jsonrpc":"2.0","id":1,"result":"a"}]
        --> (end)
        <-- (end)"#,
        // Items of the server.
        r#"
        --> {"jsonrpc":"2.0","id":1,"method":"count","params":{"to":2}}
        --> (end)
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":1,"result":null}
        <-- (end)"#,
        // Items of the client.
        r#"
        --> {"jsonrpc":"2.0","id":1,"method":"sum","params":[]}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[1,19]}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[1,23]}
        --> {"jsonrpc":"2.0","method":"rpc.end","params":[1]}
        <-- {"jsonrpc":"2.0","id":1,"result":42}
        --> (end)
        <-- (end)"#,
        // Items both ways.
        r#"
        --> {"jsonrpc":"2.0","id":1,"method":"greet","params":["Hello"]}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[1,"Ada"]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,"Hello, Ada"]}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[1,"Bob"]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,"Hello, Bob"]}
        --> {"jsonrpc":"2.0","method":"rpc.end","params":[1]}
        <-- {"jsonrpc":"2.0","id":1,"result":null}
        --> (end)
        <-- (end)"#,
        // Items that end too early.
        r#"
        --> {"jsonrpc":"2.0","id":1,"method":"sum","params":[]}
        --> (end)
        <-- {"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Invalid Request","data":"the stream ended before its items did"}}
        <-- (end)"#,
        // Nothing.
        "--> (end)\n<-- (end)",
    ];
    let (address, _) = serve_items().await;
    for version in VERSIONS {
        let mut client = HttpClient::connect(version, address).await;
        for transcript in transcripts {
            let mut stream = client.open_stream().await;
            let headers = stream.response.headers();
            assert_eq!(headers["content-type"], "application/x-ndjson");
            stream.run(transcript).await;
        }
    }
}

#[tokio::test]
async fn reply_to_a_call_that_takes_one_item_precedes_the_end_of_its_items() {
    let (address, _) = serve_items().await;
    for version in VERSIONS {
        let mut client = HttpClient::connect(version, address).await;
        let transcript = r#"
        --> {"jsonrpc":"2.0","id":1,"method":"first"}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[1,5]}
        <-- {"jsonrpc":"2.0","id":1,"result":5}
        <-- (end)"#;
        client.open_stream().await.run(transcript).await;
    }
}

#[tokio::test]
async fn client_that_sends_all_items_before_it_reads_gets_the_early_reply() {
    let (address, _) = serve_items().await;
    let mut body = r#"{"jsonrpc":"2.0","id":1,"method":"first"}"#.to_owned() + "\n";
    for _ in 0..100_000 {
        body += r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,5]}"#;
        body.push('\n');
    }
    let headers = "content-type: application/x-ndjson\r\n";
    let reply = post_as(address, headers, &body).await;
    assert!(
        reply
            .body
            .contains(r#"{"jsonrpc":"2.0","id":1,"result":5}"#),
        "{}",
        reply.body
    );
    assert!(reply.body.ends_with("\r\n0\r\n\r\n"), "{}", reply.body);
}

#[tokio::test]
async fn streams_of_a_connection_run_side_by_side() {
    let (address, watched) = serve_items().await;
    let mut client = HttpClient::connect(Protocol::Http2, address).await;
    let mut streams = Vec::new();
    for id in 0..50 {
        let mut stream = client.open_stream().await;
        stream
            .run(&format!(
                r#"--> {{"jsonrpc":"2.0","id":{id},"method":"hang"}}
                <-- {{"jsonrpc":"2.0","method":"rpc.item","params":[{id},1]}}"#
            ))
            .await;
        streams.push(stream);
    }
    watched.runs(50).await;
    drop(streams);
    watched.runs(0).await;
}

#[tokio::test]
async fn timeout_in_a_header_applies_to_each_call_of_the_stream() {
    let (address, watched) = serve_items().await;
    for version in VERSIONS {
        let mut client = HttpClient::connect(version, address).await;
        let headers = [
            ("content-type", "application/x-ndjson"),
            ("rpc-timeout-ms", "50"),
        ];
        client
            .open(&headers)
            .await
            .run(
                r#"--> {"jsonrpc":"2.0","id":1,"method":"sleep"}
                <-- {"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"Deadline passed"}}
                --> {"jsonrpc":"2.0","id":2,"method":"hang"}
                <-- {"jsonrpc":"2.0","method":"rpc.item","params":[2,1]}
                <-- {"jsonrpc":"2.0","id":2,"error":{"code":-32002,"message":"Deadline passed"}}
                --> (end)
                <-- (end)"#,
            )
            .await;
        watched.runs(0).await;
    }
}

#[tokio::test]
async fn encoded_body_of_a_stream_has_status_415() {
    let (address, _) = serve_items().await;
    let headers = "content-type: application/x-ndjson\r\ncontent-encoding: gzip\r\n";
    assert_eq!(post_as(address, headers, "").await.status, 415);
}

#[tokio::test]
async fn client_that_waits_for_100_continue_gets_it_before_the_head() {
    let (address, _) = serve_items().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\
        content-type: application/x-ndjson\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let received = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(received, "HTTP/1.1 100 Continue\r\n\r\n");
    let received = read_until(&mut stream, "\r\n\r\n").await;
    assert!(received.starts_with("HTTP/1.1 200 OK\r\n"), "{received}");
    let line = r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":["a"]}"#.to_owned() + "\n";
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let received = read_until(&mut stream, "\n").await;
    let received = received + &read_until(&mut stream, "\r\n").await;
    assert!(
        received.ends_with("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"a\"}\n\r\n"),
        "{received}"
    );
}

#[tokio::test]
async fn stream_over_http_1_0_has_status_505() {
    let (address, _) = serve_items().await;
    let request = "POST / HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: 0\r\n\r\n";
    let reply = exchange(address, request).await;
    assert_eq!(reply.status, 505);
}

#[tokio::test]
async fn message_that_is_too_large_is_answered_and_the_stream_goes_on() {
    let limits = Limits {
        max_request_bytes: 100,
        ..Limits::default()
    };
    let (address, _) = serve_items_with(limits).await;
    for version in VERSIONS {
        let mut client = HttpClient::connect(version, address).await;
        let mut stream = client.open_stream().await;
        let text = "x".repeat(100);
        stream
            .send(format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[\"{text}\"]}}\n"
            ))
            .await;
        let reply = stream.line().await.unwrap().unwrap();
        assert!(
            reply.starts_with(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32007,"#),
            "{reply}"
        );
        stream
            .run(
                r#"--> {"jsonrpc":"2.0","id":2,"method":"echo","params":["b"]}
                <-- {"jsonrpc":"2.0","id":2,"result":"b"}"#,
            )
            .await;
    }
}

#[tokio::test]
async fn shutdown_ends_items_with_an_error_and_the_response_completely() {
    for version in VERSIONS {
        let (services, address, _) = start(Limits::default()).await;
        let mut client = HttpClient::connect(version, address).await;
        let mut stream = client.open_stream().await;
        stream
            .run(
                r#"--> {"jsonrpc":"2.0","id":1,"method":"hang"}
                <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}"#,
            )
            .await;
        let handle = services.handle();
        let shutdown = handle.shutdown(Duration::from_millis(10));
        let replies = stream.run(
            r#"<-- {"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"Stream ended"}}
            <-- (end)"#,
        );
        tokio::join!(soon(shutdown, "the shutdown"), replies);
    }
}

#[tokio::test]
async fn end_of_one_call_that_takes_items_leaves_the_other_calls_running() {
    for version in VERSIONS {
        let (address, watched) = serve_items().await;
        let mut client = HttpClient::connect(version, address).await;
        let mut stream = client.open_stream().await;
        stream
            .run(
                r#"--> {"jsonrpc":"2.0","id":1,"method":"gate"}
                --> {"jsonrpc":"2.0","id":2,"method":"first"}
                --> {"jsonrpc":"2.0","method":"rpc.item","params":[2,5]}
                <-- {"jsonrpc":"2.0","id":2,"result":5}"#,
            )
            .await;
        // The server no longer reads the stream.
        for _ in 0..10 {
            let _ = stream
                .sends_soon(r#"{"jsonrpc":"2.0","method":"rpc.item","params":[2,6]}"#)
                .await;
        }
        watched.opened.send_replace(true);
        stream
            .run(
                r#"<-- {"jsonrpc":"2.0","id":1,"result":null}
                <-- (end)"#,
            )
            .await;
    }
}

#[tokio::test]
async fn chunked_response_is_complete_only_after_the_last_reply() {
    let (address, _) = serve_items().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"count","params":[1]}"#;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\n\
        content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    soon(stream.read_to_string(&mut received), "the response")
        .await
        .unwrap();
    assert!(
        received.contains(r#"{"jsonrpc":"2.0","id":1,"result":null}"#),
        "{received}"
    );
    assert!(received.ends_with("\r\n0\r\n\r\n"), "{received}");
}

#[tokio::test]
async fn stream_of_a_service_without_a_listener_lasts_as_long_as_its_response() {
    let (services, _, watched) = start(Limits::default()).await;
    let mut service = HttpService::new(services);
    let request = Request::post("http://localhost/")
        .header("host", "localhost")
        .header("content-type", "application/x-ndjson")
        .body(Full::<Bytes>::from(
            r#"{"jsonrpc":"2.0","id":1,"method":"hang"}"#,
        ))
        .unwrap();
    let mut response = service.call(request).await.unwrap();
    let item = soon(response.body_mut().frame(), "an item").await;
    let item = item.unwrap().unwrap().into_data().unwrap();
    assert_eq!(
        item,
        "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[1,1]}\n"
    );
    watched.runs(1).await;
    drop(response);
    watched.runs(0).await;
}
