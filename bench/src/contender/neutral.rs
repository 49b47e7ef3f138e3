//! Clients that belong to no framework, so that the same client drives the servers of two frameworks.
//!
//! They write messages with serde_json. A caller has one call in flight, so the id of its calls is its number.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::CONTENT_TYPE;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::caller::Calls;
use crate::work::Order;

/// A call as JSON-RPC.
#[derive(Serialize)]
struct Call<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Reply<T> {
    result: T,
}

#[derive(Deserialize)]
struct ReplyHead {
    id: u64,
}

/// Sends a message and receives its reply.
trait Exchange: Clone + Send + Sync + 'static {
    /// Returns the id of this caller's calls.
    fn id(&self) -> u64;

    fn exchange(&mut self, message: Vec<u8>) -> impl Future<Output = Result<Bytes>> + Send;
}

async fn call<T: DeserializeOwned>(
    client: &mut impl Exchange,
    method: &str,
    params: impl Serialize + Send,
) -> Result<T> {
    let call = Call {
        jsonrpc: "2.0",
        id: client.id(),
        method,
        params,
    };
    let message = serde_json::to_vec(&call)?;
    let reply = client.exchange(message).await?;
    let Reply { result } = serde_json::from_slice(&reply)?;
    Ok(result)
}

impl<E: Exchange> Calls for E {
    type Order = Order;
    type Orders = &'static [Order];
    type Text = &'static str;

    fn make_order(order: &Order) -> Order {
        order.clone()
    }

    fn make_orders(orders: &'static [Order]) -> Self::Orders {
        orders
    }

    fn make_text(text: &'static str) -> Self::Text {
        text
    }

    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        call(self, "add", (a, b)).await
    }

    async fn record(&mut self, order: Order) -> Result<Order> {
        call(self, "record", (&order,)).await
    }

    async fn batch(&mut self, orders: &Self::Orders) -> Result<u64> {
        call(self, "batch", (orders,)).await
    }

    async fn text(&mut self, text: &Self::Text) -> Result<u64> {
        call(self, "text", (text,)).await
    }
}

/// POST over HTTP/1.1, with a connection for each caller. It reads no more of the head of a response than the length.
pub(crate) struct Http1 {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Http1 {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            buffer: Vec::new(),
        }
    }
}

impl Clone for Http1 {
    fn clone(&self) -> Self {
        Self::new(self.address)
    }
}

impl Exchange for Http1 {
    fn id(&self) -> u64 {
        1
    }

    async fn exchange(&mut self, message: Vec<u8>) -> Result<Bytes> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            stream => {
                let connected = TcpStream::connect(self.address).await?;
                connected.set_nodelay(true)?;
                stream.insert(connected)
            }
        };
        let mut request = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            message.len()
        )
        .into_bytes();
        request.extend_from_slice(&message);
        stream.write_all(&request).await?;
        self.buffer.clear();
        loop {
            ensure!(stream.read_buf(&mut self.buffer).await? > 0, "disconnected");
            if let Some(body) = body_of(&self.buffer)? {
                return Ok(Bytes::copy_from_slice(body));
            }
        }
    }
}

/// Returns the body of a response if all of it has been received.
fn body_of(response: &[u8]) -> Result<Option<&[u8]>> {
    const END: &[u8] = b"\r\n\r\n";
    const LENGTH: &str = "content-length:";
    let Some(end) = response.windows(END.len()).position(|part| part == END) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&response[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix(LENGTH));
    let length: usize = length.context("no length")?.trim().parse()?;
    Ok(response[end + END.len()..].get(..length))
}

/// POST over one connection of HTTP/2, with hyper.
#[derive(Clone)]
pub(crate) struct Http2 {
    uri: String,
    send: SendRequest<Full<Bytes>>,
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            uri: format!("http://{address}/"),
            send,
        })
    }
}

impl Exchange for Http2 {
    fn id(&self) -> u64 {
        1
    }

    async fn exchange(&mut self, message: Vec<u8>) -> Result<Bytes> {
        let request = Request::post(&self.uri)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(message))?;
        let response = self.send.send_request(request).await?;
        ensure!(response.status() == 200, "{}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

/// The channels on which callers wait for their replies, by the ids of their calls.
type Callers = Arc<Mutex<Vec<mpsc::Sender<Bytes>>>>;

/// One WebSocket, with tokio-tungstenite. All messages that are ready are written at once.
pub(crate) struct WebSocket {
    id: u64,
    messages: mpsc::Sender<Vec<u8>>,
    replies: mpsc::Receiver<Bytes>,
    callers: Callers,
}

impl WebSocket {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let (socket, _) =
            tokio_tungstenite::connect_async_with_config(format!("ws://{address}/"), None, true)
                .await?;
        let (messages, receiver) = mpsc::channel(4096);
        let callers = Callers::default();
        tokio::spawn(drive(socket, receiver, Arc::clone(&callers)));
        Ok(Self::with(messages, callers))
    }

    fn with(messages: mpsc::Sender<Vec<u8>>, callers: Callers) -> Self {
        let (reply, replies) = mpsc::channel(1);
        let mut all = callers.lock().unwrap_or_else(PoisonError::into_inner);
        let id = all.len() as u64;
        all.push(reply);
        drop(all);
        Self {
            id,
            messages,
            replies,
            callers,
        }
    }
}

impl Clone for WebSocket {
    fn clone(&self) -> Self {
        Self::with(self.messages.clone(), Arc::clone(&self.callers))
    }
}

impl Exchange for WebSocket {
    fn id(&self) -> u64 {
        self.id
    }

    async fn exchange(&mut self, message: Vec<u8>) -> Result<Bytes> {
        self.messages.send(message).await?;
        self.replies.recv().await.context("disconnected")
    }
}

/// Writes messages and passes replies to their callers until all callers have ended.
async fn drive(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut messages: mpsc::Receiver<Vec<u8>>,
    callers: Callers,
) -> Result<()> {
    loop {
        tokio::select! {
            message = messages.recv() => {
                let mut message = message.context("no callers")?;
                loop {
                    let text = Utf8Bytes::try_from(message)?;
                    socket.feed(Message::Text(text)).await?;
                    match messages.try_recv() {
                        Ok(next) => message = next,
                        Err(_) => break,
                    }
                }
                socket.flush().await?;
            }
            received = socket.next() => {
                let reply = match received.context("disconnected")?? {
                    Message::Text(text) => Bytes::from(text),
                    _ => continue,
                };
                let ReplyHead { id } = serde_json::from_slice(&reply)?;
                let callers = callers.lock().unwrap_or_else(PoisonError::into_inner);
                callers.get(id as usize).context("an unknown id")?.try_send(reply)?;
            }
        }
    }
}
