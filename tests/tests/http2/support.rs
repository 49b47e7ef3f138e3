//! A server over QUIC and over HTTP/2, with one certificate.

use std::net::SocketAddr;

use rpc_http::HttpServer;
use rpc_runtime::{
    Client, ClientBuilder, Identity, Server, ServerBuilder, ServerHandle, Service, Trust,
};
use tests::support::{ANY_PORT, soon};

/// A certificate for `localhost` and `127.0.0.1`, with its key.
pub(crate) struct Certified {
    pub(crate) identity: Identity,
    pub(crate) pem: String,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Self {
            identity: Identity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap(),
            pem: format!("{pem}{key}"),
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::certificate(self.identity.certificate())
    }
}

/// A server over QUIC, over HTTP/2 with TLS, and over HTTP/2 without it.
pub(crate) struct Doors {
    pub(crate) quic: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) handle: ServerHandle,
    pub(crate) certified: Certified,
}

impl Doors {
    pub(crate) async fn open(service: impl Service) -> Self {
        Self::open_as(service, |server| server).await
    }

    /// Opens a server with options of its own.
    pub(crate) async fn open_as(
        service: impl Service,
        options: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let certified = Certified::new();
        let server = options(Server::builder(certified.identity.clone()))
            .service(service)
            .bind(ANY_PORT)
            .unwrap();
        let services = server.services();
        let (quic, handle) = (server.local_addr().unwrap(), server.handle());
        tokio::spawn(server.run());
        let listener = HttpServer::new(services.clone())
            .bind(ANY_PORT)
            .await
            .unwrap();
        let plain = listener.local_addr().unwrap();
        tokio::spawn(listener.run());
        let listener = HttpServer::new(services)
            .tls()
            .bind(ANY_PORT)
            .await
            .unwrap();
        let tls = listener.local_addr().unwrap();
        tokio::spawn(listener.run());
        Self {
            quic,
            tls,
            plain,
            handle,
            certified,
        }
    }

    /// Returns the URL of the server over TLS.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/rpc", self.tls.port())
    }

    /// Returns the URL of the server without TLS.
    pub(crate) fn plain_url(&self) -> String {
        format!("http://{}/rpc", self.plain)
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder().trust(self.certified.trust())
    }

    /// Connects a client that does not reconnect.
    pub(crate) async fn connect(&self, address: &str) -> Client {
        let connecting = self.client().reconnect(false).connect(address);
        soon(connecting).await.unwrap()
    }
}
