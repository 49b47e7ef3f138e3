//! curl.

use std::process::{self, Command, Stdio};

use tests::packages::required;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::doors::Doors;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"subtract","params":[42,23]}"#;
const REPLY: &str = r#"{"jsonrpc":"2.0","id":1,"result":19}"#;

/// curl that calls one server.
struct Curl {
    doors: Doors,
}

/// What curl received.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    /// The version of HTTP, the status and the content type.
    head: String,
    body: String,
}

impl Curl {
    /// Starts a server. Returns `None` if there is no curl with HTTP/2.
    async fn start(test: &str) -> Option<Self> {
        let version = Command::new("curl").arg("--version").output();
        let found = match version.map(|output| stdout(&output)) {
            Ok(version) if version.contains(" HTTP2") => Ok(()),
            Ok(version) => Err(format!("this curl has no HTTP/2: {version}")),
            Err(error) => Err(format!("there is no curl: {error}")),
        };
        required(found, "CURL")?;
        Some(Self {
            doors: Doors::open(test).await,
        })
    }

    /// Returns curl with the arguments that it always has.
    fn command(&self) -> tokio::process::Command {
        let mut curl = tokio::process::Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .arg("--cacert")
        .arg(&self.doors.certificate)
        .kill_on_drop(true);
        curl
    }

    /// Runs curl with these arguments.
    async fn run(&self, arguments: &[&str]) -> Reply {
        let write_out = "\n%{http_version} %{http_code} %{content_type}";
        let mut curl = self.command();
        curl.args(["--write-out", write_out]).args(arguments);
        let output = curl.output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        let text = stdout(&output);
        let (body, head) = text.rsplit_once('\n').unwrap();
        Reply {
            head: head.trim().to_owned(),
            body: body.to_owned(),
        }
    }

    /// Starts curl with `arguments`, and shows the body of the response as it arrives.
    fn stream(&self, arguments: &[&str]) -> Output {
        let mut curl = self.command();
        curl.args(["--no-buffer", "-H", "content-type: application/x-ndjson"])
            .args(arguments)
            .stdout(Stdio::piped());
        let mut child = curl.spawn().unwrap();
        Output {
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    /// Posts a message.
    async fn post(&self, url: &str, message: &str) -> Reply {
        let json = ["-H", "content-type: application/json", "--data-binary"];
        self.run(&[&json[..], &[message, url]].concat()).await
    }
}

/// The output of curl while it runs.
struct Output {
    lines: Lines<BufReader<ChildStdout>>,
    /// Dropping it stops curl.
    _child: Child,
}

fn stdout(output: &process::Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_calls_every_listener_over_http_1_and_http_2() {
    let Some(curl) = Curl::start("curl-versions").await else {
        return;
    };
    let [plain, tls, axum] = curl.doors.urls();
    for (url, option, version) in [
        (&plain, "--http1.1", "1.1"),
        // The upgrade of HTTP/1.1 to HTTP/2 is ignored, as RFC 9113 has removed it.
        (&plain, "--http2", "1.1"),
        (&plain, "--http2-prior-knowledge", "2"),
        (&plain, "--http1.0", "1"),
        (&tls, "--http1.1", "1.1"),
        (&tls, "--http2", "2"),
        (&axum, "--http1.1", "1.1"),
        (&axum, "--http2-prior-knowledge", "2"),
    ] {
        let header = "content-type: application/json";
        let reply = curl.run(&[option, "-H", header, "-d", CALL, url]).await;
        let expected = Reply {
            head: format!("{version} 200 application/json"),
            body: REPLY.to_owned(),
        };
        assert_eq!(reply, expected, "{option} {url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_receives_errors_batches_and_no_reply_to_a_notification() {
    let Some(curl) = Curl::start("curl-messages").await else {
        return;
    };
    for url in curl.doors.urls() {
        let version = if url.starts_with("https") { "2" } else { "1.1" };
        for (message, head, body) in [
            (
                r#"{"jsonrpc":"2.0","id":"a","method":"fail","params":{"code":7,"message":"no paper","data":[1]}}"#,
                "200 application/json",
                r#"{"jsonrpc":"2.0","id":"a","error":{"code":7,"message":"no paper","data":[1]}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"nothing"}"#,
                "200 application/json",
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found","data":"there is no method `nothing`"}}"#,
            ),
            (
                "{nonsense",
                "200 application/json",
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
            ),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"get_data"},{"jsonrpc":"2.0","method":"update","params":[1]}]"#,
                "200 application/json",
                r#"[{"jsonrpc":"2.0","id":1,"result":["hello",5]}]"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"update","params":[1,2]}"#,
                "204",
                "",
            ),
        ] {
            let expected = Reply {
                head: format!("{version} {head}"),
                body: body.to_owned(),
            };
            assert_eq!(curl.post(&url, message).await, expected, "{message} {url}");
        }
    }
    let notified = r#"{"jsonrpc":"2.0","id":1,"method":"notified"}"#;
    let reply = curl.post(&curl.doors.urls()[0], notified).await;
    assert_eq!(reply.body, r#"{"jsonrpc":"2.0","id":1,"result":6}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_posts_a_file_after_100_continue() {
    let Some(curl) = Curl::start("curl-file").await else {
        return;
    };
    let file = curl.doors.certificate.with_extension("json");
    let text = "ä".repeat(500_000);
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"length","params":["{text}"]}}"#);
    std::fs::write(&file, message).unwrap();
    let data = format!("@{}", file.display());
    for url in curl.doors.urls() {
        let headers = [
            "-H",
            "content-type: application/json",
            "-H",
            "expect: 100-continue",
        ];
        let body = ["--data-binary", &data, &url];
        let reply = curl.run(&[&headers[..], &body].concat()).await;
        assert_eq!(
            reply.body, r#"{"jsonrpc":"2.0","id":1,"result":1000000}"#,
            "{url}"
        );
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_told_why_a_request_is_refused() {
    let Some(curl) = Curl::start("curl-refusals").await else {
        return;
    };
    let [plain, ..] = curl.doors.urls();
    let plain = plain.as_str();
    let json = "content-type: application/json";
    let large = curl.doors.certificate.with_extension("large");
    std::fs::write(&large, "x".repeat(2 << 20)).unwrap();
    let data = format!("@{}", large.display());
    for (arguments, head, part) in [
        (&[plain][..], "1.1 405 text/plain; charset=utf-8", "POST"),
        (
            &["-d", CALL, plain],
            "1.1 415 text/plain; charset=utf-8",
            "application/json",
        ),
        (
            &["-H", json, "-H", "host: evil.example", "-d", CALL, plain],
            "1.1 403 text/plain; charset=utf-8",
            "allow_hosts",
        ),
        (
            &[
                "-H",
                json,
                "-H",
                "origin: https://evil.example",
                "-d",
                CALL,
                plain,
            ],
            "1.1 403 text/plain; charset=utf-8",
            "allow_origins",
        ),
        (
            &["-H", json, "--data-binary", &data, plain],
            "1.1 413 text/plain; charset=utf-8",
            "max_request_bytes",
        ),
        (
            &["-H", "expect:", "-H", json, "--data-binary", &data, plain],
            "1.1 413 text/plain; charset=utf-8",
            "max_request_bytes",
        ),
        (
            &[
                "--http2-prior-knowledge",
                "-H",
                json,
                "--data-binary",
                &data,
                plain,
            ],
            "2 413 text/plain; charset=utf-8",
            "max_request_bytes",
        ),
    ] {
        let reply = curl.run(arguments).await;
        assert_eq!(reply.head, head, "{arguments:?}");
        assert!(reply.body.contains(part), "{arguments:?}: {}", reply.body);
    }
    std::fs::remove_file(large).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_lines_and_receives_items_and_replies() {
    let Some(curl) = Curl::start("curl-lines").await else {
        return;
    };
    let sent = r#"{"jsonrpc":"2.0","id":1,"method":"greet","params":["Hello"]}
{"jsonrpc":"2.0","method":"rpc.item","params":[1,"Ada"]}
{"jsonrpc":"2.0","method":"rpc.end","params":[1]}
"#;
    let received = r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,"Hello, Ada"]}
{"jsonrpc":"2.0","id":1,"result":null}
"#;
    let [plain, tls, axum] = curl.doors.urls();
    for (option, url, version) in [
        ("--http1.1", &plain, "1.1"),
        ("--http2-prior-knowledge", &plain, "2"),
        ("--http1.1", &tls, "1.1"),
        ("--http2", &tls, "2"),
        ("--http1.1", &axum, "1.1"),
        ("--http2-prior-knowledge", &axum, "2"),
    ] {
        let lines = ["-H", "content-type: application/x-ndjson", "--data-binary"];
        let reply = curl.run(&[&lines[..], &[sent, option, url]].concat()).await;
        assert_eq!(reply.head, format!("{version} 200 application/x-ndjson"));
        assert_eq!(reply.body, received);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_items_as_they_come_and_ends_their_call_when_it_is_stopped() {
    let Some(curl) = Curl::start("curl-stopped").await else {
        return;
    };
    let ticks = r#"{"jsonrpc":"2.0","id":1,"method":"clock.ticks","params":[1]}"#;
    let open = r#"{"jsonrpc":"2.0","id":1,"method":"clock.open"}"#;
    let [plain, tls, axum] = curl.doors.urls();
    for (option, url) in [
        ("--http1.1", &plain),
        ("--http2-prior-knowledge", &plain),
        ("--http2", &tls),
        ("--http1.1", &axum),
    ] {
        // A line may have no end, as the last one of a file.
        let mut output = curl.stream(&["--data-binary", ticks, option, url]);
        for tick in 1..=10 {
            let line = output.lines.next_line().await.unwrap();
            let item = format!(r#"{{"jsonrpc":"2.0","method":"rpc.item","params":[1,{tick}]}}"#);
            assert_eq!(line, Some(item));
        }
        assert!(curl.post(url, open).await.body.ends_with(r#""result":1}"#));
        drop(output);
        while !curl.post(url, open).await.body.ends_with(r#""result":0}"#) {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_receives_items_of_one_message_as_lines_or_events() {
    let Some(curl) = Curl::start("curl-items").await else {
        return;
    };
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"count","params":[2]}"#;
    let items = [
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
    ];
    for url in curl.doors.urls() {
        let version = if url.starts_with("https") { "2" } else { "1.1" };
        for (accept, before, after) in [
            ("application/x-ndjson", "", "\n"),
            ("text/event-stream", "data: ", "\n\n"),
        ] {
            let accepted = format!("accept: {accept}");
            let json = [
                "-N",
                "-H",
                "content-type: application/json",
                "-H",
                &accepted,
            ];
            let reply = curl.run(&[&json[..], &["-d", call, &url]].concat()).await;
            assert_eq!(reply.head, format!("{version} 200 {accept}"));
            let body: String = items
                .iter()
                .map(|item| format!("{before}{item}{after}"))
                .collect();
            assert_eq!(reply.body, body);
        }
    }
}
