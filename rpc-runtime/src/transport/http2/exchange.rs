//! One stream and the request that carries it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};

use crate::transport::error::{ConnectionError, StreamLost, close};
use crate::transport::http2::lost::{is_end, not_sent, of_code, of_reset, stream_lost};
use crate::transport::{header, memory};

/// Carries a stream of the client until both halves have ended. A unidirectional stream has no `down`.
pub(super) async fn carry(
    requests: SendRequest<Bytes>,
    request: Request<()>,
    up: memory::RecvStream,
    down: Option<memory::SendStream>,
) {
    let mut halves = Halves { up: Some(up), down };
    match open(requests, request, &mut halves).await {
        Ok((response, send)) => run(halves, send, Down::Head(response)).await,
        Err(lost) => halves.lose(&lost),
    }
}

/// Carries a stream of the server, whose response has begun. A unidirectional stream has no `up`.
pub(super) async fn carry_accepted(
    up: Option<memory::RecvStream>,
    down: memory::SendStream,
    mut send: SendStream<Bytes>,
    body: RecvStream,
) {
    if up.is_none() {
        // It fails for a stream that has been reset, which its response shows.
        let _ = send.send_data(Bytes::new(), true);
    }
    let down = Some(down);
    run(Halves { up, down }, send, Down::Body(body)).await;
}

/// Sends the head of a request, as soon as the server admits one more. If it fails, the request was not sent.
pub(super) async fn send_head(
    requests: SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(ResponseFuture, SendStream<Bytes>), StreamLost> {
    let mut requests = requests.ready().await.map_err(|error| not_sent(&error))?;
    let sent = requests.send_request(request, false);
    sent.map_err(|error| not_sent(&error))
}

async fn open(
    requests: SendRequest<Bytes>,
    request: Request<()>,
    halves: &mut Halves,
) -> Result<(ResponseFuture, SendStream<Bytes>), StreamLost> {
    tokio::select! {
        biased;
        sent = send_head(requests, request) => sent,
        () = poll_fn(|cx| halves.poll_stopped(cx)) => Err(cancelled()),
    }
}

async fn run(halves: Halves, send: SendStream<Bytes>, down: Down) {
    let mut exchange = RequestExchange {
        halves,
        send,
        chunk: Bytes::new(),
        is_last: false,
        down,
    };
    if let Err(lost) = poll_fn(|cx| exchange.poll(cx)).await {
        exchange.send.send_reset(Reason::CANCEL);
        exchange.halves.lose(&lost);
    }
}

fn cancelled() -> StreamLost {
    StreamLost::Reset(close::CANCELLED.into())
}

/// The driver's ends of a stream.
struct Halves {
    /// `None` for a unidirectional stream of the server, and once the client has finished its half.
    up: Option<memory::RecvStream>,
    /// `None` for a unidirectional stream of the client, and once the server has finished its half.
    down: Option<memory::SendStream>,
}

impl Halves {
    /// Resolves when the client receives no more.
    fn poll_stopped(&self, cx: &Context<'_>) -> Poll<()> {
        match &self.down {
            Some(down) => down.poll_stopped(cx),
            None => Poll::Pending,
        }
    }

    /// Ends both halves for the client.
    fn lose(&mut self, lost: &StreamLost) {
        match lost {
            StreamLost::Reset(code) | StreamLost::Stopped(code) => {
                let code = u32::try_from(*code).unwrap_or(close::CANCELLED);
                if let Some(down) = &mut self.down {
                    down.reset(code);
                }
                if let Some(up) = &mut self.up {
                    up.stop(code);
                }
            }
            StreamLost::Connection(reason) => {
                if let Some(down) = &mut self.down {
                    down.lose(reason.clone());
                }
                if let Some(up) = &mut self.up {
                    up.lose(reason.clone());
                }
            }
        }
    }
}

/// The state of the response.
enum Down {
    Head(ResponseFuture),
    Body(RecvStream),
    Done,
}

struct RequestExchange {
    halves: Halves,
    send: SendStream<Bytes>,
    /// The bytes that were received from the client and not sent yet.
    chunk: Bytes,
    /// `true` if the client's half ends with `chunk`.
    is_last: bool,
    down: Down,
}

impl RequestExchange {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        if self.halves.poll_stopped(cx).is_ready() {
            return Poll::Ready(Err(cancelled()));
        }
        let received = self.poll_down(cx)?;
        let sent = self.poll_up(cx)?;
        match received.is_ready() && sent.is_ready() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Sends the client's half, as far as flow control allows.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        while let Some(up) = &mut self.halves.up {
            if self.chunk.is_empty() {
                match up.poll_chunk(cx) {
                    Poll::Ready(Ok(Some(chunk))) => {
                        self.send.reserve_capacity(chunk.len());
                        self.is_last = up.is_at_end();
                        self.chunk = chunk;
                    }
                    Poll::Ready(Ok(None)) => {
                        self.halves.up = None;
                        return Poll::Ready(self.send(Bytes::new(), true));
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(cancelled())),
                    Poll::Pending => return self.poll_reset(cx),
                }
                continue;
            }
            let room = ready!(self.poll_capacity(cx))?;
            let part = self.chunk.split_to(room.min(self.chunk.len()));
            let is_end = self.is_last && self.chunk.is_empty();
            self.send(part, is_end)?;
            if is_end {
                self.halves.up = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until flow control admits some bytes, and returns their number.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamLost>> {
        match self.send.capacity() {
            0 => match ready!(self.send.poll_capacity(cx)) {
                Some(room) => Poll::Ready(room.map_err(|error| stream_lost(&error))),
                None => Poll::Ready(Err(cancelled())),
            },
            room => Poll::Ready(Ok(room)),
        }
    }

    fn send(&mut self, part: Bytes, is_end: bool) -> Result<(), StreamLost> {
        let sent = self.send.send_data(part, is_end);
        sent.map_err(|error| stream_lost(&error))
    }

    /// Resolves when the server resets the stream.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        match ready!(self.send.poll_reset(cx)) {
            Ok(reason) => Poll::Ready(Err(of_reset(reason))),
            Err(error) => Poll::Ready(Err(stream_lost(&error))),
        }
    }

    /// Receives the server's half, as far as the client has room for it.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        loop {
            match &mut self.down {
                Down::Head(response) => {
                    let response = ready!(std::pin::Pin::new(response).poll(cx));
                    let response = response.map_err(|error| stream_lost(&error))?;
                    check_head(&response)?;
                    self.down = Down::Body(response.into_body());
                }
                Down::Body(body) => {
                    if let Some(down) = &self.halves.down {
                        ready!(down.poll_room(cx)).map_err(|_| cancelled())?;
                    }
                    match ready!(body.poll_data(cx)) {
                        Some(Ok(chunk)) => {
                            // It fails for a stream that has been reset, which the next data shows.
                            let _ = body.flow_control().release_capacity(chunk.len());
                            if let Some(down) =
                                self.halves.down.as_mut().filter(|_| !chunk.is_empty())
                            {
                                down.put(chunk);
                            }
                        }
                        Some(Err(error)) if is_end(&error) => self.finish_down(),
                        Some(Err(error)) => return Poll::Ready(Err(stream_lost(&error))),
                        None => self.finish_down(),
                    }
                }
                Down::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn finish_down(&mut self) {
        if let Some(mut down) = self.halves.down.take() {
            down.finish();
        }
        self.down = Down::Done;
    }
}

/// Returns an error for a response that carries no stream.
pub(super) fn check_head<B>(response: &Response<B>) -> Result<(), StreamLost> {
    if response.status() == StatusCode::OK {
        return Ok(());
    }
    Err(match reset_code(response.headers()) {
        Some(code) => of_code(code),
        None => {
            let status = response.status().as_u16();
            ConnectionError::Transport(format!("the server answered with HTTP status {status}"))
                .into()
        }
    })
}

fn reset_code(headers: &HeaderMap) -> Option<u32> {
    headers.get(header::RESET)?.to_str().ok()?.parse().ok()
}
