//! A server on loopback, its client, and functions that wait for events.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rpc_runtime::tls::Certificate;
use rpc_runtime::{
    BindError, Client, ClientBuilder, Identity, Limits, Server, ServerBuilder, ServerHandle,
    Service, Trust,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A time limit that exceeds the duration of any step of a test on a busy machine.
const STEP: Duration = Duration::from_secs(60);

/// A deadline that a call reaches only after its handler has started, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_millis(500);

/// Returns the output of `step`.
///
/// # Panics
/// When the step takes longer than a minute: it will never end.
pub async fn soon<T>(step: impl IntoFuture<Output = T>) -> T {
    let step = timeout(STEP, step.into_future());
    step.await.expect("a step of this test does not end")
}

/// Lets other tasks run until `condition` holds.
///
/// # Panics
/// When that takes longer than a minute.
pub async fn eventually(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until `count` stays the same while `turn` runs a hundred times.
///
/// # Panics
/// When that takes longer than a minute.
pub async fn until_stable(count: impl Fn() -> usize, mut turn: impl AsyncFnMut()) {
    soon(async {
        let mut before = None;
        while before != Some(count()) {
            before = Some(count());
            for _ in 0..100 {
                turn().await;
            }
        }
    })
    .await;
}

/// Returns a runtime that runs everything on the thread that blocks on it.
///
/// # Panics
/// When the system has no resources for it.
pub fn current_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// A port on loopback that the system chooses.
pub const ANY_PORT: &str = "127.0.0.1:0";

/// A server on loopback with a certificate of its own, for `localhost` and `127.0.0.1`.
#[derive(Debug)]
pub struct TestServer {
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its certificate.
    pub certificate: Certificate,
    /// Shuts it down.
    pub handle: ServerHandle,
    /// Ends when it has shut down.
    pub running: JoinHandle<()>,
}

impl TestServer {
    /// Starts a server of `service` with these limits.
    ///
    /// # Panics
    /// When it cannot be bound.
    pub fn start(service: impl Service, limits: Limits) -> Self {
        Self::bind(|builder| builder.service(service).limits(limits).bind(ANY_PORT))
    }

    /// Starts a server that `bind` has added services and options to, and bound to [`ANY_PORT`].
    ///
    /// # Panics
    /// When it cannot be bound.
    pub fn bind(bind: impl FnOnce(ServerBuilder) -> Result<Server, BindError>) -> Self {
        let identity = Identity::self_signed(["localhost", "127.0.0.1"]).expect("an identity");
        let certificate = identity.certificate();
        let server = bind(Server::builder(identity)).expect("a server");
        Self {
            address: server.local_addr().expect("its address"),
            certificate,
            handle: server.handle(),
            running: tokio::spawn(server.run()),
        }
    }

    /// Returns a builder of clients that trust this server and do not reconnect, so that the loss of a connection shows.
    pub fn client(&self) -> ClientBuilder {
        Client::builder()
            .trust(Trust::certificate(self.certificate.clone()))
            .reconnect(false)
    }

    /// Connects a client of [`client`](Self::client).
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn connect(&self) -> Client {
        let connected = soon(self.client().connect(self.address)).await;
        connected.expect("a connection")
    }
}

/// Starts a server of `service` with these limits, and connects a client that does not reconnect.
///
/// # Panics
/// When either fails.
pub async fn serve(service: impl Service, limits: Limits) -> (Client, ServerHandle) {
    let server = TestServer::start(service, limits);
    (server.connect().await, server.handle)
}

/// Writes a new file that only this user may read.
///
/// # Errors
/// When there is such a file already, or it cannot be written.
pub fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}
