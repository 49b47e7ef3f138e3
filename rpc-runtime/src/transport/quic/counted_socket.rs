//! The socket of a client, which counts the packets of handshakes that it receives.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// The number of packets of handshakes that a client has received.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<AtomicU64>);

impl Answers {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns a socket whose received packets are counted.
    pub(super) fn of(&self, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        let answers = self.clone();
        Arc::new(CountedSocket { socket, answers })
    }
}

#[derive(Debug)]
struct CountedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    answers: Answers,
}

/// The bit of the first byte that packets of a handshake have, and other packets and stateless resets have not (RFC 9000,
/// section 17).
const LONG_HEADER: u8 = 0x80;

impl AsyncUdpSocket for CountedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.socket.poll_recv(cx, bufs, meta))?;
        let first_bytes = bufs
            .iter()
            .take(received)
            .filter_map(|packet| packet.first());
        let answers = first_bytes.filter(|byte| **byte & LONG_HEADER != 0).count();
        if answers > 0 {
            self.answers.0.fetch_add(answers as u64, Ordering::Relaxed);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}
