//! One connection with its lanes. A client has one at a time to a server, and another when that is lost or its server
//! drains it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Options;
use crate::client::balance::outlier::OutlierDetector;
use crate::client::error::CallError;
use crate::client::mux_stream::{self, CallId, MuxStream};
use crate::transport::write_buffer::WriteBuffer;
use crate::transport::{Connection, ConnectionLost, RecvStream, SendStream, StreamLost, close};

#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(super) transport: Connection,
    pub(super) streams: Vec<Arc<MuxStream>>,
    next_stream: AtomicUsize,
    /// Streams that are not lanes: so many that a lane can always be opened.
    dedicated: Arc<Semaphore>,
    /// Calls that wait for one of them.
    waiting: AtomicUsize,
    datagrams: Mutex<WriteBuffer>,
    /// Cancellations once more, past whatever holds a lane up.
    control: Arc<MuxStream>,
    /// It takes no more calls: the connection is lost, or the server drains it.
    retired: Arc<SetOnce<()>>,
    /// That of the server, where there are others to call.
    health: Option<Arc<OutlierDetector>>,
    /// Nothing comes from the server, though it is asked.
    is_stalled: AtomicBool,
}

/// A stream's place among those that are no lanes, free again when dropped.
pub(super) struct StreamPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// One more in a count, while it lasts.
struct WaitingGuard<'a>(&'a AtomicUsize);

impl<'a> WaitingGuard<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many calls have a stream of their own at once. The other side may allow fewer streams, and then they wait for it.
const DEDICATED: usize = 100;

impl ClientConnection {
    /// Starts the lanes of a connection. They end when the link is dropped or `closed` is cancelled.
    pub(super) fn open(
        connection: Connection,
        owner: Owner,
        options: &Options,
        tasks: &TaskTracker,
        closed: &CancellationToken,
        health: Option<Arc<OutlierDetector>>,
    ) -> Arc<Self> {
        let open = Arc::new(Open {
            transport: connection.clone(),
            owner,
        });
        let retired = Arc::new(SetOnce::new());
        let limit = options.reply_limit;
        let streams = (0..options.streams.clamp(1, mux_stream::MAX_STREAMS)).map(|number| {
            let stream = MuxStream::new(number);
            let task = run_stream(
                Arc::clone(&stream),
                Arc::clone(&open),
                Arc::clone(&retired),
                limit,
            );
            tasks.spawn(run_with_linger(Arc::clone(&stream), closed.clone(), task));
            stream
        });
        let streams: Vec<_> = streams.collect();
        let control = MuxStream::new(mux_stream::MAX_STREAMS);
        let task = run_control(Arc::clone(&control), open);
        tasks.spawn(run_with_linger(Arc::clone(&control), closed.clone(), task));
        Arc::new(Self {
            transport: connection,
            dedicated: Arc::new(Semaphore::new(DEDICATED)),
            streams,
            next_stream: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            datagrams: Mutex::default(),
            control,
            retired,
            health,
            is_stalled: AtomicBool::new(false),
        })
    }

    /// Opens a stream for one call alone; waits while there are too many of them.
    pub(super) async fn open_dedicated(
        &self,
    ) -> Result<(SendStream, RecvStream, StreamPermit), ConnectionLost> {
        let waiting = WaitingGuard::among(&self.waiting);
        let place = Arc::clone(&self.dedicated).acquire_owned().await.ok();
        drop(waiting);
        let (send, recv) = self.transport.open_bi().await?;
        Ok((send, recv, StreamPermit { _permit: place }))
    }

    /// A lane for the next call: in turn, those that are over left out.
    pub(super) fn stream(&self) -> usize {
        if self.streams.len() == 1 {
            return 0;
        }
        let next = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let candidates =
            (0..self.streams.len()).map(|version| next.wrapping_add(version) % self.streams.len());
        candidates
            .clone()
            .find(|stream| !self.streams[*stream].is_over())
            .unwrap_or(next % self.streams.len())
    }

    /// How many calls wait for their answers, or for a stream of their own. A stream of items is one for as long as it
    /// lasts.
    pub(super) fn in_flight(&self) -> usize {
        let multiplexed: usize = self.streams.iter().map(|stream| stream.in_flight()).sum();
        let dedicated = DEDICATED - self.dedicated.available_permits();
        multiplexed + dedicated + self.waiting.load(Ordering::Relaxed)
    }

    /// Gives up a call that left through a lane.
    pub(super) fn cancel(&self, stream: usize, id: CallId) {
        let stream = &self.streams[stream];
        if stream.forget(id) {
            // Behind its request it cannot come too early; on a stream of its own nothing can hold it up.
            stream.queue_cancel(id);
            self.control.queue_control_cancel(id);
        }
    }

    /// Gives back what was kept for more requests.
    pub(super) fn release_idle_buffers(&self) {
        self.streams
            .iter()
            .for_each(|stream| stream.release_idle_buffers());
    }

    /// Sends a message in a datagram, if it fits into one and the other side takes them.
    pub(super) fn send_datagram(&self, message: &[u8]) -> bool {
        let room = self.transport.datagram_size();
        if self.is_retired() || room.is_none_or(|room| message.len() > room) {
            return false;
        }
        let mut datagrams = self
            .datagrams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        datagrams.push(message);
        let datagram = datagrams.take();
        drop(datagrams);
        self.transport.send_datagram(datagram)
    }

    /// Takes what a call came to for a sign of how the server fares.
    pub(super) fn record<E>(&self, error: Option<&CallError<E>>) {
        if let Some(health) = &self.health {
            health.record(error);
        }
    }

    /// Sends new calls elsewhere; those that are under way go on.
    pub(super) fn retire(&self) {
        let _ = self.retired.set(());
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Whether another one is the better choice.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.initialized()
    }

    /// Waits until no more calls should leave here, and says why.
    pub(super) fn retirement(&self) -> impl Future<Output = ConnectionLost> + Send + use<> {
        let (connection, retired) = (self.transport.clone(), Arc::clone(&self.retired));
        async move {
            tokio::select! {
                biased;
                lost = connection.closed() => {
                    let _ = retired.set(());
                    lost
                }
                _ = retired.wait() => ConnectionLost::drained("the server is shutting down"),
            }
        }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.streams.iter().for_each(|stream| stream.close());
        self.control.close();
    }
}

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It closes when the last lane has nothing more to say.
    Streams,
    /// Somebody else closes it.
    Other,
}

/// A connection in use by lanes.
struct Open {
    transport: Connection,
    owner: Owner,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.owner == Owner::Streams {
            self.transport.close(close::DONE, "");
        }
    }
}

/// Runs a lane's task, but for not much longer once the lane or the client is closed.
async fn run_with_linger(
    stream: Arc<MuxStream>,
    closed: CancellationToken,
    task: impl Future<Output = ()>,
) {
    let close = async {
        closed.cancelled().await;
        stream.close();
        std::future::pending::<()>().await;
    };
    let ends = LoseOnDrop(Arc::clone(&stream));
    tokio::select! {
        () = task => {}
        () = stream.has_lingered() => stream.lose(ConnectionLost::ClosedHere),
        () = close => {}
    }
    drop(ends);
}

/// A lane whose task is gone, with the runtime that it ran on, say, must not leave its callers without an end.
struct LoseOnDrop(Arc<MuxStream>);

impl Drop for LoseOnDrop {
    fn drop(&mut self) {
        self.0.lose(ConnectionLost::ClosedHere);
    }
}

/// Moves the bytes of a lane until its connection is of no more use.
async fn run_stream(
    stream: Arc<MuxStream>,
    open: Arc<Open>,
    retired: Arc<SetOnce<()>>,
    reply_limit: usize,
) {
    let lost = move_bytes(&stream, &open.transport, reply_limit).await;
    // Before the callers hear of it: they look for another connection.
    let _ = retired.set(());
    stream.lose(lost);
}

/// Opens a lane's stream and moves its bytes until the server drains it; opens another if the server gives up the
/// stream and not the connection.
async fn move_bytes(
    stream: &MuxStream,
    connection: &Connection,
    reply_limit: usize,
) -> ConnectionLost {
    loop {
        // A stream that stays silent is given up by its server.
        if !stream.first_request().await {
            return ConnectionLost::ClosedHere;
        }
        let (send, recv) = match connection.open_bi().await {
            Ok(stream) => stream,
            Err(lost) => return lost,
        };
        let writing = async {
            match stream.write(send).await {
                // Answers that came before are read first; then the reader finds the same.
                Err(StreamLost::Connection(_)) => std::future::pending().await,
                written => written,
            }
        };
        let interrupted = tokio::select! {
            read = stream.read(recv, reply_limit) => match read {
                Ok(()) => return ConnectionLost::drained("the server ended the stream"),
                Err(lost) => lost,
            },
            written = writing => match written {
                // A closed client has sent its last request and waits for no answers.
                Ok(()) => return ConnectionLost::ClosedHere,
                Err(lost) => lost,
            },
        };
        match interrupted {
            StreamLost::Connection(lost) => return lost,
            lost => stream.interrupted(lost.into()),
        }
    }
}

/// Opens the stream of cancellations when there is one.
async fn run_control(control: Arc<MuxStream>, open: Arc<Open>) {
    if !control.first_request().await {
        return;
    }
    let written = match open.transport.open_uni().await {
        Ok(send) => control.write(send).await.map_err(ConnectionLost::from),
        Err(lost) => Err(lost),
    };
    if let Err(lost) = written {
        control.lose(lost);
    }
}
