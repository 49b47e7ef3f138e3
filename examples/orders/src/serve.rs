//! Starts the servers and ends them: the ledger, and the replicas that customers connect to.

use std::time::Duration;

use rpc_layers::{
    ClientMetrics, ConcurrencyLimitLayer, Layer, MetricsLayer, client_event_metrics,
    server_event_metrics,
};
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
use rpc_runtime::{Client, Health, Identity, Limits, Server, ServerHandle, Service, Trust};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{LoginServer, OrderError, OrdersServer};
use crate::authenticate::{Authenticate, principal};
use crate::files::{Accounts, Folder};
use crate::ledger::{Book, LedgerClient, LedgerServer};
use crate::metrics;
use crate::replica::{Desk, Gate};
use crate::signals::{Stop, on_hangup};
use crate::store::Store;
use crate::tokens::TokenKey;

/// The time that calls have to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// The time limit of a call to the ledger. The deadline of the customer's call applies as well.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of passwords that are checked at once. Each takes a thread for tens of milliseconds.
const LOGINS: usize = 4;

/// An error that ends a program.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The settings of a replica.
#[derive(Debug)]
pub struct Replica {
    /// The files that all replicas share.
    pub folder: Folder,
    /// The name of the replica, unique among them.
    pub name: String,
    /// The address for customers.
    pub listen: String,
    /// The address for Prometheus.
    pub metrics: String,
    /// The address of the ledger.
    pub ledger: String,
    /// The time from the first signal to the shutdown, in which probes find out that the replica is not serving.
    pub announce: Duration,
    /// How long an access token is valid.
    pub lifetime: Duration,
    /// The calls that each user may make in a minute.
    pub quota: u64,
    /// The connections that are accepted from one address.
    pub connections: usize,
}

/// Returns the limits of a replica. Orders are small, so that a client needs much less than the defaults.
fn limits(connections: usize) -> Limits {
    Limits {
        max_request_bytes: 16 << 10,
        max_response_bytes: 64 << 10,
        max_batch_entries: 20,
        max_concurrent_calls_per_connection: 64,
        max_memory_bytes_per_connection: 4 << 20,
        max_connections_per_address: connections,
        ..Limits::default()
    }
}

/// Sets the version of the program in the response of every call, of whatever service.
struct Version;

impl Middleware for Version {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let version = env!("CARGO_PKG_VERSION");
        let _ = call.context().set_response_meta("server-version", version);
        next.run().await
    }
}

/// Serves customers until the process is told to stop.
///
/// # Errors
/// When the replica cannot start, and when calls were aborted at its end.
pub async fn serve(replica: Replica) -> Result<(), Failure> {
    // Before anything that has metrics.
    let recorder = metrics::install()?;
    let mut signals = Stop::new()?;
    let folder = &replica.folder;
    let identity = folder.identity()?;
    // The replica starts without the ledger, and its calls wait for it within their time limit.
    let ledger = Client::builder()
        .trust(Trust::pem_file(folder.authority())?)
        .identity(identity.clone())
        .timeout(LEDGER_TIMEOUT)
        .on_event(client_event_metrics())
        .middleware(ClientMetrics::new())
        .connect_lazy(&*replica.ledger)?;
    let stopping = CancellationToken::new();
    let server = build(&replica, identity, &ledger, &stopping)?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let metrics = TcpListener::bind(&replica.metrics).await?;
    let reloading = tokio::spawn(reload(folder.clone(), handle.clone()));
    println!("listening on {address}");
    println!("metrics on {}", metrics.local_addr()?);
    let scraped = tokio::spawn(metrics::serve(metrics, recorder, handle.clone()));

    let stop = async {
        signals.received().await;
        handle.set_health(Health::NotServing);
        println!("not serving");
        // Calls are still served. Another signal ends the wait.
        tokio::select! {
            () = tokio::time::sleep(replica.announce) => {}
            () = signals.received() => {}
        }
        stopping.cancel();
    };
    let finished = server.serve_with_shutdown(stop, DRAIN).await;
    ledger.close().await;
    scraped.abort();
    reloading.abort();
    match finished {
        true => Ok(()),
        false => Err("some calls were aborted".into()),
    }
}

/// Builds the server: the services, and around them, from the outermost, the layers.
fn build(
    replica: &Replica,
    identity: Identity,
    ledger: &Client,
    stopping: &CancellationToken,
) -> Result<Server, Failure> {
    let folder = &replica.folder;
    let key = TokenKey::from_file(&folder.token_key())?;
    let gate = LoginServer::new(Gate {
        accounts: Accounts::from_file(&folder.accounts())?,
        key: key.clone(),
        lifetime: replica.lifetime,
    });
    let desk = OrdersServer::new(Desk {
        ledger: LedgerClient::new(ledger.clone()),
        stopping: stopping.clone(),
    });
    let authenticate = Authenticate::new(key.clone(), replica.quota);
    let server = Server::builder(identity)
        // The replicas share their certificate, but must not share the keys of stateless resets.
        .replica(&replica.name)
        .limits(limits(replica.connections))
        .on_event(server_event_metrics())
        .layer(MetricsLayer::new())
        .layer(Version)
        .service(ConcurrencyLimitLayer::new(LOGINS).layer(gate))
        .service(Layered::new(authenticate, desk))
        .authorize_discover(move |cx| match principal(&key, cx)?.is_admin {
            true => Ok(()),
            false => Err(OrderError::Forbidden.into()),
        });
    Ok(server.bind(&*replica.listen)?)
}

/// Reads the certificate again at each SIGHUP. Open connections stay.
async fn reload(folder: Folder, handle: ServerHandle) -> std::io::Result<()> {
    let replace = || match folder.identity() {
        Ok(identity) => {
            handle.set_identity(identity);
            println!("new certificate");
        }
        Err(error) => tracing::error!(%error, "certificate not replaced"),
    };
    on_hangup(replace).await
}

/// Serves the replicas until the process is told to stop. Only processes with a certificate of the authority can connect.
///
/// # Errors
/// When the ledger cannot start, and when calls were aborted at its end.
pub async fn ledger(folder: Folder, listen: &str) -> Result<(), Failure> {
    let mut signals = Stop::new()?;
    let (book, changes) = Book::new(Store::open(&folder.database())?);
    let server = Server::builder(folder.identity()?)
        .require_client_certificate(Trust::pem_file(folder.authority())?)
        .service(LedgerServer::new(book))
        .bind(listen)?;
    let handle = server.handle();
    println!("listening on {}", server.local_addr()?);
    let reloading = tokio::spawn(reload(folder, handle));
    let stop = async {
        signals.received().await;
        changes.close();
    };
    let finished = server.serve_with_shutdown(stop, DRAIN).await;
    reloading.abort();
    match finished {
        true => Ok(()),
        false => Err("some calls were aborted".into()),
    }
}
