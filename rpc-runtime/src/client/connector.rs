//! Makes the connections of a client to a server: over QUIC, or within the process.

use std::fmt;

use crate::client::dial::{ConnectError, Dialer};
#[cfg(feature = "testing")]
use crate::client::linked::{LINKED, LinkedService};
use crate::client::retry::backoff::Backoff;
use crate::event::{Event, EventHook};
use crate::transport::Connection;
use crate::transport::quic::ConnectAttempt;

/// Makes the connections to one server.
pub(super) enum Connector {
    Dialer(Dialer),
    #[cfg(feature = "testing")]
    Linked(LinkedService),
}

impl Connector {
    pub(super) async fn connect(
        &self,
        attempt: &ConnectAttempt,
    ) -> Result<Connection, ConnectError> {
        match self {
            Self::Dialer(dialer) => dialer.dial(attempt).await,
            #[cfg(feature = "testing")]
            Self::Linked(service) => {
                let connected = tokio::time::timeout(attempt.answer_timeout, service.connect());
                connected
                    .await
                    .unwrap_or_else(|_| Err(ConnectError::timeout(self)))
            }
        }
    }

    /// Reports that the client has connected.
    pub(super) fn report_connected(&self, events: &EventHook) {
        if events.is_set() {
            let server = &self.to_string();
            events.emit(&Event::Connected { server });
        }
    }

    /// Returns the delays between attempts.
    pub(super) fn backoff(&self) -> &Backoff {
        match self {
            Self::Dialer(dialer) => &dialer.settings.backoff,
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
            #[cfg(feature = "testing")]
            Self::Linked(_) => f.write_str(LINKED),
        }
    }
}

impl From<Dialer> for Connector {
    fn from(dialer: Dialer) -> Self {
        Self::Dialer(dialer)
    }
}
