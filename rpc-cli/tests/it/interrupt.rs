//! Ctrl-c.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::json;

use crate::hostile::{Hostile, accept, read_call, result_line};
use crate::program::{Demo, command, ended, exit_status};

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn ctrl_c_ends_a_command_that_waits_for_a_full_pipe() {
    let demo = Demo::start();
    let repeat = ["text.repeat", r#"["0123456789", 50000]"#];
    let mut child = command(&demo.line("call", &repeat))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The first byte has been written, and the pipe holds less than the rest.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    interrupt(&child);
    assert_eq!(exit_status(child), 130);
}

/// A description of so many methods, each with a result of another type.
fn description(methods: usize, format: &str) -> String {
    let methods = (0..methods).map(|index| {
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "integer", "format": format}}});
        json!({"name": format!("m{index}"), "result": {"schema": schema}})
    });
    json!({"methods": methods.collect::<Vec<_>>()}).to_string()
}

/// The server has been asked, and has nothing to do with what follows.
#[test]
fn ctrl_c_ends_a_computation_after_a_server_was_contacted() {
    let (sender, left) = mpsc::channel();
    let new = description(100_000, "int64");
    let server = Hostile::start(async move |server| {
        let connection = accept(&server).await.unwrap();
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        let call = read_call(&mut recv).await.unwrap();
        send.write_all(&result_line(&call["id"], &new))
            .await
            .unwrap();
        send.finish().unwrap();
        connection.closed().await;
        sender.send(()).unwrap();
    });
    let old = format!(
        "{}/interrupted-{}.json",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    std::fs::write(&old, description(100_000, "int32")).unwrap();
    let arguments = ["--pin", &server.pin, "--server-name", "localhost"];
    let check = [&["check", &server.address, &old], &arguments[..]].concat();
    let mut child = command(&check).stdout(Stdio::piped()).spawn().unwrap();
    // Not read, so that it cannot end by itself: it compares them for a while, and then has more to say than a pipe holds.
    let stdout = child.stdout.take();
    left.recv().unwrap();
    interrupt(&child);
    assert_eq!(exit_status(child), 130);
    drop(stdout);
    std::fs::remove_file(old).unwrap();
}

#[test]
fn ctrl_c_ends_a_call_that_is_not_answered_and_closes_the_connection() {
    for command in ["call", "stream"] {
        let (sender, called) = mpsc::channel();
        let (end, closed) = mpsc::channel();
        let server = Hostile::start(async move |server| {
            let connection = accept(&server).await.unwrap();
            let (_send, mut recv) = connection.accept_bi().await.unwrap();
            read_call(&mut recv).await.unwrap();
            sender.send(()).unwrap();
            end.send(connection.closed().await).unwrap();
        });
        let child = server.spawn(command, &["m", "--undescribed"]);
        called.recv().unwrap();
        interrupt(&child);
        let ended = ended(child);
        assert_eq!((ended.status, ended.stdout.as_str()), (130, ""));
        let closed = closed.recv().unwrap();
        let by_client = matches!(closed, quinn::ConnectionError::ApplicationClosed(_));
        assert!(by_client, "{closed}");
    }
}

/// The client waits for the server's last words, but not for long.
#[test]
fn ctrl_c_ends_a_session_with_a_server_that_has_gone_silent() {
    let (sender, called) = mpsc::channel();
    let server = Hostile::start(async move |server| {
        let connection = accept(&server).await.unwrap();
        let (_send, mut recv) = connection.accept_bi().await.unwrap();
        read_call(&mut recv).await.unwrap();
        sender.send(()).unwrap();
        // The thread, and with it the socket, does nothing more.
        loop {
            std::thread::park();
        }
    });
    let child = server.spawn("call", &["m", "--undescribed"]);
    called.recv().unwrap();
    interrupt(&child);
    assert_eq!(exit_status(child), 130);
}
