//! Commands against servers of HTTP and WebSocket, those of others among them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use crate::program::{Demo, Ended, command, ended, rpc, rpc_with_env, rpc_with_input};

/// A command with each kind of URL as its target.
struct Urls {
    demo: Demo,
}

impl Urls {
    fn start() -> Self {
        Self {
            demo: Demo::start_with_http(),
        }
    }

    /// Returns the URLs, each with the options that make its server trusted.
    fn each(&self) -> Vec<Vec<String>> {
        let [http, https] = &self.demo.urls[..] else {
            panic!("{:?}", self.demo.urls);
        };
        let plain = [http.clone(), http.replace("http", "ws")];
        let tls = [https.clone(), https.replace("https", "wss")];
        let trusted = tls.map(|url| vec![url, "--pin".to_owned(), self.demo.pin.clone()]);
        plain
            .map(|url| vec![url])
            .into_iter()
            .chain(trusted)
            .collect()
    }

    /// Runs a command for each URL.
    #[track_caller]
    fn check(&self, (name, arguments, input): (&str, &[&str], &str), check: impl Fn(Ended)) {
        for target in self.each() {
            let target = target.iter().map(String::as_str);
            let line: Vec<_> = [name]
                .into_iter()
                .chain(target)
                .chain(arguments.iter().copied())
                .collect();
            check(rpc_with_input(&line, input));
        }
    }
}

#[test]
fn call_over_each_url_prints_its_result_and_its_error() {
    let urls = Urls::start();
    let count = ["text.count", "text=to be or not to be", "needle=be"];
    urls.check(("call", &count, ""), |ended| {
        assert_eq!(ended.assert_ok(), "2\n")
    });
    let melon = ["shop.buy", "item=melon"];
    urls.check(("call", &melon, ""), |ended| {
        let told = ended.assert_failed(1);
        assert!(
            told.starts_with("error: the server answered 1001: there is no melon\n"),
            "{told}"
        );
    });
    let unknown = ["text.cuont"];
    urls.check(("call", &unknown, ""), |ended| {
        let told = ended.assert_failed(1);
        assert!(told.contains("text.count"), "{told}");
    });
}

#[test]
fn stream_over_each_url_prints_and_sends_items() {
    let urls = Urls::start();
    let watch = ["shop.watch", "item=pear", "--count", "2"];
    urls.check(("stream", &watch, ""), |ended| {
        let told = ended.assert_ok();
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.starts_with("{\"item\":\"pear\""), "{told}");
    });
    let order = ["shop.order", "--upload", "-"];
    let items = "{\"item\":\"pear\"}\n".repeat(100);
    urls.check(("stream", &order, &items), |ended| {
        let told = ended.assert_ok();
        assert!(told.starts_with("{\"quantity\":100,"), "{told}");
    });
    let unknown = ["shop.watch", "item=durian"];
    urls.check(("stream", &unknown, ""), |ended| {
        assert_eq!(
            (ended.status, ended.stdout.as_str()),
            (1, ""),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn other_commands_over_each_url_do_as_over_quic() {
    let urls = Urls::start();
    urls.check(
        ("ping", &["--count", "2", "--interval", "1ms"], ""),
        |ended| {
            let told = ended.assert_ok();
            assert!(
                told.starts_with("connected to ") && told.contains("2 answered"),
                "{told}"
            );
        },
    );
    urls.check(("health", &["Shop"], ""), |ended| {
        assert_eq!(ended.assert_ok(), "SERVING\n")
    });
    let quic = urls.demo.rpc("describe", &["--json"]).assert_ok();
    urls.check(("describe", &["--json"], ""), |ended| {
        assert_eq!(ended.assert_ok(), quic)
    });
    urls.check(("check", &["-"], &quic), |ended| {
        let told = ended.assert_ok();
        assert!(told.starts_with("0 breaking"), "{told}");
    });
    let bench = [
        "text.count",
        "text=a",
        "needle=a",
        "--in-flight",
        "8",
        "-n",
        "100",
        "--json",
    ];
    urls.check(("bench", &bench, ""), |ended| {
        let told = ended.assert_ok();
        assert!(told.contains("\"answered\":100"), "{told}");
    });
}

#[test]
fn notification_over_each_url_ends_when_the_server_has_taken_it() {
    let urls = Urls::start();
    urls.check(
        ("call", &["text.count", "--undescribed", "--notify"], ""),
        |ended| {
            assert_eq!(ended.assert_ok(), "");
        },
    );
    let large = format!("[\"{}\"]", "a".repeat(100_000));
    urls.check(
        (
            "call",
            &["text.count", "-", "--undescribed", "--notify"],
            &large,
        ),
        |ended| {
            assert_eq!(ended.assert_ok(), "");
        },
    );
    let absent = Answers::start(|_| status("404 Not Found", "text/plain", "no"));
    let told = rpc(&["call", &absent.url, "a", "--undescribed", "--notify"]).assert_failed(1);
    assert!(told.contains("404 Not Found"), "{told}");
}

#[test]
fn server_that_is_not_trusted_is_named_with_what_to_do() {
    let urls = Urls::start();
    let https = urls.demo.urls[1].clone();
    let other = "00".repeat(32);
    for url in [https.clone(), https.replace("https", "wss")] {
        let told = rpc(&["ping", &url]).assert_failed(3);
        assert!(told.contains("not signed by a trusted authority"), "{told}");
        assert!(told.contains("--pin SHA256"), "{told}");
        let told = rpc(&["ping", &url, "--pin", &other]).assert_failed(3);
        assert!(
            told.contains(&format!("but sha256:{}", urls.demo.pin)),
            "{told}"
        );
        let name = ["--pin", &urls.demo.pin, "--server-name", "example.org"];
        let told = rpc(&[&["ping", &url][..], &name].concat()).assert_failed(3);
        assert!(told.contains("--server-name NAME"), "{told}");
    }
    let plain = &urls.demo.urls[0];
    let told = rpc(&["ping", plain, "--pin", &urls.demo.pin]).assert_failed(2);
    assert!(told.contains("`--pin` has no effect without TLS"), "{told}");
    let told = rpc(&["ping", &https.replace("https", "http"), "--quiet"]).assert_failed(3);
    assert!(told.contains("`https://`"), "{told}");
    let told = rpc(&["ping", &plain.replace("http", "https")]).assert_failed(3);
    assert!(told.contains("TLS 1.3"), "{told}");
}

#[test]
fn url_that_is_none_is_an_error_of_the_command_line() {
    for url in ["http://", "https://user@localhost/", "ws://localhost:x/"] {
        let told = rpc(&["ping", url]).assert_failed(2);
        assert!(told.contains("is no URL of a server"), "{told}");
    }
}

/// A server of HTTP/1.1 that answers each request of one connection after the other.
struct Answers {
    url: String,
    requests: mpsc::Receiver<String>,
}

impl Answers {
    /// `answer` returns the response to a request, which has its body at its end.
    fn start(answer: impl Fn(&str) -> String + Send + Sync + Clone + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/rpc", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, sender) = (answer.clone(), sender.clone());
                thread::spawn(move || serve(stream.unwrap(), answer, &sender));
            }
        });
        Self { url, requests }
    }
}

fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> String, sender: &mpsc::Sender<String>) {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..read]);
        while let Some(length) = request_length(&received) {
            let request: Vec<u8> = received.drain(..length).collect();
            let request = String::from_utf8(request).unwrap();
            stream.write_all(answer(&request).as_bytes()).unwrap();
            let _ = sender.send(request);
        }
    }
}

/// Returns the length of the first request, if it is complete.
fn request_length(received: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(received).to_ascii_lowercase();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let begin = head.len() + 4;
    match head.split_once("content-length: ") {
        Some((_, rest)) => {
            let length: usize = rest.lines().next()?.parse().ok()?;
            (received.len() >= begin + length).then_some(begin + length)
        }
        // Of a stream, the first lines are enough.
        None => (!head.starts_with("post") || body.contains('\n')).then_some(received.len()),
    }
}

fn status(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn json(body: &str) -> String {
    status("200 OK", "application/json", body)
}

/// Returns the text of the id of a request.
fn id_of(request: &str) -> String {
    let (_, rest) = request.split_once("\"id\":").unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn reply_of_another_server_is_read_in_any_form() {
    let unknown = |request: &str| {
        let id = id_of(request);
        let error = r#"{"code":-32601,"message":"Method not found"}"#;
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
    };
    let pretty = Answers::start(move |request| match request.contains("rpc.discover") {
        true => status("404 Not Found", "application/json", &unknown(request)),
        false => json(&format!(
            "{{\n  \"jsonrpc\": \"2.0\",\n  \"result\": [\n    19\n  ],\n  \"id\": {}\n}}\n",
            id_of(request)
        )),
    });
    assert_eq!(
        rpc(&["call", &pretty.url, "subtract", "[42, 23]"]).assert_ok(),
        "[19]\n"
    );
    let error = Answers::start(move |request| {
        status(
            "500 Internal Server Error",
            "application/json",
            &unknown(request),
        )
    });
    let told = rpc(&["call", &error.url, "a", "--undescribed"]).assert_failed(1);
    assert!(
        told.contains("the server answered -32601: Method not found"),
        "{told}"
    );
}

#[test]
fn metadata_and_token_are_headers_as_well() {
    let server = Answers::start(|request| {
        json(&format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":1}}"#,
            id_of(request)
        ))
    });
    let call = [
        "call",
        &server.url,
        "a",
        "--undescribed",
        "--meta",
        "traceparent=00-1",
    ];
    rpc_with_env(&call, &[("RPC_TOKEN", "secret")]).assert_ok();
    let request = server.requests.recv().unwrap();
    for line in [
        "POST /rpc HTTP/1.1",
        "content-type: application/json",
        "accept: application/json",
        "authorization: Bearer secret",
        "traceparent: 00-1",
    ] {
        assert!(request.lines().any(|it| it == line), "{line}: {request}");
    }
}

#[test]
fn response_that_is_no_reply_fails_with_what_to_do() {
    let html = "text/html; charset=utf-8";
    let cases = [
        (
            status(
                "404 Not Found",
                "text/plain",
                "nothing is served at this path\n",
            ),
            1,
            "404 Not Found: nothing is served at this path",
            "check the path",
        ),
        (
            status("403 Forbidden", "text/plain", "this host is not allowed\n"),
            1,
            "this host is not allowed",
            "other hosts than `127.0.0.1`",
        ),
        (
            status("401 Unauthorized", html, "<p>"),
            1,
            "401 Unauthorized",
            "RPC_TOKEN",
        ),
        (
            status("405 Method Not Allowed", html, "<p>"),
            1,
            "405 Method Not Allowed",
            "JSON-RPC is not served there",
        ),
        (
            status("503 Service Unavailable", html, "<p>"),
            3,
            "503 Service Unavailable",
            "",
        ),
        (
            status("504 Gateway Timeout", html, "<p>"),
            4,
            "504 Gateway Timeout",
            "",
        ),
        (
            status("200 OK", html, "<p>"),
            5,
            "a body of the type text/html",
            "check the port and the path",
        ),
        (json(""), 5, "the server sent no reply to the call", ""),
        (
            "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://a/\r\ncontent-length: 0\r\n\r\n"
                .into(),
            1,
            "308 Permanent Redirect",
            "call the URL https://a/",
        ),
        (
            "SSH-2.0-OpenSSH_9.6\r\n".into(),
            3,
            "",
            "does not answer in HTTP",
        ),
    ];
    for (answer, exit, message, tip) in cases {
        let server = Answers::start({
            let answer = answer.clone();
            move |_| answer.clone()
        });
        for undescribed in [&["--undescribed"][..], &[]] {
            let line = [&["call", &server.url, "a"], undescribed].concat();
            let told = rpc(&line).assert_failed(exit);
            assert!(
                told.contains(message) && told.contains(tip),
                "{answer}: {told}"
            );
        }
        let told = rpc(&["stream", &server.url, "a", "--undescribed"]).assert_failed(exit);
        assert!(
            told.contains(message) && told.contains(tip),
            "{answer}: {told}"
        );
    }
}

#[test]
fn upgrade_that_is_refused_fails_with_what_to_do() {
    let cases = [
        (
            status("404 Not Found", "text/plain", "no\n"),
            1,
            "404 Not Found: no",
            "check the path",
        ),
        (json("{}"), 1, "200 OK", "`http://` or `https://`"),
        (
            "SSH-2.0-OpenSSH_9.6\r\n".into(),
            3,
            "",
            "does not answer in HTTP",
        ),
    ];
    for (answer, exit, message, tip) in cases {
        let server = Answers::start(move |_| answer.clone());
        let url = server.url.replace("http", "ws");
        let told = rpc(&["ping", &url]).assert_failed(exit);
        assert!(told.contains(message) && told.contains(tip), "{told}");
    }
}

#[test]
fn server_that_sends_without_end_is_cut_at_the_limit() {
    let server = Answers::start(|request| {
        let id = id_of(request);
        json(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":"{}"}}"#,
            "a".repeat(100_000)
        ))
    });
    let told = rpc(&[
        "call",
        &server.url,
        "a",
        "--undescribed",
        "--max-reply",
        "10000",
    ])
    .assert_failed(5);
    assert!(told.contains("--max-reply SIZE"), "{told}");
}

#[test]
fn reply_past_the_limit_over_each_url_is_refused_with_the_option_that_raises_it() {
    let urls = Urls::start();
    let discover = ["rpc.discover", "--max-reply", "1KiB"];
    urls.check(("call", &discover, ""), |ended| {
        let told = ended.assert_failed(5);
        assert!(told.contains("raise it with `--max-reply SIZE`"), "{told}");
    });
}

#[test]
fn response_before_the_end_of_the_input_is_printed_over_each_url() {
    let urls = Urls::start();
    // Standard input stays open while the command runs.
    for target in urls.each() {
        let target: Vec<_> = target.iter().map(String::as_str).collect();
        let line = [&["stream"], &target[..], &["shop.order", "--upload", "-"]].concat();
        let mut child = command(&line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"{\"item\":\"melon\"}\n").unwrap();
        let told = ended(child).assert_failed(1);
        assert!(told.contains("there is no melon"), "{told}");
        drop(input);
    }
}

#[test]
fn server_that_does_not_answer_ends_the_call_at_its_timeout() {
    let server = Answers::start(|_| String::new());
    let told = rpc(&[
        "call",
        &server.url,
        "a",
        "--undescribed",
        "--timeout",
        "100ms",
    ])
    .assert_failed(4);
    assert!(told.contains("--timeout DURATION"), "{told}");
}
