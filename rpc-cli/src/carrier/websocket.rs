//! Sends all messages on one connection of WebSocket.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use rpc_runtime::code::METHOD_NOT_FOUND;
use rpc_runtime::gateway::{CarriedConnection, GatewayRecv, GatewaySend};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::carrier::connector::{Socket, Transport};
use crate::carrier::lines::{Envelope, Lines, line_of};
use crate::carrier::refused;
use crate::carrier::shared::{NotificationGuard, Shared, locked};
use crate::failure::{Failure, Status};
use crate::size::Size;

/// The number of messages that wait to be sent.
const QUEUE: usize = 64;

type WebSocket = WebSocketStream<Box<dyn Transport>>;

/// A message that waits to be sent.
type Outgoing = (Bytes, Option<NotificationGuard>);

pub(super) async fn handshake(shared: &Shared, socket: Socket) -> Result<WebSocket, Failure> {
    let lost = |error: Error| refused::lost(shared, &error);
    let mut request: Request<()> = (&shared.url.uri).into_client_request().map_err(lost)?;
    request.headers_mut().extend(shared.headers.clone());
    let largest = shared.needs.max_reply.saturating_add(1024);
    let config = WebSocketConfig::default()
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest));
    let io = socket.io.into_inner();
    match client_async_with_config(request, io, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let (head, body) = response.into_parts();
            let body = body.unwrap_or_default();
            Err(refused::refused(shared, &head, &body))
        }
        Err(error) => Err(lost(error)),
    }
}

/// Carries the streams of the connection.
pub(super) async fn run(shared: Arc<Shared>, socket: WebSocket, connection: CarriedConnection) {
    let (sink, incoming) = socket.split();
    let (sender, queue) = mpsc::channel(QUEUE);
    let streams = Arc::new(Streams {
        shared,
        open: Mutex::default(),
    });
    let sending = send_all(sink, queue);
    let receiving = Arc::clone(&streams).receive_all(incoming, sender.clone());
    let accepting = async {
        let mut number = 0;
        while let Ok((send, recv)) = connection.accept_stream().await {
            number += 1;
            if let Some(send) = send {
                let send = Arc::new(tokio::sync::Mutex::new(Some(send)));
                streams.open().senders.insert(number, send);
            }
            let carry = Arc::clone(&streams).carry(number, recv, sender.clone());
            tokio::spawn(carry);
        }
        drop(sender);
        std::future::pending::<()>().await
    };
    tokio::select! {
        ended = receiving => {
            if let Some(failure) = ended {
                streams.shared.fail(failure);
            }
            connection.close("the WebSocket has ended");
        }
        () = sending => {}
        () = accepting => {}
    }
}

/// Sends messages until there are no more senders.
async fn send_all(mut sink: SplitSink<WebSocket, Message>, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some((message, _guard)) = queue.recv().await {
        let Ok(text) = Utf8Bytes::try_from(message) else {
            continue;
        };
        if sink.send(Message::Text(text)).await.is_err() {
            // The other direction knows why.
            std::future::pending::<()>().await;
        }
    }
    let _ = sink.close().await;
}

type SharedSend = Arc<tokio::sync::Mutex<Option<GatewaySend>>>;

/// The streams of the client.
struct Streams {
    shared: Arc<Shared>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    senders: HashMap<u64, SharedSend>,
    /// The streams of calls, by the text of their ids.
    calls: HashMap<String, u64>,
    /// The streams on which the client sends no more.
    ended: Vec<u64>,
}

impl Streams {
    fn open(&self) -> MutexGuard<'_, Open> {
        locked(&self.open)
    }

    /// Sends the messages of a stream.
    async fn carry(
        self: Arc<Self>,
        number: u64,
        recv: GatewayRecv,
        sender: mpsc::Sender<Outgoing>,
    ) {
        let mut lines = Lines::new(recv);
        while let Ok(Some(line)) = lines.next().await {
            let envelope = Envelope::of(&line);
            let id = envelope.id().map(str::to_owned);
            let guard = match &id {
                Some(_) => None,
                None => Some(self.shared.notification()),
            };
            if let Some(id) = id {
                self.open().calls.insert(id, number);
            }
            if sender.send((line, guard)).await.is_err() {
                return;
            }
        }
        let ended = {
            let mut open = self.open();
            open.ended.push(number);
            open.take_if_done(number)
        };
        finish(ended).await;
    }

    /// Passes messages of the server on. Returns the reason why there are no more.
    async fn receive_all(
        self: Arc<Self>,
        mut incoming: SplitStream<WebSocket>,
        sender: mpsc::Sender<Outgoing>,
    ) -> Option<Failure> {
        loop {
            match incoming.next().await {
                Some(Ok(Message::Text(text))) => self.receive(text.as_bytes(), &sender).await,
                Some(Ok(Message::Binary(bytes))) => self.receive(&bytes, &sender).await,
                Some(Ok(Message::Close(Some(close)))) => return Some(self.closed(&close)),
                Some(Ok(_)) => {}
                Some(Err(Error::Capacity(_))) => return Some(self.too_large()),
                Some(Err(error)) => return Some(refused::lost(&self.shared, &error)),
                None => {
                    let message = format!("{}: the server closed the connection", self.shared.url);
                    return Some(Failure::new(Status::Unreachable, message));
                }
            }
        }
    }

    fn too_large(&self) -> Failure {
        let limit = Size(self.shared.needs.max_reply);
        let message = format!("{}: a message is too large", self.shared.url);
        let failure = Failure::new(Status::Unusable, message);
        failure.tip(format!(
            "the limit is {limit}; raise it with `--max-reply SIZE`"
        ))
    }

    fn closed(&self, close: &CloseFrame) -> Failure {
        let CloseFrame { code, reason } = close;
        let code = u16::from(*code);
        let url = &self.shared.url;
        let message = match reason.is_empty() {
            true => format!("{url}: the server closed the connection with the code {code}"),
            false => format!("{url}: the server closed the connection: {reason} ({code})"),
        };
        Failure::new(Status::Unreachable, message)
    }

    async fn receive(&self, message: &[u8], sender: &mpsc::Sender<Outgoing>) {
        let envelope = Envelope::of(message);
        let (method, id) = (envelope.method.as_deref(), envelope.id());
        if let (Some(_), Some(id)) = (method, id) {
            // This client has no services.
            let reply = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{METHOD_NOT_FOUND},"message":"Method not found"}}}}"#
            );
            let _ = sender.try_send((reply.into(), None));
            return;
        }
        let is_reply = method.is_none();
        let call = if is_reply {
            id
        } else {
            envelope.id_of_params()
        };
        let (send, ended) = {
            let mut open = self.open();
            let number = open.stream_of(call, is_reply);
            let send = number.and_then(|number| open.senders.get(&number).cloned());
            let ended = number.and_then(|number| open.take_if_done(number));
            (send, ended)
        };
        if let Some(send) = send
            && let Some(send) = &mut *send.lock().await
            && poll_fn(|cx| send.poll_ready(cx)).await.is_ok()
        {
            send.send(line_of(message));
        }
        finish(ended).await;
    }
}

/// Ends a stream whose calls have been answered.
async fn finish(ended: Option<SharedSend>) {
    if let Some(ended) = ended
        && let Some(send) = ended.lock().await.take()
    {
        send.finish();
    }
}

impl Open {
    /// Returns the stream of a message of the server. A reply ends its call.
    fn stream_of(&mut self, id: Option<&str>, is_reply: bool) -> Option<u64> {
        match id {
            // Some servers make a string of the id.
            Some(id) => {
                let number = id.trim_matches('"');
                let known = [id, number]
                    .into_iter()
                    .find(|id| self.calls.contains_key(*id))?;
                match is_reply {
                    true => self.calls.remove(known),
                    false => self.calls.get(known).copied(),
                }
            }
            // An error without an id is the reply to the only call.
            None if is_reply && self.calls.len() == 1 => {
                self.calls.drain().map(|(_, number)| number).next()
            }
            None => None,
        }
    }

    /// Takes a stream on which neither side sends any more.
    fn take_if_done(&mut self, number: u64) -> Option<SharedSend> {
        let is_done = self.ended.contains(&number) && !self.calls.values().any(|it| *it == number);
        match is_done {
            true => {
                self.ended.retain(|it| *it != number);
                self.senders.remove(&number)
            }
            false => None,
        }
    }
}
