//! Picks the connection that takes a call.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::client::connection::ClientConnection;
use crate::client::error::CallFailure;
use crate::client::handle::{ClientInner, NextConnection};

#[derive(Default)]
pub(super) struct Picker {
    picked: Option<Arc<ClientConnection>>,
    /// State that only some calls need.
    search: Option<Box<Search>>,
}

#[derive(Default)]
struct Search {
    /// A connection that failed, and is avoided.
    failed: Option<Arc<ClientConnection>>,
    /// Waits for a connection.
    next: Option<NextConnection>,
}

impl Picker {
    /// Waits until a connection is picked.
    pub(super) fn poll(
        &mut self,
        client: &ClientInner,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        if self.picked.is_some() {
            return Poll::Ready(Ok(()));
        }
        let picked = match &self.search {
            None => client.pick(None),
            Some(search) if search.next.is_none() => client.pick(search.failed.as_ref()),
            Some(_) => None,
        };
        let picked = match picked {
            Some(picked) => picked,
            None => ready!(self.poll_next(client, cx)),
        }?;
        picked.record_call();
        self.picked = Some(picked);
        Poll::Ready(Ok(()))
    }

    /// Waits until there is a connection to pick.
    #[cold]
    fn poll_next(
        &mut self,
        client: &ClientInner,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<ClientConnection>, CallFailure>> {
        let Search { failed, next } = &mut **self.search.get_or_insert_default();
        let next = next.get_or_insert_with(|| client.next_connection(failed.clone()));
        let picked = ready!(next.as_mut().poll(cx));
        self.search = None;
        Poll::Ready(picked)
    }

    /// Returns the picked connection.
    pub(super) fn connection(&self) -> Option<&Arc<ClientConnection>> {
        self.picked.as_ref()
    }

    /// Retires the picked connection, and picks another.
    pub(super) fn fail(&mut self) {
        if let Some(connection) = &self.picked {
            connection.retire();
        }
        self.pick_again();
    }

    /// Picks another connection, if there is one.
    pub(super) fn pick_again(&mut self) {
        if let Some(connection) = self.picked.take() {
            self.search.get_or_insert_default().failed = Some(connection);
        }
    }
}
