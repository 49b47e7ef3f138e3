//! Tests the interop service with a Python client that uses aioquic.
//!
//! The service runs in this process, not as the built example. So nothing has to be built while tests run: the build
//! directory may then be locked, or the example may be built with other features. Another test starts the example.

#[path = "../../../examples/interop_service.rs"]
mod interop_service;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rpc_runtime::{Client, Identity, Server, Trust};

use interop_service::{Desk, InteropServer};

/// The folder of the Python client and its tests.
const OUTSIDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/outsider");

/// The folder for files of these tests.
const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

/// The time limit of all tests in Python together. Each test also has its own limit.
const ALL_TESTS: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn python_client_is_served() {
    let python = match tokio::task::spawn_blocking(python_with_aioquic).await {
        Ok(Ok(python)) => python,
        Ok(Err(reason)) if std::env::var_os("RPC_REQUIRE_PYTHON").is_none() => {
            eprintln!("SKIPPED, for there is no Python client to test with: {reason}");
            return;
        }
        Ok(Err(reason)) => panic!("RPC_REQUIRE_PYTHON is set, and {reason}"),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };

    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let certificate = Path::new(TEMPORARY).join(format!("outsider-{}.pem", std::process::id()));
    fs::write(&certificate, identity.certificate().to_pem()).unwrap();
    let server = Server::builder(identity)
        .service(InteropServer::new(Desk::default()))
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    let handle = server.handle();
    tokio::spawn(server.run());

    let mut tests = Command::new(python);
    tests
        .args(["-B", "test_interop.py", &address.to_string()])
        .arg(&certificate)
        .current_dir(OUTSIDER);
    let ran = tokio::task::spawn_blocking(move || run(&mut tests, ALL_TESTS));
    ran.await
        .unwrap()
        .unwrap_or_else(|output| panic!("{output}"));
    let _ = fs::remove_file(certificate);
    assert!(
        handle.shutdown(Duration::from_secs(5)).await,
        "a call of a client that is gone still runs"
    );
}

/// `cargo test --workspace` builds the example before this test. `cargo test -p tests` does not: the example may be missing,
/// or older than its source.
#[tokio::test]
async fn interop_example_serves_until_terminated() {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let example = profile.join("examples/interop");
    if !example.exists() {
        eprintln!("SKIPPED, for the example is not built: cargo test --workspace builds it");
        return;
    }
    let certificate = Path::new(TEMPORARY).join(format!("interop-{}.pem", std::process::id()));
    let mut example = Killed(
        Command::new(example)
            .args(["--listen", "127.0.0.1:0", "--certificate-out"])
            .arg(&certificate)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let line = first_line(&mut example.0, Duration::from_secs(10));
    let address = line.strip_prefix("listening on ").expect(&line);

    let client = Client::builder()
        .trust(Trust::pem_file(&certificate).unwrap())
        .reconnect(false)
        .connect(address)
        .await
        .unwrap();
    let difference: i64 = client.call("subtract", &(42, 23)).await.unwrap();
    assert_eq!(difference, 19);

    let pid = example.0.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    client.closed().await;
    let status = wait(&mut example.0, Duration::from_secs(10)).expect("it goes on");
    assert!(status.success(), "{status}");
    let _ = fs::remove_file(certificate);
}

/// Returns the interpreter of a virtual environment with the pinned aioquic, or the reason why there is none.
fn python_with_aioquic() -> Result<PathBuf, String> {
    let requirements = Path::new(OUTSIDER).join("requirements.txt");
    let text = fs::read_to_string(&requirements).unwrap();
    let pinned = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let home = Path::new(TEMPORARY).join(pinned);
    let python = home.join("bin/python");
    if works(&python) {
        return Ok(python);
    }
    // The environment is made under a name of this process, and gets its final name when it is complete. So an environment
    // with the final name is never incomplete. If several processes make an environment, the first one stays. It works under
    // its new name, since its interpreter finds packages relative to itself.
    let half_made = Path::new(TEMPORARY).join(format!("{pinned}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&half_made);
    let made = make(&half_made, &requirements);
    if made.is_ok() && fs::rename(&half_made, &home).is_err() && !works(&python) {
        // The existing environment no longer works, because the interpreter that it was made with was removed.
        let _ = fs::remove_dir_all(&home);
        let _ = fs::rename(&half_made, &home);
    }
    let _ = fs::remove_dir_all(&half_made);
    made?;
    match works(&python) {
        true => Ok(python),
        false => Err(format!("{} does not run", python.display())),
    }
}

fn make(home: &Path, requirements: &Path) -> Result<(), String> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(home);
    run(&mut venv, Duration::from_secs(60)).map_err(|output| format!("no venv: {output}"))?;
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--timeout", "20", "--retries", "1", "--requirement"])
        .arg(requirements);
    run(&mut pip, Duration::from_secs(180)).map_err(|output| format!("no aioquic: {output}"))
}

fn works(python: &Path) -> bool {
    let mut import = Command::new(python);
    import.args(["-B", "-c", "import aioquic.asyncio"]);
    run(&mut import, Duration::from_secs(30)).is_ok()
}

/// Runs a command to its end. The error contains the output of the command.
fn run(command: &mut Command, limit: Duration) -> Result<(), String> {
    let name = format!("{command:?}");
    let (reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let spawned = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(|error| error.to_string())?)
        .stderr(writer)
        .spawn();
    // The `Command` keeps the writing ends open until they are replaced.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Killed(spawned.map_err(|error| format!("{name}: {error}"))?);
    let said = thread::spawn(|| std::io::read_to_string(reader).unwrap_or_default());
    let status = wait(&mut child.0, limit);
    drop(child);
    let said = said.join().unwrap_or_default();
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{name}: {status}\n{said}")),
        None => Err(format!("{name}: not done after {limit:?}\n{said}")),
    }
}

/// Waits for a process for at most `limit`. Polls, since the standard library cannot wait with a time limit.
fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

fn first_line(child: &mut Child, limit: Duration) -> String {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(limit).expect("a line");
    line.trim_end().to_owned()
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
