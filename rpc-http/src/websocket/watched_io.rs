//! The bytes of a WebSocket: limits the time of a message, and the pings of a client that reads nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::timed_io::{TimedIo, timed_out};

/// The number of pings that are received while nothing can be sent. Each has an answer, which is kept until it is sent.
const MAX_UNSENT_PONGS: usize = 32;

/// The maximum size of a frame's header (RFC 6455, section 5.2).
const MAX_HEADER_BYTES: usize = 14;

const PING: u8 = 0x9;

/// Reads and writes the frames of a socket.
#[derive(Debug)]
pub(super) struct WatchedIo<I> {
    io: TimedIo<I>,
    frames: FrameWatch,
    message_timeout: Duration,
    /// The time for which the server has waited for the message that is being received, up to `waits_since`.
    waited: Duration,
    /// Set while the server waits for bytes.
    waits_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The number of pings since a write had to wait; `None` while writes do not wait.
    unsent_pongs: Option<usize>,
    /// The reader, which waits until something can be sent.
    paused: Option<Waker>,
}

impl<I> WatchedIo<I> {
    pub(super) fn new(io: I, message_timeout: Duration, write_timeout: Duration) -> Self {
        Self {
            io: TimedIo::opened(io, write_timeout),
            frames: FrameWatch::default(),
            message_timeout,
            waited: Duration::ZERO,
            waits_since: None,
            timer: None,
            unsent_pongs: None,
            paused: None,
        }
    }

    /// Waits for bytes of a message that has begun, unless they were waited for too long. The time in which the server did not
    /// read does not count.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.frames.is_amid() {
            return Poll::Pending;
        }
        let left = self.message_timeout.saturating_sub(self.waited);
        if left.is_zero() {
            return Poll::Ready(());
        }
        let now = Instant::now();
        self.waits_since = Some(now);
        let end = now + left;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        timer.as_mut().reset(end);
        timer.as_mut().poll(cx)
    }

    fn record_written<T>(&mut self, written: Poll<T>) -> Poll<T> {
        match &written {
            Poll::Pending => {
                self.unsent_pongs.get_or_insert(0);
            }
            Poll::Ready(_) => {
                self.unsent_pongs = None;
                if let Some(paused) = self.paused.take() {
                    paused.wake();
                }
            }
        }
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WatchedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
        }
        if self
            .unsent_pongs
            .is_some_and(|pongs| pongs >= MAX_UNSENT_PONGS)
        {
            self.paused = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Pending => {
                ready!(self.poll_timeout(cx));
                Poll::Ready(Err(timed_out(
                    "a message is not complete (`Limits::message_timeout`)",
                )))
            }
            read => {
                let Seen { pings, has_ended } = self.frames.see(&buf.filled()[before..]);
                if has_ended || !self.frames.is_amid() {
                    self.waited = Duration::ZERO;
                }
                if let Some(pongs) = &mut self.unsent_pongs {
                    *pongs += pings;
                }
                read
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for WatchedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.record_written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Follows the frames of a client.
#[derive(Debug, Default)]
struct FrameWatch {
    /// The header of a frame, as far as it was received.
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: usize,
    /// The rest of the frame after the header.
    payload_bytes: u64,
    /// `true` if the frame is the last one of a message.
    is_last: bool,
    /// `true` while a message is not complete.
    in_message: bool,
}

/// The pings and the ends of messages in received bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    pings: usize,
    /// `true` if a message has ended.
    has_ended: bool,
}

impl FrameWatch {
    /// Returns `true` if a message or another frame has begun, and not ended.
    fn is_amid(&self) -> bool {
        self.in_message || self.header_bytes > 0 || self.payload_bytes > 0
    }

    fn see(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload_bytes > 0 {
                let taken = usize::try_from(self.payload_bytes).unwrap_or(usize::MAX);
                let taken = taken.min(bytes.len());
                self.payload_bytes -= taken as u64;
                bytes = &bytes[taken..];
            } else {
                self.header[self.header_bytes] = *first;
                self.header_bytes += 1;
                bytes = rest;
                if self.header_bytes == header_bytes(&self.header[..self.header_bytes]) {
                    self.begin_frame(&mut seen);
                }
            }
            if self.is_last && self.header_bytes == 0 && self.payload_bytes == 0 {
                self.in_message = false;
                self.is_last = false;
                seen.has_ended = true;
            }
        }
        seen
    }

    /// Records a complete header.
    fn begin_frame(&mut self, seen: &mut Seen) {
        let [first, second, length @ ..] = &self.header;
        self.payload_bytes = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([length[0], length[1]])),
            127 => length[..8]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        self.header_bytes = 0;
        // Control frames stand between those of a message (RFC 6455, section 5.4).
        if first & 0x08 == 0 {
            self.in_message = true;
            self.is_last = first & 0x80 != 0;
        } else if first & 0x0f == PING {
            seen.pings += 1;
        }
    }
}

/// Returns the size of a header that starts with these bytes, which are as many as were received.
fn header_bytes(start: &[u8]) -> usize {
    let Some(second) = start.get(1) else {
        return MAX_HEADER_BYTES;
    };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

#[cfg(test)]
mod tests {
    use futures_util::Stream;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// Returns a masked frame.
    fn frame(first: u8, bytes: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match bytes {
            ..126 => frame.push(0x80 | u8::try_from(bytes).unwrap()),
            126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(bytes).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((bytes as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(std::iter::repeat_n(0x89, bytes));
        frame
    }

    const TEXT: u8 = 0x81;
    const FIRST: u8 = 0x01;
    const NEXT: u8 = 0x00;
    const LAST: u8 = 0x80;
    const PING_FRAME: u8 = 0x89;

    #[test]
    fn messages_and_pings_are_the_same_however_their_frames_are_cut() {
        let frames = [
            frame(TEXT, 0),
            frame(TEXT, 125),
            frame(TEXT, 126),
            frame(TEXT, 70_000),
            frame(FIRST, 10),
            frame(PING_FRAME, 3),
            frame(NEXT, 0),
            frame(LAST, 0),
            frame(PING_FRAME, 0),
        ];
        let amid = [false, false, false, false, true, true, true, false, false];
        for size in [1, 2, 3, 7, 1_000_000] {
            let mut watch = FrameWatch::default();
            for (frame, amid) in frames.iter().zip(amid) {
                let mut pings = 0;
                let mut has_ended = false;
                for piece in frame.chunks(size) {
                    let seen = watch.see(piece);
                    pings += seen.pings;
                    has_ended |= seen.has_ended;
                }
                let is_ping = frame[0] == PING_FRAME;
                assert_eq!(pings, usize::from(is_ping));
                assert_eq!(watch.is_amid(), amid);
                assert_eq!(has_ended, !is_ping && !amid);
            }
        }
    }

    /// Reads a ping at a time, and writes nothing.
    struct Pings;

    impl AsyncRead for Pings {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(&frame(PING_FRAME, 0));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pings {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn pings_of_a_client_that_reads_nothing_are_received_up_to_a_limit() {
        let timeout = Duration::from_secs(20);
        let io = WatchedIo::new(Pings, timeout, timeout);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let mut received = 0;
        std::future::poll_fn(|cx| {
            while Pin::new(&mut socket).poll_next(cx).is_ready() {
                received += 1;
                assert!(received < 1_000);
            }
            Poll::Ready(())
        })
        .await;
        // The first one is answered before a write has to wait.
        assert_eq!(received, MAX_UNSENT_PONGS + 1);
    }

    #[test]
    fn frame_is_incomplete_until_its_last_byte() {
        for bytes in [0, 5, 200, 70_000] {
            let frame = frame(TEXT, bytes);
            let mut watch = FrameWatch::default();
            assert_eq!(watch.see(&frame[..frame.len() - 1]), Seen::default());
            assert!(watch.is_amid());
            assert!(watch.see(&frame[frame.len() - 1..]).has_ended);
            assert!(!watch.is_amid());
        }
    }
}
