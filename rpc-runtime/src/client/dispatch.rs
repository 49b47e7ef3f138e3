//! Dispatches a call: sends the request, retries it if it was lost, and waits for the reply.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::client::dedicated_stream::{self, DedicatedRequest, reported_deadline};
use crate::client::error::{CallError, CallFailure, Execution};
use crate::client::handle::ClientInner;
use crate::client::metadata::MetadataWriter;
use crate::client::method::{MessageHead, Method, MethodName};
use crate::client::middleware::response::KeptReply;
use crate::client::mux_stream::CallId;
use crate::client::outgoing::{Outgoing, PooledOutgoing};
use crate::client::picker::Picker;
use crate::client::reply_budget::{Decoding, SMALL_REPLY_BYTES, Waiting};
use crate::client::retry::attempts::{Attempts, Retry};
use crate::client::streaming::request::BoxedUpload;
use crate::client::timer_pool::{Timer, poll_timer};
use crate::client::waiters::WaiterId;
use crate::codec::params::encode::SentParams;
use crate::event::Event;

/// Minimum size, in bytes, of a request that is sent on a dedicated stream. After a reply of this size, the next call of the
/// same method uses a dedicated stream, too.
pub(super) const LARGE: usize = 16 << 10;

type BoxedReply = Pin<Box<dyn Future<Output = Result<Vec<u8>, CallFailure>> + Send>>;

/// A call without the types of its result and error.
pub(super) struct Dispatch {
    client: Arc<ClientInner>,
    method: Option<&'static Method>,
    pub(super) outgoing: PooledOutgoing,
    progress: Progress,
    held: Held,
    picker: Picker,
    timer: Option<Timer>,
    attempts: Attempts,
}

/// The progress of a call.
#[derive(Clone, Copy)]
enum Progress {
    /// Not polled yet.
    New,
    /// Waiting for a connection, or for room in a shared stream.
    Sending {
        stream: usize,
        waiter: Option<WaiterId>,
    },
    /// Queued on a shared stream.
    Multiplexed {
        stream: usize,
        id: CallId,
    },
    /// Sent on a dedicated stream.
    Dedicated,
    /// The reply has arrived, and is large.
    Replied,
    /// Waiting before the next attempt.
    Backoff,
    Done,
}

impl Progress {
    const SENDING: Self = Self::Sending {
        stream: 0,
        waiter: None,
    };
}

/// State that only some calls hold. It is separate, so that other calls change their progress without dropping it.
enum Held {
    Nothing,
    /// The reason why the arguments of a new call cannot be written as JSON.
    EncodeError(Box<str>),
    /// Items that are sent after the request.
    Upload(BoxedUpload),
    /// The future of a call on a dedicated stream.
    Reply(BoxedReply),
    /// The timer of a backoff.
    Timer(Timer),
    /// A large reply that waits until it can be decoded.
    WaitsToDecode(Waiting<Decoding>),
    /// A large reply that is being decoded.
    Decoding {
        _decoding: Box<Decoding>,
    },
}

impl Dispatch {
    pub(super) fn new(
        client: Arc<ClientInner>,
        method: MethodName<'_>,
        params: impl SentParams,
    ) -> Self {
        let mut outgoing = client.take_outgoing();
        let held = match outgoing.request.encode(method, &params) {
            Ok(()) => Held::Nothing,
            Err(error) => Held::EncodeError(unsendable(&error)),
        };
        Self {
            method: method.declared(),
            outgoing,
            progress: Progress::New,
            held,
            picker: Picker::default(),
            timer: None,
            attempts: Attempts::default(),
            client,
        }
    }

    /// Sets the items that are sent after the request, on a dedicated stream. Replaces items that were set before. Items can
    /// be sent only once.
    pub(super) fn set_upload(&mut self, upload: BoxedUpload) {
        let options = &mut self.outgoing.options;
        options.dedicated_stream = true;
        options.retries = false;
        if !matches!(self.held, Held::EncodeError(_)) {
            self.held = Held::Upload(upload);
        }
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
        match &self.held {
            Held::EncodeError(reason) => return Err(reason.to_string()),
            Held::Upload(_) => {
                return Err("a call with items cannot be an entry of a batch".into());
            }
            _ => {}
        }
        let Outgoing {
            request, options, ..
        } = &mut *self.outgoing;
        request.write_options(options.time.remaining(), &options.metadata);
        Ok(request
            .with_head(&MessageHead::of_call(id.0))
            .trim_ascii_end())
    }

    /// Waits for the reply, within the time limit. The reply is then in [`outgoing`](Self::outgoing).
    pub(super) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        let polled = match (self.progress, self.picker.connection()) {
            (Progress::Multiplexed { stream, id }, Some(connection)) => {
                connection.streams[stream].poll_reply(id, &mut self.outgoing.reply, cx)
            }
            _ => self.poll_attempt(cx),
        };
        if polled.is_ready() {
            if self.outgoing.reply.len() > SMALL_REPLY_BYTES {
                return self.poll_large(polled, cx);
            }
            if let Poll::Ready(Err(CallFailure::UnexpectedItem(_))) = polled {
                // The server would send more items.
                self.cancel();
            }
            self.progress = Progress::Done;
        } else if self.timer.is_some() {
            ready!(self.poll_timeout(cx));
            let failure = self.timed_out();
            self.cancel();
            return Poll::Ready(Err(failure));
        }
        polled
    }

    /// Waits until the large reply can be decoded, within the time limit.
    #[cold]
    fn poll_large(
        &mut self,
        polled: Poll<Result<(), CallFailure>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        let is_reply = matches!(polled, Poll::Ready(Ok(())));
        if is_reply && self.poll_decoding(cx).is_pending() {
            ready!(self.poll_timeout(cx));
            self.cancel();
            return Poll::Ready(Err(CallFailure::TimedOut));
        }
        self.progress = Progress::Done;
        polled
    }

    /// Waits until the large reply can be decoded.
    fn poll_decoding(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.progress = Progress::Replied;
        loop {
            let held = match (&mut self.held, self.picker.connection()) {
                (Held::WaitsToDecode(waiting), _) => Held::Decoding {
                    _decoding: Box::new(ready!(waiting.as_mut().poll(cx))),
                },
                (Held::Decoding { .. }, _) | (_, None) => return Poll::Ready(()),
                (_, Some(connection)) => match connection.budget.decoding(&self.outgoing.reply) {
                    Ok(decoding) => Held::Decoding {
                        _decoding: Box::new(decoding),
                    },
                    Err(waiting) => Held::WaitsToDecode(waiting),
                },
            };
            self.held = held;
        }
    }

    /// Resolves when the time is over.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_timer(&mut self.timer, cx)
    }

    /// Returns the failure of a call whose time is over, which says what it waited for.
    #[cold]
    pub(super) fn timed_out(&self) -> CallFailure {
        match self.progress {
            // The request waits for room in its shared stream.
            Progress::Sending {
                waiter: Some(_), ..
            } => CallFailure::TimedOutUnread,
            Progress::Sending { .. } if self.picker.connection().is_none() => {
                let execution = match self.attempts.sent() {
                    0 => Execution::NotSent,
                    _ => Execution::NotExecuted,
                };
                self.client.not_connected(execution)
            }
            _ => match self.picker.connection() {
                Some(connection) => connection.budget.timed_out(),
                None => CallFailure::TimedOut,
            },
        }
    }

    /// Returns `true` if the time is over.
    pub(super) fn is_timed_out(&self) -> bool {
        let timer = self.timer.as_ref();
        timer.is_some_and(|timer| timer.remaining().is_zero())
    }

    /// Sends the request, or waits for the end of a call on a dedicated stream.
    fn poll_attempt(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        ready!(self.poll_begin(cx))?;
        if let Progress::Sending { stream, waiter } = self.progress {
            ready!(self.poll_send(stream, waiter, cx))?;
            self.attempts.record_sent();
        }
        match &mut self.held {
            Held::Reply(reply) => {
                let replied = ready!(reply.as_mut().poll(cx));
                // A retry may use a shared stream.
                self.held = Held::Nothing;
                self.outgoing.reply = replied?;
                Poll::Ready(Ok(()))
            }
            Held::WaitsToDecode(_) => Poll::Ready(Ok(())),
            // The call was queued with its waker, so it is woken.
            _ => Poll::Pending,
        }
    }

    /// Starts the time limit of a new call, or waits for the end of a backoff. The call can then be sent.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallFailure>> {
        match self.progress {
            Progress::New => self.begin()?,
            Progress::Backoff => {
                if let Held::Timer(timer) = &mut self.held {
                    ready!(timer.poll(cx));
                }
                if let Held::Timer(timer) = std::mem::replace(&mut self.held, Held::Nothing) {
                    self.client.timers.put_back(timer);
                }
            }
            Progress::Done => return Poll::Ready(Err(CallFailure::AlreadyCompleted)),
            _ => return Poll::Ready(Ok(())),
        }
        self.progress = Progress::SENDING;
        Poll::Ready(Ok(()))
    }

    fn begin(&mut self) -> Result<(), CallFailure> {
        if let Held::EncodeError(reason) = &self.held {
            return Err(CallFailure::Encode(reason.clone()));
        }
        if let Some(remaining) = self.outgoing.options.time.remaining() {
            if remaining.is_zero() || self.is_timed_out() {
                return Err(CallFailure::TimedOut);
            }
            if self.timer.is_none() {
                self.timer = Some(self.client.timers.start(remaining));
            }
        }
        Ok(())
    }

    /// Starts the time limit of a call before its middleware. Returns the time that remains.
    #[cold]
    pub(super) fn begin_layered(&mut self) -> Option<Duration> {
        self.outgoing.options.keeps_reply = true;
        let remaining = self.outgoing.options.time.remaining()?;
        self.timer = Some(self.client.timers.start(remaining));
        Some(remaining)
    }

    /// Prepares another run of the call, with this metadata.
    #[cold]
    pub(super) fn restart(&mut self, metadata: MetadataWriter) {
        self.stop_run();
        self.outgoing.options.metadata = metadata;
        self.outgoing.reply.clear();
        self.picker = Picker::default();
        self.progress = Progress::New;
    }

    /// Cancels a run that has not ended.
    #[cold]
    pub(super) fn stop_run(&mut self) {
        match (self.progress, &self.held) {
            (Progress::New | Progress::Done, _) => {}
            // Not sent yet; another run may send them.
            (_, Held::Upload(_)) => self.progress = Progress::Done,
            _ => self.cancel(),
        }
    }

    /// Returns the number of attempts that were sent.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.sent()
    }

    /// Returns the address of the server of the last attempt.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.picker.connection()?.transport.remote_address()
    }

    /// Takes the reply that was decoded, whose length was `length`.
    #[cold]
    pub(super) fn take_reply(&mut self, length: usize) -> KeptReply {
        let decoding = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Decoding { _decoding } => Some(_decoding),
            held => {
                self.held = held;
                None
            }
        };
        KeptReply {
            line: std::mem::take(&mut self.outgoing.reply),
            length,
            _decoding: decoding,
        }
    }

    /// Sends the request on a connection that takes calls.
    fn poll_send(
        &mut self,
        mut stream: usize,
        mut waiter: Option<WaiterId>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallFailure>> {
        loop {
            ready!(self.picker.poll(&self.client, cx))?;
            self.write_options();
            if self.needs_dedicated_stream() {
                let request = match self.dedicated_request() {
                    Ok(request) => request,
                    Err(failure) => return Poll::Ready(Err(failure)),
                };
                self.held = Held::Reply(Box::pin(dedicated_stream::call(request)));
                self.progress = Progress::Dedicated;
                return Poll::Ready(Ok(()));
            }
            let Some(connection) = self.picker.connection() else {
                return Poll::Ready(Err(CallFailure::AlreadyCompleted));
            };
            if waiter.is_none() {
                stream = connection.next_stream();
            }
            let queued =
                connection.streams[stream].poll_call(&mut self.outgoing.request, &mut waiter, cx);
            match queued {
                Poll::Ready(Ok(id)) => {
                    self.progress = Progress::Multiplexed { stream, id };
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(_)) => {
                    waiter = None;
                    self.progress = Progress::SENDING;
                    self.picker.fail();
                }
                Poll::Pending => {
                    self.progress = Progress::Sending { stream, waiter };
                    return Poll::Pending;
                }
            }
        }
    }

    fn needs_dedicated_stream(&self) -> bool {
        self.outgoing.options.dedicated_stream
            || self.outgoing.request.len() >= LARGE
            || self.method.is_some_and(Method::has_large_reply)
    }

    /// Writes the options, with the remaining time.
    fn write_options(&mut self) {
        let remaining = self.timer.as_ref().map(Timer::remaining);
        let Outgoing {
            request, options, ..
        } = &mut *self.outgoing;
        request.write_options(remaining, &options.metadata);
    }

    /// Waits for a connection. Returns the request, for which the caller opens a dedicated stream.
    pub(super) fn poll_dedicated(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<DedicatedRequest, CallFailure>> {
        ready!(self.poll_begin(cx))?;
        ready!(self.picker.poll(&self.client, cx))?;
        self.write_options();
        self.attempts.record_sent();
        Poll::Ready(self.dedicated_request())
    }

    fn dedicated_request(&mut self) -> Result<DedicatedRequest, CallFailure> {
        let id = self.client.next_dedicated_id();
        let head = MessageHead::of_call(id.0);
        let connection = self.picker.connection();
        let connection = connection.ok_or(CallFailure::AlreadyCompleted)?;
        let remaining = self.timer.as_ref().map(Timer::remaining);
        let deadline = remaining.and_then(reported_deadline);
        let upload = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Upload(upload) => Some(upload),
            _ => None,
        };
        Ok(DedicatedRequest {
            connection: Arc::clone(connection),
            id: Some(id),
            message: self.outgoing.request.with_head(&head).to_vec(),
            upload,
            deadline,
        })
    }

    /// Records the size of a reply for its method. Earns a retry token, or retires the connection if the server is shutting
    /// down.
    pub(super) fn record_reply<E>(&mut self, error: Option<&CallError<E>>) {
        let is_large = self.outgoing.reply.len() >= LARGE;
        if let Some(method) = self.method {
            method.record_reply(is_large);
        }
        if is_large {
            self.release_reply();
        }
        match (error, self.picker.connection()) {
            // The server rejects calls because it is shutting down.
            (Some(CallError::Connection { .. }), Some(connection)) => connection.retire(),
            _ => self.client.retries.earn(),
        }
    }

    /// Releases a large reply that was decoded, with its memory charge.
    #[cold]
    fn release_reply(&mut self) {
        if self.outgoing.options.keeps_reply {
            return;
        }
        self.held = Held::Nothing;
        self.outgoing.reply = Vec::new();
    }

    /// Returns the failure of a call whose reply is not a response. If the line may be a reply to other calls as well,
    /// they end with the same failure, since no other line will end them.
    #[cold]
    pub(super) fn malformed(&self) -> CallFailure {
        let reply = &self.outgoing.reply;
        if let Some(connection) = self.picker.connection() {
            connection.fail_others(reply);
        }
        CallFailure::malformed(reply)
    }

    /// Records how the call ended, for the statistics of its server.
    pub(super) fn record_end<E>(&self, error: Option<&CallError<E>>) {
        if let Some(connection) = self.picker.connection() {
            connection.record(error);
        }
    }

    /// Records that an attempt ended without a reply, and sets `execution` to that of all attempts. If a retry is allowed,
    /// prepares it and returns `true`. Sets `is_exhausted` if the retry is allowed except for the budget of the client.
    #[cold]
    pub(super) fn retry(&mut self, execution: &mut Execution, is_exhausted: &mut bool) -> bool {
        *execution = self.attempts.record_lost(*execution);
        // Without a connection there was no attempt.
        let (true, Some(backoff), Some(connection)) = (
            self.outgoing.options.retries,
            self.client.options.retry,
            self.picker.connection(),
        ) else {
            return false;
        };
        let is_idempotent = self.method.is_some_and(Method::is_idempotent);
        let has_other = || self.client.has_other(connection);
        self.progress = match self.attempts.retry(*execution, is_idempotent, has_other) {
            Retry::No => return false,
            Retry::Free => {
                self.report_retry();
                Progress::SENDING
            }
            Retry::Paid if self.client.retries.spend() => {
                self.report_retry();
                let delay = backoff.delay(self.attempts.sent());
                self.held = Held::Timer(self.client.timers.start(delay));
                Progress::Backoff
            }
            Retry::Paid => {
                *is_exhausted = true;
                self.client.retries.report(&self.client.options.events);
                return false;
            }
        };
        self.picker.pick_again();
        true
    }

    fn report_retry(&self) {
        let attempts = self.attempts.sent();
        let events = &self.client.options.events;
        events.emit(&Event::CallRetried { attempts });
    }

    /// Ends the call after its result is known.
    pub(super) fn finish(&mut self) {
        self.progress = Progress::Done;
        if let Some(timer) = self.timer.take() {
            self.client.timers.put_back(timer);
        }
    }

    fn cancel(&mut self) {
        match (self.progress, self.picker.connection()) {
            (Progress::Multiplexed { stream, id }, Some(connection)) => {
                connection.cancel(stream, id);
            }
            (
                Progress::Sending {
                    stream,
                    waiter: Some(waiter),
                },
                Some(connection),
            ) => connection.streams[stream].stop_waiting(waiter),
            // Dropping a dedicated stream resets it.
            _ => self.held = Held::Nothing,
        }
        self.progress = Progress::Done;
    }
}

/// Describes arguments that cannot be written as JSON.
#[cold]
pub(super) fn unsendable(error: &serde_json::Error) -> Box<str> {
    format!("the arguments cannot be sent: {error}").into()
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        if !matches!(self.progress, Progress::Done) {
            self.cancel();
        }
        self.client.put_back(&mut self.outgoing);
    }
}
