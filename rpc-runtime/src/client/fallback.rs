//! Connects over QUIC, and over HTTP/2 where QUIC does not work, as in networks that drop UDP.
//!
//! Some networks let the first packets of UDP pass. So a connection over QUIC counts as working only after a call on it was
//! answered, and is observed for some time.

use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::address::Address;
use crate::client::connection::ClientConnection;
use crate::client::dial::{ConnectError, DialSettings, Dialer, informativeness};
use crate::client::retry::backoff::Backoff;
use crate::codec::escape::Escaped;
use crate::sync::{Mutex, lock};
use crate::transport::quic::ConnectAttempt;
use crate::transport::{Connection, ConnectionError, StreamLost, close};
use crate::transport_kind::TransportKind;

/// The time by which the attempt over QUIC begins before that over HTTP/2.
const HEAD_START: Duration = Duration::from_millis(300);

/// The age up to which a connection over QUIC that receives nothing may be in a network that lets only the first packets pass.
const FRESH: Duration = Duration::from_secs(30);

/// The time without packets, while calls are in flight, after which a fresh connection over QUIC is replaced.
const STALLED: Duration = Duration::from_secs(1);

/// The interval at which a fresh connection is observed.
const INTERVAL: Duration = Duration::from_millis(100);

/// The number of calls that QUIC has to answer before a client returns to it from HTTP/2.
const ROUND_TRIPS: usize = 5;

/// The pauses before QUIC is tried again.
const RETRY: Backoff = Backoff {
    initial: Duration::from_secs(10),
    max: Duration::from_secs(600),
};

/// A call that every server of this protocol answers.
const PING: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"rpc.ping\"}\n";

/// Connects to a server over QUIC or HTTP/2.
pub(super) struct Fallback {
    quic: Dialer,
    http: Dialer,
    retry: Backoff,
    state: Mutex<QuicState>,
}

/// The results of the attempts over QUIC in this network.
#[derive(Default)]
struct QuicState {
    /// The number of consecutive failures.
    failures: u32,
    /// The time until which QUIC is not tried, after a failure.
    avoided_until: Option<Instant>,
}

impl Fallback {
    /// Creates the connector to a server with an address for QUIC and one for HTTP/2.
    pub(super) fn new(settings: DialSettings, (quic, http): (Address, Address)) -> Self {
        let retry = settings.quic_retry.unwrap_or(RETRY);
        let http = Dialer {
            settings: settings.clone(),
            address: http,
        };
        let quic = Dialer {
            settings,
            address: quic,
        };
        Self {
            quic,
            http,
            retry,
            state: Mutex::default(),
        }
    }

    /// Returns the address that is dialled for this transport.
    pub(super) fn address(&self, transport: TransportKind) -> &Address {
        match transport {
            TransportKind::Http2 => &self.http.address,
            _ => &self.quic.address,
        }
    }

    pub(super) fn backoff(&self) -> &Backoff {
        &self.quic.settings.backoff
    }

    /// Connects over QUIC, or over HTTP/2 if QUIC has not connected after [`HEAD_START`] or has failed lately.
    pub(super) async fn connect(
        &self,
        attempt: &ConnectAttempt,
    ) -> Result<Connection, ConnectError> {
        if self.avoids_quic() {
            return race(self.http.dial(attempt), self.dial_quic(1, attempt)).await;
        }
        let failure = Mutex::new(None);
        let quic = async {
            let dialled = self.dial_quic(1, attempt).await;
            dialled.inspect_err(|error| *lock(&failure) = Some(error.to_string()))
        };
        let connection = race(quic, self.http.dial(attempt)).await?;
        if connection.kind() == TransportKind::Http2 {
            let failure = lock(&failure).take();
            self.failed(failure.as_deref().unwrap_or("HTTP/2 has connected sooner"));
        }
        Ok(connection)
    }

    /// Waits until there is a connection over the other transport that should replace this connection.
    pub(super) async fn better(
        &self,
        transport: TransportKind,
        connection: Weak<ClientConnection>,
    ) -> Connection {
        if transport == TransportKind::Http2 {
            return self.return_to_quic().await;
        }
        match self.stalls_early(&connection).await {
            Some(replacement) => replacement,
            None => {
                *lock(&self.state) = QuicState::default();
                pending().await
            }
        }
    }

    /// Records the loss of a connection.
    pub(super) fn lost(&self, transport: TransportKind, since: Instant, lost: &ConnectionError) {
        // The idle timeout passes before a connection that receives nothing is lost.
        let fresh = FRESH + Duration::from_secs(30);
        let is_silence = matches!(lost, ConnectionError::TimedOut);
        if transport == TransportKind::Quic && is_silence && since.elapsed() < fresh {
            self.failed("the connection fell silent");
        }
    }

    /// Observes a fresh connection over QUIC. Returns a connection over HTTP/2 if it receives nothing, and `None` once it is
    /// fresh no longer.
    async fn stalls_early(&self, connection: &Weak<ClientConnection>) -> Option<Connection> {
        let since = Instant::now();
        let mut stalled_since = None;
        while since.elapsed() < FRESH {
            sleep(INTERVAL).await;
            let is_stalled = connection.upgrade().is_some_and(|open| open.is_stalled());
            if !is_stalled {
                stalled_since = None;
                continue;
            }
            let begin = *stalled_since.get_or_insert_with(Instant::now);
            if begin.elapsed() >= STALLED {
                self.failed("no packets arrive");
                if let Ok(replacement) = self.http.dial(&ConnectAttempt::default()).await {
                    return Some(replacement);
                }
                stalled_since = None;
            }
        }
        None
    }

    /// Tries QUIC after pauses, until it works.
    async fn return_to_quic(&self) -> Connection {
        loop {
            let until = lock(&self.state).avoided_until;
            if let Some(until) = until {
                sleep_until(until).await;
            }
            match self
                .dial_quic(ROUND_TRIPS, &ConnectAttempt::default())
                .await
            {
                Ok(connection) => {
                    lock(&self.state).avoided_until = None;
                    tracing::info!(target: "rpc_runtime::client", server = %Escaped(self), "QUIC works again");
                    return connection;
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Connects over QUIC, and makes calls to check that packets pass.
    async fn dial_quic(
        &self,
        round_trips: usize,
        attempt: &ConnectAttempt,
    ) -> Result<Connection, ConnectError> {
        let connection = self.quic.dial(attempt).await?;
        let limit = self.quic.settings.connect_timeout();
        match timeout(limit, ping(&connection, round_trips)).await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(StreamLost::Connection(reason))) => Err(ConnectError::Refused {
                server: self.to_string(),
                reason,
            }),
            // A server that ends the stream has answered.
            Ok(Err(_)) => Ok(connection),
            Err(_) => {
                connection.close(close::DONE, "");
                Err(ConnectError::timeout(&self.quic.address))
            }
        }
    }

    fn avoids_quic(&self) -> bool {
        let until = lock(&self.state).avoided_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Records that QUIC does not work, and avoids it for a time that doubles.
    fn failed(&self, reason: impl fmt::Display) {
        let mut state = lock(&self.state);
        state.failures = state.failures.saturating_add(1);
        // At least half of the bound, so that the pauses grow.
        let pause = self
            .retry
            .bound(state.failures)
            .mul_f64(0.5 + fastrand::f64() / 2.0);
        state.avoided_until = Some(Instant::now() + pause);
        drop(state);
        let pause = pause.as_secs_f64();
        tracing::info!(
            target: "rpc_runtime::client",
            server = %Escaped(self), reason = %Escaped(reason), pause, "QUIC does not work"
        );
    }
}

/// Writes the address for QUIC.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.quic.address.fmt(f)
    }
}

/// Makes calls one after the other.
async fn ping(connection: &Connection, round_trips: usize) -> Result<(), StreamLost> {
    let (mut send, mut recv) = connection.open_bi().await?;
    for _ in 0..round_trips {
        send.write_chunk(Bytes::from_static(PING)).await?;
        loop {
            match recv.read_chunk().await? {
                Some(chunk) if chunk.ends_with(b"\n") => break,
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }
    send.finish();
    Ok(())
}

/// Begins the second attempt after [`HEAD_START`], or when the first has failed. Returns the first connection.
async fn race(
    first: impl Future<Output = Result<Connection, ConnectError>>,
    second: impl Future<Output = Result<Connection, ConnectError>>,
) -> Result<Connection, ConnectError> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let failed = tokio::select! {
        biased;
        connected = &mut first => Some(connected),
        () = sleep(HEAD_START) => None,
    };
    match failed {
        Some(Ok(connection)) => return Ok(connection),
        Some(Err(error)) => return second.await.map_err(|other| more_informative(error, other)),
        None => {}
    }
    tokio::select! {
        connected = &mut first => match connected {
            Ok(connection) => Ok(connection),
            Err(error) => second.await.map_err(|other| more_informative(error, other)),
        },
        connected = &mut second => match connected {
            Ok(connection) => Ok(connection),
            Err(other) => first.await.map_err(|error| more_informative(error, other)),
        },
    }
}

/// Returns the error that says more.
fn more_informative(error: ConnectError, other: ConnectError) -> ConnectError {
    match informativeness(&error) < informativeness(&other) {
        true => other,
        false => error,
    }
}
