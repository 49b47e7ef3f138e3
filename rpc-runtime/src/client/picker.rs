//! The search for a connection that takes a call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::client::ClientInner;
use crate::client::connection::ClientConnection;
use crate::client::error::CallFailure;

/// The next connection, when there is one.
pub(super) type NextConnection =
    Pin<Box<dyn Future<Output = Result<Arc<ClientConnection>, CallFailure>> + Send>>;

pub(super) enum Picker {
    /// Not looked for yet; or what was found has failed, and is the last choice.
    Unknown(Option<Arc<ClientConnection>>),
    Waiting(NextConnection),
    Found(Arc<ClientConnection>),
}

impl Picker {
    pub(super) fn poll(
        &mut self,
        client: &ClientInner,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        loop {
            *self = match self {
                Self::Unknown(failed) => match client.offer(failed.as_ref()) {
                    Some(connection) => Self::Found(connection?),
                    None => Self::Waiting(client.next_connection(failed.take())),
                },
                Self::Waiting(next) => Self::Found(ready!(next.as_mut().poll(cx))?),
                Self::Found(_) => return Poll::Ready(Ok(())),
            };
        }
    }

    /// Where the call leaves, or left.
    pub(super) fn connection(&self) -> Option<&Arc<ClientConnection>> {
        match self {
            Self::Found(connection) => Some(connection),
            Self::Unknown(_) | Self::Waiting(_) => None,
        }
    }

    /// What was found takes no more calls.
    pub(super) fn fail(&mut self) {
        if let Self::Found(connection) = self {
            connection.retire();
        }
        self.look_again();
    }

    /// Finds another one, if there is another.
    pub(super) fn look_again(&mut self) {
        if let Self::Found(connection) = self {
            *self = Self::Unknown(Some(Arc::clone(connection)));
        }
    }
}
