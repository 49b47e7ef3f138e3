//! Other processes of the same program, which respond to each line of their standard input with a line.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

/// Returns the requests on the standard input.
///
/// # Panics
/// When a line is not a request.
pub fn requests<O: DeserializeOwned + Send + 'static>() -> mpsc::Receiver<O> {
    let (sender, requests) = mpsc::channel(1);
    // The runtime could not end a thread of its own that reads from a terminal.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let request = serde_json::from_str(&line).expect("a request");
            if sender.blocking_send(request).is_err() {
                return;
            }
        }
    });
    requests
}

/// Writes a response to the standard output.
///
/// # Panics
/// When it is closed.
pub fn answer(answer: &impl Serialize) {
    let mut out = std::io::stdout().lock();
    let line = serde_json::to_string(answer).expect("JSON");
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the standard output is open");
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program")
}

/// A process of this program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a process, and returns it with its first response.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start<T: DeserializeOwned>(arguments: &[&str]) -> (Self, T) {
        Self::spawn(Command::new(this_program()).args(arguments)).await
    }

    /// Starts a process that runs only on idle processors.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_idle<T: DeserializeOwned>(arguments: &[&str]) -> (Self, T) {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(this_program());
        Self::spawn(command.args(arguments)).await
    }

    async fn spawn<T: DeserializeOwned>(command: &mut Command) -> (Self, T) {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let mut process = Self {
            requests: child.stdin.take().expect("its input"),
            answers: BufReader::new(child.stdout.take().expect("its output")).lines(),
            child,
        };
        let hello = process.answer().await;
        (process, hello)
    }

    async fn answer<T: DeserializeOwned>(&mut self) -> T {
        let line = self.answers.next_line().await.expect("its output");
        serde_json::from_str(&line.expect("an answer")).expect("what was asked for")
    }

    /// Sends a request, and returns the response.
    ///
    /// # Panics
    /// When there is none.
    pub async fn request<T: DeserializeOwned>(&mut self, request: &impl Serialize) -> T {
        let line = serde_json::to_string(request).expect("JSON") + "\n";
        let written = self.requests.write_all(line.as_bytes()).await;
        written.expect("a process that listens");
        self.answer().await
    }

    /// Kills it with `SIGKILL`.
    ///
    /// # Panics
    /// When the system refuses.
    pub async fn kill(&mut self) {
        self.child
            .kill()
            .await
            .expect("a process that can be killed");
    }
}
