//! Carries the streams of a client over HTTP and WebSocket, so that the commands use one kind of client for all servers.
//!
//! [`connector`] connects. [`http`] sends each message as one request, and [`websocket`] sends all messages on one connection.
//! [`lines`] splits streams into messages, and [`refused`] says why a server did not answer.

mod connector;
mod http;
mod lines;
mod refused;
mod shared;
mod websocket;

use std::sync::Arc;

use rpc_runtime::{Client, ClientBuilder};
use tokio::task::JoinHandle;

use self::connector::Connector;
use self::http::Http;
pub(crate) use self::shared::Needs;
use self::shared::Shared;
use crate::failure::Failure;
use crate::target::{Protocol, Url};

/// The task that carries the streams of a client.
#[derive(Debug)]
pub(crate) struct Carrier {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Carrier {
    /// Connects to the server.
    pub(crate) async fn connect(
        builder: ClientBuilder,
        url: &Url,
        needs: Needs,
    ) -> Result<(Client, Self), Failure> {
        let shared = Shared::new(url, needs);
        let connector = Connector::new(&builder, Arc::clone(&shared)).await?;
        let socket = connector.connect().await?;
        let (client, connection) = builder.carried();
        let task = match url.protocol {
            Protocol::Http => {
                let http = Http::new(Arc::clone(&shared), connector, socket);
                tokio::spawn(http.run(connection))
            }
            Protocol::WebSocket => {
                let socket = websocket::handshake(&shared, socket).await?;
                tokio::spawn(websocket::run(Arc::clone(&shared), socket, connection))
            }
        };
        Ok((client, Self { shared, task }))
    }

    /// Waits until the server has taken the notifications.
    pub(crate) async fn flush(&self) {
        self.shared.flush().await;
    }

    /// Takes the reason why the last request has failed.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.shared.take_failure()
    }

    /// Takes the reason why a notification was not taken.
    pub(crate) fn take_refused_notification(&self) -> Option<Failure> {
        self.shared.take_refused_notification()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.task.abort();
    }
}
