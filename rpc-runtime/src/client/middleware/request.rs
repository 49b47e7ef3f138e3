//! A call as the middleware of its client sees it before it is sent.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::metadata::MetadataWriter;
use crate::context::Extensions;
use crate::description::types::{MethodDescription, ServiceDescription};

/// A call that passes through a [`ClientMiddleware`](crate::middleware::ClientMiddleware): its method and its metadata.
pub struct ClientRequest {
    pub(in crate::client) about: RequestKind,
    pub(in crate::client) metadata: MetadataWriter,
    pub(in crate::client) deadline: Option<Instant>,
    pub(in crate::client) attempts: u32,
    pub(in crate::client) extensions: Extensions,
}

/// What a call is.
pub(in crate::client) struct RequestKind {
    pub(in crate::client) method: Cow<'static, str>,
    pub(in crate::client) service: Option<&'static ServiceDescription>,
    /// The index of the method in the description of its service.
    pub(in crate::client) index: Option<usize>,
    pub(in crate::client) is_notification: bool,
    pub(in crate::client) is_stream: bool,
    pub(in crate::client) is_batch_entry: bool,
}

impl ClientRequest {
    /// Returns the name of the method on the wire.
    pub fn method_name(&self) -> &str {
        &self.about.method
    }

    /// Returns the description of the service, or `None` for a call by name.
    pub fn service(&self) -> Option<&'static ServiceDescription> {
        self.about.service
    }

    /// Returns the description of the method, or `None` for a call by name.
    pub fn method(&self) -> Option<&'static MethodDescription> {
        let (service, index) = self.about.service.zip(self.about.index)?;
        service.methods.get(index)
    }

    /// Returns `true` for a notification, which has no reply.
    pub fn is_notification(&self) -> bool {
        self.about.is_notification
    }

    /// Returns `true` for a call that returns a stream of items.
    pub fn is_stream(&self) -> bool {
        self.about.is_stream
    }

    /// Returns `true` for an entry of a [`Batch`](crate::Batch).
    pub fn is_batch_entry(&self) -> bool {
        self.about.is_batch_entry
    }

    /// Returns the value of the call's metadata of this name. The caller's own values and those of
    /// [`ClientBuilder::metadata`](crate::ClientBuilder::metadata) are already set.
    pub fn meta(&self, name: &str) -> Option<Cow<'_, str>> {
        self.metadata.get(name)
    }

    /// Returns all of the call's metadata, as names and values.
    pub fn metadata(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.metadata.iter()
    }

    /// Adds metadata, replacing the value of the same name.
    ///
    /// A middleware that leaves a value of the caller in place sets its own only if [`meta`](Self::meta) returns `None`.
    ///
    /// A server of this crate accepts up to 64 names. It rejects a call with more of them with
    /// [`INVALID_REQUEST`](crate::code::INVALID_REQUEST).
    pub fn set_meta(&mut self, name: &str, value: &str) {
        self.metadata.push(name, value);
    }

    /// Returns the time at which the caller stops waiting, if the call has a time limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the time for which the caller will still wait, if the call has a time limit.
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the values of this call, which its middlewares share, also in
    /// [`attempt_ended`](crate::middleware::ClientMiddleware::attempt_ended). They are dropped when the call ends, and are
    /// not sent.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns how often the call has been sent so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Shows no metadata, since its values may be secret, such as that of `authorization`.
impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest")
            .field("method", &self.about.method)
            .field("deadline", &self.deadline)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
