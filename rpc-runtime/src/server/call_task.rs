//! `CallTask`: the state of a message that is being served, owned by its worker.

use std::sync::Arc;
use std::time::Duration;

use crate::call_defaults::CallDefaults;
use crate::memory::room_timeout;
use crate::permit::PermitSlot;
use crate::server::buffers::{SMALL_MESSAGE_BYTES, WorkerBuffers};
use crate::server::connection::ServerConnection;
use crate::server::recv::{ReceiveError, Receiver};
use crate::server::stream::ServerStream;
use crate::service::router::Router;
use crate::transport::close;

/// The state of a worker while it serves a message.
pub(super) struct CallTask<R> {
    pub(super) site: CallSite<R>,
    /// The receiver, while this worker holds it.
    pub(super) receiver: Option<Box<Receiver>>,
    pub(super) permit: PermitSlot,
    pub(super) buffers: WorkerBuffers,
}

/// The origin of a message.
pub(super) struct CallSite<R> {
    pub(super) connection: Arc<ServerConnection<R>>,
    pub(super) stream: Arc<ServerStream>,
    /// The offset in the stream of the first byte after the message.
    pub(super) message_end: u64,
    /// The metadata and the timeout that its calls have from outside of the message.
    pub(super) defaults: Option<Arc<CallDefaults>>,
}

impl<R: Router> CallSite<R> {
    /// Resets the stream after an error of the receiver.
    pub(super) fn reset_after(&self, error: ReceiveError) {
        match error {
            ReceiveError::Lost => self.stream.reset(),
            ReceiveError::TimedOut { in_message } => {
                self.stream.reset_with(close::TIMEOUT);
                self.connection.report_read_timeout(in_message);
                if in_message {
                    self.connection.abuse().record_timed_out_message();
                }
            }
        }
    }

    /// Receives more bytes of a message once the connection's budget has room for them. Returns `false` at the end of the
    /// stream. `message` is the part that was received before. If there is no room, the message may be discarded instead.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub(super) async fn receive(
        &self,
        receiver: &mut Receiver,
        message: &mut Vec<u8>,
    ) -> Result<bool, ReceiveError> {
        let connection = &self.connection;
        let is_small = message.len() <= SMALL_MESSAGE_BYTES;
        let received = match is_small && !connection.memory().is_full() {
            true => receiver.receive(message, connection.limits()).await?,
            false => self.receive_within_budget(receiver, message).await?,
        };
        self.stream.record_activity();
        connection.idle().record_activity();
        Ok(received)
    }

    async fn receive_within_budget(
        &self,
        receiver: &mut Receiver,
        message: &mut Vec<u8>,
    ) -> Result<bool, ReceiveError> {
        let Self {
            connection, stream, ..
        } = self;
        let memory = connection.memory();
        let is_large = message.len() > SMALL_MESSAGE_BYTES && !receiver.is_skipping();
        let _partial = is_large.then(|| memory.partial_message(message.capacity()));
        let next = async {
            // Streams without replies carry cancellations, which free memory. A message that is skipped needs no memory.
            let takes_memory = is_large || stream.is_bidirectional() && !receiver.is_skipping();
            if takes_memory && memory.is_full() {
                let room = async {
                    match is_large {
                        true => connection.wait_for_room().await,
                        false => memory.has_room().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = room => {}
                    () = receiver.was_reset() => return Err(ReceiveError::Lost),
                    // The receiver does not notice the loss of the connection after it has received all bytes.
                    () = stream.was_reset() => return Err(ReceiveError::Lost),
                }
                receiver.renew_timeout();
            }
            receiver.receive(message, connection.limits()).await
        };
        tokio::select! {
            biased;
            received = next => received,
            () = memory.lacks_room(self.room_timeout(message)), if is_large => {
                let full = memory.full_budget(0);
                receiver.discard(message, full);
                connection.record_discarded(full);
                Ok(true)
            }
        }
    }

    fn room_timeout(&self, message: &[u8]) -> Duration {
        room_timeout(message.len(), self.connection.limits().max_request_bytes)
    }

    /// Hands the receiver over to another worker, which receives while this worker waits for its handler.
    pub(super) fn hand_over(&self, receiver: &mut Option<Box<Receiver>>) {
        let Some(receiver) = receiver.take() else {
            return;
        };
        if let Some(receiver) = self.stream.hand_over(receiver) {
            self.connection.start_worker(&self.stream, receiver);
        }
    }
}
