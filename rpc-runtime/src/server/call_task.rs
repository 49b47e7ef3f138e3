//! The state of a message that is being served: one struct, owned by its worker.

use std::sync::Arc;

use crate::permit::PermitSlot;
use crate::server::buffers::WorkerBuffers;
use crate::server::connection::ServerConnection;
use crate::server::recv::{ReceiveError, Receiver};
use crate::server::stream::ServerStream;
use crate::service::router::Router;
use crate::transport::close;

/// What a worker holds while it serves a message.
pub(super) struct CallTask<R> {
    pub(super) site: CallSite<R>,
    /// The receiver, while this worker holds it.
    pub(super) receiver: Option<Box<Receiver>>,
    pub(super) permit: PermitSlot,
    pub(super) buffers: WorkerBuffers,
}

/// Where a message came from.
pub(super) struct CallSite<R> {
    pub(super) connection: Arc<ServerConnection<R>>,
    pub(super) stream: Arc<ServerStream>,
    /// The offset in the stream of the byte behind the message.
    pub(super) message_end: u64,
}

impl<R: Router> CallSite<R> {
    /// Resets the stream because no more can be received.
    pub(super) fn reset_after(&self, error: ReceiveError) {
        match error {
            ReceiveError::Lost => self.stream.reset(),
            ReceiveError::TimedOut { in_message } => {
                self.stream.reset_with(close::TIMEOUT);
                if in_message {
                    self.connection.abuse().record_timed_out_message();
                }
            }
        }
    }

    /// Hands the receiver over to another worker, which reads on while this one waits for its handler.
    pub(super) fn hand_over(&self, receiver: &mut Option<Box<Receiver>>) {
        let Some(receiver) = receiver.take() else {
            return;
        };
        if let Some(receiver) = self.stream.hand_over(receiver) {
            self.connection.start_worker(&self.stream, receiver);
        }
    }
}
