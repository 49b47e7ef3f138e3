//! One message in a POST whose replies are the lines of a stream, or server-sent events.

use crate::stream_client::{HttpClient, VERSIONS};
use crate::stream_service::serve_items;
use crate::support::post_as;

const COUNT: &str = r#"{"jsonrpc":"2.0","id":1,"method":"count","params":[2]}"#;

#[tokio::test]
async fn items_are_events_if_the_client_accepts_only_those() {
    let (address, _) = serve_items().await;
    let call = COUNT.replace(',', ",\r\n  ");
    for content_type in ["application/json", "application/x-ndjson"] {
        let call = match content_type {
            "application/json" => &call,
            _ => COUNT,
        };
        for version in VERSIONS {
            let mut client = HttpClient::connect(version, address).await;
            let headers = [
                ("content-type", content_type),
                ("accept", "text/event-stream"),
            ];
            let mut stream = client.open(&headers).await;
            assert_eq!(
                stream.response.headers()["content-type"],
                "text/event-stream"
            );
            assert_eq!(stream.response.headers()["cache-control"], "no-store");
            stream.send(call.to_owned()).await;
            stream.finish();
            let events = stream.rest().await;
            assert_eq!(
                events,
                r#"data: {"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}

data: {"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}

data: {"jsonrpc":"2.0","id":1,"result":null}

"#
            );
        }
    }
}

#[tokio::test]
async fn items_are_lines_if_the_client_accepts_lines_and_no_json() {
    let (address, _) = serve_items().await;
    for version in VERSIONS {
        let mut client = HttpClient::connect(version, address).await;
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/x-ndjson"),
        ];
        let mut stream = client.open(&headers).await;
        stream.send(COUNT.replace(',', "\n,")).await;
        stream.finish();
        stream
            .run(
                r#"<-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}
                <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}
                <-- {"jsonrpc":"2.0","id":1,"result":null}
                <-- (end)"#,
            )
            .await;
    }
}

#[tokio::test]
async fn body_of_json_is_one_message() {
    let (address, _) = serve_items().await;
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/x-ndjson"),
    ];
    for body in [
        format!("{COUNT}\n{COUNT}"),
        COUNT.replace("count", "co\nunt"),
    ] {
        for version in VERSIONS {
            let mut client = HttpClient::connect(version, address).await;
            let mut stream = client.open(&headers).await;
            stream.send(body.clone()).await;
            stream.finish();
            let reply = stream.rest().await;
            assert!(reply.contains(r#""error":{"code":-32700,"#), "{reply}");
        }
    }
}

#[tokio::test]
async fn method_with_items_in_a_plain_post_is_answered_with_the_type_to_use() {
    let (address, _) = serve_items().await;
    for accept in [
        "",
        "accept: */*\r\n",
        "accept: application/json, text/event-stream\r\n",
    ] {
        let headers = format!("content-type: application/json\r\n{accept}");
        for call in [COUNT, r#"{"jsonrpc":"2.0","id":1,"method":"sum"}"#] {
            let reply = post_as(address, &headers, call).await;
            assert_eq!(
                reply.body,
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Invalid Request","data":"the method has a stream of items: send the call on a stream (over HTTP, as application/x-ndjson)"}}"#
            );
        }
    }
}
