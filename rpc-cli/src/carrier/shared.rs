//! What all requests of a carrier share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Notify;

use crate::failure::Failure;
use crate::target::Url;

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

/// What all requests of a carrier share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) url: Url,
    pub(super) needs: Needs,
    pub(super) headers: HeaderMap,
    /// The reason why the last request has failed.
    failure: Mutex<Option<Failure>>,
    /// The reason why a notification was not taken.
    refused_notification: Mutex<Option<Failure>>,
    /// The notifications that the server has not taken yet.
    notifications: AtomicUsize,
    notified: Notify,
}

impl Shared {
    pub(super) fn new(url: &Url, needs: Needs) -> Arc<Self> {
        Arc::new(Self {
            url: url.clone(),
            headers: headers(&needs.metadata),
            needs,
            failure: Mutex::default(),
            refused_notification: Mutex::default(),
            notifications: AtomicUsize::new(0),
            notified: Notify::new(),
        })
    }

    /// Takes the reason why the last request has failed.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        locked(&self.failure).take()
    }

    /// Takes the reason why a notification was not taken.
    pub(super) fn take_refused_notification(&self) -> Option<Failure> {
        locked(&self.refused_notification).take()
    }

    /// Waits until the server has taken the notifications.
    pub(super) async fn flush(&self) {
        while self.notifications.load(Ordering::SeqCst) > 0 {
            self.notified.notified().await;
        }
    }
    pub(super) fn fail(&self, failure: Failure) {
        *locked(&self.failure) = Some(failure);
    }

    /// Forgets an earlier failure, since a later request has succeeded.
    pub(super) fn succeed(&self) {
        *locked(&self.failure) = None;
    }

    pub(super) fn refuse_notification(&self, failure: Failure) {
        *locked(&self.refused_notification) = Some(failure);
    }

    /// Counts a notification until the guard is dropped.
    pub(super) fn notification(self: &Arc<Self>) -> NotificationGuard {
        self.notifications.fetch_add(1, Ordering::SeqCst);
        NotificationGuard(Arc::clone(self))
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct NotificationGuard(Arc<Shared>);

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
