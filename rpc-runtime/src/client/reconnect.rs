//! Sees to it that a client has a connection for as long as there is a client.

use std::sync::{Arc, Weak};

use tokio::time::{Instant, sleep};

use super::Shared;
use super::address::Address;
use super::backoff::Backoff;
use super::connect::{ConnectError, Settings};
use super::state::ConnectionState;
use crate::transport::{Connection, ConnectionLost};

/// All that a connection is made of.
pub(super) struct Dialer {
    pub(super) settings: Settings,
    pub(super) address: Address,
    pub(super) backoff: Backoff,
}

impl Dialer {
    pub(super) async fn dial(&self) -> Result<Connection, ConnectError> {
        self.settings.dial(&self.address).await
    }
}

/// Connects again whenever the connection is lost or drained. Without a dialer the first loss is the client's end.
/// `None`: the client is no more.
pub(super) async fn keep_connected(client: Weak<Shared>, dialer: Option<Dialer>) -> Option<()> {
    let _ends = EndsWithTask(Weak::clone(&client));
    let mut failures = 0;
    loop {
        let since = Instant::now();
        let retirement = client.upgrade()?.link()?.retirement();
        let lost = retirement.await;
        let Some(dialer) = &dialer else {
            // What is under way on a connection that drains may end.
            client
                .upgrade()?
                .disconnected(ConnectionState::Closed(lost));
            return None;
        };
        // A server that takes connections only to drop them is not asked all the time.
        if since.elapsed() > dialer.backoff.max {
            failures = 0;
        }
        let connecting = |error| ConnectionState::Connecting {
            lost: lost.clone(),
            error,
        };
        tracing::info!(server = %dialer.address, %lost, "connecting again");
        client.upgrade()?.disconnected(connecting(None));
        let connection = loop {
            if failures > 0 {
                sleep(dialer.backoff.delay(failures)).await;
            }
            failures += 1;
            match dialer.dial().await {
                Ok(connection) => break connection,
                Err(error) => {
                    tracing::warn!(server = %dialer.address, %error, "cannot connect");
                    client
                        .upgrade()?
                        .disconnected(connecting(Some(Arc::new(error))));
                }
            }
        };
        client.upgrade()?.connected(connection);
    }
}

/// A client whose task is gone, with the runtime that it ran on, say, has nobody to connect it again.
struct EndsWithTask(Weak<Shared>);

impl Drop for EndsWithTask {
    fn drop(&mut self) {
        if let Some(client) = self.0.upgrade() {
            client.disconnected(ConnectionState::Closed(ConnectionLost::ClosedHere));
        }
    }
}
