//! Passes the messages of a WebSocket to streams of the services, and their lines back.
//!
//! Calls without items share one stream. A call with items has a stream of its own, as over QUIC, so that it delays no other
//! call in the services. The server's calls to the client arrive on streams that the services open.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::SelectAll;
use futures_util::{Sink, Stream};
use rpc_runtime::ConnectionError;
use rpc_runtime::gateway::{CallDefaults, GatewayConnection, GatewayRecv, GatewaySend, ServiceSet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::line_feeds::one_line;
use crate::subscriptions::{SubscriptionCall, SubscriptionCalls};
use crate::websocket::lines::Lines;
use crate::websocket::route::{
    CallHead, Route, id_of_call, id_of_reply, is_call_without_items, is_same_id,
};
use crate::websocket::subscription::{self, Subscription};

/// The time without anything from the client after which the server sends a ping. After another such time the socket is closed.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The maximum time to send the close of a socket.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The minimum size, in bytes, of a message that is passed on without a copy.
const LARGE_MESSAGE_BYTES: usize = 4 << 10;

/// The number of bytes of smaller messages that are passed on at once.
const BATCH_BYTES: usize = 16 << 10;

/// The code of a connection that is closed since its client causes excessive load (section 8.2 of `PROTOCOL.md`).
const EXCESSIVE_LOAD: u64 = 0x13;

/// The stream that calls without items share.
const SHARED: usize = 0;

/// A WebSocket that is being served.
pub(super) struct Session<I> {
    socket: WebSocketStream<I>,
    connection: Arc<GatewayConnection>,
    services: ServiceSet,
    /// The metadata and the timeout in the headers of the request that opened the socket.
    defaults: Option<Arc<CallDefaults>>,
    subscriptions: Option<Arc<SubscriptionCalls>>,
    /// A message of the client that waits until its stream has room.
    waiting: Option<(usize, Bytes)>,
    /// Small messages for the shared stream that have been received together. One chunk wakes the services once.
    batch: BytesMut,
    ping: Interval,
    /// `true` if anything has arrived since the last ping.
    is_alive: bool,
}

/// The reason why a session ends.
#[derive(Debug)]
enum End {
    /// The socket is lost.
    Lost,
    /// The client closes the socket.
    Client,
    /// The services have closed their connection.
    Services,
    Server(CloseFrame),
}

impl End {
    fn server(code: CloseCode, reason: &'static str) -> Self {
        Self::Server(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        })
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Session<I> {
    /// `connection` is a connection of this socket alone.
    pub(super) fn new(
        socket: WebSocketStream<I>,
        (services, connection): (ServiceSet, GatewayConnection),
        (defaults, subscriptions): (Option<Arc<CallDefaults>>, Option<Arc<SubscriptionCalls>>),
    ) -> Self {
        let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket,
            connection: Arc::new(connection),
            services,
            defaults,
            subscriptions,
            waiting: None,
            batch: BytesMut::new(),
            ping,
            is_alive: true,
        }
    }

    /// Serves the socket until the client closes it, it is lost, or the server is shut down.
    pub(super) async fn run(mut self) {
        let connection = Arc::clone(&self.connection);
        let end = tokio::select! {
            biased;
            end = self.exchange() => end,
            _ = connection.closed() => End::Services,
        };
        let end = match end {
            End::Services => closed_by_services(connection.closed().await),
            end => end,
        };
        let closed = async {
            match end {
                End::Lost | End::Services => {}
                // This sends the answer to the close.
                End::Client => {
                    while let Some(Ok(_)) =
                        poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await
                    {
                    }
                }
                End::Server(close) => {
                    let _ = self.socket.close(Some(close)).await;
                    discard(self.socket.get_mut()).await;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
    }

    async fn exchange(&mut self) -> End {
        let Ok(shared) = self.connection.open_stream(self.defaults.clone()) else {
            return End::server(CloseCode::Restart, "shutting down");
        };
        let mut streams = Streams::new(shared);
        // The first byte of a stream must arrive in time, but a socket may be without calls for any time.
        if poll_fn(|cx| streams.poll_room(SHARED, cx)).await {
            streams.send(SHARED, Bytes::new());
        }
        let connection = Arc::clone(&self.connection);
        let accept = || Box::pin(connection.accept_stream());
        let mut accepted = accept();
        poll_fn(|cx| {
            while let Poll::Ready(Ok((send, recv))) = accepted.as_mut().poll(cx) {
                streams.add_of_server(send, recv);
                accepted = accept();
            }
            // Messages are received first, since one may add a stream, whose lines are then asked for.
            if let Poll::Ready(end) = self.poll_receive(&mut streams, cx) {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = self.poll_send(&mut streams, cx) {
                return Poll::Ready(end);
            }
            self.poll_ping(cx)
        })
        .await
    }
}

/// Sends and receives messages.
impl<I: AsyncRead + AsyncWrite + Unpin> Session<I> {
    /// Sends lines of the services while the client reads them. If it does not, the services wait.
    fn poll_send(&mut self, streams: &mut Streams, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(End::Lost),
                Poll::Pending => return Poll::Pending,
            }
            let line = match streams.poll_line(cx) {
                Poll::Ready(Outgoing::Line(line)) => line,
                Poll::Ready(Outgoing::SharedEnded) => {
                    return Poll::Ready(End::Services);
                }
                Poll::Pending => break,
            };
            // The services write UTF-8 alone.
            let Ok(text) = Utf8Bytes::try_from(line) else {
                return Poll::Ready(End::server(CloseCode::Error, "internal error"));
            };
            let sent = Pin::new(&mut self.socket).start_send(Message::Text(text));
            if sent.is_err() {
                return Poll::Ready(End::Lost);
            }
        }
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(End::Lost),
            _ => Poll::Pending,
        }
    }

    /// Passes messages of the client on while their streams have room. If one has not, the client waits.
    fn poll_receive(&mut self, streams: &mut Streams, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let may_receive = match self.poll_pass(streams, cx) {
                Poll::Ready(()) => streams.reply.is_none(),
                Poll::Pending => false,
            };
            let received = match may_receive {
                true => Pin::new(&mut self.socket).poll_next(cx),
                false => Poll::Pending,
            };
            let received = match received {
                Poll::Ready(Some(Ok(received))) => received,
                Poll::Ready(Some(Err(error))) => {
                    if is_timeout(&error) {
                        self.connection.call(None).time_out();
                    }
                    return Poll::Ready(end_of(error));
                }
                Poll::Ready(None) => return Poll::Ready(End::Lost),
                Poll::Pending => {
                    // Those that find no room are passed on when there is some.
                    let _ = self.poll_pass_batch(streams, cx);
                    return Poll::Pending;
                }
            };
            self.is_alive = true;
            match received {
                Message::Text(text) => self.pass(text.into(), streams),
                Message::Binary(bytes) => self.pass(bytes, streams),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Close(_) => return Poll::Ready(End::Client),
            }
        }
    }

    /// Passes on what has been received, so far that another message can be received.
    fn poll_pass(&mut self, streams: &mut Streams, cx: &mut Context<'_>) -> Poll<()> {
        let is_next_shared = matches!(self.waiting, Some((SHARED, _)));
        if is_next_shared || self.batch.len() >= BATCH_BYTES {
            ready!(self.poll_pass_batch(streams, cx));
        }
        if let Some((stream, message)) = self.waiting.take() {
            match streams.poll_room(stream, cx) {
                Poll::Ready(true) => streams.send(stream, message),
                // The call has ended.
                Poll::Ready(false) => {}
                Poll::Pending => {
                    self.waiting = Some((stream, message));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Passes the small messages for the shared stream on.
    fn poll_pass_batch(&mut self, streams: &mut Streams, cx: &mut Context<'_>) -> Poll<()> {
        if self.batch.is_empty() {
            return Poll::Ready(());
        }
        if ready!(streams.poll_room(SHARED, cx)) {
            streams.shared.0.send(self.batch.split().freeze());
        }
        self.batch.clear();
        Poll::Ready(())
    }

    /// Passes a message to its stream, once the stream has room.
    fn pass(&mut self, message: Bytes, streams: &mut Streams) {
        let message = one_line(message);
        let has_items = |method: &str| {
            let subscriptions = self.subscriptions.as_deref();
            self.services.has_items(method)
                || subscriptions.is_some_and(|calls| calls.find(method).is_some())
        };
        if is_call_without_items(&message, has_items) {
            return self.pass_shared(message);
        }
        let is_call_of_server = |id: &str| streams.of_server.contains_key(id);
        let route = Route::of(&message, is_call_of_server);
        if let Some(calls) = &self.subscriptions
            && let Route::Call(CallHead {
                method,
                id: Some(id),
            }) = &route
            && let Some(call) = calls.find(method)
        {
            self.waiting = self.subscribe(call, (&message, id), streams);
            return;
        }
        let stream = match route {
            Route::Call(CallHead { method, id }) => match id {
                Some(id) if self.services.has_items(&method) => {
                    if self.is_full(streams) {
                        streams.reply = Some(self.connection.reject_excess_stream(id));
                        return;
                    }
                    let opened = self.connection.open_stream(self.defaults.clone());
                    opened.ok().map(|stream| streams.add_call(id, stream))
                }
                _ => Some(SHARED),
            },
            // Items of calls that have ended are ignored, as on any stream.
            Route::Item { id } | Route::End { id } => streams.of_client.get(id).copied(),
            Route::Cancel { id } => match streams.of_client.get(id) {
                Some(&stream) => Some(stream),
                None => Some(SHARED),
            },
            Route::ReplyItem { id } => streams.of_server.get(id).copied(),
            Route::Reply { id } => streams.of_server.remove(id),
        };
        match stream {
            Some(SHARED) => self.pass_shared(message),
            Some(stream) => self.waiting = Some((stream, message)),
            None => {}
        }
    }

    fn pass_shared(&mut self, message: Bytes) {
        if message.len() < LARGE_MESSAGE_BYTES {
            self.batch.extend_from_slice(&message);
            self.batch.extend_from_slice(b"\n");
        } else {
            self.waiting = Some((SHARED, message));
        }
    }

    /// Returns `true` if no further stream is opened. A call without a permit takes memory as well, and waiting would delay the
    /// items of the other calls.
    fn is_full(&self, streams: &Streams) -> bool {
        streams.others.len() >= self.services.limits().max_concurrent_calls_per_connection
    }

    /// Begins or ends a subscription. Returns the request to its method, with the number of its stream.
    fn subscribe(
        &self,
        call: &SubscriptionCall,
        (message, id): (&Bytes, &str),
        streams: &mut Streams,
    ) -> Option<(usize, Bytes)> {
        let SubscriptionCall::Subscribe {
            target,
            notification,
        } = call
        else {
            let subscription = subscription::id_to_end(message);
            let was_open = subscription.is_some_and(|id| streams.end_subscription(&id));
            streams.reply = Some(subscription::ended_reply(id, was_open));
            return None;
        };
        let Some(request) = subscription::call_of(message, target) else {
            streams.reply = Some(subscription::unknown_reply(id));
            return None;
        };
        if self.is_full(streams) {
            streams.reply = Some(self.connection.reject_excess_stream(id));
            return None;
        }
        let stream = self.connection.open_stream(self.defaults.clone()).ok()?;
        let number = streams.add_subscription(id, notification, stream);
        Some((number, request))
    }

    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while self.ping.poll_tick(cx).is_ready() {
            // While a message waits for room, nothing is read, so the client may have sent something.
            let is_read = self.waiting.is_none();
            if !std::mem::take(&mut self.is_alive) && is_read {
                return Poll::Ready(End::Lost);
            }
            // A client that does not read is noticed by what does not arrive.
            if Pin::new(&mut self.socket).poll_ready(cx).is_ready() {
                let _ = Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new()));
                let _ = Pin::new(&mut self.socket).poll_flush(cx);
            }
        }
        Poll::Pending
    }
}

/// Returns the close of a socket whose services have closed their connection.
fn closed_by_services(reason: ConnectionError) -> End {
    match reason {
        ConnectionError::ClosedByPeer {
            code: EXCESSIVE_LOAD,
            ..
        } => End::server(CloseCode::Policy, "excessive load"),
        _ => End::server(CloseCode::Restart, "shutting down"),
    }
}

/// Ends the sending half, and discards what the client still sends. If it were not received, TCP would reset the connection,
/// and the client could lose what was sent last.
async fn discard(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let _ = io.shutdown().await;
    let mut discarded = [0; 4096];
    while let Ok(1..) = io.read(&mut discarded).await {}
}

fn is_timeout(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::TimedOut)
}

fn end_of(error: Error) -> End {
    match error {
        Error::Capacity(_) => End::server(
            CloseCode::Size,
            "the message is too large (`Limits::max_request_bytes`)",
        ),
        error if is_timeout(&error) => End::server(
            CloseCode::Policy,
            "the message did not arrive in time (`Limits::message_timeout`)",
        ),
        Error::Utf8(_) => End::server(CloseCode::Invalid, "the message is not UTF-8"),
        Error::Protocol(_) => End::server(CloseCode::Protocol, "the frames break RFC 6455"),
        _ => End::Lost,
    }
}

/// The streams of a session.
struct Streams {
    shared: (GatewaySend, Lines),
    /// The other halves of the streams below, by their numbers.
    senders: HashMap<usize, GatewaySend>,
    others: SelectAll<OtherStream>,
    next: usize,
    /// The numbers of the streams of the client's calls with items, by the text of their ids.
    of_client: HashMap<Box<str>, usize>,
    /// The numbers of the streams of the server's calls, by the text of their ids.
    of_server: HashMap<Box<str>, usize>,
    /// The numbers of the streams of subscriptions, with `false` if the client has ended them.
    subscriptions: HashMap<usize, bool>,
    /// A reply of this session. Until it is sent, no message is received.
    reply: Option<Bytes>,
    /// `true` if another stream than the shared one is asked first, so that neither holds up the other.
    is_turn_of_others: bool,
}

/// A line that is sent to the client.
enum Outgoing {
    Line(Bytes),
    /// The services answer no more calls of the shared stream.
    SharedEnded,
}

impl Streams {
    fn new((send, recv): (GatewaySend, GatewayRecv)) -> Self {
        Self {
            shared: (send, Lines::new(recv)),
            senders: HashMap::new(),
            others: SelectAll::new(),
            next: SHARED + 1,
            of_client: HashMap::new(),
            of_server: HashMap::new(),
            subscriptions: HashMap::new(),
            reply: None,
            is_turn_of_others: false,
        }
    }

    /// Adds a stream for a call of the client with items.
    fn add_call(&mut self, id: &str, (send, recv): (GatewaySend, GatewayRecv)) -> usize {
        let number = self.add(Some(send), (recv, Some(id.into())), None);
        self.of_client.insert(id.into(), number);
        number
    }

    /// Adds a stream for a subscription. `id` is the id of the request for it.
    fn add_subscription(
        &mut self,
        id: &str,
        notification: &str,
        (send, recv): (GatewaySend, GatewayRecv),
    ) -> usize {
        let subscription = Subscription::new(self.next, notification, id);
        let number = self.add(Some(send), (recv, Some(id.into())), Some(subscription));
        self.subscriptions.insert(number, true);
        number
    }

    /// Ends a subscription. Returns `false` if there is none with this ID.
    fn end_subscription(&mut self, id: &str) -> bool {
        let Some(number) = subscription::number_of(id) else {
            return false;
        };
        let Some(is_open) = self.subscriptions.get_mut(&number) else {
            return false;
        };
        // This cancels the call.
        self.senders.remove(&number);
        std::mem::replace(is_open, false)
    }

    /// Adds a stream that the services have opened. One without a half of the client carries notifications.
    fn add_of_server(&mut self, send: Option<GatewaySend>, recv: GatewayRecv) {
        self.add(send, (recv, None), None);
    }

    fn add(
        &mut self,
        send: Option<GatewaySend>,
        (recv, call): (GatewayRecv, Option<Box<str>>),
        subscription: Option<Subscription>,
    ) -> usize {
        let number = self.next;
        self.next += 1;
        if let Some(send) = send {
            self.senders.insert(number, send);
        }
        self.others.push(OtherStream {
            number,
            lines: Lines::new(recv),
            is_of_server: call.is_none(),
            call,
            subscription,
            next: None,
            is_over: false,
        });
        number
    }

    /// Returns the next line of any stream.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Outgoing> {
        if let Some(reply) = self.reply.take() {
            // The next message is received now.
            cx.waker().wake_by_ref();
            return Poll::Ready(Outgoing::Line(reply));
        }
        self.is_turn_of_others = !self.is_turn_of_others;
        if self.is_turn_of_others
            && let Poll::Ready(line) = self.poll_others(cx)
        {
            return Poll::Ready(Outgoing::Line(line));
        }
        match self.shared.1.poll_line(cx) {
            Poll::Ready(Some(Ok(line))) => Poll::Ready(Outgoing::Line(line)),
            Poll::Ready(_) => Poll::Ready(Outgoing::SharedEnded),
            Poll::Pending => self.poll_others(cx).map(Outgoing::Line),
        }
    }

    fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            let event = match Pin::new(&mut self.others).poll_next(cx) {
                Poll::Ready(Some(event)) => event,
                // An empty set is asked again after the next stream is added, in the task that adds it.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            };
            let OtherEvent {
                number,
                line,
                begun,
                ended,
            } = event;
            let is_silent = self.subscriptions.get(&number) == Some(&false);
            if ended.is_some() || line.is_none() {
                self.subscriptions.remove(&number);
            }
            if let Some(id) = ended {
                if self.of_client.get(&id) == Some(&number) {
                    self.of_client.remove(&id);
                }
                // What the client still sends for the call is ignored.
                if let Some(send) = self.senders.remove(&number) {
                    send.finish();
                }
            } else if let Some(id) = begun {
                self.of_server.insert(id, number);
            }
            match line {
                Some(_) if is_silent => {}
                Some(line) => return Poll::Ready(line),
                None => {
                    self.senders.remove(&number);
                    self.of_server.retain(|_, stream| *stream != number);
                }
            }
        }
    }

    /// Resolves to `true` once a stream has room for a message, and to `false` if it has ended.
    fn poll_room(&mut self, number: usize, cx: &mut Context<'_>) -> Poll<bool> {
        match self.sender(number) {
            Some(send) => send.poll_ready(cx).map(|room| room.is_ok()),
            None => Poll::Ready(false),
        }
    }

    /// Sends a message on a stream that has room.
    fn send(&mut self, number: usize, message: Bytes) {
        if let Some(send) = self.sender(number) {
            send.send(message);
            send.send(Bytes::from_static(b"\n"));
        }
    }

    fn sender(&mut self, number: usize) -> Option<&mut GatewaySend> {
        match number {
            SHARED => Some(&mut self.shared.0),
            number => self.senders.get_mut(&number),
        }
    }
}

/// A stream other than the shared one.
struct OtherStream {
    number: usize,
    lines: Lines,
    /// `true` if the services have opened the stream, to call the client.
    is_of_server: bool,
    /// The text of the id of the client's call, if the stream carries one that has not ended.
    call: Option<Box<str>>,
    subscription: Option<Subscription>,
    /// The second of two messages for a line of a subscription.
    next: Option<OtherEvent>,
    is_over: bool,
}

/// A line of a stream, or its end.
struct OtherEvent {
    number: usize,
    /// `None` at the end.
    line: Option<Bytes>,
    /// The text of the id of the server's call, if the line is one.
    begun: Option<Box<str>>,
    /// The text of the id of the client's call, which the line ends.
    ended: Option<Box<str>>,
}

impl Stream for OtherStream {
    type Item = OtherEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<OtherEvent>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        let event = self.poll_event(cx);
        match self.subscription {
            Some(_) => self.poll_message(event, cx),
            None => event,
        }
    }
}

impl OtherStream {
    /// Returns the next line.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<OtherEvent>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let number = self.number;
        let line = match ready!(self.lines.poll_line(cx)) {
            Some(Ok(line)) => line,
            ended => {
                self.is_over = true;
                let call = self.call.take();
                // The services have ended the stream before its reply, at a limit.
                let line = call.as_deref().filter(|_| ended.is_some()).map(aborted);
                return Poll::Ready(Some(OtherEvent {
                    number,
                    line,
                    begun: None,
                    ended: call,
                }));
            }
        };
        let is_reply = self
            .call
            .as_deref()
            .is_some_and(|id| id_of_reply(&line).is_some_and(|reply| is_same_id(reply, id)));
        // The lines of a client's call are no calls, so they need not be read for one.
        let begun = self.is_of_server.then(|| id_of_call(&line).map(Box::from));
        Poll::Ready(Some(OtherEvent {
            number,
            begun: begun.flatten(),
            line: Some(line),
            ended: self.call.take_if(|_| is_reply),
        }))
    }

    /// Returns the next message of a subscription. `event` is the next line.
    fn poll_message(
        &mut self,
        event: Poll<Option<OtherEvent>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<OtherEvent>> {
        let number = self.number;
        let Some(subscription) = &mut self.subscription else {
            return event;
        };
        let Poll::Ready(event) = event else {
            let accepted = ready!(subscription.poll_accepted(cx));
            // The lines are asked for again.
            cx.waker().wake_by_ref();
            return Poll::Ready(Some(OtherEvent {
                number,
                line: Some(accepted),
                begun: None,
                ended: None,
            }));
        };
        let Some(OtherEvent {
            line: Some(line),
            ended,
            ..
        }) = event
        else {
            return Poll::Ready(event);
        };
        let (first, second) = subscription.messages(line);
        let event = |line, ended| OtherEvent {
            number,
            line: Some(line),
            begun: None,
            ended,
        };
        Poll::Ready(Some(match second {
            Some(second) => {
                self.next = Some(event(second, ended));
                event(first, None)
            }
            None => event(first, ended),
        }))
    }
}

/// Returns the reply to a call whose stream was ended early.
fn aborted(id: &str) -> Bytes {
    let reply = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"Internal error","data":"the stream was aborted at a limit of the server"}}}}"#
    );
    reply.into()
}
