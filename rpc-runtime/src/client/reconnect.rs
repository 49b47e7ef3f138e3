//! Keeps a client connected until the client is closed or dropped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::balance::endpoint_list::EndpointNumber;
use crate::client::connection::{ClientConnection, ConnectionOwner};
use crate::client::connector::Connector;
use crate::client::dial::ConnectError;
use crate::client::handle::{Client, ClientInner, Services};
use crate::client::options::ClientOptions;
use crate::client::retry::backoff::Backoff;
use crate::client::state::{ConnectionState, Status, never_connected};
use crate::codec::escape::{Escaped, EscapedMessage};
use crate::event::Event;
use crate::event_limit::EventLimit;
use crate::idle::IdleWatch;
use crate::memory::ConnectionMemory;
use crate::transport::quic::{ConnectAttempt, SpareSocket};
use crate::transport::{Connection, ConnectionError};

/// The time for which the client expects that a server is only being restarted. Meanwhile it tries again sooner.
const RESTART: Duration = Duration::from_secs(10);

/// The maximum of the random delays during that time. A thousand clients that try again within it are 2,000 handshakes a
/// second.
const RESTART_BACKOFF: Duration = Duration::from_millis(500);

/// The time limit for the first answer to the first attempt during that time, which doubles with each further attempt. QUIC
/// doubles the time between the packets of an attempt, so that a new attempt reaches the server sooner. An attempt that was
/// answered continues: the server is busy with the handshakes of its other clients.
const RESTART_ATTEMPT: Duration = Duration::from_secs(1);

/// Minimum time between two warnings of a client that cannot connect.
const WARNED: Duration = Duration::from_secs(30);

impl Client {
    /// Creates a client on a connection that it owns. It reconnects if it has a connector.
    pub(super) fn over(
        transport: Connection,
        options: ClientOptions,
        services: Services,
        connector: Option<Connector>,
    ) -> Self {
        let client = ClientInner::new(Status::unconnected(), options, Some(services));
        client.set_connected(transport, ConnectionOwner::Streams);
        Self::start(client, connector)
    }

    /// Creates a client that connects when it makes its first call.
    pub(super) fn lazy(
        options: ClientOptions,
        services: Services,
        connector: Connector,
        reconnects: bool,
    ) -> Self {
        let status = Status::disconnected(ConnectionState::Idle);
        let client = ClientInner::new(status, options, Some(services));
        let wanted = Arc::clone(&client.wanted);
        Self::start_with(client, move |slot| async move {
            let _disconnect = DisconnectOnDrop(slot.clone());
            wanted.notified().await;
            let mut attempts = ReconnectAttempts::new(*connector.backoff());
            let connection = connect(&slot, &connector, None, &mut attempts).await?;
            slot.report_connected(&connector, &connection)?;
            slot.set_connected(connection)?;
            keep_connected(slot, Some(connector).filter(|_| reconnects)).await
        })
    }

    /// Creates a client on a connection that the server owns, and on which it already serves the peer.
    pub(super) fn on_accepted(transport: Connection, memory: Arc<ConnectionMemory>) -> Self {
        let whole = Arc::clone(memory.whole());
        let client = ClientInner::without_connections(Status::unconnected(), whole);
        let connection = client.open_within((transport, memory), ConnectionOwner::Server, None);
        client.set_status(Status::connected(connection));
        Self::start(client, None)
    }

    /// Creates a client that shares the streams of another client, until they take no more calls.
    pub(super) fn sharing(connection: Arc<ClientConnection>) -> Self {
        let whole = Arc::clone(connection.budget.memory.whole());
        let status = Status::connected(connection);
        Self::start(ClientInner::without_connections(status, whole), None)
    }

    /// Creates a client of several servers. Its list of servers is empty.
    pub(super) fn of_endpoints(options: ClientOptions, services: Services) -> Self {
        let client = ClientInner::new(Status::unconnected(), options, Some(services));
        Self::start_with(client, |slot| async {
            let _end = EndClientOnDrop(slot);
            std::future::pending().await
        })
    }

    fn start(client: ClientInner, connector: Option<Connector>) -> Self {
        Self::start_with(client, |slot| keep_connected(slot, connector))
    }

    /// Creates a client and spawns its task, which runs `keeper` until the client is closed.
    fn start_with<K>(client: ClientInner, keeper: impl FnOnce(ConnectionSlot) -> K) -> Self
    where
        K: Future<Output = Option<()>> + Send + 'static,
    {
        let client = Arc::new(client);
        let keeper = keeper(ConnectionSlot::only(Arc::downgrade(&client)));
        let releasing = release_when_idle(Arc::downgrade(&client), Arc::clone(&client.idle));
        let closed = client.closed.clone();
        tokio::spawn(closed.run_until_cancelled_owned(async {
            tokio::select! {
                ended = keeper => ended,
                ended = releasing => ended,
            }
        }));
        Self::of(client)
    }
}

impl ClientInner {
    fn set_connected(&self, transport: Connection, owner: ConnectionOwner) {
        let connection = self.open(transport, owner, None);
        self.set_status(Status::connected(connection));
    }
}

/// Releases idle buffers whenever there have been no calls for a while. Returns `None` when the client has been dropped.
async fn release_when_idle(client: Weak<ClientInner>, idle: Arc<IdleWatch>) -> Option<()> {
    loop {
        idle.became_idle().await;
        client.upgrade()?.release_idle_buffers();
    }
}

/// The connection of a client: its only connection, or the connection to one of its servers. Methods return `None` when the
/// client has been dropped.
#[derive(Clone)]
pub(super) struct ConnectionSlot {
    client: Weak<ClientInner>,
    endpoint: Option<EndpointNumber>,
}

impl ConnectionSlot {
    fn only(client: Weak<ClientInner>) -> Self {
        Self {
            client,
            endpoint: None,
        }
    }

    pub(super) fn of_endpoint(client: &Arc<ClientInner>, endpoint: EndpointNumber) -> Self {
        Self {
            client: Arc::downgrade(client),
            endpoint: Some(endpoint),
        }
    }

    /// Returns the connection; `Some(None)` if there is none.
    pub(super) fn connection(&self) -> Option<Option<Arc<ClientConnection>>> {
        let client = self.client.upgrade()?;
        Some(match self.endpoint {
            Some(endpoint) => client.endpoints().connection(endpoint),
            None => client.connections().pop(),
        })
    }

    pub(super) fn set_connected(&self, transport: Connection) -> Option<()> {
        let client = self.client.upgrade()?;
        let Some(endpoint) = self.endpoint else {
            client.set_connected(transport, ConnectionOwner::Streams);
            return Some(());
        };
        let health = client.endpoints().health(endpoint)?;
        let connection = client.open(transport, ConnectionOwner::Streams, Some(health));
        client.change_endpoints(|endpoints| endpoints.set_connected(endpoint, connection));
        Some(())
    }

    fn set_disconnected(&self, state: ConnectionState) -> Option<()> {
        let client = self.client.upgrade()?;
        match (self.endpoint, state) {
            (None, state) => client.set_disconnected(state),
            // The client keeps its other servers.
            (Some(endpoint), ConnectionState::Closed(_)) => {
                drop(client.change_endpoints(|endpoints| endpoints.remove(endpoint)));
            }
            (Some(endpoint), state) => {
                client.change_endpoints(|endpoints| endpoints.set_disconnected(endpoint, state));
            }
        }
        Some(())
    }

    /// Closes the client, with the connections to all of its servers.
    fn end_client(&self) -> Option<()> {
        let client = self.client.upgrade()?;
        client.end(ConnectionError::ClosedHere);
        Some(())
    }

    /// Reports that the client has connected.
    fn report_connected(&self, connector: &Connector, connection: &Connection) -> Option<()> {
        connector.report_connected(&self.client.upgrade()?.options.events, connection);
        Some(())
    }

    /// Replaces the connection by one over another transport. Calls in flight continue, unless nothing arrives from the server.
    fn replace(&self, transport: Connection, connector: Option<&Connector>) -> Option<()> {
        let replaced = self.connection()?;
        if let Some(connector) = connector {
            self.report_connected(connector, &transport)?;
        }
        let is_stalled = replaced.as_ref().is_some_and(|open| open.is_stalled());
        self.set_connected(transport)?;
        if let Some(replaced) = replaced.filter(|_| is_stalled) {
            replaced.lose(&ConnectionError::TimedOut);
        }
        Some(())
    }

    /// Reports that the connection was lost, or that the server drains it.
    fn report_disconnected(
        &self,
        connector: Option<&Connector>,
        reason: &ConnectionError,
    ) -> Option<()> {
        let events = &self.client.upgrade()?.options.events;
        if let Some(connector) = connector.filter(|_| events.is_set()) {
            let server = &connector.to_string();
            events.emit(&Event::Disconnected { server, reason });
        }
        Some(())
    }

    /// Reports that an attempt to connect failed.
    fn report_failed(&self, connector: &Connector, error: &ConnectError) -> Option<()> {
        let events = &self.client.upgrade()?.options.events;
        if events.is_set() {
            let server = &connector.to_string();
            events.emit(&Event::ConnectFailed { server, error });
        }
        Some(())
    }

    fn record_loss(&self, lost: &ConnectionError) -> Option<()> {
        let client = self.client.upgrade()?;
        if let Some(endpoint) = self.endpoint {
            let health = client.endpoints().health(endpoint)?;
            health.outliers.record_loss(lost);
        }
        Some(())
    }

    pub(super) fn set_ejected(&self, is_ejected: bool) -> Option<()> {
        let client = self.client.upgrade()?;
        if let Some(endpoint) = self.endpoint {
            client.change_endpoints(|endpoints| endpoints.set_ejected(endpoint, is_ejected));
        }
        Some(())
    }
}

/// Connects if there is no connection, and again whenever it is lost or drained. Without a connector the first loss closes the
/// client. Returns `None` when the client has been dropped.
pub(super) async fn keep_connected(
    slot: ConnectionSlot,
    connector: Option<Connector>,
) -> Option<()> {
    let _disconnect = DisconnectOnDrop(slot.clone());
    let mut attempts = connector
        .as_ref()
        .map(|connector| ReconnectAttempts::new(*connector.backoff()));
    loop {
        let since = Instant::now();
        let connection = slot.connection()?;
        let lost = match connection {
            Some(open) => {
                let transport = open.transport.kind();
                let (retirement, watch) = (open.retirement(), open.watch_for_stalls());
                let spare = open.transport.spare_socket();
                let better = better(connector.as_ref(), open);
                let lost = tokio::select! {
                    lost = retirement => lost,
                    () = watch => continue,
                    connection = better => {
                        slot.replace(connection, connector.as_ref())?;
                        continue;
                    }
                };
                if let Some(connector) = &connector {
                    connector.lost(transport, since, &lost);
                }
                slot.record_loss(&lost)?;
                if let Some(attempts) = &mut attempts {
                    attempts.lost(since, &lost, spare);
                }
                slot.report_disconnected(connector.as_ref(), &lost)?;
                Some(lost)
            }
            None => None,
        };
        let Some((connector, attempts)) = connector.as_ref().zip(attempts.as_mut()) else {
            // A drained connection stays open until its calls in flight have ended.
            let lost = lost.unwrap_or_else(never_connected);
            slot.set_disconnected(ConnectionState::Closed(lost))?;
            return None;
        };
        // Boxed, since a connected client does not need the space.
        let connecting = Box::pin(connect(&slot, connector, lost, attempts));
        let connection = connecting.await?;
        slot.report_connected(connector, &connection)?;
        slot.set_connected(connection)?;
    }
}

/// Waits until there is a connection over another transport that is to replace this one.
fn better(
    connector: Option<&Connector>,
    open: Arc<ClientConnection>,
) -> impl Future<Output = Connection> + Send + use<'_> {
    let better = connector.map(|connector| connector.better(&open));
    async move {
        match better {
            Some(better) => better.await,
            None => std::future::pending().await,
        }
    }
}

/// Dials until there is a connection.
async fn connect(
    slot: &ConnectionSlot,
    connector: &Connector,
    lost: Option<ConnectionError>,
    attempts: &mut ReconnectAttempts,
) -> Option<Connection> {
    let connecting = |error: Option<ConnectError>| ConnectionState::Connecting {
        lost: lost.clone(),
        error: error.map(Arc::new),
    };
    let server = Escaped(connector);
    let reason = lost.clone().unwrap_or_else(never_connected);
    tracing::info!(target: "rpc_runtime::client", %server, lost = %EscapedMessage(&reason), "connecting");
    slot.set_disconnected(connecting(None))?;
    loop {
        let attempt = attempts.next().await;
        match connector.connect(&attempt).await {
            Ok(connection) => return Some(connection),
            Err(error) => {
                attempts.log_failure(server, &error);
                slot.report_failed(connector, &error)?;
                slot.set_disconnected(connecting(Some(error)))?;
            }
        }
    }
}

/// The delays and the time limits of attempts to connect.
struct ReconnectAttempts {
    backoff: Backoff,
    /// Number of attempts since a connection last lasted.
    failures: u32,
    /// The time until which the server may only be restarting.
    restart_until: Option<Instant>,
    /// The time limit for the answer to the next attempt until then.
    limit: Duration,
    /// Counts the attempts that failed.
    failed: EventLimit,
    /// The socket of the lost connection, for the next attempt.
    spare: Option<SpareSocket>,
}

impl ReconnectAttempts {
    fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failures: 0,
            restart_until: None,
            limit: RESTART_ATTEMPT,
            failed: EventLimit::every(WARNED),
            spare: None,
        }
    }

    /// Logs that an attempt failed, as a warning at most every [`WARNED`].
    fn log_failure(&mut self, server: Escaped<&Connector>, error: &ConnectError) {
        let error = EscapedMessage(error);
        match self.failed.add(Instant::now()) {
            Some(failed) => tracing::warn!(
                target: "rpc_runtime::client", %server, %error, failed, "cannot connect"
            ),
            None => tracing::debug!(
                target: "rpc_runtime::client", %server, %error, "attempt to connect failed"
            ),
        }
    }

    /// Records the loss of a connection that lasted since `since` and had the socket `spare`.
    fn lost(&mut self, since: Instant, lost: &ConnectionError, spare: Option<SpareSocket>) {
        // A drained or silent server may be behind an address translation that keeps its choice for this socket.
        self.spare = spare.filter(|_| *lost == ConnectionError::Reset);
        // The delays grow for a server that soon drops each connection.
        if since.elapsed() > self.backoff.max {
            self.failures = 0;
        }
        self.restart_until = (self.failures == 0).then(|| Instant::now() + RESTART);
        self.limit = RESTART_ATTEMPT;
    }

    fn is_restarting(&self) -> bool {
        self.restart_until
            .is_some_and(|until| Instant::now() < until)
    }

    /// Waits for the next attempt, and returns its settings. The dialer has a time limit of its own.
    async fn next(&mut self) -> ConnectAttempt {
        let answer_timeout = self.next_limit().await;
        ConnectAttempt {
            answer_timeout,
            socket: self.spare.take(),
        }
    }

    async fn next_limit(&mut self) -> Duration {
        let mut backoff = self.backoff;
        if self.is_restarting() {
            backoff.max = backoff.max.min(RESTART_BACKOFF);
        }
        if self.failures > 0 {
            sleep(backoff.delay(self.failures)).await;
        }
        self.failures += 1;
        if !self.is_restarting() {
            return Duration::MAX;
        }
        let limit = self.limit;
        self.limit = self.limit.saturating_mul(2);
        limit
    }
}

/// Closes a client, or removes one of its servers, when the task that reconnects has been dropped, for example with its
/// runtime.
struct DisconnectOnDrop(ConnectionSlot);

impl Drop for DisconnectOnDrop {
    fn drop(&mut self) {
        self.0
            .set_disconnected(ConnectionState::Closed(ConnectionError::ClosedHere));
    }
}

/// Closes a client of several servers when its task has been dropped.
struct EndClientOnDrop(ConnectionSlot);

impl Drop for EndClientOnDrop {
    fn drop(&mut self) {
        self.0.end_client();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails attempts at once for a minute, and returns when each was made, and its time limit.
    async fn fail_for_a_minute(attempts: &mut ReconnectAttempts) -> Vec<(Duration, Duration)> {
        let begin = Instant::now();
        let mut made = Vec::new();
        while begin.elapsed() < Duration::from_secs(60) {
            let limit = attempts.next().await.answer_timeout;
            made.push((begin.elapsed(), limit));
        }
        made
    }

    /// Returns the longest time between two attempts that begin before and after `time`.
    fn longest_delays(made: &[(Duration, Duration)], time: Duration) -> [Duration; 2] {
        let delays = made
            .windows(2)
            .map(|pair| (pair[0].0, pair[1].0 - pair[0].0));
        let (before, after): (Vec<_>, Vec<_>) = delays.partition(|(begin, _)| *begin < time);
        [before, after].map(|delays| delays.into_iter().map(|(_, delay)| delay).max().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_after_a_loss_are_frequent_for_ten_seconds() {
        let mut attempts = ReconnectAttempts::new(Backoff::default());
        let since = Instant::now();
        sleep(Duration::from_secs(6)).await;
        attempts.lost(since, &ConnectionError::TimedOut, None);
        let made = fail_for_a_minute(&mut attempts).await;
        assert_eq!(made[0], (Duration::ZERO, RESTART_ATTEMPT));
        assert_eq!(made[1].1, RESTART_ATTEMPT * 2);
        assert_eq!(made.last().unwrap().1, Duration::MAX);
        let [before, after] = longest_delays(&made, RESTART);
        // A timer of tokio fires up to a millisecond late.
        assert!(
            before <= RESTART_BACKOFF + Duration::from_millis(2),
            "{before:?}"
        );
        assert!(after > RESTART_BACKOFF, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_after_a_loss_with_short_delays_have_limits_that_do_not_overflow() {
        let mut attempts = ReconnectAttempts::new(Backoff {
            initial: Duration::from_millis(5),
            max: Duration::from_millis(5),
        });
        let since = Instant::now();
        sleep(Duration::from_secs(1)).await;
        attempts.lost(since, &ConnectionError::TimedOut, None);
        let made = fail_for_a_minute(&mut attempts).await;
        assert!(made.len() > 1_000, "{}", made.len());
        assert!(made.is_sorted_by_key(|(_, limit)| *limit));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_for_a_server_that_drops_each_connection_become_rare() {
        let mut attempts = ReconnectAttempts::new(Backoff::default());
        // The first connection is made, and lost at once.
        attempts.next().await;
        attempts.lost(Instant::now(), &ConnectionError::TimedOut, None);
        let made = fail_for_a_minute(&mut attempts).await;
        assert!(made.iter().all(|(_, limit)| *limit == Duration::MAX));
        let [before, _] = longest_delays(&made, Duration::from_secs(30));
        assert!(before > RESTART_BACKOFF, "{before:?}");
    }
}
