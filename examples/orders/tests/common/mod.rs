//! Starts the program as processes, and reads what they print.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use orders::client::{Servers, Session};
use orders::files::{Accounts, Folder};
use orders::tokens::Principal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse";

/// Fails the test if `future` takes more than 30 seconds.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future)
        .await
        .expect("this should not take long")
}

/// A process of the program, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_orders"))
            .args(arguments)
            .env("ORDERS_PASSWORD", PASSWORD)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Returns the next line, or `None` after the last.
    pub(crate) async fn line(&mut self) -> Option<String> {
        soon(self.lines.next_line()).await.unwrap()
    }

    /// Returns the rest of a line that starts with `start`, which has to be the next.
    pub(crate) async fn line_after(&mut self, start: &str) -> String {
        let line = self.line().await.expect("a line");
        let rest = line.strip_prefix(start);
        rest.unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Sends a signal, by the name that `kill` takes.
    pub(crate) async fn signal(&self, name: &str) {
        let process = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([name, &process]).status().await;
        assert!(sent.unwrap().success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        soon(self.child.wait()).await.unwrap()
    }

    /// Returns the remaining lines and the status of a process that ends by itself.
    pub(crate) async fn output(mut self) -> (Vec<String>, ExitStatus) {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        (lines, self.ended().await)
    }
}

/// A running replica.
pub(crate) struct Replica {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Replica {
    /// Stops the replica, which has to finish its calls.
    pub(crate) async fn stop(mut self) {
        self.process.signal("-TERM").await;
        assert!(self.process.ended().await.success());
    }

    /// Returns the metrics, as Prometheus reads them.
    pub(crate) async fn metrics(&self) -> String {
        let mut stream = soon(TcpStream::connect(self.metrics)).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut response = String::new();
        soon(stream.read_to_string(&mut response)).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        response
    }
}

/// The files of a test with a running ledger.
pub(crate) struct Setup {
    pub(crate) folder: Folder,
    pub(crate) ledger: String,
    pub(crate) ledger_process: Process,
    _files: tempfile::TempDir,
}

async fn start_ledger(folder: &Folder, listen: &str) -> (Process, String) {
    let path = folder.0.to_str().unwrap();
    let mut ledger = Process::start(&["ledger", "--folder", path, "--listen", listen]);
    let address = ledger.line_after("listening on ").await;
    (ledger, address)
}

impl Setup {
    /// Starts a ledger. The users are the administrator `ada`, and `bob` and `eve`.
    pub(crate) async fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let folder = Folder(files.path().to_owned());
        folder.create().unwrap();
        let mut accounts = Accounts::default();
        for (user, is_admin) in [("ada", true), ("bob", false), ("eve", false)] {
            let user = user.to_owned();
            accounts.add(Principal { user, is_admin }, PASSWORD, NonZeroU32::MIN);
        }
        accounts.write(&folder.accounts()).unwrap();
        let (ledger_process, ledger) = start_ledger(&folder, "127.0.0.1:0").await;
        Self {
            ledger,
            folder,
            ledger_process,
            _files: files,
        }
    }

    /// Kills the ledger, and starts it again at its address.
    pub(crate) async fn kill_ledger(&mut self) {
        self.ledger_process.signal("-KILL").await;
        self.ledger_process.ended().await;
        (self.ledger_process, _) = start_ledger(&self.folder, &self.ledger).await;
    }

    /// Starts a replica, with options in addition to the usual ones.
    pub(crate) async fn replica(&self, name: &str, options: &[&str]) -> Replica {
        let folder = self.folder.0.to_str().unwrap();
        let usual = [
            "serve",
            "--folder",
            folder,
            "--name",
            name,
            "--ledger",
            &self.ledger,
        ];
        let mut process = Process::start(&[&usual, options].concat());
        let address = process.line_after("listening on ").await.parse().unwrap();
        let metrics = process.line_after("metrics on ").await.parse().unwrap();
        Replica {
            process,
            address,
            metrics,
        }
    }

    pub(crate) fn servers(&self, replicas: &[SocketAddr]) -> Servers {
        Servers {
            addresses: replicas.iter().map(SocketAddr::to_string).collect(),
            authority: self.folder.authority(),
        }
    }

    pub(crate) async fn session(&self, replicas: &[SocketAddr], user: &str) -> Session {
        let servers = self.servers(replicas);
        soon(servers.log_in(user, PASSWORD)).await.unwrap()
    }

    /// Starts a probe of the health of a replica.
    pub(crate) fn health(&self, replica: SocketAddr) -> Process {
        let (replica, authority) = (replica.to_string(), self.folder.authority());
        let authority = authority.to_str().unwrap();
        Process::start(&["health", "--servers", &replica, "--authority", authority])
    }

    /// Starts a command of a user.
    pub(crate) fn customer(
        &self,
        replicas: &[SocketAddr],
        user: &str,
        command: &[&str],
    ) -> Process {
        let Servers {
            addresses,
            authority,
        } = self.servers(replicas);
        let (addresses, authority) = (addresses.join(","), authority.to_str().unwrap().to_owned());
        let usual = [
            "--servers",
            &addresses,
            "--user",
            user,
            "--authority",
            &authority,
        ];
        Process::start(&[command, &usual].concat())
    }
}
