//! Carries the streams of a client over HTTP and WebSocket, so that the commands use one kind of client for all servers.
//!
//! [`connector`] connects. [`http`] sends each message as one request, and [`websocket`] sends all messages on one connection.
//! [`lines`] splits streams into messages, and [`refused`] says why a server did not answer.

mod connector;
mod http;
mod lines;
mod refused;
mod websocket;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use rpc_runtime::{Client, ClientBuilder};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::connector::Connector;
use crate::failure::Failure;
use crate::target::{Protocol, Url};

/// The names of metadata that are sent as headers as well, for servers and proxies that read only those.
const AS_HEADERS: [&str; 3] = ["authorization", "traceparent", "tracestate"];

/// What the command needs of a connection.
#[derive(Debug)]
pub(crate) struct Needs {
    /// The maximum size of a reply, in bytes.
    pub(crate) max_reply: usize,
    /// Calls are streams of items.
    pub(crate) has_items: bool,
    pub(crate) connect_timeout: Duration,
    /// The name that the certificate must have, if it is not the host.
    pub(crate) server_name: Option<String>,
    /// Metadata of all calls.
    pub(crate) metadata: Vec<(String, String)>,
}

/// The task that carries the streams of a client.
#[derive(Debug)]
pub(crate) struct Carrier {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What all requests of a carrier share.
#[derive(Debug)]
struct Shared {
    url: Url,
    needs: Needs,
    headers: HeaderMap,
    /// The reason why the last request has failed.
    failure: Mutex<Option<Failure>>,
    /// The reason why a notification was not taken.
    refused_notification: Mutex<Option<Failure>>,
    /// The notifications that the server has not taken yet.
    notifications: AtomicUsize,
    notified: Notify,
}

impl Carrier {
    /// Connects to the server.
    pub(crate) async fn connect(
        builder: ClientBuilder,
        url: &Url,
        needs: Needs,
    ) -> Result<(Client, Self), Failure> {
        let shared = Arc::new(Shared {
            url: url.clone(),
            headers: headers(&needs.metadata),
            needs,
            failure: Mutex::default(),
            refused_notification: Mutex::default(),
            notifications: AtomicUsize::new(0),
            notified: Notify::new(),
        });
        let connector = Connector::new(&builder, Arc::clone(&shared)).await?;
        let socket = connector.connect().await?;
        let (client, connection) = builder.carried();
        let task = match url.protocol {
            Protocol::Http => {
                let http = http::Http::new(Arc::clone(&shared), connector, socket);
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
        while self.shared.notifications.load(Ordering::SeqCst) > 0 {
            self.shared.notified.notified().await;
        }
    }

    /// Takes the reason why the last request has failed.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.shared.failure().take()
    }

    /// Takes the reason why a notification was not taken.
    pub(crate) fn take_refused_notification(&self) -> Option<Failure> {
        locked(&self.shared.refused_notification).take()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        locked(&self.failure)
    }

    fn fail(&self, failure: Failure) {
        *self.failure() = Some(failure);
    }

    fn refuse_notification(&self, failure: Failure) {
        *locked(&self.refused_notification) = Some(failure);
    }

    /// Counts a notification until the guard is dropped.
    fn notification(self: &Arc<Self>) -> NotificationGuard {
        self.notifications.fetch_add(1, Ordering::SeqCst);
        NotificationGuard(Arc::clone(self))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct NotificationGuard(Arc<Shared>);

impl Drop for NotificationGuard {
    fn drop(&mut self) {
        self.0.notifications.fetch_sub(1, Ordering::SeqCst);
        self.0.notified.notify_one();
    }
}

fn headers(metadata: &[(String, String)]) -> HeaderMap {
    let named = metadata
        .iter()
        .filter(|(name, _)| AS_HEADERS.contains(&name.as_str()));
    named
        .filter_map(|(name, value)| {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(name == "authorization");
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        })
        .collect()
}
