//! The socket of a server, which frees its address when it is closed.
//!
//! quinn keeps a socket open as long as there is a handle of any of its connections, for example a stream that the
//! application has not dropped. A server that has shut down must not depend on that.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::RwLock;
use pin_project_lite::pin_project;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A UDP socket that can be closed while quinn refers to it. A closed socket receives nothing, and discards what is sent.
pub(super) struct ServerSocket {
    /// `None` once the socket is closed.
    open: RwLock<Option<Arc<OpenSocket>>>,
    address: SocketAddr,
    may_fragment: bool,
    max_transmit_segments: usize,
    max_receive_segments: usize,
    /// Cancelled when the operating system has closed the socket.
    closed: CancellationToken,
}

struct OpenSocket {
    io: UdpSocket,
    state: UdpSocketState,
    /// Dropped last, when the socket is closed.
    _closed: DropGuard,
}

impl ServerSocket {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Arc<Self>> {
        let state = UdpSocketState::new((&socket).into())?;
        let io = UdpSocket::from_std(socket)?;
        let closed = CancellationToken::new();
        Ok(Arc::new(Self {
            address: io.local_addr()?,
            may_fragment: state.may_fragment(),
            max_transmit_segments: state.max_gso_segments(),
            max_receive_segments: state.gro_segments(),
            open: RwLock::new(Some(Arc::new(OpenSocket {
                io,
                state,
                _closed: closed.clone().drop_guard(),
            }))),
            closed,
        }))
    }

    /// Closes the socket, and waits until its address is free.
    pub(super) async fn close(&self) {
        drop(self.open.write().take());
        // A task that waits until the socket is writable still uses the socket.
        self.closed.cancelled().await;
    }
}

impl AsyncUdpSocket for ServerSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritablePoller {
            socket: self,
            wait: writable,
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.open.read().as_deref() {
            Some(OpenSocket { io, state, .. }) => {
                io.try_io(Interest::WRITABLE, || state.send(io.into(), transmit))
            }
            None => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let open = self.open.read();
        let Some(OpenSocket { io, state, .. }) = open.as_deref() else {
            return Poll::Pending;
        };
        loop {
            ready!(io.poll_recv_ready(cx))?;
            let received = io.try_io(Interest::READABLE, || state.recv(io.into(), bufs, meta));
            if let Ok(received) = received {
                return Poll::Ready(Ok(received));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        self.may_fragment
    }

    fn max_transmit_segments(&self) -> usize {
        self.max_transmit_segments
    }

    fn max_receive_segments(&self) -> usize {
        self.max_receive_segments
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSocket")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn writable(socket: Arc<ServerSocket>) -> io::Result<()> {
    let open = socket.open.read().clone();
    match open {
        Some(open) => open.io.writable().await,
        None => Ok(()),
    }
}

pin_project! {
    /// Waits until a socket is writable, as often as needed. Uses the open socket only while it waits.
    struct WritablePoller<F> {
        socket: Arc<ServerSocket>,
        wait: fn(Arc<ServerSocket>) -> F,
        #[pin]
        waiting: Option<F>,
    }
}

impl<F> UdpPoller for WritablePoller<F>
where
    F: Future<Output = io::Result<()>> + Send + Sync + 'static,
{
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        loop {
            if let Some(waiting) = this.waiting.as_mut().as_pin_mut() {
                let result = ready!(waiting.poll(cx));
                this.waiting.set(None);
                return Poll::Ready(result);
            }
            let waiting = (this.wait)(Arc::clone(this.socket));
            this.waiting.set(Some(waiting));
        }
    }
}

impl<F> fmt::Debug for WritablePoller<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritablePoller").finish_non_exhaustive()
    }
}
