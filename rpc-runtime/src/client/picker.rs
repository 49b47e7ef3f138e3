//! Picks the connection that takes a call.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::client::connection::ClientConnection;
use crate::client::error::CallFailure;
use crate::client::handle::{ClientInner, NextConnection};

pub(super) enum Picker {
    /// No connection was picked. One that failed before is avoided.
    Unpicked(Option<Arc<ClientConnection>>),
    Waiting(NextConnection),
    Picked(Arc<ClientConnection>),
}

impl Picker {
    /// Waits until a connection is picked.
    pub(super) fn poll(
        &mut self,
        client: &ClientInner,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        loop {
            let picked = match self {
                Self::Unpicked(failed) => match client.pick(failed.as_ref()) {
                    Some(picked) => picked?,
                    None => {
                        *self = Self::Waiting(client.next_connection(failed.take()));
                        continue;
                    }
                },
                Self::Waiting(next) => ready!(next.as_mut().poll(cx))?,
                Self::Picked(_) => return Poll::Ready(Ok(())),
            };
            picked.record_call();
            *self = Self::Picked(picked);
        }
    }

    /// Returns the connection that was picked.
    pub(super) fn connection(&self) -> Option<&Arc<ClientConnection>> {
        match self {
            Self::Picked(connection) => Some(connection),
            Self::Unpicked(_) | Self::Waiting(_) => None,
        }
    }

    /// Retires the connection that was picked, and picks another.
    pub(super) fn fail(&mut self) {
        if let Self::Picked(connection) = self {
            connection.retire();
        }
        self.pick_again();
    }

    /// Picks another connection, if there is one.
    pub(super) fn pick_again(&mut self) {
        if let Self::Picked(connection) = self {
            *self = Self::Unpicked(Some(Arc::clone(connection)));
        }
    }
}
