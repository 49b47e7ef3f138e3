//! Picks the connection that takes a call.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::client::connection::ClientConnection;
use crate::client::error::CallFailure;
use crate::client::handle::{ClientInner, NextConnection};

#[derive(Default)]
pub(super) struct Picker {
    picked: Option<Arc<ClientConnection>>,
    /// A connection that failed before and is avoided.
    failed: Option<Arc<ClientConnection>>,
    /// Waits for a connection.
    next: Option<NextConnection>,
}

impl Picker {
    /// Waits until a connection is picked, and returns it.
    pub(super) fn poll(
        &mut self,
        client: &ClientInner,
        cx: &mut Context<'_>,
    ) -> Poll<Result<&Arc<ClientConnection>, CallFailure>> {
        if self.picked.is_none() {
            let picked = ready!(self.poll_pick(client, cx))?;
            picked.record_call();
            self.picked = Some(picked);
        }
        let picked = self.picked.as_ref();
        Poll::Ready(picked.ok_or(CallFailure::AlreadyCompleted))
    }

    fn poll_pick(
        &mut self,
        client: &ClientInner,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<ClientConnection>, CallFailure>> {
        if self.next.is_none() {
            if let Some(picked) = client.pick(self.failed.as_ref()) {
                return Poll::Ready(picked);
            }
        }
        let failed = || self.failed.clone();
        let next = self
            .next
            .get_or_insert_with(|| client.next_connection(failed()));
        let picked = ready!(next.as_mut().poll(cx));
        self.next = None;
        Poll::Ready(picked)
    }

    /// Returns the connection that was picked.
    pub(super) fn connection(&self) -> Option<&Arc<ClientConnection>> {
        self.picked.as_ref()
    }

    /// Retires the connection that was picked, and picks another.
    pub(super) fn fail(&mut self) {
        if let Some(connection) = &self.picked {
            connection.retire();
        }
        self.pick_again();
    }

    /// Picks another connection, if there is one.
    pub(super) fn pick_again(&mut self) {
        if let Some(connection) = self.picked.take() {
            self.failed = Some(connection);
        }
    }
}
