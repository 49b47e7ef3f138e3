//! Runs the binary.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longer than any command takes.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The output and the exit status of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn assert_ok(self) -> String {
        assert_eq!(
            (self.status, self.stderr.as_str()),
            (0, ""),
            "{}",
            self.stdout
        );
        self.stdout
    }

    /// Checks the exit status of a failed command, and returns its standard error.
    #[track_caller]
    pub(crate) fn assert_failed(self, status: i32) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.stdout, "", "{}", self.stderr);
        self.stderr
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpc"));
    command
        .args(arguments)
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE");
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

/// The environment variables that the command reads.
pub(crate) const VARIABLES: [&str; 5] = ["RPC_PIN", "RPC_CA", "RPC_CERT", "RPC_KEY", "RPC_TOKEN"];

/// Runs a command to its end.
pub(crate) fn rpc(arguments: &[&str]) -> Ended {
    rpc_with_input(arguments, "")
}

pub(crate) fn rpc_with_input(arguments: &[&str], input: &str) -> Ended {
    rpc_with_bytes(arguments, input.as_bytes())
}

/// Runs a command with environment variables.
pub(crate) fn rpc_with_env(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let child = command(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    ended(child.unwrap())
}

pub(crate) fn rpc_with_bytes(arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input);
    ended(child)
}

/// Runs a program to its end.
pub(crate) fn ended(child: Child) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = wait(child);
    Ended {
        status: status.code().expect("it was killed"),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// The exit status of a program whose output is not read.
pub(crate) fn exit_status(mut child: Child) -> i32 {
    let status = within_time(child.id(), move || child.wait());
    status.unwrap().code().expect("it was killed")
}

/// Waits for its end, for a limited time.
fn wait(child: Child) -> Output {
    within_time(child.id(), move || child.wait_with_output()).unwrap()
}

/// Waits for what takes as long as a process runs, for a limited time.
fn within_time<T: Send + std::fmt::Debug + 'static>(
    id: u32,
    wait: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(wait()));
    match ended.recv_timeout(COMMAND_TIMEOUT) {
        Ok(output) => output,
        Err(_) => {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            panic!("it does not end: {:?}", ended.recv());
        }
    }
}

/// A running `rpc serve-demo`, killed when dropped.
pub(crate) struct Demo {
    child: Child,
    pub(crate) address: String,
    pub(crate) pin: String,
    /// The URLs at which it answers over HTTP.
    pub(crate) urls: Vec<String>,
    /// The commands that it suggests.
    pub(crate) advice: Vec<String>,
}

impl Demo {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts it with listeners for `http://` and `https://`.
    pub(crate) fn start_with_http() -> Self {
        Self::start_with(&["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
    }

    fn start_with(options: &[&str]) -> Self {
        let mut child = command(&[&["serve-demo"], options].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first
            .strip_prefix("listening on ")
            .expect(&first)
            .to_owned();
        let mut urls = Vec::new();
        let mut advice: Vec<String> = Vec::new();
        while !advice.last().is_some_and(|line| line.contains("rpc bench")) {
            let line = lines.next().unwrap().unwrap();
            urls.extend(line.strip_prefix("listening on ").map(str::to_owned));
            advice.extend(line.strip_prefix("  ").map(str::to_owned));
        }
        let pin = advice[0].rsplit(' ').next().unwrap().to_owned();
        Self {
            child,
            address,
            pin,
            urls,
            advice,
        }
    }

    /// Runs a command with this server as its trusted target. `arguments` follow the target.
    pub(crate) fn rpc(&self, command: &str, arguments: &[&str]) -> Ended {
        self.rpc_with_input(command, arguments, "")
    }

    pub(crate) fn rpc_with_input(&self, command: &str, arguments: &[&str], input: &str) -> Ended {
        rpc_with_input(&self.line(command, arguments), input)
    }

    pub(crate) fn line<'a>(&'a self, command: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        [&[command, &self.address, "--pin", &self.pin], arguments].concat()
    }

    /// Terminates it with a signal, and returns its exit status.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
