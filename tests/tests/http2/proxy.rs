//! A client over HTTP/2 through the proxies nginx and haproxy.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tests::support::{ANY_PORT, soon};
use tokio::net::TcpStream;

use crate::kinds::run_kinds;
use crate::service::{Desk, HomeServer, House, KindsServer};
use crate::support::Doors;

/// A proxy, which ends when it is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns a port that no program uses.
fn free_port() -> u16 {
    let listener = StdListener::bind(ANY_PORT).unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a proxy, or returns `None` if it is not installed. Its absence is an error if `required` is set.
async fn start(mut command: Command, required: &str, front: SocketAddr) -> Option<Proxy> {
    let output = || Stdio::null();
    let started = command
        .stdin(output())
        .stdout(output())
        .stderr(output())
        .spawn();
    let proxy = match started {
        Ok(proxy) => Proxy(proxy),
        Err(error) if std::env::var_os(required).is_none() => {
            eprintln!("SKIPPED: {command:?}: {error}");
            return None;
        }
        Err(error) => panic!("{required} is set, and {command:?}: {error}"),
    };
    soon(async {
        while TcpStream::connect(front).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    Some(proxy)
}

/// Writes a configuration, and returns the command that starts haproxy with it.
fn haproxy(folder: &Path, front: SocketAddr, doors: &Doors) -> Command {
    let certificate = folder.join("proxy.pem");
    std::fs::write(&certificate, &doors.certified.pem).unwrap();
    let configuration = format!(
        "global\n\
         \x20   maxconn 1000\n\
         defaults\n\
         \x20   mode http\n\
         \x20   timeout connect 5s\n\
         \x20   timeout client 1h\n\
         \x20   timeout server 1h\n\
         frontend rpc\n\
         \x20   bind {front} ssl crt {} alpn h2\n\
         \x20   default_backend servers\n\
         backend servers\n\
         \x20   server one {} proto h2\n",
        certificate.display(),
        doors.plain,
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

/// Writes a configuration, and returns the command that starts nginx with it.
fn nginx(folder: &Path, front: SocketAddr, doors: &Doors) -> Command {
    let certificate = folder.join("proxy.pem");
    std::fs::write(&certificate, &doors.certified.pem).unwrap();
    let (folder, certificate) = (folder.display(), certificate.display());
    let configuration = format!(
        "daemon off;\n\
         master_process off;\n\
         pid {folder}/nginx.pid;\n\
         error_log stderr;\n\
         events {{}}\n\
         http {{\n\
         \x20   access_log off;\n\
         \x20   client_body_temp_path {folder}/body;\n\
         \x20   proxy_temp_path {folder}/proxy;\n\
         \x20   fastcgi_temp_path {folder}/fastcgi;\n\
         \x20   uwsgi_temp_path {folder}/uwsgi;\n\
         \x20   scgi_temp_path {folder}/scgi;\n\
         \x20   server {{\n\
         \x20       listen {front} ssl http2;\n\
         \x20       ssl_protocols TLSv1.3;\n\
         \x20       ssl_certificate {certificate};\n\
         \x20       ssl_certificate_key {certificate};\n\
         \x20       client_max_body_size 0;\n\
         \x20       client_body_timeout 1h;\n\
         \x20       keepalive_requests 1000000;\n\
         \x20       location /rpc {{\n\
         \x20           grpc_pass grpc://{};\n\
         \x20           grpc_read_timeout 1h;\n\
         \x20           grpc_send_timeout 1h;\n\
         \x20       }}\n\
         \x20   }}\n\
         }}\n",
        doors.plain,
    );
    let file = std::path::PathBuf::from(format!("{folder}/nginx.conf"));
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder.to_string())
        .arg("-c")
        .arg(file);
    command
}

/// Makes the kinds of calls through a proxy that `start_with` starts.
async fn calls_pass(
    name: &str,
    required: &str,
    command: fn(&Path, SocketAddr, &Doors) -> Command,
    supports: impl Fn(&str) -> bool,
) {
    let (desk, house) = (Desk::default(), House::default());
    let doors = Doors::open(KindsServer::new(desk.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let command = command(folder.path(), front, &doors);
    let Some(_proxy) = start(command, required, front).await else {
        return;
    };
    let builder = doors.client().service(HomeServer::new(house.clone()));
    let url = format!("https://localhost:{}/rpc", front.port());
    let client = soon(builder.connect(url)).await.unwrap();
    run_kinds(name, client, (&desk, &house), supports).await;
}

#[tokio::test]
async fn calls_pass_through_haproxy() {
    // Before its version 3.1, haproxy reads no frames of a connection while one of its streams is not read.
    let supports = |kind: &str| kind != "items_that_are_not_taken_stop_the_handler";
    calls_pass("haproxy", "RPC_REQUIRE_HAPROXY", haproxy, supports).await;
}

#[tokio::test]
async fn calls_pass_through_nginx() {
    calls_pass("nginx", "RPC_REQUIRE_NGINX", nginx, |_| true).await;
}
