//! Checks that the programs do what the manifests require.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// A running program, and the lines that it prints.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        soon(self.lines.next_line()).await.unwrap().expect("a line")
    }

    async fn terminate(&self) {
        let process = self.child.id().unwrap().to_string();
        let told = Command::new("kill")
            .args(["-TERM", &process])
            .status()
            .await;
        assert!(told.unwrap().success());
    }

    async fn line_with(&mut self, text: &str) {
        while !self.line().await.contains(text) {}
    }
}

fn server(folder: &Path, name: &str, listen: &str) -> Program {
    Program::start(
        Command::new(env!("CARGO_BIN_EXE_greeter-server"))
            .env("RPC_CERTIFICATE", folder.join("tls.crt"))
            .env("RPC_KEY", folder.join("tls.key"))
            .env("RPC_LISTEN", listen)
            .env("RPC_HTTP_LISTEN", "127.0.0.1:0")
            .env("POD_NAME", name),
    )
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future)
        .await
        .expect("this should not take long")
}

/// Calls as the ingress does, and returns the response.
async fn post(address: &str, host: &str) -> String {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"greet","params":["Ada"]}"#;
    let request = format!(
        "POST /rpc HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_client_goes_on_while_a_server_is_told_to_stop_and_another_takes_its_place() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.crt"), certified.cert.pem()).unwrap();
    std::fs::write(folder.join("ca.crt"), certified.cert.pem()).unwrap();
    let mut key = std::fs::File::options();
    key.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut key, 0o600);
    let mut key = key.open(folder.join("tls.key")).unwrap();
    std::io::Write::write_all(&mut key, certified.signing_key.serialize_pem().as_bytes()).unwrap();

    let mut first = server(&folder, "first", "127.0.0.1:0");
    let line = first.line().await;
    let address = line.strip_prefix("listening on ").unwrap().to_owned();
    let port = address.rsplit_once(':').unwrap().1;
    let line = first.line().await;
    let http = line.strip_prefix("http listening on ").unwrap();
    for (host, answer) in [
        ("greeter.example.org", "Hello, Ada, from first!"),
        ("other.example.org", "403 Forbidden"),
    ] {
        let answered = soon(post(http, host)).await;
        assert!(answered.contains(answer), "{host}: {answered}");
    }
    let start_client = || {
        Program::start(
            Command::new(env!("CARGO_BIN_EXE_greeter-client"))
                .env("RPC_SERVICE", format!("localhost:{port}"))
                .env("RPC_CA", folder.join("ca.crt"))
                .env("PAUSE_MS", "1"),
        )
    };
    let mut client = start_client();
    assert_eq!(client.line().await, "Hello, Ada, from first!");

    first.terminate().await;
    assert_eq!(first.line().await, "not serving");
    let mut late = start_client();
    assert_eq!(late.line().await, "Hello, Ada, from first!");
    drop(late);
    first.terminate().await;
    assert!(soon(first.child.wait()).await.unwrap().success());
    let _second = server(&folder, "second", &address);
    client.line_with("from second!").await;
    std::fs::remove_dir_all(folder).unwrap();
}
