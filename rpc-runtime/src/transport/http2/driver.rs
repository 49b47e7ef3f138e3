//! The task of a connection: carries its streams, and keeps the connection alive.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use h2::client::{Connection as Http2, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use crate::transport::error::{ConnectionError, StreamLost};
use crate::transport::http2::exchange::{carry, carry_accepted, check_head, send_head};
use crate::transport::http2::heads::RequestHeads;
use crate::transport::http2::lost::{connection_lost, is_graceful, stream_lost};
use crate::transport::settings::{Role, TransportSettings};
use crate::transport::{header, memory};

/// The maximum time for the last data to be sent after the client has closed the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum time for the client to take what has arrived before the connection was lost.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The delays before the client offers to accept a stream again, after a request that ended without one.
const OFFER_PAUSE: Duration = Duration::from_millis(100);
const MAX_OFFER_PAUSE: Duration = Duration::from_secs(10);

type Task = Pin<Box<dyn Future<Output = Opener> + Send>>;
type OfferTask = Pin<Box<dyn Future<Output = OfferEnd> + Send>>;

/// The side that has opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    Client,
    Server,
}

/// Carries the streams of one connection.
pub(super) struct StreamCarrier {
    streams: memory::Connection,
    requests: SendRequest<Bytes>,
    heads: RequestHeads,
    tasks: FuturesUnordered<Task>,
    offer: Option<OfferTask>,
    /// The pause after the next request that ends without a stream of the server.
    offer_pause: Duration,
    /// The ID of the last stream that the server has opened.
    last_accepted: Option<u64>,
    /// The number of streams that the server has opened and that have not ended.
    accepted: usize,
    /// The number of such streams at which the client offers to accept no more.
    max_accepted: usize,
    /// `true` once the server has said that it opens no more streams.
    is_draining: bool,
    keep_alive: KeepAlive,
}

impl StreamCarrier {
    pub(super) fn new(
        streams: memory::Connection,
        requests: SendRequest<Bytes>,
        heads: RequestHeads,
        settings: &TransportSettings,
    ) -> Self {
        Self {
            streams,
            requests,
            heads,
            tasks: FuturesUnordered::new(),
            offer: None,
            offer_pause: OFFER_PAUSE,
            last_accepted: None,
            accepted: 0,
            max_accepted: settings.max_streams as usize,
            is_draining: false,
            keep_alive: KeepAlive::new(settings),
        }
    }

    /// Carries streams until the client closes the connection, or it is lost.
    pub(super) async fn run<S>(mut self, mut connection: Http2<S, Bytes>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut pings = connection.ping_pong();
        let mut connection = pin!(connection);
        self.offer(Duration::ZERO);
        let lost = loop {
            // Polled last, so that it sends what the streams have written.
            let connected = async {
                match connection.as_mut().await {
                    Ok(()) => ConnectionError::Transport(
                        "HTTP/2: the server closed the connection".into(),
                    ),
                    Err(error) => connection_lost(&error),
                }
            };
            tokio::select! {
                biased;
                opened = self.streams.accept_bi() => match opened {
                    Ok((down, up)) => self.carry(up, Some(down)),
                    // The client has closed the connection.
                    Err(_) => break None,
                },
                opened = self.streams.accept_uni() => match opened {
                    Ok(up) => self.carry(up, None),
                    Err(_) => break None,
                },
                Some(opener) = self.tasks.next() => self.task_ended(opener),
                end = offered(&mut self.offer) => if self.offer_ended(end).is_err() {
                    break Some(shutting_down());
                },
                () = poll_fn(|cx| match &mut pings {
                    Some(pings) => self.keep_alive.poll_timed_out(pings, cx),
                    None => Poll::Pending,
                }) => break Some(ConnectionError::TimedOut),
                lost = connected => break Some(self.settle(lost).await),
            }
        };
        match lost {
            Some(lost) => self.streams.lose(lost),
            None => {
                let _ = timeout(CLOSE_TIMEOUT, self.close(connection)).await;
            }
        }
    }

    /// Delivers what has arrived before the connection ended. Returns the reason of the loss.
    async fn settle(&mut self, lost: ConnectionError) -> ConnectionError {
        let end = Instant::now() + SETTLE_TIMEOUT;
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                // The stream cannot be sent any more, and ends at once.
                Ok((down, up)) = self.streams.accept_bi() => self.carry(up, Some(down)),
                Some(_) = self.tasks.next() => {}
                () = sleep_until(end) => break,
            }
        }
        if !self.tasks.is_empty() {
            return lost;
        }
        // Each stream has its own end. The server may have said why it has closed the connection.
        if self.is_draining || self.has_gone_away() {
            return shutting_down();
        }
        let offer = offered(&mut self.offer).now_or_never();
        match offer.map(|end| end.used) {
            Some(Err(StreamLost::Connection(drained))) if drained.is_drained() => drained,
            _ => lost,
        }
    }

    /// Returns `true` if the server has ended the connection with GOAWAY, without an error.
    fn has_gone_away(&self) -> bool {
        let next = self.requests.clone().ready().now_or_never();
        matches!(next, Some(Err(error)) if is_graceful(&error))
    }

    /// Sends what the client has sent before it closed the connection, and ends the connection.
    async fn close<S>(self, mut connection: Pin<&mut Http2<S, Bytes>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self {
            mut tasks,
            requests,
            offer,
            ..
        } = self;
        drop(offer);
        let sent = async { while tasks.next().await.is_some() {} };
        tokio::select! {
            biased;
            () = sent => {}
            _ = connection.as_mut() => return,
        }
        drop((tasks, requests));
        let _ = connection.await;
    }

    /// Carries a stream that the client has opened.
    fn carry(&mut self, up: memory::RecvStream, down: Option<memory::SendStream>) {
        let kind = down.is_none().then_some(header::UNI);
        let request = self.heads.stream(up.id(), kind);
        let requests = self.requests.clone();
        self.tasks.push(Box::pin(async move {
            carry(requests, request, up, down).await;
            Opener::Client
        }));
    }

    /// Records the end of a stream. Makes an offer again if the streams of the server were at their maximum.
    fn task_ended(&mut self, opener: Opener) {
        if opener == Opener::Server {
            self.accepted -= 1;
            if self.offer.is_none() && !self.is_draining {
                self.offer(Duration::ZERO);
            }
        }
    }

    /// Offers to accept a stream of the server, after a pause.
    fn offer(&mut self, pause: Duration) {
        let (requests, request) = (self.requests.clone(), self.heads.accept());
        self.offer = Some(Box::pin(async move {
            sleep(pause).await;
            let since = Instant::now();
            let used = async {
                let (response, send) = send_head(requests, request).await?;
                let response = response.await.map_err(|error| stream_lost(&error))?;
                check_head(&response)?;
                Ok((response, send))
            };
            OfferEnd {
                lasted: since.elapsed(),
                used: used.await,
            }
        }));
    }

    /// Carries the stream of an offer that the server has used, and makes the next offer. Returns an error if the server is
    /// shutting down and no stream is open.
    fn offer_ended(&mut self, OfferEnd { lasted, used }: OfferEnd) -> Result<(), ()> {
        let pause = match used {
            Ok((response, send)) => {
                self.accept(response, send);
                self.offer_pause = OFFER_PAUSE;
                if self.accepted >= self.max_accepted {
                    self.offer = None;
                    return Ok(());
                }
                Duration::ZERO
            }
            Err(StreamLost::Connection(lost)) if lost.is_drained() => {
                self.offer = None;
                self.is_draining = true;
                // The server ends the streams that are open.
                return match self.tasks.is_empty() {
                    true => Err(()),
                    false => Ok(()),
                };
            }
            Err(_) => {
                if lasted > MAX_OFFER_PAUSE {
                    self.offer_pause = OFFER_PAUSE;
                }
                let pause = self.offer_pause;
                self.offer_pause = (pause * 2).min(MAX_OFFER_PAUSE);
                pause
            }
        };
        self.offer(pause);
        Ok(())
    }

    /// Opens a stream of the server to the client.
    fn accept(&mut self, response: Response<RecvStream>, send: SendStream<Bytes>) {
        let id = self.accepted_id(&response);
        self.last_accepted = Some(id);
        let is_uni = response
            .headers()
            .get(header::STREAM_KIND)
            .is_some_and(|kind| kind == header::UNI);
        let body = response.into_body();
        let opened = match is_uni {
            true => self.streams.open_uni_as(id).map(|down| (down, None)),
            false => self
                .streams
                .open_bi_as(id)
                .map(|(down, up)| (down, Some(up))),
        };
        // It fails if the connection has ended.
        if let Ok((down, up)) = opened {
            self.accepted += 1;
            self.tasks.push(Box::pin(async move {
                carry_accepted(up, down, send, body).await;
                Opener::Server
            }));
        }
    }

    /// Returns the ID that the server has sent, if it can be the ID of its next stream, and the next ID otherwise.
    fn accepted_id<B>(&self, response: &Response<B>) -> u64 {
        let next = self.last_accepted.map_or(1, |last| last + 2);
        let sent = response.headers().get(header::STREAM);
        let sent = sent.and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
        sent.filter(|id| id % 2 == 1 && (next..1 << 62).contains(id))
            .unwrap_or(next)
    }
}

fn shutting_down() -> ConnectionError {
    ConnectionError::drained("the server is shutting down")
}

/// The end of an offer to accept a stream.
struct OfferEnd {
    lasted: Duration,
    used: Result<(Response<RecvStream>, SendStream<Bytes>), StreamLost>,
}

async fn offered(offer: &mut Option<OfferTask>) -> OfferEnd {
    match offer {
        Some(offer) => offer.await,
        None => std::future::pending().await,
    }
}

/// Sends PING frames, and detects that the server does not answer them.
struct KeepAlive {
    interval: Duration,
    timeout: Duration,
    /// The time of the next PING, or the end of the time for the answer to the last one.
    timer: Pin<Box<Sleep>>,
    /// `true` if the last PING was not answered yet.
    is_waiting: bool,
}

impl KeepAlive {
    fn new(settings: &TransportSettings) -> Self {
        let timeout = settings.idle_timeout;
        let interval = settings.keep_alive(Role::Client).unwrap_or(timeout / 3);
        Self {
            interval,
            timeout: timeout.saturating_sub(interval),
            timer: Box::pin(sleep(interval)),
            is_waiting: false,
        }
    }

    /// Resolves when the server has not answered in time.
    fn poll_timed_out(&mut self, pings: &mut PingPong, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_waiting && pings.poll_pong(cx).is_ready() {
                self.is_waiting = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
            }
            ready!(self.timer.as_mut().poll(cx));
            // Sending fails if the connection has ended, which the connection itself shows.
            if self.is_waiting || pings.send_ping(Ping::opaque()).is_err() {
                return match self.is_waiting {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                };
            }
            self.is_waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.timeout);
        }
    }
}
