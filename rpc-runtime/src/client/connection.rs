//! One connection and its streams. A client has one connection at a time to a server, and opens another when the connection
//! is lost or the server drains it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::client::balance::health::EndpointHealth;
use crate::client::balance::stall::{Sample, StallDetector};
use crate::client::error::{CallError, CallFailure, Execution};
use crate::client::mux_stream::{self, CallId, MuxStream, log_unmatched};
use crate::client::observe::StreamReports;
use crate::client::options::ClientOptions;
use crate::client::reply_budget::ReplyBudget;
use crate::codec::reply_id::{Addressee, addressee, all_addressees};
use crate::event_limit::{EventLimit, LOGGED_WAIT};
use crate::memory::ConnectionMemory;
use crate::sync::{self, Mutex};
use crate::transport::write_buffer::WriteBuffer;
use crate::transport::{Connection, ConnectionError, RecvStream, SendStream, StreamLost, close};

#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(super) transport: Connection,
    pub(super) budget: Arc<ReplyBudget>,
    /// The streams that calls share.
    pub(super) streams: Vec<Arc<MuxStream>>,
    next_stream: AtomicUsize,
    /// Permits for dedicated streams. They leave room for the shared streams.
    dedicated: Arc<Semaphore>,
    /// Number of permits. If the server allows fewer streams, opening a stream waits.
    max_dedicated: usize,
    /// Number of calls that wait for a permit.
    waiting: AtomicUsize,
    datagrams: Mutex<WriteBuffer>,
    /// Counts received lines on dedicated streams that answer no call.
    unmatched: Mutex<EventLimit>,
    reports: StreamReports,
    /// Sends cancellations, so that requests that wait do not delay them.
    control: Arc<MuxStream>,
    /// Set when the connection takes no more calls, because it was lost or the server drains it.
    retired: Arc<SetOnce<()>>,
    /// Observes the calls, for a client of several servers.
    health: Option<Arc<EndpointHealth>>,
    stalls: Arc<StallDetector>,
}

/// Permit for a dedicated stream.
pub(super) struct StreamPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Counts a waiting call until it is dropped.
struct WaitingGuard<'a>(&'a AtomicUsize);

impl<'a> WaitingGuard<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ClientConnection {
    /// Starts the streams of a connection. They end when the connection is dropped or closed. `memory` counts the
    /// connection's memory.
    pub(super) fn open(
        (transport, memory): (Connection, Arc<ConnectionMemory>),
        owner: ConnectionOwner,
        options: &ClientOptions,
        tasks: &TaskTracker,
        health: Option<Arc<EndpointHealth>>,
    ) -> Arc<Self> {
        let open = Arc::new(CloseAfterStreams {
            transport: transport.clone(),
            owner,
        });
        let budget = ReplyBudget::new(
            memory,
            (options.reply_limit, &options.events),
            transport.clone(),
        );
        let retired = Arc::new(SetOnce::new());
        let count = options.streams.clamp(1, mux_stream::MAX_STREAMS);
        let streams = (0..count).map(|number| {
            let stream = MuxStream::new(number, count, &options.events);
            tasks.spawn(run_stream(
                Arc::clone(&stream),
                Arc::clone(&open),
                Arc::clone(&retired),
                Arc::clone(&budget),
            ));
            stream
        });
        let streams: Vec<_> = streams.collect();
        let control = MuxStream::new(mux_stream::MAX_STREAMS, count, &options.events);
        tasks.spawn(run_control(Arc::clone(&control), open));
        let max_dedicated = options
            .max_dedicated_streams
            .clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            transport,
            budget,
            dedicated: Arc::new(Semaphore::new(max_dedicated)),
            max_dedicated,
            streams,
            next_stream: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            datagrams: Mutex::default(),
            unmatched: Mutex::default(),
            reports: StreamReports::new(options.events.clone()),
            control,
            retired,
            stalls: health
                .as_ref()
                .map_or_else(Arc::default, |health| Arc::clone(&health.stalls)),
            health,
        })
    }

    /// Opens a dedicated stream. Waits while the maximum number is open, or while the server grants no more, until the
    /// deadline of the call.
    pub(super) async fn open_dedicated(
        &self,
        deadline: Option<Instant>,
    ) -> Result<(SendStream, RecvStream, StreamPermit), CallFailure> {
        let free = Arc::clone(&self.dedicated).try_acquire_owned().ok();
        let available = usize::from(free.is_some());
        let mut opening = pin!(self.open_stream(free));
        let first = poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx)));
        if let Poll::Ready(opened) = first.await {
            return opened;
        }
        let limit = StreamReports::limit(self.max_dedicated, available);
        let waits_for = (limit, self.transport.remote_address());
        self.reports.wait(opening, waits_for, deadline).await
    }

    async fn open_stream(
        &self,
        free: Option<OwnedSemaphorePermit>,
    ) -> Result<(SendStream, RecvStream, StreamPermit), CallFailure> {
        let permit = match free {
            Some(permit) => Some(permit),
            None => {
                let _waiting = WaitingGuard::new(&self.waiting);
                Arc::clone(&self.dedicated).acquire_owned().await.ok()
            }
        };
        let (send, recv) = self.transport.open_bi().await.map_err(|lost| {
            // Later calls avoid the connection.
            self.retire();
            CallFailure::lost(Execution::NotSent, &lost)
        })?;
        Ok((send, recv, StreamPermit { _permit: permit }))
    }

    /// Returns the index of the shared stream for the next call, in round-robin order.
    #[inline]
    pub(super) fn next_stream(&self) -> usize {
        match self.streams.len() {
            1 => 0,
            _ => self.next_of_several(),
        }
    }

    fn next_of_several(&self) -> usize {
        let next = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let mut indices = (next..).take(self.streams.len());
        let usable = indices.find(|index| !self.streams[index % self.streams.len()].is_lost());
        usable.unwrap_or(next) % self.streams.len()
    }

    /// Returns the number of calls that wait for replies or for dedicated streams. A stream of items counts until it ends.
    pub(super) fn in_flight(&self) -> usize {
        let multiplexed: usize = self.streams.iter().map(|stream| stream.in_flight()).sum();
        let dedicated = self.max_dedicated - self.dedicated.available_permits();
        multiplexed + dedicated + self.waiting.load(Ordering::Relaxed)
    }

    /// Cancels a call on a shared stream, with one message to the server.
    pub(super) fn cancel(&self, stream: usize, id: CallId) {
        let stream = &self.streams[stream];
        if let Some(end) = stream.cancel(id) {
            // A separate stream is not delayed by requests. If that stream is stuck, the cancellation is queued behind its
            // request.
            if !self.control.queue_cancel_of(id, end) {
                stream.queue_cancel(id);
            }
        }
    }

    /// Logs a line on a dedicated stream that answers no call.
    #[cold]
    pub(super) fn log_unmatched(&self, line: &[u8]) {
        let since = sync::lock(&self.unmatched).add(Instant::now());
        log_unmatched(since, None, line);
    }

    /// Ends the calls other than that of a line, which is not a response, to which the line may be a reply as well.
    #[cold]
    pub(super) fn fail_others(&self, line: &[u8]) {
        let ended = addressee(line);
        for id in all_addressees(line)
            .filter(|id| ended != Addressee::Call(*id))
            .map(CallId)
        {
            if let Some(stream) = self.streams.get(id.stream()) {
                stream.fail(id, CallFailure::malformed(line), &self.budget);
            }
        }
    }

    pub(super) fn release_idle_buffers(&self) {
        self.streams
            .iter()
            .for_each(|stream| stream.release_idle_buffers());
    }

    /// Sends a message in a datagram. Returns `false` if the message does not fit, or if the server accepts no datagrams.
    pub(super) fn send_datagram(&self, message: &[u8]) -> bool {
        let room = self.transport.datagram_size();
        if self.is_retired() || room.is_none_or(|room| message.len() > room) {
            return false;
        }
        let mut datagrams = sync::lock(&self.datagrams);
        datagrams.push(message);
        let datagram = datagrams.take();
        drop(datagrams);
        self.transport.send_datagram(datagram)
    }

    /// Records that a call begins.
    pub(super) fn record_call(&self) {
        self.stalls.record_call();
    }

    /// Records how a call ended.
    pub(super) fn record<E>(&self, error: Option<&CallError<E>>) {
        if let Some(health) = &self.health {
            health.outliers.record(error);
        }
    }

    /// Returns `true` if the server stalls, so that other connections should be preferred.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalls.is_stalled()
    }

    /// Returns the counters of the connection, if it is a connection of QUIC.
    pub(super) fn sample(&self) -> Option<Sample> {
        let in_flight = self.in_flight();
        self.budget.watch_items(in_flight);
        self.watch_queues();
        Some(Sample {
            traffic: self.transport.traffic()?,
            in_flight,
        })
    }

    /// Logs that calls wait for room in the shared streams.
    fn watch_queues(&self) {
        let longest = self
            .streams
            .iter()
            .filter_map(|stream| stream.longest_wait());
        if longest.max().is_some_and(|longest| longest >= LOGGED_WAIT) {
            let server = self.transport.remote_address();
            self.reports.log(MuxStream::queue_limit(), server);
        }
    }

    /// Asks the server for a packet: it acknowledges the datagram, which holds a blank line, or resets the connection.
    pub(super) fn probe(&self) {
        self.transport.send_datagram(Bytes::from_static(b"\n"));
    }

    /// Probes the server while it sends nothing although calls are in flight. Does not keep the connection open.
    pub(super) fn watch_for_stalls(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let (stalls, connection) = (Arc::clone(&self.stalls), Arc::downgrade(self));
        let is_watched = self.health.is_none() && self.transport.traffic().is_some();
        async move {
            if is_watched {
                let sample = || connection.upgrade().map(|connection| connection.sample());
                let probe = || {
                    if let Some(connection) = connection.upgrade() {
                        connection.probe();
                    }
                };
                stalls.watch(sample, probe).await;
            }
            std::future::pending().await
        }
    }

    /// Stops taking calls. Calls in flight continue.
    pub(super) fn retire(&self) {
        let _ = self.retired.set(());
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.initialized()
    }

    /// Waits until the connection takes no more calls, and returns the reason.
    pub(super) fn retirement(&self) -> impl Future<Output = ConnectionError> + Send + use<> {
        let (transport, retired) = (self.transport.clone(), Arc::clone(&self.retired));
        async move {
            tokio::select! {
                biased;
                lost = transport.closed() => {
                    let _ = retired.set(());
                    lost
                }
                _ = retired.wait() => ConnectionError::drained("the server is shutting down"),
            }
        }
    }

    /// Ends the calls of a connection that is as good as lost.
    #[cold]
    pub(super) fn lose(&self, reason: &ConnectionError) {
        self.retire();
        for stream in self.streams.iter().chain([&self.control]) {
            stream.lose(reason.clone());
        }
        self.transport.close(close::DONE, "");
    }

    /// Sends the queued data, and ends the streams soon afterwards.
    pub(super) fn close(&self) {
        self.streams.iter().for_each(|stream| stream.close());
        self.control.close();
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.close();
    }
}

/// The owner of a connection, which closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionOwner {
    /// The connection is closed when its last stream has ended.
    Streams,
    /// The server that accepted the connection closes it.
    Server,
}

/// Closes a connection when its last stream has ended, if the streams own it.
struct CloseAfterStreams {
    transport: Connection,
    owner: ConnectionOwner,
}

impl Drop for CloseAfterStreams {
    fn drop(&mut self) {
        if self.owner == ConnectionOwner::Streams {
            self.transport.close(close::DONE, "");
        }
    }
}

/// Ends the calls of a stream when its task has been dropped, for example with its runtime.
struct LoseOnDrop(Arc<MuxStream>);

impl Drop for LoseOnDrop {
    fn drop(&mut self) {
        self.0.lose(ConnectionError::ClosedHere);
    }
}

/// Runs a shared stream until its connection takes no more calls, or until some time after it was closed.
async fn run_stream(
    stream: Arc<MuxStream>,
    open: Arc<CloseAfterStreams>,
    retired: Arc<SetOnce<()>>,
    budget: Arc<ReplyBudget>,
) {
    let stream = LoseOnDrop(stream);
    let moving = pin!(move_bytes(&stream.0, &open.transport, &budget));
    if let Some(lost) = stream.0.run_until_closed(moving).await {
        // Set before the callers are woken, since they look for another connection.
        let _ = retired.set(());
        stream.0.lose(lost);
    }
}

/// Opens the transport's stream, and sends and receives until the server drains it. If the server resets the stream and
/// keeps the connection, opens another stream.
async fn move_bytes(
    stream: &MuxStream,
    transport: &Connection,
    budget: &Arc<ReplyBudget>,
) -> ConnectionError {
    loop {
        // Opens the stream with the first request, since a server resets streams on which nothing arrives.
        if !stream.has_requests().await {
            return ConnectionError::ClosedHere;
        }
        let (send, recv) = match transport.open_bi().await {
            Ok(opened) => opened,
            Err(lost) => return lost,
        };
        let writing = async {
            match stream.write(send).await {
                // The reader first reads the replies that have arrived, and then finds the same error.
                Err(StreamLost::Connection(_)) => std::future::pending().await,
                written => written,
            }
        };
        let mut reading = pin!(stream.read(recv, budget));
        let interrupted = tokio::select! {
            biased;
            read = &mut reading => match read {
                Ok(()) => return ConnectionError::drained("the server ended the stream"),
                Err(lost) => lost,
            },
            written = writing => match written {
                Ok(()) => {
                    // A closed client waits for no replies. But QUIC discards what the server has not read when the
                    // connection closes, and notifications may be there: the server ends the stream after it has read all.
                    if stream.in_flight() == 0 && stream.has_unconfirmed() {
                        let _ = reading.await;
                    }
                    return ConnectionError::ClosedHere;
                }
                Err(lost) => lost,
            },
        };
        match interrupted {
            StreamLost::Connection(lost) => return lost,
            lost => stream.interrupt(&lost.into()),
        }
    }
}

/// Opens the stream of cancellations when the first cancellation is queued.
async fn run_control(control: Arc<MuxStream>, open: Arc<CloseAfterStreams>) {
    let control = LoseOnDrop(control);
    let sending = pin!(async {
        if !control.0.has_requests().await {
            return;
        }
        if let Ok(send) = open.transport.open_uni().await {
            // Without this stream, cancellations are sent behind their requests.
            let _ = control.0.write(send).await;
        }
    });
    control.0.run_until_closed(sending).await;
}
