//! Servers that send what no honest one does.

use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use serde_json::{Value, json};
use tests::message::{self, line};
use tests::peer::RawServer;
use tokio::runtime::Builder;

use crate::program::{Ended, command, ended};

/// A server in this process that does what a test says.
pub(crate) struct Hostile {
    pub(crate) address: String,
    pub(crate) pin: String,
}

impl Hostile {
    /// Starts a server, and serves it in a thread.
    pub(crate) fn start<F>(serve: impl FnOnce(RawServer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()>,
    {
        let (sender, started) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = RawServer::start();
                let digest = ring::digest::digest(&ring::digest::SHA256, server.certificate());
                let pin: String = digest
                    .as_ref()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                sender.send((server.address().to_string(), pin)).unwrap();
                serve(server).await;
            });
        });
        let (address, pin) = started.recv_timeout(Duration::from_secs(10)).unwrap();
        Self { address, pin }
    }

    /// Starts a server that answers each call with the lines that `answer` makes of it.
    pub(crate) fn answering(answer: impl Fn(&Value) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::answering_lines(move |line| answer(&serde_json::from_slice(line).unwrap()))
    }

    /// Does the same for the bytes of each call.
    pub(crate) fn answering_lines(
        answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::start(async move |server| {
            while let Some(connection) = accept(&server).await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    while let Ok((send, recv)) = connection.accept_bi().await {
                        tokio::spawn(answer_calls(send, recv, Arc::clone(&answer)));
                    }
                });
            }
        })
    }

    /// Starts a server that answers each call with this result, as it is written here.
    pub(crate) fn with_result(result: impl Into<String>) -> Self {
        let result = result.into();
        Self::answering(move |call| result_line(&call["id"], &result))
    }

    pub(crate) fn line<'a>(&'a self, command: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        let server = [
            &self.address,
            "--pin",
            &self.pin,
            "--server-name",
            "localhost",
        ];
        [&[command], &server[..], arguments].concat()
    }

    pub(crate) fn spawn(&self, name: &str, arguments: &[&str]) -> Child {
        command(&self.line(name, arguments))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn rpc(&self, name: &str, arguments: &[&str]) -> Ended {
        ended(self.spawn(name, arguments))
    }
}

/// The next connection.
pub(crate) async fn accept(server: &RawServer) -> Option<Connection> {
    server.endpoint.accept().await?.await.ok()
}

/// Answers the calls of a stream until the client ends it.
async fn answer_calls(
    mut send: SendStream,
    mut recv: RecvStream,
    answer: Arc<impl Fn(&[u8]) -> Vec<u8>>,
) {
    let mut received = Vec::new();
    while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX, true).await {
        received.extend_from_slice(&chunk.bytes);
        while let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = received.drain(..=end).collect();
            // A client that has read enough stops the stream.
            let _ = send.write_all(&answer(&line)).await;
        }
    }
    let _ = send.finish();
}

/// The first line of a stream.
pub(crate) async fn read_call(recv: &mut RecvStream) -> Option<Value> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let chunk = recv.read_chunk(usize::MAX, true).await.ok()??;
        line.extend_from_slice(&chunk.bytes);
    }
    serde_json::from_slice(&line).ok()
}

pub(crate) fn result_line(id: &Value, result: &str) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n").into_bytes()
}

/// An array of so many bytes: as many values as there can be.
fn zeros(bytes: usize) -> String {
    format!("[{}0]", "0,".repeat(bytes / 2 - 1))
}

const MIB: usize = 1 << 20;

/// Memory that the command takes besides what it receives, in bytes.
const BASE: usize = 32 * MIB;

/// The largest memory that a process had so far, in bytes.
fn peak(child: &Child) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

/// Reads all of the output. Returns how much it was, the exit status, and the largest memory that the process had.
fn measured(mut child: Child) -> (usize, i32, usize) {
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let (mut bytes, mut most) = (0, 0);
    let mut buffer = vec![0; MIB];
    loop {
        // It writes more than the pipe holds, so it is still there, and has taken in all that it will.
        most = most.max(peak(&child).unwrap_or_default());
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            read => bytes += read,
        }
    }
    let status = child.wait().unwrap().code().expect("it was killed");
    assert_eq!(errors.join().unwrap(), "");
    (bytes, status, most)
}

#[test]
#[cfg(target_os = "linux")]
fn large_result_takes_little_more_memory_than_its_bytes() {
    let size = 32 * MIB;
    let server = Hostile::with_result(zeros(size));
    let call = ["m", "--undescribed", "--max-reply", "64MiB"];
    let (printed, status, peak) = measured(server.spawn("call", &call));
    assert_eq!((printed, status), (size + 2, 0));
    assert!(peak < 2 * size + BASE, "{} MiB", peak / MIB);
}

#[test]
#[cfg(target_os = "linux")]
fn large_items_take_little_more_memory_than_one_of_them() {
    let size = 8 * MIB;
    let zeros = zeros(size);
    let server = Hostile::answering(move |call| {
        let id = &call["id"];
        let item =
            format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[{id},{zeros}]}}\n");
        [item.repeat(3).into_bytes(), result_line(id, "null")].concat()
    });
    let stream = ["m", "--undescribed", "--max-reply", "32MiB"];
    let (printed, status, peak) = measured(server.spawn("stream", &stream));
    assert_eq!((printed, status), (3 * (size + 2), 0));
    assert!(peak < 3 * size + BASE, "{} MiB", peak / MIB);
}

/// A document with a parameter whose default is large.
fn document(default: &str) -> String {
    let parameter = json!({"name": "a", "schema": {"default": "D"}});
    // More than a pipe holds.
    let docs = "d ".repeat(100_000);
    let document = json!({"methods": [{"name": "m", "description": docs, "params": [parameter]}]});
    document.to_string().replace("\"D\"", default)
}

#[test]
#[cfg(target_os = "linux")]
fn large_description_takes_little_more_memory_than_its_bytes() {
    let size = 4 * MIB;
    for values in ["0,", "[],"] {
        let array = format!("[{}0]", values.repeat(size / values.len()));
        let document = document(&array);
        let server = Hostile::answering(move |call| match call["method"].as_str() {
            Some("rpc.discover") => result_line(&call["id"], &document),
            _ => result_line(&call["id"], &zeros(MIB)),
        });
        for arguments in [
            &["describe"][..],
            &["describe", "m"],
            &["describe", "--html"],
            &["call", "m"],
        ] {
            let (printed, status, peak) = measured(server.spawn(arguments[0], &arguments[1..]));
            assert_eq!(status, 0);
            assert!(printed > 200_000, "{arguments:?}: {printed}");
            assert!(
                peak < 6 * size + BASE,
                "{values} {arguments:?}: {} MiB",
                peak / MIB
            );
        }
    }
}

#[test]
fn reply_past_the_limit_is_refused_with_the_option_that_raises_it() {
    let zeros = zeros(2 * MIB);
    let document = document(&zeros);
    let server = Hostile::answering(move |call| match call["method"].as_str() {
        Some("rpc.discover") => result_line(&call["id"], &document),
        Some("items") => {
            let id = &call["id"];
            format!("{{\"method\":\"rpc.item\",\"params\":[{id},{zeros}]}}\n").into_bytes()
        }
        _ => result_line(&call["id"], &zeros),
    });
    let limited: [&[&str]; 6] = [
        &["call", "m", "--undescribed"],
        &["call", "m"],
        &["stream", "items", "--undescribed"],
        &["describe"],
        &["ping", "--quiet"],
        &["bench", "m", "--max-reply", "1MiB"],
    ];
    for arguments in limited {
        let limit: &[&str] = if arguments.contains(&"--max-reply") {
            &[]
        } else {
            &["--max-reply", "1MiB"]
        };
        let told = server.rpc(arguments[0], &[&arguments[1..], limit].concat());
        let told = told.assert_failed(5);
        assert!(
            told.contains("the limit is 1 MiB; raise it with `--max-reply SIZE`"),
            "{told}"
        );
    }
    let call = ["m", "--undescribed", "--max-reply", "3MiB"];
    assert_eq!(server.rpc("call", &call).assert_ok().len(), 2 * MIB + 2);
}

#[test]
fn bench_of_replies_past_the_limit_names_the_option_that_raises_it() {
    let zeros = zeros(2 * MIB);
    let server = Hostile::answering(move |call| match call["method"].as_str() {
        Some("rpc.discover") => error_line(&call["id"], -32601),
        _ => result_line(&call["id"], &zeros),
    });
    let bench = ["m", "--calls", "2", "--warm-up", "0s"];
    let ended = server.rpc("bench", &bench);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.stdout.contains("2 failed  unusable"), "{ended:?}");
    assert!(ended.stderr.contains("the limit is 1 MiB"), "{ended:?}");
    let more = [&bench[..], &["--max-reply", "3MiB"]].concat();
    server.rpc("bench", &more).assert_ok();
}

#[test]
fn file_past_the_limit_is_refused_with_the_option_that_raises_it() {
    let path = format!(
        "{}/large-{}.json",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    fs::write(&path, document(&zeros(2 * MIB))).unwrap();
    for arguments in [&["describe", &path][..], &["check", &path, &path]] {
        let limited = [arguments, &["--max-reply", "1MiB"]].concat();
        let told = crate::program::rpc(&limited).assert_failed(2);
        assert!(
            told.contains("more than 1 MiB, the limit of `--max-reply`"),
            "{told}"
        );
        crate::program::rpc(arguments).assert_ok();
    }
    fs::remove_file(path).unwrap();
}

#[test]
fn reply_without_an_end_is_refused_at_the_limit() {
    let server = Hostile::start(async |server| {
        loop {
            let connection = server.accept().await;
            let (mut send, mut recv) = connection.accept_bi().await.unwrap();
            let call = read_call(&mut recv).await.unwrap();
            let start = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":[", call["id"]);
            let mut chunk = start.into_bytes();
            while send.write_all(&chunk).await.is_ok() {
                chunk = b"0,".repeat(1 << 15);
            }
        }
    });
    for command in ["call", "stream"] {
        let told = server.rpc(command, &["m", "--undescribed", "--max-reply", "1MiB"]);
        let told = told.assert_failed(5);
        assert!(told.contains("larger than this client accepts"), "{told}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn large_error_is_shown_up_to_a_limit() {
    let size = 16 * MIB;
    let lines = "\\n".repeat(size / 2);
    let zeros = zeros(size);
    let server = Hostile::answering(move |call| {
        let (message, data) = match call["method"].as_str() {
            Some("message") => (&*lines, "null"),
            _ => ("no", &*zeros),
        };
        let id = &call["id"];
        format!(
            "{{\"id\":{id},\"error\":{{\"code\":7,\"message\":\"{message}\",\"data\":{data}}}}}\n"
        )
        .into_bytes()
    });
    for method in ["message", "data"] {
        let told = server
            .rpc("call", &[method, "--undescribed"])
            .assert_failed(1);
        assert!(
            told.contains("the server answered 7") && told.len() < MIB,
            "{}",
            told.len()
        );
    }
}

#[test]
fn message_that_is_no_answer_is_said_to_be_none() {
    for (bytes, shown) in [
        ("\n[]\n", "response: []"),
        ("nothing\n", "response: nothing"),
        ("{\"id\":ID,\"result\":[}\n", "\"result\":[}"),
        ("{\"id\":ID,\"error\":7}\n", "\"error\":7}"),
        ("{\"result\":7}\n", "{\"result\":7}"),
        ("{\"id\":null,\"result\":7}\n", "\"id\":null"),
        ("\u{1b}[2J\n", "response: \\u{1b}[2J"),
    ] {
        let server = Hostile::answering(move |call| {
            bytes.replace("ID", &call["id"].to_string()).into_bytes()
        });
        for name in ["call", "stream"] {
            let told = server.rpc(name, &["m", "--undescribed"]).assert_failed(5);
            assert!(told.contains("it is not a JSON-RPC response"), "{told}");
            assert!(told.contains(shown), "{told}");
        }
    }
}

#[test]
fn line_of_another_call_is_said_to_be_one() {
    for bytes in [
        "{\"id\":1ID,\"result\":7}\n",
        "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[1ID,7]}\n",
    ] {
        let server = Hostile::answering(move |call| {
            bytes.replace("ID", &call["id"].to_string()).into_bytes()
        });
        for name in ["call", "stream"] {
            let told = server.rpc(name, &["m", "--undescribed"]).assert_failed(5);
            assert!(told.contains("the reply cannot be read: it "), "{told}");
            assert!(
                told.contains("7") && !told.contains("--max-reply"),
                "{told}"
            );
        }
    }
}

#[test]
fn notification_before_the_reply_is_skipped() {
    let server = Hostile::answering(|call| {
        let id = &call["id"];
        let tick = r#"{"jsonrpc":"2.0","method":"tick","params":[1]}"#;
        format!("{tick}\n{{\"id\":{id},\"result\":7}}\n").into_bytes()
    });
    let called = server.rpc("call", &["m", "--undescribed"]);
    assert_eq!(
        (called.status, called.stdout.as_str()),
        (0, "7\n"),
        "{}",
        called.stderr
    );
    let streamed = server.rpc("stream", &["m", "--undescribed"]);
    assert_eq!(
        (streamed.status, streamed.stdout.as_str()),
        (0, ""),
        "{}",
        streamed.stderr
    );
}

#[test]
fn stream_that_ends_without_its_response_is_no_complete_one() {
    let server = Hostile::answering(|call| line(message::item(call["id"].clone(), 1)).into_bytes());
    let ended = server.rpc("stream", &["m", "--undescribed"]);
    assert_eq!(
        (ended.status, ended.stdout.as_str()),
        (3, "1\n"),
        "{}",
        ended.stderr
    );
}

/// Text that a terminal obeys, that it shows in another order, or that it does not show.
const HOSTILE: &str = "\u{1b}]0;gone\u{7}\u{9b}2J\r\u{7f}\u{202e}\u{2066}\u{200f}\u{2028}\u{2029}\u{feff}\u{200b}\u{e0041}\t";

/// Checks that nothing of [`HOSTILE`] is there as it is. What this crate escapes for colours is followed by `[`.
#[track_caller]
fn assert_clean(shown: &str) {
    let without_colours = shown.replace("\u{1b}[", "[");
    let is_hostile = |c: char| HOSTILE.contains(c) && !c.is_ascii_graphic();
    let leak = without_colours.find(is_hostile);
    assert!(leak.is_none(), "{shown:?}");
}

fn answer_with_hostile_text(call: &Value) -> Vec<u8> {
    let (id, text) = (&call["id"], json!(HOSTILE));
    let described = |name: &str, more: &str| {
        format!("{{\"name\":\"{name}\",\"params\":[],\"result\":{{}}{more}}}")
    };
    match call["method"].as_str() {
        Some("rpc.discover") => {
            let methods = [
                described("result", ""),
                described("error", ""),
                described("items", ",\"x-items\":{}"),
            ];
            result_line(
                id,
                &format!(
                    "{{\"info\":{{\"title\":{text}}},\"methods\":[{}]}}",
                    methods.join(",")
                ),
            )
        }
        Some("result") => result_line(id, &format!("{{{text}:[{text}]}}")),
        Some("items") => {
            let item = format!("{{\"method\":\"rpc.item\",\"params\":[{id},{text}]}}\n");
            [item.into_bytes(), result_line(id, "null")].concat()
        }
        Some("closing") => error_line(id, -32003),
        _ => error_line(id, 7),
    }
}

fn error_line(id: &Value, code: i64) -> Vec<u8> {
    let text = json!(HOSTILE);
    let error = format!("{{\"code\":{code},\"message\":{text},\"data\":{{{text}:{text}}}}}");
    format!("{{\"id\":{id},\"error\":{error}}}\n").into_bytes()
}

#[test]
fn text_of_a_server_is_escaped_in_every_output() {
    let server = Hostile::answering(answer_with_hostile_text);
    let commands: [(&[&str], i32); 13] = [
        (&["call", "result"], 0),
        (&["call", "error"], 1),
        (&["call", "closing"], 3),
        (&["call", "missing"], 1),
        (&["stream", "items"], 0),
        (&["stream", "error", "--undescribed"], 1),
        (&["describe"], 0),
        (&["describe", "result"], 0),
        (&["describe", "--json"], 0),
        (&["describe", "--html"], 0),
        (&["ping"], 1),
        (&["health"], 1),
        (&["bench", "error", "--calls", "3", "--warm-up", "0s"], 1),
    ];
    for (arguments, status) in commands {
        for color in ["never", "always"] {
            let more = [&arguments[1..], &["--color", color]].concat();
            let ended = server.rpc(arguments[0], &more);
            assert_eq!(ended.status, status, "{arguments:?}: {ended:?}");
            assert_clean(&ended.stdout);
            assert_clean(&ended.stderr);
            let shown = ended.stdout + &ended.stderr;
            let is_told =
                shown.contains("gone") || arguments[0] == "describe" && arguments.len() == 2;
            assert!(is_told, "{arguments:?}: {shown}");
        }
    }
}

#[test]
fn json_in_a_pipe_is_escaped_and_means_the_same() {
    let server = Hostile::answering(answer_with_hostile_text);
    let printed = server.rpc("call", &["result"]).assert_ok();
    assert!(
        printed.contains(r"\u202e") && printed.is_ascii(),
        "{printed}"
    );
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed, json!({HOSTILE: [HOSTILE]}));
    let printed = server.rpc("stream", &["items"]).assert_ok();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed, HOSTILE);
}

#[test]
fn reason_of_a_closed_connection_is_escaped() {
    let server = Hostile::start(async |server| {
        while let Some(connection) = accept(&server).await {
            let (_send, mut recv) = connection.accept_bi().await.unwrap();
            read_call(&mut recv).await.unwrap();
            connection.close(7_u32.into(), HOSTILE.as_bytes());
        }
    });
    for arguments in [
        &["call", "m"][..],
        &["describe"],
        &["ping", "--quiet"],
        &["stream", "m"],
    ] {
        let told = server.rpc(arguments[0], &arguments[1..]).assert_failed(3);
        assert_clean(&told);
    }
}
