//! Makes the connections of a client to a server: over QUIC or HTTP/2, or within the process.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::client::address::Address;
use crate::client::connection::ClientConnection;
use crate::client::dial::{ConnectError, DialSettings, Dialer};
#[cfg(feature = "http2")]
use crate::client::fallback::Fallback;
#[cfg(feature = "testing")]
use crate::client::linked::{LINKED, LinkedService};
use crate::client::retry::backoff::Backoff;
use crate::event::{Event, EventHook};
use crate::transport::quic::ConnectAttempt;
use crate::transport::{Connection, ConnectionError};
use crate::transport_kind::TransportKind;

/// Makes the connections to one server.
pub(super) enum Connector {
    Dialer(Box<Dialer>),
    /// Over HTTP/2 where QUIC does not work.
    #[cfg(feature = "http2")]
    Fallback(Box<Fallback>),
    #[cfg(feature = "testing")]
    Linked(Box<LinkedService>),
}

impl Connector {
    /// Returns the connector to the server at an address.
    pub(super) fn new(settings: DialSettings, address: Address) -> Self {
        #[cfg(feature = "http2")]
        if let Some(Ok(fallback)) = settings.fallback.clone()
            && !address.is_http()
        {
            return Self::Fallback(Box::new(Fallback::new(settings, (address, fallback))));
        }
        Self::Dialer(Box::new(Dialer { settings, address }))
    }

    pub(super) async fn connect(
        &self,
        attempt: &ConnectAttempt,
    ) -> Result<Connection, ConnectError> {
        match self {
            Self::Dialer(dialer) => dialer.dial(attempt).await,
            #[cfg(feature = "http2")]
            Self::Fallback(fallback) => fallback.connect(attempt).await,
            #[cfg(feature = "testing")]
            Self::Linked(service) => {
                let connected = tokio::time::timeout(attempt.answer_timeout, service.connect());
                connected
                    .await
                    .unwrap_or_else(|_| Err(ConnectError::timeout(self)))
            }
        }
    }

    /// Waits until there is a connection over another transport that is to replace this one. Never resolves if there is only
    /// one transport.
    pub(super) fn better(
        &self,
        connection: &Arc<ClientConnection>,
    ) -> impl Future<Output = Connection> + Send + use<'_> {
        #[cfg(feature = "http2")]
        let (kind, connection) = (connection.transport.kind(), Arc::downgrade(connection));
        #[cfg(not(feature = "http2"))]
        let _ = connection;
        async move {
            #[cfg(feature = "http2")]
            if let Self::Fallback(fallback) = self {
                // Boxed, since few clients have a fallback.
                return Box::pin(fallback.better(kind, connection)).await;
            }
            std::future::pending().await
        }
    }

    /// Records the loss of a connection over `transport` that lasted since `since`.
    pub(super) fn lost(&self, transport: TransportKind, since: Instant, lost: &ConnectionError) {
        #[cfg(feature = "http2")]
        if let Self::Fallback(fallback) = self {
            fallback.lost(transport, since, lost);
        }
        #[cfg(not(feature = "http2"))]
        let _ = (self, transport, since, lost);
    }

    /// Reports that the client has connected.
    pub(super) fn report_connected(&self, events: &EventHook, connection: &Connection) {
        let transport = connection.kind();
        if events.is_set() {
            let server = &match self {
                #[cfg(feature = "http2")]
                Self::Fallback(fallback) => fallback.address(transport).to_string(),
                _ => self.to_string(),
            };
            events.emit(&Event::Connected { server, transport });
        }
    }

    /// Returns the delays between attempts.
    pub(super) fn backoff(&self) -> &Backoff {
        match self {
            Self::Dialer(dialer) => &dialer.settings.backoff,
            #[cfg(feature = "http2")]
            Self::Fallback(fallback) => fallback.backoff(),
            #[cfg(feature = "testing")]
            Self::Linked(service) => &service.settings.backoff,
        }
    }
}

/// Writes the address of the server.
impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialer(dialer) => dialer.address.fmt(f),
            #[cfg(feature = "http2")]
            Self::Fallback(fallback) => fallback.fmt(f),
            #[cfg(feature = "testing")]
            Self::Linked(_) => f.write_str(LINKED),
        }
    }
}
