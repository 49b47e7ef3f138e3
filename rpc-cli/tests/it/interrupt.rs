//! Ctrl-c.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::program::{Demo, command};

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
}

/// Starts a command whose standard output is a pipe that is not read.
fn start(arguments: &[&str]) -> Child {
    command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn ctrl_c_ends_a_command_that_waits_for_a_full_pipe() {
    let demo = Demo::start();
    let repeat = ["text.repeat", r#"["0123456789", 50000]"#];
    let mut child = start(&demo.line("call", &repeat));
    // The first byte has been written, and the pipe holds less than the rest.
    let mut first = [0];
    let stdout = child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut first).unwrap();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
