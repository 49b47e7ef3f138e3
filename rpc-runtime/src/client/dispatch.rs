//! Dispatches a call: sends the request, again if it was lost, and waits for the reply.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::client::buffer_pool::CallBuffers;
use crate::client::dedicated_stream::{self, DedicatedRequest};
use crate::client::error::{CallError, CallFailure, Fate};
use crate::client::handle::ClientInner;
use crate::client::method::{EncodedRequest, Method, MethodName};
use crate::client::mux_stream::CallId;
use crate::client::options::CallOptions;
use crate::client::picker::Picker;
use crate::client::retry::attempts::{Attempts, Retry};
use crate::client::streaming::request::BoxedUpload;
use crate::client::timer_pool::{Timer, poll_timer};
use crate::client::waiters::WaiterId;
use crate::codec::params::encode::SentParams;

/// From this many bytes on a request is sent on a dedicated stream, and so is the next call of a method whose reply was as
/// large.
pub(super) const LARGE: usize = 16 << 10;

type BoxedReply = Pin<Box<dyn Future<Output = Result<Vec<u8>, CallFailure>> + Send>>;

/// A call, apart from the types of its result and error.
pub(super) struct Dispatch {
    client: Arc<ClientInner>,
    method: Option<&'static Method>,
    pub(super) options: CallOptions,
    request: EncodedRequest,
    /// The reply, once there is one.
    pub(super) reply: Vec<u8>,
    /// Items that follow the request, until they are sent.
    upload: Option<BoxedUpload>,
    progress: Progress,
    picker: Picker,
    timer: Option<Timer>,
    attempts: Attempts,
}

/// How far a call is.
enum Progress {
    /// It was not polled yet.
    New,
    /// Its arguments cannot be written as JSON.
    Unencodable(String),
    /// It waits for a connection, or for room in a shared stream.
    Sending {
        stream: usize,
        waiter: Option<WaiterId>,
    },
    /// It was queued on a shared stream.
    Multiplexed {
        stream: usize,
        id: CallId,
    },
    /// It has a dedicated stream.
    Dedicated(BoxedReply),
    /// It waits before it is sent again.
    Backoff(Timer),
    Done,
}

impl Progress {
    fn sending() -> Self {
        let (stream, waiter) = (0, None);
        Self::Sending { stream, waiter }
    }
}

impl Dispatch {
    pub(super) fn new(
        client: Arc<ClientInner>,
        method: MethodName<'_>,
        params: impl SentParams,
    ) -> Self {
        let CallBuffers { request, reply } = client.take_buffers();
        let (request, progress) = match EncodedRequest::encode(request, &method, &params) {
            Ok(request) => (request, Progress::New),
            Err(error) => {
                let reason = error.to_string();
                (EncodedRequest::default(), Progress::Unencodable(reason))
            }
        };
        Self {
            method: method.declared(),
            options: CallOptions::new(&client.options),
            request,
            reply,
            upload: None,
            progress,
            picker: Picker::Unpicked(None),
            timer: None,
            attempts: Attempts::default(),
            client,
        }
    }

    /// Sends items behind the request, on a dedicated stream. They can be sent only once.
    pub(super) fn set_upload(&mut self, upload: BoxedUpload) {
        self.upload = Some(upload);
        self.options.dedicated_stream = true;
        self.options.retries = false;
    }

    /// Returns the call as an entry of a batch of `client`.
    pub(super) fn encode_entry(
        &mut self,
        client: &Arc<ClientInner>,
        id: CallId,
    ) -> Result<&[u8], String> {
        if !Arc::ptr_eq(&self.client, client) {
            return Err("the call is one of another client than its batch".into());
        }
        if self.upload.is_some() {
            return Err("a call with items cannot be an entry of a batch".into());
        }
        if let Progress::Unencodable(reason) = &mut self.progress {
            return Err(std::mem::take(reason));
        }
        let remaining = self.options.time.remaining();
        self.request
            .write_options(remaining, &self.options.metadata);
        let message = self.request.with_id(id.0);
        Ok(message.trim_ascii_end())
    }

    /// Waits for the reply, within the time limit. Then it is in [`reply`](Self::reply).
    pub(super) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        let polled = self.poll_attempt(cx);
        if polled.is_pending() {
            ready!(self.poll_timeout(cx));
            self.cancel();
            return Poll::Ready(Err(CallFailure::TimedOut));
        }
        self.progress = Progress::Done;
        polled
    }

    /// Resolves when the time is over.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_timer(&mut self.timer, cx)
    }

    /// Whether the time is over.
    pub(super) fn is_timed_out(&self) -> bool {
        let timer = self.timer.as_ref();
        timer.is_some_and(|timer| timer.remaining().is_zero())
    }

    fn poll_attempt(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        ready!(self.poll_begin(cx))?;
        if let Progress::Sending { .. } = self.progress {
            ready!(self.poll_send(cx))?;
            self.attempts.record_sent();
            if let Progress::Multiplexed { .. } = self.progress {
                // The call was queued with its waker.
                return Poll::Pending;
            }
        }
        match (&mut self.progress, self.picker.connection()) {
            (Progress::Multiplexed { stream, id }, Some(connection)) => {
                connection.streams[*stream].poll_reply(*id, &mut self.reply, cx)
            }
            (Progress::Dedicated(replied), _) => {
                self.reply = ready!(replied.as_mut().poll(cx))?;
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Err(CallFailure::AlreadyCompleted)),
        }
    }

    /// Starts the time limit with the first poll, and waits for the end of a backoff.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        match &mut self.progress {
            Progress::New => {}
            Progress::Unencodable(reason) => {
                return Poll::Ready(Err(CallFailure::Encode(std::mem::take(reason))));
            }
            Progress::Backoff(timer) => {
                ready!(timer.poll(cx));
                let ended = std::mem::replace(&mut self.progress, Progress::sending());
                if let Progress::Backoff(timer) = ended {
                    self.client.timers.put_back(timer);
                }
                return Poll::Ready(Ok(()));
            }
            _ => return Poll::Ready(Ok(())),
        }
        if let Some(remaining) = self.options.time.remaining() {
            if remaining.is_zero() {
                return Poll::Ready(Err(CallFailure::TimedOut));
            }
            self.timer = Some(self.client.timers.start(remaining));
        }
        self.progress = Progress::sending();
        Poll::Ready(Ok(()))
    }

    /// Sends the request on a connection that takes calls.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        loop {
            ready!(self.picker.poll(&self.client, cx))?;
            self.write_options();
            if self.needs_dedicated_stream() {
                let request = self
                    .dedicated_request()
                    .ok_or(CallFailure::AlreadyCompleted)?;
                self.progress = Progress::Dedicated(Box::pin(dedicated_stream::call(request)));
                return Poll::Ready(Ok(()));
            }
            let (Progress::Sending { stream, waiter }, Some(connection)) =
                (&mut self.progress, self.picker.connection())
            else {
                return Poll::Ready(Err(CallFailure::AlreadyCompleted));
            };
            if waiter.is_none() {
                *stream = connection.next_stream();
            }
            let stream = *stream;
            let queued = connection.streams[stream].poll_call(
                &mut self.request,
                &mut self.reply,
                waiter,
                cx,
            );
            match ready!(queued) {
                Ok(id) => {
                    self.progress = Progress::Multiplexed { stream, id };
                    return Poll::Ready(Ok(()));
                }
                Err(_) => {
                    *waiter = None;
                    self.picker.fail();
                }
            }
        }
    }

    fn needs_dedicated_stream(&self) -> bool {
        self.options.dedicated_stream
            || self.request.len() >= LARGE
            || self.method.is_some_and(Method::has_large_reply)
    }

    /// Writes the options, with the time that remains now.
    fn write_options(&mut self) {
        let remaining = self.timer.as_ref().map(Timer::remaining);
        self.request
            .write_options(remaining, &self.options.metadata);
    }

    /// Waits for a connection. Returns the request for a dedicated stream, which the caller opens.
    pub(super) fn poll_dedicated(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<DedicatedRequest, CallFailure>> {
        ready!(self.poll_begin(cx))?;
        ready!(self.picker.poll(&self.client, cx))?;
        self.write_options();
        self.attempts.record_sent();
        Poll::Ready(
            self.dedicated_request()
                .ok_or(CallFailure::AlreadyCompleted),
        )
    }

    fn dedicated_request(&mut self) -> Option<DedicatedRequest> {
        let id = self.client.next_dedicated_id();
        Some(DedicatedRequest {
            connection: Arc::clone(self.picker.connection()?),
            message: self.request.with_id(id.0).to_vec(),
            upload: self.upload.take().map(|upload| (id, upload)),
            reply_limit: self.client.options.reply_limit,
        })
    }

    /// Records what a reply says of its method and its server.
    pub(super) fn record_reply<E>(&self, error: Option<&CallError<E>>) {
        if let Some(method) = self.method {
            method.record_reply(self.reply.len() >= LARGE);
        }
        match (error, self.picker.connection()) {
            // The server rejects calls because it is shutting down.
            (Some(CallError::Connection { .. }), Some(connection)) => connection.retire(),
            _ => self.client.retries.earn(),
        }
    }

    /// Records how the call ended, for or against its server.
    pub(super) fn record_end<E>(&self, error: Option<&CallError<E>>) {
        if let Some(connection) = self.picker.connection() {
            connection.record(error);
        }
    }

    /// Records that an attempt ended without a reply. Returns the fate of the call as a whole.
    pub(super) fn record_lost(&mut self, fate: Fate) -> Fate {
        self.attempts.record_lost(fate)
    }

    /// Prepares the call to be sent again, if it may be. Returns whether it may.
    pub(super) fn retry(&mut self, fate: Fate) -> bool {
        // Without a connection it was not even tried.
        let (true, Some(backoff), Some(connection)) = (
            self.options.retries,
            self.client.options.retry,
            self.picker.connection(),
        ) else {
            return false;
        };
        let is_idempotent = self.method.is_some_and(Method::is_idempotent);
        let has_other = || self.client.has_other(connection);
        self.progress = match self.attempts.retry(fate, is_idempotent, has_other) {
            Retry::No => return false,
            Retry::Free => Progress::sending(),
            Retry::Paid if self.client.retries.spend() => {
                let delay = backoff.delay(self.attempts.sent());
                Progress::Backoff(self.client.timers.start(delay))
            }
            Retry::Paid => return false,
        };
        self.picker.pick_again();
        true
    }

    /// Ends the call, after its result is known.
    pub(super) fn finish(&mut self) {
        self.progress = Progress::Done;
        if let Some(timer) = self.timer.take() {
            self.client.timers.put_back(timer);
        }
    }

    fn cancel(&mut self) {
        let progress = std::mem::replace(&mut self.progress, Progress::Done);
        let Some(connection) = self.picker.connection() else {
            return;
        };
        match progress {
            Progress::Sending {
                stream,
                waiter: Some(waiter),
            } => connection.streams[stream].stop_waiting(waiter),
            Progress::Multiplexed { stream, id } => connection.cancel(stream, id, &mut self.reply),
            // Dropping a dedicated stream resets it.
            _ => {}
        }
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.cancel();
        let request = std::mem::take(&mut self.request).into_buffer();
        let reply = std::mem::take(&mut self.reply);
        self.client.put_back(CallBuffers { request, reply });
    }
}
