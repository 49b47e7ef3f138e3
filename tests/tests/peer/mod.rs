//! A client of somebody else's: QUIC by quinn, JSON by serde_json, and nothing of the framework.
#![allow(dead_code)] // no test needs all of it

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rpc_runtime::{Certificate, Identity, Limits, Server, ServerHandle, Service, Trust};
use serde_json::Value;

/// A server on loopback, with a certificate of its own.
pub(crate) struct Host {
    address: SocketAddr,
    certificate: Certificate,
    pub(crate) handle: ServerHandle,
}

impl Host {
    pub(crate) fn start(service: impl Service, limits: Limits) -> Self {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let certificate = identity.certificate();
        let builder = Server::builder(identity).limits(limits).service(service);
        let server = builder.bind("127.0.0.1:0").unwrap();
        let host = Self {
            address: server.local_addr().unwrap(),
            certificate,
            handle: server.handle(),
        };
        tokio::spawn(server.run());
        host
    }

    pub(crate) async fn connect(&self) -> quinn::Connection {
        soon(self.dial("jsonrpc/1", quinn::TransportConfig::default()))
            .await
            .unwrap()
    }

    pub(crate) fn dial(
        &self,
        protocol: &str,
        transport: quinn::TransportConfig,
    ) -> quinn::Connecting {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().to_vec().into()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![protocol.into()];
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint
            .connect_with(config, self.address, "localhost")
            .unwrap()
    }
}

/// A server of somebody else's on loopback, and what its clients trust.
pub(crate) fn listen(transport: quinn::TransportConfig) -> (quinn::Endpoint, Trust) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = issued.signing_key.serialize_der();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.try_into().unwrap())
        .unwrap();
    tls.alpn_protocols = vec!["jsonrpc/1".into()];
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = quinn::Endpoint::server(config, loopback).unwrap();
    (endpoint, Trust::pem(issued.cert.pem().as_bytes()).unwrap())
}

/// Sends `bytes` on a stream of its own, ends it, and reads to its end what comes back: one value a line.
pub(crate) async fn exchange(connection: &quinn::Connection, bytes: &[u8]) -> Vec<Value> {
    exchange_in_pieces(connection, [bytes]).await
}

pub(crate) async fn exchange_in_pieces(
    connection: &quinn::Connection,
    pieces: impl IntoIterator<Item = &[u8]>,
) -> Vec<Value> {
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let write = async {
        for piece in pieces {
            send.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        send.finish().unwrap();
    };
    let (read, ()) = soon(async { tokio::join!(recv.read_to_end(usize::MAX), write) }).await;
    let replies = read.unwrap();
    assert!(
        replies.is_empty() || replies.ends_with(b"\n"),
        "half a line"
    );
    let lines = replies.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// What must happen, happens long before this.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(10), what);
    within.await.expect("nothing happens any more")
}
