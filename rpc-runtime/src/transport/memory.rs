//! Implements streams in memory, with the same interface as QUIC's, for connections without a socket.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;

use crate::call_defaults::CallDefaults;
use crate::sync::{Mutex, lock};
use crate::tls::Certificate;
use crate::transport::error::{ConnectionError, DATAGRAMS, Stopped, StreamLost, close};

/// The number of unread bytes on a stream at which its writer waits, unless the pair was created with another one.
const WINDOW: usize = 256 << 10;

/// The same for a connection that another transport carries, which holds bytes of its own.
#[cfg(feature = "server")]
const CARRIED_WINDOW: usize = 64 << 10;

/// The number of unread chunks on a stream at which its writer waits, since each chunk takes memory beside its bytes.
const MAX_CHUNKS: usize = 1024;

/// The maximum size of a datagram, in bytes.
const DATAGRAM: usize = 1200;

/// Creates the two ends of a connection.
pub(crate) fn pair() -> (Connection, Connection) {
    pair_with_window(WINDOW)
}

/// The peer of a connection that another transport carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerDetails {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) certificate: Option<Certificate>,
}

/// Creates the two ends of a connection that another transport carries. The second end shows `client` as its peer.
#[cfg(feature = "server")]
pub(crate) fn pair_of(client: PeerDetails) -> (Connection, Connection) {
    let (here, there) = pair_with_window(CARRIED_WINDOW);
    lock(&there.shared).peer = client;
    (here, there)
}

/// Creates the two ends of a connection on whose streams a writer waits at so many unread bytes.
pub(crate) fn pair_with_window(window: usize) -> (Connection, Connection) {
    let shared = Arc::new(Mutex::new(SharedPair {
        window,
        ..SharedPair::default()
    }));
    let end = |side| Connection {
        shared: Arc::clone(&shared),
        side,
    };
    (end(Side::Client), end(Side::Server))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

#[derive(Debug, Default)]
struct SharedPair {
    window: usize,
    /// The client, as the server sees it.
    peer: PeerDetails,
    end: Option<ConnectionEnd>,
    /// The streams and datagrams that each side has not accepted yet.
    client: PipeState,
    server: PipeState,
    /// The wakers of tasks that wait for an event on the connection.
    watchers: Vec<Waker>,
    pipes: Vec<std::sync::Weak<Mutex<Pipe>>>,
}

/// The end of a connection.
#[derive(Debug, Clone)]
enum ConnectionEnd {
    /// One side has closed the connection.
    Closed { by: Side, code: u32, reason: String },
    /// The connection was lost.
    #[cfg_attr(
        not(any(feature = "testing", feature = "http2")),
        expect(dead_code, reason = "only links and connections over HTTP/2 are lost")
    )]
    Lost(ConnectionError),
}

impl ConnectionEnd {
    /// Returns the error that one side finds.
    fn seen_by(&self, side: Side) -> ConnectionError {
        match self {
            Self::Closed { by, .. } if *by == side => ConnectionError::ClosedHere,
            Self::Closed { code, reason, .. } => ConnectionError::ClosedByPeer {
                code: (*code).into(),
                reason: reason.clone(),
            },
            Self::Lost(error) => error.clone(),
        }
    }
}

#[derive(Debug, Default)]
struct PipeState {
    /// The number of streams that the other side has opened.
    streams: u64,
    bi: VecDeque<(SendStream, RecvStream)>,
    uni: VecDeque<RecvStream>,
    datagrams: VecDeque<Bytes>,
    /// The size of `datagrams`, in bytes.
    waiting: usize,
}

impl PipeState {
    /// Adds a datagram, and drops the oldest ones if the buffer is full.
    fn put(&mut self, datagram: Bytes) {
        self.waiting += datagram.len();
        self.datagrams.push_back(datagram);
        while self.waiting > DATAGRAMS {
            self.pop_datagram();
        }
    }

    fn pop_datagram(&mut self) -> Option<Bytes> {
        let datagram = self.datagrams.pop_front()?;
        self.waiting -= datagram.len();
        Some(datagram)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Connection {
    shared: Arc<Mutex<SharedPair>>,
    side: Side,
}

impl SharedPair {
    fn inbox(&mut self, side: Side) -> &mut PipeState {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn lost(&self, side: Side) -> Option<ConnectionError> {
        Some(self.end.as_ref()?.seen_by(side))
    }

    fn wake(&mut self) {
        self.watchers.drain(..).for_each(Waker::wake);
    }

    /// Returns the ID of the next stream that `side` opens. As in QUIC, the sides never use the same ID.
    fn next_id(&mut self, side: Side) -> u64 {
        let streams = &mut self.inbox(side.other()).streams;
        let number = *streams;
        *streams += 1;
        2 * number + u64::from(side == Side::Server)
    }

    fn open_bi(&mut self, id: u64, from: Side) -> (SendStream, RecvStream) {
        self.open_bi_with(id, from, None)
    }

    fn open_bi_with(
        &mut self,
        id: u64,
        from: Side,
        defaults: Option<Arc<CallDefaults>>,
    ) -> (SendStream, RecvStream) {
        let (send, mut their_recv) = self.pipe(id, from);
        their_recv.defaults = defaults;
        let (their_send, recv) = self.pipe(id, from.other());
        let inbox = self.inbox(from.other());
        inbox.bi.push_back((their_send, their_recv));
        (send, recv)
    }

    fn open_uni(&mut self, id: u64, from: Side) -> SendStream {
        let (send, recv) = self.pipe(id, from);
        self.inbox(from.other()).uni.push_back(recv);
        send
    }

    /// Releases the pipes whose streams have ended.
    fn forget_ended(&mut self) {
        self.pipes.retain(|pipe| pipe.strong_count() > 0);
    }

    fn pipe(&mut self, id: u64, from: Side) -> (SendStream, RecvStream) {
        let pipe = Arc::new(Mutex::new(Pipe {
            window: self.window,
            ..Pipe::default()
        }));
        self.forget_ended();
        self.pipes.push(Arc::downgrade(&pipe));
        let send = SendStream {
            id,
            pipe: Arc::clone(&pipe),
            side: from,
        };
        (
            send,
            RecvStream {
                id,
                pipe,
                side: from.other(),
                defaults: None,
            },
        )
    }
}

impl Connection {
    fn open<T>(&self, open: impl FnOnce(&mut SharedPair) -> T) -> Result<T, ConnectionError> {
        let mut shared = lock(&self.shared);
        match shared.lost(self.side) {
            Some(lost) => Err(lost),
            None => {
                let opened = open(&mut shared);
                shared.wake();
                Ok(opened)
            }
        }
    }

    pub(crate) fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.open(|shared| {
            let id = shared.next_id(self.side);
            shared.open_bi(id, self.side)
        })
    }

    /// Opens a stream whose calls have `defaults` at the other side, with this ID or the next one.
    #[cfg(feature = "server")]
    pub(crate) fn open_bi_with(
        &self,
        id: Option<u64>,
        defaults: Option<Arc<CallDefaults>>,
    ) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.open(|shared| {
            let id = id.unwrap_or_else(|| shared.next_id(self.side));
            shared.open_bi_with(id, self.side, defaults)
        })
    }

    pub(crate) fn remote_address(&self) -> Option<SocketAddr> {
        match self.side {
            Side::Client => None,
            Side::Server => lock(&self.shared).peer.address,
        }
    }

    pub(crate) fn peer_certificate(&self) -> Option<Certificate> {
        match self.side {
            Side::Client => None,
            Side::Server => lock(&self.shared).peer.certificate.clone(),
        }
    }

    pub(crate) fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        self.open(|shared| {
            let id = shared.next_id(self.side);
            shared.open_uni(id, self.side)
        })
    }

    /// Waits until `look` returns a value, or the connection ends.
    async fn watch<T>(
        &self,
        mut look: impl FnMut(&mut PipeState) -> Option<T>,
    ) -> Result<T, ConnectionError> {
        poll_fn(|cx| {
            let mut shared = lock(&self.shared);
            if let Some(found) = look(shared.inbox(self.side)) {
                return Poll::Ready(Ok(found));
            }
            if let Some(lost) = shared.lost(self.side) {
                return Poll::Ready(Err(lost));
            }
            if !shared
                .watchers
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                shared.watchers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.watch(|inbox| inbox.bi.pop_front()).await
    }

    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        self.watch(|inbox| inbox.uni.pop_front()).await
    }

    pub(crate) fn datagram_size(&self) -> Option<usize> {
        Some(DATAGRAM)
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        let sent = self.open(|shared| shared.inbox(self.side.other()).put(datagram));
        sent.is_ok()
    }

    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        self.watch(PipeState::pop_datagram).await
    }

    /// Releases the memory of ended streams, as the next opened stream does.
    #[cfg(any(test, feature = "__fuzzing"))]
    pub(crate) fn forget_ended(&self) {
        lock(&self.shared).forget_ended();
    }

    /// Returns how many bytes are written and not yet read, both ways.
    #[cfg(any(test, feature = "__fuzzing"))]
    pub(crate) fn unread(&self) -> usize {
        let shared = lock(&self.shared);
        let pipes = shared.pipes.iter().filter_map(std::sync::Weak::upgrade);
        let streams: usize = pipes.map(|pipe| lock(&pipe).bytes).sum();
        streams + shared.client.waiting + shared.server.waiting
    }

    pub(crate) async fn closed(&self) -> ConnectionError {
        match self.watch(|_| None::<std::convert::Infallible>).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.end(ConnectionEnd::Closed {
            by: self.side,
            code,
            reason: reason.to_owned(),
        });
    }

    /// Ends the connection, unless it has ended before.
    fn end(&self, end: ConnectionEnd) {
        let mut shared = lock(&self.shared);
        if shared.end.is_some() {
            return;
        }
        for pipe in shared.pipes.iter().filter_map(std::sync::Weak::upgrade) {
            let mut pipe = lock(&pipe);
            // A stream that was lost before has a reason of its own.
            pipe.lost.get_or_insert_with(|| end.clone());
            pipe.wake();
        }
        shared.end = Some(end);
        shared.client = PipeState::default();
        shared.server = PipeState::default();
        shared.wake();
    }
}

/// The operations that a carrier of the streams needs, such as one over a network or over a link with faults.
#[cfg(any(feature = "testing", feature = "http2", feature = "server"))]
impl Connection {
    /// Opens a stream with an ID that the other side has not used.
    #[cfg(any(feature = "testing", feature = "http2"))]
    pub(crate) fn open_bi_as(&self, id: u64) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.open(|shared| shared.open_bi(id, self.side))
    }

    /// Opens a unidirectional stream with an ID that the other side has not used.
    pub(crate) fn open_uni_as(&self, id: u64) -> Result<SendStream, ConnectionError> {
        self.open(|shared| shared.open_uni(id, self.side))
    }

    /// Ends the connection for both sides with `error`.
    #[cfg(any(feature = "testing", feature = "http2"))]
    pub(crate) fn lose(&self, error: ConnectionError) {
        self.end(ConnectionEnd::Lost(error));
    }
}

/// One direction of a stream.
#[derive(Debug, Default)]
struct Pipe {
    window: usize,
    chunks: VecDeque<Bytes>,
    bytes: usize,
    finished: bool,
    reset: Option<u32>,
    stopped: Option<u32>,
    lost: Option<ConnectionEnd>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    watcher: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [&mut self.reader, &mut self.writer, &mut self.watcher] {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    fn lost(&self, side: Side) -> Option<StreamLost> {
        Some(self.lost.as_ref()?.seen_by(side).into())
    }

    /// Discards what can no longer be read.
    fn discard(&mut self) {
        self.chunks = VecDeque::new();
        self.bytes = 0;
    }

    /// Returns whether the reader has stopped the stream, or has read all of a finished one.
    fn is_over(&self) -> bool {
        self.stopped.is_some() || self.lost.is_some() || (self.finished && self.chunks.is_empty())
    }
}

#[cfg(feature = "http2")]
fn lose(pipe: &Mutex<Pipe>, error: ConnectionError) {
    let mut pipe = lock(pipe);
    pipe.lost.get_or_insert(ConnectionEnd::Lost(error));
    pipe.wake();
}

fn park(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[derive(Debug)]
pub(crate) struct SendStream {
    id: u64,
    pipe: Arc<Mutex<Pipe>>,
    side: Side,
}

impl SendStream {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) async fn write_chunk(&mut self, mut chunk: Bytes) -> Result<(), StreamLost> {
        poll_fn(|cx| {
            ready!(self.poll_room(cx))?;
            self.put(std::mem::take(&mut chunk));
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits until less than a window of bytes is unread, in few enough chunks.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), StreamLost>> {
        let mut pipe = lock(&self.pipe);
        if let Some(lost) = pipe.lost(self.side) {
            return Poll::Ready(Err(lost));
        }
        if let Some(code) = pipe.stopped {
            return Poll::Ready(Err(StreamLost::Stopped(code.into())));
        }
        if pipe.bytes >= pipe.window || pipe.chunks.len() >= MAX_CHUNKS {
            park(&mut pipe.writer, cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a chunk, for which there is room.
    pub(crate) fn put(&mut self, chunk: Bytes) {
        let mut pipe = lock(&self.pipe);
        pipe.bytes += chunk.len();
        pipe.chunks.push_back(chunk);
        pipe.wake();
    }

    pub(crate) fn finish(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.finished = true;
        pipe.wake();
    }

    pub(crate) fn reset(&mut self, code: u32) {
        let mut pipe = lock(&self.pipe);
        // The reader of a lost stream reads what has arrived, and then finds why it was lost.
        if !pipe.finished && pipe.lost.is_none() {
            pipe.reset.get_or_insert(code);
            pipe.discard();
            pipe.wake();
        }
    }

    /// Ends the stream for its reader with `error`, after the data written so far.
    #[cfg(feature = "http2")]
    pub(crate) fn lose(&mut self, error: ConnectionError) {
        lose(&self.pipe, error);
    }

    /// Resolves when the reader has stopped the stream, or the connection has ended.
    #[cfg(feature = "http2")]
    pub(crate) fn poll_stopped(&self, cx: &Context<'_>) -> Poll<()> {
        let mut pipe = lock(&self.pipe);
        if pipe.is_over() {
            return Poll::Ready(());
        }
        park(&mut pipe.watcher, cx);
        Poll::Pending
    }

    /// Returns the code with which the reader has stopped the stream.
    #[cfg(feature = "testing")]
    pub(crate) fn stop_code(&self) -> Option<u32> {
        lock(&self.pipe).stopped
    }

    pub(crate) fn stopped(&self) -> Stopped {
        let pipe = Arc::clone(&self.pipe);
        Box::pin(poll_fn(move |cx| {
            let mut pipe = lock(&pipe);
            if pipe.is_over() {
                return Poll::Ready(());
            }
            park(&mut pipe.watcher, cx);
            Poll::Pending
        }))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.reset(close::CANCELLED);
    }
}

#[derive(Debug)]
pub(crate) struct RecvStream {
    id: u64,
    pipe: Arc<Mutex<Pipe>>,
    side: Side,
    defaults: Option<Arc<CallDefaults>>,
}

impl RecvStream {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns what the calls of the stream have from outside of their requests.
    pub(crate) fn defaults(&self) -> Option<&Arc<CallDefaults>> {
        self.defaults.as_ref()
    }

    pub(crate) async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamLost> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    pub(crate) fn poll_chunk(&self, cx: &Context<'_>) -> Poll<Result<Option<Bytes>, StreamLost>> {
        let mut pipe = lock(&self.pipe);
        if let Some(code) = pipe.reset {
            return Poll::Ready(Err(StreamLost::Reset(code.into())));
        }
        if let Some(chunk) = pipe.chunks.pop_front() {
            pipe.bytes -= chunk.len();
            let wake = if pipe.is_over() {
                pipe.watcher.take()
            } else {
                None
            };
            wake.into_iter()
                .chain(pipe.writer.take())
                .for_each(Waker::wake);
            return Poll::Ready(Ok(Some(chunk)));
        }
        if pipe.finished {
            return Poll::Ready(Ok(None));
        }
        if let Some(lost) = pipe.lost(self.side) {
            return Poll::Ready(Err(lost));
        }
        park(&mut pipe.reader, cx);
        Poll::Pending
    }
}

#[cfg(feature = "http2")]
impl RecvStream {
    /// Returns `true` if the writer has finished the stream and all of it was read.
    pub(crate) fn is_at_end(&self) -> bool {
        let pipe = lock(&self.pipe);
        pipe.finished && pipe.chunks.is_empty()
    }

    /// Ends the stream for its writer with `error`.
    pub(crate) fn lose(&mut self, error: ConnectionError) {
        lose(&self.pipe, error);
    }
}

impl RecvStream {
    pub(crate) fn stop(&mut self, code: u32) {
        let mut pipe = lock(&self.pipe);
        pipe.stopped.get_or_insert(code);
        pipe.discard();
        pipe.wake();
    }

    pub(crate) async fn was_reset(&mut self) {
        poll_fn(|cx| {
            let mut pipe = lock(&self.pipe);
            if pipe.reset.is_some() || pipe.lost.is_some() {
                return Poll::Ready(());
            }
            park(&mut pipe.reader, cx);
            Poll::Pending
        })
        .await
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stop(close::CANCELLED);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn write(send: &mut SendStream, bytes: usize) -> Option<Result<(), StreamLost>> {
        let chunk = Bytes::from(vec![0; bytes]);
        send.write_chunk(chunk).now_or_never()
    }

    #[test]
    fn writer_waits_while_a_window_of_bytes_is_unread() {
        let (here, there) = pair();
        let (mut send, _recv) = here.open_bi().unwrap();
        let (_send, mut recv) = there.accept_bi().now_or_never().unwrap().unwrap();
        for _ in 0..2 {
            assert!(write(&mut send, WINDOW / 2).is_some());
        }
        for _ in 0..3 {
            assert!(write(&mut send, 1).is_none());
            let read = recv.read_chunk().now_or_never().unwrap().unwrap();
            assert_eq!(read.unwrap().len(), WINDOW / 2);
            assert!(write(&mut send, WINDOW / 2).is_some());
        }
    }

    #[test]
    fn writer_of_small_chunks_waits_at_the_maximum_number_of_chunks() {
        let (here, there) = pair();
        let (mut send, _recv) = here.open_bi().unwrap();
        let (_send, mut recv) = there.accept_bi().now_or_never().unwrap().unwrap();
        for _ in 0..MAX_CHUNKS {
            assert!(write(&mut send, 1).is_some());
        }
        assert!(write(&mut send, 1).is_none());
        recv.read_chunk().now_or_never().unwrap().unwrap();
        assert!(write(&mut send, 1).is_some());
    }
}
