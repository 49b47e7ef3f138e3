//! Hosts, origins, paths, metadata and timeouts of requests.

use std::net::SocketAddr;

use http::HeaderName;
use rpc_http::{HttpServer, HttpService};
use rpc_runtime::gateway::ServiceSet;

use crate::support::{CalculatorServer, Desk, Reply, exchange};

async fn serve_as(set: impl FnOnce(HttpService) -> HttpService) -> SocketAddr {
    let service = HttpService::new(ServiceSet::from(CalculatorServer::new(Desk)));
    let listener = HttpServer::new(set(service));
    let listener = listener.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.run());
    address
}

/// Posts a call of `method` to `path` with these headers.
async fn post_to(server: SocketAddr, path: &str, headers: &[(&str, &str)], method: &str) -> Reply {
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!(
        "POST {path} HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}\
         content-length: {}\r\n\r\n{message}",
        message.len()
    );
    exchange(server, &request).await
}

async fn status(server: SocketAddr, headers: &[(&str, &str)]) -> u16 {
    post_to(server, "/", headers, "rpc.ping").await.status
}

#[tokio::test]
async fn request_for_an_address_or_localhost_is_answered() {
    let server = serve_as(|service| service).await;
    for host in [
        "127.0.0.1",
        "127.0.0.1:8080",
        "localhost:1",
        "LOCALHOST",
        "[::1]:80",
    ] {
        assert_eq!(status(server, &[("host", host)]).await, 200, "{host}");
    }
}

#[tokio::test]
async fn request_for_another_host_has_status_403_and_names_the_setting() {
    let server = serve_as(|service| service).await;
    for host in [
        "rebound.example",
        "localhost.example",
        "127.0.0.1.example:80",
        "[::1].example",
    ] {
        let reply = post_to(server, "/", &[("host", host)], "rpc.ping").await;
        // A host that is no host at all is not valid.
        assert!([400, 403].contains(&reply.status), "{host}: {reply:?}");
        assert_eq!(
            reply.status == 403,
            reply.body.contains("HttpService::allow_hosts")
        );
    }
}

#[tokio::test]
async fn request_for_an_allowed_host_is_answered_with_and_without_its_port() {
    let server = serve_as(|service| service.allow_hosts(["API.example", "other.example:81"])).await;
    assert_eq!(status(server, &[("host", "api.example")]).await, 200);
    assert_eq!(status(server, &[("host", "api.example:8443")]).await, 200);
    assert_eq!(status(server, &[("host", "other.example:81")]).await, 200);
    assert_eq!(status(server, &[("host", "other.example:82")]).await, 403);
}

#[tokio::test]
async fn request_without_a_host_or_with_two_has_status_400() {
    let server = serve_as(HttpService::allow_any_host).await;
    assert_eq!(status(server, &[]).await, 400);
    let twice = [("host", "localhost"), ("host", "localhost")];
    assert_eq!(status(server, &twice).await, 400);
}

#[tokio::test]
async fn request_whose_target_names_another_host_has_status_400() {
    let server = serve_as(|service| service).await;
    let reply = post_to(
        server,
        "http://127.0.0.1/",
        &[("host", "localhost")],
        "rpc.ping",
    )
    .await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn page_of_the_same_origin_is_answered_and_of_another_has_status_403() {
    let server = serve_as(|service| service.allow_origins(["https://app.example"])).await;
    let from = |origin| [("host", "localhost:8080"), ("origin", origin)];
    assert_eq!(status(server, &from("http://localhost:8080")).await, 200);
    assert_eq!(status(server, &from("https://app.example")).await, 200);
    for origin in [
        "http://localhost:8081",
        "https://evil.example",
        "null",
        "https://app.example.evil",
    ] {
        let reply = post_to(server, "/", &from(origin), "rpc.ping").await;
        assert_eq!(reply.status, 403, "{origin}");
        assert!(reply.body.contains("HttpService::allow_origins"));
    }
}

#[tokio::test]
async fn request_for_another_path_has_status_404() {
    let server = serve_as(|service| service.path("/rpc")).await;
    let host = [("host", "localhost")];
    assert_eq!(post_to(server, "/rpc", &host, "rpc.ping").await.status, 200);
    assert_eq!(
        post_to(server, "/rpc?x", &host, "rpc.ping").await.status,
        200
    );
    assert_eq!(post_to(server, "/", &host, "rpc.ping").await.status, 404);
}

#[tokio::test]
async fn handler_sees_allowed_headers_as_metadata_and_no_others() {
    let name = HeaderName::from_static("x-tenant");
    let server = serve_as(|service| service.metadata_headers([name])).await;
    let headers = [
        ("host", "localhost"),
        ("Authorization", "Bearer 7"),
        ("x-tenant", "a"),
        ("x-tenant", "b"),
        ("x-other", "c"),
    ];
    let reply = post_to(server, "/", &headers, "metadata").await;
    let expected = r#"{"authorization":"Bearer 7","x-tenant":"a, b"}"#;
    assert_eq!(
        reply.body,
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}"#)
    );
}

#[tokio::test]
async fn two_values_of_authorization_have_status_400() {
    let server = serve_as(|service| service).await;
    let headers = [
        ("host", "localhost"),
        ("authorization", "a"),
        ("authorization", "b"),
    ];
    assert_eq!(status(server, &headers).await, 400);
}

#[tokio::test]
async fn control_character_in_metadata_has_status_400() {
    let server = serve_as(|service| service).await;
    let headers = [("host", "localhost"), ("authorization", "a\tb")];
    assert_eq!(status(server, &headers).await, 400);
}

#[tokio::test]
async fn metadata_of_more_than_8_kib_has_status_431() {
    let server = serve_as(|service| service).await;
    let value = "x".repeat(9000);
    let headers = [("host", "localhost"), ("authorization", value.as_str())];
    assert_eq!(status(server, &headers).await, 431);
}

#[tokio::test]
async fn call_is_cancelled_after_the_timeout_of_the_header() {
    let server = serve_as(|service| service).await;
    let headers = [("host", "localhost"), ("rpc-timeout-ms", "20")];
    let reply = post_to(server, "/", &headers, "wait").await;
    assert!(reply.body.contains(r#""code":-32002"#), "{}", reply.body);
    let headers = [("host", "localhost"), ("rpc-timeout-ms", "soon")];
    assert_eq!(status(server, &headers).await, 400);
}
