//! The handle that shuts a server down, and sets its identity and its health.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::memory::ServerMemory;
use crate::phase::{Phase, PhaseWatch};
use crate::server::health::{Health, HealthStates};
use crate::server::shutdown::{CLOSE_TIMEOUT, Shutdown};
use crate::sync::{Mutex, lock};
use crate::tls::{Identity, ServerTls, TlsOverTcp};
use crate::transport::close;
use crate::transport::quic::{Listener, ListenerKeys};

/// A handle that shuts a [`Server`](crate::Server) down and replaces its certificate. Clones are cheap.
///
/// ```no_run
/// use std::time::Duration;
/// use rpc_runtime::{Identity, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::from_pem_files("chain.pem", "key.pem")?;
/// let server = Server::builder(identity).bind("0.0.0.0:4433")?;
/// let handle = server.handle();
/// let serving = tokio::spawn(server.run());
///
/// tokio::signal::ctrl_c().await?;
/// if !handle.shutdown(Duration::from_secs(10)).await {
///     eprintln!("some calls were aborted");
/// }
/// serving.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    /// `None` without QUIC, and after the shutdown, so that remaining handles do not keep the socket open.
    listener: Arc<Mutex<Option<Listener>>>,
    /// `None` if the server has no identity.
    tls: Option<ServerTls>,
    over_tcp: Option<TlsOverTcp>,
    connections: TaskTracker,
    /// Held while [`Server::run`](crate::Server::run) is running.
    runs: TaskTracker,
    phase: watch::Sender<Phase>,
    /// `true` if the first shutdown finished every call.
    finished: Arc<OnceLock<bool>>,
    memory: Arc<ServerMemory>,
    health: Arc<HealthStates>,
}

impl ServerHandle {
    pub(super) fn new(
        identity: Option<(ServerTls, &Identity)>,
        listener: Option<Listener>,
        (memory, health): (Arc<ServerMemory>, Arc<HealthStates>),
    ) -> Self {
        let over_tcp = identity
            .as_ref()
            .map(|(tls, identity)| TlsOverTcp::new(tls.clone(), identity));
        Self {
            listener: Arc::new(Mutex::new(listener)),
            tls: identity.map(|(tls, _)| tls),
            over_tcp,
            connections: TaskTracker::new(),
            runs: TaskTracker::new(),
            phase: watch::Sender::new(Phase::Serving),
            finished: Arc::default(),
            memory,
            health,
        }
    }

    pub(super) fn phase(&self) -> PhaseWatch {
        self.phase.subscribe().into()
    }

    /// Returns `true` if the server is shutting down.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Resolves when the server is shutting down.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub async fn draining(&self) {
        self.phase().reaches(Phase::Draining).await;
    }

    pub(super) fn over_tcp(&self) -> Option<&TlsOverTcp> {
        self.over_tcp.as_ref()
    }

    /// Returns the tasks of the server's connections.
    pub(super) fn connections(&self) -> &TaskTracker {
        &self.connections
    }

    /// Returns a token that a shutdown waits for, held while the server runs.
    pub(super) fn running(&self) -> TaskTrackerToken {
        self.runs.token()
    }

    /// Returns the memory that the server holds for its peers, in bytes, rounded up to 64 KiB for each connection.
    /// [`Limits::max_memory_bytes`](crate::Limits::max_memory_bytes) limits it. It is meant as a metric.
    pub fn memory_held(&self) -> usize {
        self.memory.used()
    }

    /// Sets the serving state of the server, which `rpc.health` returns to readiness probes and load balancers. Defaults to
    /// [`Health::Serving`]. A server that is shutting down is not serving, whatever was set.
    ///
    /// The state has no effect on calls: they are served as before.
    ///
    /// ```
    /// use rpc_runtime::{Health, ServerHandle};
    ///
    /// /// Takes the server out of the rotation while its database is not available.
    /// async fn follow(handle: ServerHandle, mut database: tokio::sync::watch::Receiver<bool>) {
    ///     while database.changed().await.is_ok() {
    ///         handle.set_health(match *database.borrow() {
    ///             true => Health::Serving,
    ///             false => Health::NotServing,
    ///         });
    ///     }
    /// }
    /// ```
    pub fn set_health(&self, health: Health) {
        self.health.set(health);
    }

    /// Sets the serving state of a service, by the name of its trait. Returns `false` if the server has no such service.
    /// Defaults to [`Health::Serving`]. A service is not serving if its server is not.
    ///
    /// All services of this trait get the state, whatever their namespaces.
    pub fn set_service_health(&self, service: &str, health: Health) -> bool {
        self.health.set_service(service, health)
    }

    /// Replaces the certificate that new clients receive, for example before the current certificate expires. Open
    /// connections are kept.
    ///
    /// State that depends on the former key becomes invalid. No session that began under it is resumed. Address validation
    /// tokens are not accepted, so a client that is about to return one must connect again. Stateless resets are signed with
    /// a key derived from the new key and the same [`replica`](crate::ServerBuilder::replica). So clients of earlier
    /// connections learn of a restart of the server only when their idle timeout has passed.
    ///
    /// ```
    /// use std::path::Path;
    /// use std::time::Duration;
    /// use rpc_runtime::{Identity, ServerHandle};
    ///
    /// /// Reads the certificate again every hour. If that fails, the current one is kept.
    /// async fn renew(handle: ServerHandle, chain: &Path, key: &Path) {
    ///     loop {
    ///         tokio::time::sleep(Duration::from_secs(3600)).await;
    ///         match Identity::from_pem_files(chain, key) {
    ///             Ok(identity) => handle.set_identity(identity),
    ///             Err(error) => eprintln!("the certificate was not renewed: {error}"),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn set_identity(&self, identity: Identity) {
        let Some(tls) = &self.tls else { return };
        identity.warn_of_faults();
        if let Some(over_tcp) = &self.over_tcp {
            over_tcp.set_identity(&identity);
        }
        let listener = lock(&self.listener).clone();
        if let Some(listener) = listener {
            listener.set_keys(ListenerKeys {
                tls: tls.config(&identity),
                secret: identity.secret(),
            });
        }
    }

    /// Drains the server and closes it. Running calls finish and reply, and new calls are rejected as not executed. When this
    /// method returns, the address is free for another server.
    /// [`Server::serve_with_shutdown`](crate::Server::serve_with_shutdown) does this on a signal.
    ///
    /// `shutdown` is the time that the calls have to finish, a [`Duration`](std::time::Duration), or a [`Shutdown`], which can also announce the
    /// shutdown to readiness probes before the server drains.
    ///
    /// Calls that do not finish within the limit are ended. Streams of items end after the current item with the error
    /// [`CallError::StreamEnded`](crate::CallError::StreamEnded), for which they have another second. Other calls are
    /// aborted.
    ///
    /// Returns `true` if every call finished. A further call waits for the same shutdown and returns the same result.
    ///
    /// # Streams of items
    /// A stream of items is a call that runs until its last item. A stream without an end, such as a subscription, keeps the
    /// server waiting until the limit, and the result is then `false`. Its handler ends it earlier when
    /// [`Context::draining`](crate::Context::draining) resolves. The caller then receives the end of the stream, or the last
    /// item or error that the handler sends, and calls again: that call goes to another server.
    ///
    /// # Cancel safety
    /// This method is cancel safe. If the future is dropped, the server continues to drain, without a limit. If it is dropped
    /// during the announcement, the server continues to serve calls, and its health stays `NOT_SERVING`.
    pub async fn shutdown(&self, shutdown: impl Into<Shutdown>) -> bool {
        self.shut_down(shutdown.into()).await
    }

    async fn shut_down(
        &self,
        Shutdown {
            announcement,
            limit,
        }: Shutdown,
    ) -> bool {
        if !announcement.is_zero() {
            self.reach(Phase::Announced);
            let drains = self.phase().reaches(Phase::Draining);
            let _ = tokio::time::timeout(announcement, drains).await;
        }
        self.reach(Phase::Draining);
        self.connections.close();
        let drained = tokio::time::timeout(limit, self.connections.wait())
            .await
            .is_ok();
        if !drained {
            // Another shutdown with a longer limit returns the same result.
            let _ = self.finished.set(false);
            self.reach(Phase::Ending);
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connections.wait()).await;
        }
        // The listener is kept until it is closed, for other shutdowns, which wait for the same, and in case this one is
        // cancelled.
        let listener = lock(&self.listener).clone();
        if let Some(listener) = listener {
            listener.close(close::ABORTED, "shutting down");
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, listener.idle()).await;
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, listener.close_socket()).await;
            drop(lock(&self.listener).take());
        }
        self.runs.close();
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.runs.wait()).await;
        *self.finished.get_or_init(|| drained)
    }

    /// Advances to `phase`. The phase never goes back.
    fn reach(&self, phase: Phase) {
        self.phase.send_if_modified(|reached| {
            let is_further = *reached < phase;
            if is_further {
                *reached = phase;
            }
            is_further
        });
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("phase", &*self.phase.borrow())
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}
