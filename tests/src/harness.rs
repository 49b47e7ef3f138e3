//! A server, a faulty relay and a client in one process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rpc_runtime::{Client, ClientBuilder, Identity, Server, ServerHandle, Trust};

use crate::call_log::{CallLog, Figures};
use crate::ledger::{Journal, LedgerClient, LedgerServer, LedgerService};
use crate::relay::{Faults, Relay};

/// The time limit of a drain.
const DRAIN: Duration = Duration::from_secs(20);

/// The parts of a scenario.
#[derive(Debug)]
pub struct Harness {
    /// The relay between the client and the server.
    pub relay: Relay,
    /// Shuts the server down.
    pub server: ServerHandle,
    /// The client.
    pub ledger: LedgerClient,
    /// The results of calls.
    pub call_log: Arc<CallLog>,
    /// The executed calls.
    pub journal: Arc<Journal>,
}

/// Connects a client that does not reconnect, so that each loss shows.
///
/// # Panics
/// When it cannot connect.
pub async fn connect(builder: ClientBuilder, trust: Trust, address: SocketAddr) -> LedgerClient {
    let client = builder
        .trust(trust)
        .server_name("localhost")
        .reconnect(false);
    LedgerClient::new(client.connect(address).await.expect("a connection"))
}

impl Harness {
    /// Starts a scenario with a default client.
    ///
    /// # Panics
    /// When the system has no sockets.
    pub async fn start(seed: u64) -> Self {
        Self::start_with(Client::builder(), seed).await
    }

    /// Starts a server, and connects a client through a relay without faults.
    ///
    /// # Panics
    /// When the system has no sockets.
    pub async fn start_with(builder: ClientBuilder, seed: u64) -> Self {
        let call_log = CallLog::new();
        let journal = Arc::new(Journal::in_memory());
        let identity = Identity::self_signed(["localhost"]).expect("an identity");
        let trust = Trust::certificate(identity.certificate());
        let server = Server::builder(identity)
            .service(LedgerServer::new(LedgerService(Arc::clone(&journal))))
            .bind("127.0.0.1:0")
            .expect("a server");
        let handle = server.handle();
        let relay = Relay::start(server.local_addr().expect("its address"), seed).expect("a relay");
        tokio::spawn(server.run());
        Self {
            ledger: connect(builder, trust, relay.address()).await,
            relay,
            server: handle,
            call_log,
            journal,
        }
    }

    /// Shuts the server down, and returns the results.
    ///
    /// # Panics
    /// When the results contradict what was executed.
    pub async fn finish(self) -> Figures {
        self.relay.set_faults(Faults::default());
        self.relay.set_blackhole(false);
        drop(self.ledger);
        self.server.shutdown(DRAIN).await;
        let journal = self.journal.entries().expect("a journal");
        let result = self.call_log.verify(&journal);
        result.unwrap_or_else(|wrong| panic!("{wrong}"))
    }
}
