//! curl, if it is installed. `RPC_REQUIRE_CURL=1` requires it.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::stream_client::soon;
use crate::stream_service::serve_items;

const HANG: &str = r#"{"jsonrpc":"2.0","id":1,"method":"hang"}"#;
const ITEM: &str = r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}"#;

/// Starts curl. Returns `None` if it is not installed, and need not be.
fn curl(address: SocketAddr, arguments: &[&str]) -> Option<(Child, Lines<BufReader<ChildStdout>>)> {
    let started = Command::new("curl")
        .args([
            "--no-progress-meter",
            "--show-error",
            "--fail",
            "--no-buffer",
        ])
        .args(arguments)
        .arg(format!("http://{address}/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    match started {
        Ok(mut child) => {
            let output = child.stdout.take().unwrap();
            Some((child, BufReader::new(output).lines()))
        }
        Err(error) => {
            assert!(
                std::env::var_os("RPC_REQUIRE_CURL").is_none(),
                "no curl: {error}"
            );
            None
        }
    }
}

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

#[tokio::test]
async fn curl_shows_items_as_they_come_and_cancels_when_it_ends() {
    let (address, watched) = serve_items().await;
    let accepts = [
        (
            "content-type: application/x-ndjson",
            "accept: */*",
            ITEM.to_owned(),
        ),
        (
            "content-type: application/json",
            "accept: application/x-ndjson",
            ITEM.to_owned(),
        ),
        (
            "content-type: application/json",
            "accept: text/event-stream",
            format!("data: {ITEM}"),
        ),
    ];
    for version in VERSIONS {
        for (content_type, accept, expected) in &accepts {
            let arguments = [version, "-H", content_type, "-H", accept, "-d", HANG];
            let Some((mut child, mut lines)) = curl(address, &arguments) else {
                return;
            };
            let line = soon(lines.next_line(), "an item").await.unwrap();
            assert_eq!(line.as_ref(), Some(expected));
            watched.runs(1).await;
            child.kill().await.unwrap();
            watched.runs(0).await;
        }
    }
}

#[tokio::test]
async fn curl_sends_and_receives_at_the_same_time() {
    let (address, _) = serve_items().await;
    for version in VERSIONS {
        let arguments = [
            version,
            "-H",
            "content-type: application/x-ndjson",
            "-X",
            "POST",
            // Standard input, without waiting for it.
            "-T",
            ".",
        ];
        let Some((mut child, mut lines)) = curl(address, &arguments) else {
            return;
        };
        let mut input = child.stdin.take().unwrap();
        for id in 0..3 {
            let call = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"echo\",\"params\":[\"a\"]}}\n"
            );
            input.write_all(call.as_bytes()).await.unwrap();
            let line = soon(lines.next_line(), "a reply").await.unwrap();
            assert_eq!(
                line,
                Some(format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"a\"}}"
                ))
            );
        }
        drop(input);
        assert!(
            soon(child.wait(), "the end of curl")
                .await
                .unwrap()
                .success()
        );
        assert_eq!(lines.next_line().await.unwrap(), None);
    }
}
