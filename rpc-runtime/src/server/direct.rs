//! Answers messages that arrive without a stream, one at a time.

use std::sync::Arc;

#[cfg(feature = "server")]
use crate::call_defaults::CallDefaults;
use crate::codec::lines::Line;
use crate::permit::PermitSlot;
use crate::server::buffers::{ReplyBuffer, SMALL_MESSAGE_BYTES};
use crate::server::call_task::{CallSite, CallTask};
use crate::server::connection::ServerConnection;
use crate::server::request::{serve_large, serve_small};
use crate::server::stream::ServerStream;
use crate::service::router::Router;

/// Answers messages one at a time, with the same buffers.
pub(super) struct DirectCall<R> {
    task: CallTask<R>,
    line: Line,
    /// The buffer that holds the last reply.
    last: ReplyBuffer,
}

impl<R: Router> DirectCall<R> {
    pub(super) fn new(connection: Arc<ServerConnection<R>>) -> Self {
        Self {
            task: CallTask {
                buffers: connection.worker_buffers(),
                site: CallSite {
                    stream: ServerStream::detached(Arc::clone(connection.send_budget())),
                    connection,
                    message_end: 0,
                    defaults: None,
                },
                receiver: None,
                permit: PermitSlot::default(),
            },
            line: Line::Message,
            last: ReplyBuffer::Single,
        }
    }

    pub(super) fn connection(&self) -> &Arc<ServerConnection<R>> {
        &self.task.site.connection
    }

    /// Begins a message. The buffers of the previous reply, which the caller has read, are released.
    #[inline]
    pub(super) fn begin(&mut self) {
        let CallTask { site, buffers, .. } = &mut self.task;
        buffers.release_large(self.last, site.connection.memory());
        buffers.message.clear();
        self.line = Line::Message;
    }

    /// Sets the metadata and the timeout that the calls of the message have from outside of it.
    #[cfg(feature = "server")]
    pub(super) fn set_defaults(&mut self, defaults: Option<Arc<CallDefaults>>) {
        let CallTask { site, buffers, .. } = &mut self.task;
        buffers.context.set_defaults(defaults.as_ref());
        site.defaults = defaults;
    }

    /// Appends bytes of the message. A message that is too large, or for which the budget has no room, is cut, and answered
    /// with the error.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let CallTask { site, buffers, .. } = &mut self.task;
        let length = buffers.message.len() + bytes.len();
        let small = SMALL_MESSAGE_BYTES.min(site.connection.limits().max_request_bytes);
        match self.line {
            Line::Message if length <= small => buffers.message.extend_from_slice(bytes),
            Line::Message => self.push_large(bytes),
            _ => {}
        }
    }

    fn push_large(&mut self, bytes: &[u8]) {
        let CallTask { site, buffers, .. } = &mut self.task;
        let memory = site.connection.memory();
        let left = site.connection.limits().max_request_bytes - buffers.message.len();
        if bytes.len() > left {
            self.line = Line::TooLarge;
        } else if buffers.message.len() > SMALL_MESSAGE_BYTES && memory.is_full() {
            let full = memory.full_budget(0);
            site.connection.record_discarded(full);
            self.line = Line::Discarded(full);
        }
        let taken = bytes.get(..left).unwrap_or(bytes);
        buffers.message.extend_from_slice(taken);
        buffers.recount_large();
    }

    /// Answers the message. The reply is empty if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler's future. The next message must then be answered by another `DirectCall`.
    pub(super) async fn answer(&mut self) -> &[u8] {
        let Self { task, line, last } = self;
        *last = ReplyBuffer::Batch;
        *last = match task.buffers.is_message_small() {
            true => serve_small(task, *line).await,
            false => serve_large(task, *line).await,
        };
        task.buffers.reply(*last)
    }

    /// Releases the permit, so that other calls can run.
    #[cfg(feature = "server")]
    pub(super) fn release_permit(&mut self) {
        self.task.permit.release();
    }
}
