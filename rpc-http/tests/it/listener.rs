//! Connections: TLS, disconnects, limits and the shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rpc_http::{HttpBindError, HttpServer};
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Context, Identity, Limits, Server, Trust, rpc};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{CalculatorServer, Desk, exchange, serve_set};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"rpc.ping"}"#;

fn request(message: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{message}",
        message.len()
    )
}

/// Reads until the end of the JSON value that the body holds.
async fn read_reply(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    let mut chunk = [0; 1024];
    while !text.ends_with('}') {
        let count = stream.read(&mut chunk).await.unwrap();
        assert_ne!(count, 0, "the connection ended after {text:?}");
        text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }
    text
}

pub(crate) async fn call_over(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    message: &str,
) -> String {
    stream.write_all(request(message).as_bytes()).await.unwrap();
    read_reply(stream).await
}

#[rpc]
trait Slow {
    /// Waits until it is told to return.
    async fn hold(&self) -> u32;

    async fn holder(&self, cx: &Context) -> String;
}

struct Holds {
    started: mpsc::UnboundedSender<&'static str>,
    release: Arc<tokio::sync::Notify>,
}

struct ReportsDrop<'a>(&'a Holds);

impl Drop for ReportsDrop<'_> {
    fn drop(&mut self) {
        self.0.started.send("dropped").unwrap();
    }
}

impl Slow for Holds {
    async fn hold(&self) -> u32 {
        let _dropped = ReportsDrop(self);
        self.started.send("started").unwrap();
        self.release.notified().await;
        7
    }

    async fn holder(&self, cx: &Context) -> String {
        let certificate = cx.peer_certificate();
        certificate.map_or_else(String::new, |certificate| certificate.to_pem())
    }
}

struct SlowServed {
    services: ServiceSet,
    address: SocketAddr,
    started: mpsc::UnboundedReceiver<&'static str>,
    release: Arc<tokio::sync::Notify>,
}

async fn serve_slow() -> SlowServed {
    let (sender, started) = mpsc::unbounded_channel();
    let release = Arc::new(tokio::sync::Notify::new());
    let holds = Holds {
        started: sender,
        release: Arc::clone(&release),
    };
    let services = ServiceSet::from(SlowServer::new(holds));
    SlowServed {
        address: serve_set(services.clone()).await,
        services,
        started,
        release,
    }
}

const HOLD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"hold"}"#;

#[tokio::test]
async fn connection_is_reused_for_the_next_request() {
    let address = serve_set(ServiceSet::from(CalculatorServer::new(Desk))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        assert!(
            call_over(&mut stream, PING)
                .await
                .contains(r#""result":null"#)
        );
    }
}

#[tokio::test]
async fn client_that_disconnects_cancels_its_call() {
    let mut served = serve_slow().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(request(HOLD).as_bytes()).await.unwrap();
    assert_eq!(served.started.recv().await, Some("started"));
    drop(stream);
    assert_eq!(served.started.recv().await, Some("dropped"));
}

#[tokio::test]
async fn shutdown_waits_for_the_answer_of_a_running_call() {
    let mut served = serve_slow().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(request(HOLD).as_bytes()).await.unwrap();
    assert_eq!(served.started.recv().await, Some("started"));
    let handle = served.services.handle();
    let shutdown = tokio::spawn(async move { handle.shutdown(Duration::from_secs(10)).await });
    served.services.handle().draining().await;
    served.release.notify_one();
    assert!(read_reply(&mut stream).await.contains(r#""result":7"#));
    assert!(shutdown.await.unwrap());
    assert_eq!(
        stream.read(&mut [0]).await.unwrap(),
        0,
        "the server closes the connection"
    );
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_the_listener() {
    let served = serve_slow().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    assert!(call_over(&mut stream, PING).await.contains("null"));
    assert!(
        served
            .services
            .handle()
            .shutdown(Duration::from_secs(10))
            .await
    );
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn connection_past_the_limit_of_its_address_is_closed() {
    let limits = Limits {
        max_connections_per_address: 2,
        ..Limits::default()
    };
    let services = ServiceSet::builder()
        .service(CalculatorServer::new(Desk))
        .limits(limits);
    let address = serve_set(services.build().unwrap()).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    call_over(&mut first, PING).await;
    call_over(&mut second, PING).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    assert!(matches!(third.read(&mut [0]).await, Ok(0) | Err(_)));
    drop(first);
    // The server learns of the end of the first connection by itself.
    loop {
        let mut again = TcpStream::connect(address).await.unwrap();
        let _ = again.write_all(request(PING).as_bytes()).await;
        if matches!(again.read(&mut [0]).await, Ok(1)) {
            break;
        }
    }
}

#[tokio::test]
async fn body_that_does_not_arrive_in_time_has_status_408() {
    let limits = Limits {
        message_timeout: Duration::from_millis(20),
        ..Limits::default()
    };
    let services = ServiceSet::builder()
        .service(CalculatorServer::new(Desk))
        .limits(limits);
    let address = serve_set(services.build().unwrap()).await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{";
    assert_eq!(exchange(address, head).await.status, 408);
}

/// A client's configuration of TLS, which trusts the server and may have a certificate of its own.
pub(crate) fn client_config(
    trusted: &Identity,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(trusted.certificate().der().to_vec()))
        .unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    match own {
        Some((certificate, key)) => builder
            .with_client_auth_cert(vec![certificate], key)
            .unwrap(),
        None => builder.with_no_client_auth(),
    }
}

pub(crate) async fn connect_tls(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn serve_tls(services: ServiceSet) -> SocketAddr {
    let listener = HttpServer::new(services)
        .tls()
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.run());
    address
}

#[tokio::test]
pub(crate) async fn call_over_tls_is_answered_with_the_identity_of_the_server() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let services = Server::builder(identity.clone()).service(CalculatorServer::new(Desk));
    let address = serve_tls(services.build().unwrap()).await;
    let mut stream = connect_tls(address, client_config(&identity, None))
        .await
        .unwrap();
    assert!(
        call_over(&mut stream, PING)
            .await
            .contains(r#""result":null"#)
    );
}

#[tokio::test]
async fn new_identity_is_presented_to_the_next_connection() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let services = Server::builder(identity).service(CalculatorServer::new(Desk));
    let services = services.build().unwrap();
    let address = serve_tls(services.clone()).await;
    let renewed = Identity::self_signed(["localhost"]).unwrap();
    services.handle().set_identity(renewed.clone());
    assert!(
        connect_tls(address, client_config(&renewed, None))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn tls_without_an_identity_is_refused_at_the_start() {
    let services = ServiceSet::from(CalculatorServer::new(Desk));
    let bound = HttpServer::new(services).tls().bind("127.0.0.1:0").await;
    assert!(matches!(bound, Err(HttpBindError::NoIdentity)));
}

#[tokio::test]
async fn handler_sees_the_certificate_of_the_client() {
    let own = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let pem = own.cert.pem();
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let (sender, _started) = mpsc::unbounded_channel();
    let holds = Holds {
        started: sender,
        release: Arc::default(),
    };
    let services = Server::builder(identity.clone())
        .service(SlowServer::new(holds))
        .require_client_certificate(Trust::pem(pem.as_bytes()).unwrap());
    let address = serve_tls(services.build().unwrap()).await;
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = client_config(&identity, Some((own.cert.der().clone(), key)));
    let mut stream = connect_tls(address, config).await.unwrap();
    let reply = call_over(&mut stream, r#"{"jsonrpc":"2.0","id":1,"method":"holder"}"#).await;
    let sent = pem.replace("\r\n", "\n").replace('\n', "\\n");
    assert!(reply.contains(sent.trim_end_matches("\\n")), "{reply}");
}
