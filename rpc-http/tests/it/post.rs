//! One message or one batch in a POST.

use crate::support::{exchange, post, post_as, serve};

#[tokio::test]
async fn call_is_answered_with_its_result() {
    let reply = post(
        serve().await,
        r#"{"jsonrpc":"2.0","id":1,"method":"add","params":{"a":1,"b":2}}"#,
    )
    .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.body, r#"{"jsonrpc":"2.0","id":1,"result":3}"#);
}

#[tokio::test]
async fn error_of_a_handler_has_status_200() {
    let reply = post(serve().await, r#"{"jsonrpc":"2.0","id":1,"method":"fail"}"#).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"no paper"}}"#
    );
}

#[tokio::test]
async fn handler_sees_the_address_of_the_client() {
    let reply = post(serve().await, r#"{"jsonrpc":"2.0","id":1,"method":"peer"}"#).await;
    assert!(reply.body.contains("\"127.0.0.1:"), "{}", reply.body);
}

#[tokio::test]
async fn notification_has_status_204_and_no_body() {
    let reply = post(
        serve().await,
        r#"{"jsonrpc":"2.0","method":"note","params":["x"]}"#,
    )
    .await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
}

#[tokio::test]
async fn batch_is_answered_with_an_array() {
    let reply = post(
        serve().await,
        r#"[{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]},{"jsonrpc":"2.0","method":"note","params":["x"]}]"#,
    )
    .await;
    assert_eq!(reply.body, r#"[{"jsonrpc":"2.0","id":1,"result":3}]"#);
}

#[tokio::test]
async fn get_has_status_405_and_names_the_method() {
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let reply = exchange(serve().await, request).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn other_content_type_has_status_415() {
    for headers in ["", "content-type: text/plain\r\n"] {
        let reply = post_as(serve().await, headers, "{}").await;
        assert_eq!(reply.status, 415);
    }
}

#[tokio::test]
async fn body_that_is_too_large_has_status_413_before_it_is_sent() {
    let request = "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
        content-length: 1048577\r\n\r\n";
    let reply = exchange(serve().await, request).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn refused_request_is_answered_though_all_of_its_body_is_sent() {
    let large = "x".repeat(4 << 20);
    let length = format!(
        "content-type: application/json\r\ncontent-length: {}\r\n\r\n{large}",
        large.len()
    );
    let chunks = format!(
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let other = length.replace("application/json", "text/plain");
    for (rest, status) in [(length, 413), (chunks, 413), (other, 415)] {
        let request = format!("POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{rest}");
        assert_eq!(exchange(serve().await, &request).await.status, status);
    }
}
