//! A server with every listener.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt;
use rpc_http::{HttpServer, HttpService, SubscriptionNames, Subscriptions};
use rpc_runtime::{Identity, Limits, Server, Stream, rpc};

use crate::interop_service::{Desk, InteropServer};

/// The folder for files of these tests.
pub(crate) const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

#[rpc(namespace = "clock")]
trait Clock {
    /// Counts from 1, with `ms` milliseconds between two items, without end.
    fn ticks(&self, ms: u64) -> impl Stream<Item = u64>;

    /// Returns the number of open `ticks`.
    async fn open(&self) -> usize;
}

#[derive(Default)]
struct Tower {
    open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clock for Tower {
    fn ticks(&self, ms: u64) -> impl Stream<Item = u64> {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        futures_util::stream::iter(1..).then(move |tick| {
            let _ = &open;
            async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                tick
            }
        })
    }

    async fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Returns subscriptions to every stream: `subscribe_count`, and `eth_subscribe` with `newHeads` or `ticks`.
fn subscriptions() -> Subscriptions {
    let ethereum = SubscriptionNames {
        subscribe: "eth_subscribe".into(),
        notification: "eth_subscription".into(),
        unsubscribe: "eth_unsubscribe".into(),
    };
    let methods = [("newHeads", "count"), ("ticks", "clock.ticks")];
    Subscriptions::new().by_parameter(ethereum, methods)
}

/// A server that is called over HTTP.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The listener of `rpc-http` in plaintext.
    plain: SocketAddr,
    /// The listener of `rpc-http` with TLS.
    tls: SocketAddr,
    /// A router of axum, with the service at `/rpc`.
    axum: SocketAddr,
    /// The file with the certificate of the server.
    pub(crate) certificate: PathBuf,
}

impl Doors {
    /// Starts a server. `test` names the test, once in all tests.
    pub(crate) async fn open(test: &str) -> Self {
        Self::open_beside(test, Router::new()).await
    }

    /// Starts a server whose router has more routes.
    pub(crate) async fn open_beside(test: &str, router: Router) -> Self {
        let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
        let name = format!("http-{test}-{}.pem", std::process::id());
        let certificate = PathBuf::from(TEMPORARY).join(name);
        fs::write(&certificate, identity.certificate().to_pem()).unwrap();
        let server = Server::builder(identity)
            .service(InteropServer::new(Desk::default()))
            .service(ClockServer::new(Tower::default()))
            .limits(Limits {
                // Clients of HTTP/1.1 open a connection for each call at once.
                max_connections_per_address: 1000,
                ..Limits::default()
            })
            .bind("127.0.0.1:0")
            .unwrap();
        let service = HttpService::new(server.services()).subscriptions(subscriptions());
        tokio::spawn(server.run());

        let plain = HttpServer::new(service.clone());
        let tls = HttpServer::new(service.clone()).tls();
        let [plain, tls] = [plain, tls].map(|server| server.bind("127.0.0.1:0"));
        let (plain, tls) = (plain.await.unwrap(), tls.await.unwrap());
        let axum = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let doors = Self {
            plain: plain.local_addr().unwrap(),
            tls: tls.local_addr().unwrap(),
            axum: axum.local_addr().unwrap(),
            certificate,
        };
        let router = router.route_service("/rpc", service);
        tokio::spawn(plain.run());
        tokio::spawn(tls.run());
        tokio::spawn(async { axum::serve(axum, router).await });
        doors
    }

    /// Returns the URL of the listener in plaintext.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.plain)
    }

    /// Returns the URL of the listener with TLS.
    pub(crate) fn tls_url(&self) -> String {
        format!("https://{}/", self.tls)
    }

    /// Returns the URL of the service in the router of axum.
    pub(crate) fn axum_url(&self) -> String {
        format!("http://{}/rpc", self.axum)
    }

    /// Returns all URLs.
    pub(crate) fn urls(&self) -> [String; 3] {
        [self.url(), self.tls_url(), self.axum_url()]
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.certificate);
    }
}
