//! Streams that end early: by the client, or by the server.

use std::error::Error;
use std::time::Duration;

use rpc_runtime::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stream_client::{Exchange, HttpClient, Protocol, VERSIONS, read_until, soon};
use crate::stream_service::{serve_items, serve_items_with};

const HANG: &str = r#"
    --> {"jsonrpc":"2.0","id":1,"method":"hang"}
    <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}"#;

#[tokio::test]
async fn client_that_drops_the_response_cancels_its_calls() {
    let (address, watched) = serve_items().await;
    for version in VERSIONS {
        for finishes in [false, true] {
            let mut client = HttpClient::connect(version, address).await;
            let mut stream = client.open_stream().await;
            stream
                .run(r#"--> {"jsonrpc":"2.0","id":2,"method":"sleep"}"#)
                .await;
            stream.run(HANG).await;
            watched.runs(2).await;
            if finishes {
                stream.finish();
            }
            drop(stream);
            watched.runs(0).await;
        }
    }
}

#[tokio::test]
async fn client_that_disconnects_cancels_its_calls() {
    let (address, watched) = serve_items().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"sleep"}"#.to_owned() + "\n";
    for (content_type, accept, length) in [
        ("application/x-ndjson", "*/*", 1000),
        ("application/x-ndjson", "*/*", call.len()),
        ("application/json", "text/event-stream", call.len()),
        ("application/json", "application/x-ndjson", call.len()),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\naccept: {accept}\r\n\
            content-length: {length}\r\n\r\n{call}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        watched.runs(1).await;
        drop(stream);
        watched.runs(0).await;
    }
}

#[tokio::test]
async fn client_that_resets_its_half_cancels_its_calls() {
    let (address, watched) = serve_items().await;
    for version in VERSIONS {
        let mut client = HttpClient::connect(version, address).await;
        let mut stream = client.open_stream().await;
        stream.run(HANG).await;
        watched.runs(1).await;
        stream.abort();
        watched.runs(0).await;
    }
}

fn impatient() -> Limits {
    Limits {
        first_byte_timeout: Duration::from_millis(100),
        message_timeout: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// Returns the error with which the body of the response ends.
async fn cut(mut stream: Exchange) -> hyper::Error {
    loop {
        match stream.line().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the response looks complete"),
            Err(error) => return error,
        }
    }
}

/// Returns the code of a reset of HTTP/2.
fn reset_code(error: &hyper::Error) -> Option<u32> {
    let reset = error.source()?.downcast_ref::<h2::Error>()?;
    reset.reason().map(u32::from)
}

#[tokio::test]
async fn stream_without_a_byte_or_with_a_message_that_stops_is_reset_in_time() {
    let (address, watched) = serve_items_with(impatient()).await;
    for version in VERSIONS {
        let begun = r#"{"jsonrpc":"2.0","#.to_owned();
        for text in [
            None,
            Some(begun.clone()),
            Some(format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sleep\"}}\n{begun}"
            )),
        ] {
            let mut client = HttpClient::connect(version, address).await;
            let mut stream = client.open_stream().await;
            if let Some(text) = text {
                stream.send(text).await;
            }
            let error = cut(stream).await;
            let expected = (version == Protocol::Http2).then_some(0x14);
            assert_eq!(reset_code(&error), expected, "{error:?}");
            watched.runs(0).await;
        }
    }
}

#[tokio::test]
async fn chunked_response_of_a_stream_that_is_reset_has_no_last_chunk() {
    let (address, _) = serve_items_with(impatient()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-type: application/x-ndjson\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let mut rest = Vec::new();
    let read = soon(stream.read_to_end(&mut rest), "the end of the connection").await;
    assert!(rest.is_empty(), "{read:?} {rest:?}");
}

#[tokio::test]
async fn body_of_json_that_stops_is_reset_in_time() {
    let (address, _) = serve_items_with(impatient()).await;
    for version in VERSIONS {
        for accept in ["text/event-stream", "application/x-ndjson"] {
            let mut client = HttpClient::connect(version, address).await;
            let headers = [("content-type", "application/json"), ("accept", accept)];
            let mut stream = client.open(&headers).await;
            stream.send("{").await;
            cut(stream).await;
        }
    }
}
