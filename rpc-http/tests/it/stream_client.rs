//! A client of streams: hyper's, with HTTP/1.1 and with HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The longest time that a test waits for something that happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time after which a client that cannot send waits for the server.
const STALL: Duration = Duration::from_millis(300);

/// Waits for something that happens soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>, what: &str) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// With prior knowledge.
    Http2,
}

pub(crate) const VERSIONS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Reads from a connection up to and including `end`.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        read.push(soon(stream.read_u8(), end).await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// The error of a body that the client has cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has cut the body")]
pub(crate) struct Aborted;

type Body = Channel<Bytes, Aborted>;

/// A connection of hyper's client.
#[derive(Debug)]
pub(crate) enum HttpClient {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl HttpClient {
    pub(crate) async fn connect(version: Protocol, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        match version {
            Protocol::Http1 => {
                let (send, connection) = http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(send)
            }
            Protocol::Http2 => {
                let (send, connection) = http2::Builder::new(TokioExecutor::new())
                    .handshake(io)
                    .await
                    .unwrap();
                tokio::spawn(connection);
                Self::Http2(send)
            }
        }
    }

    /// Sends a request whose body goes on, and waits for the head of the response.
    pub(crate) async fn open(&mut self, headers: &[(&str, &str)]) -> Exchange {
        let (send, body) = Channel::new(1);
        let mut request = match self {
            Self::Http1(_) => Request::post("/").header("host", "localhost"),
            Self::Http2(_) => Request::post("http://localhost/"),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let response = match self {
            Self::Http1(client) => soon(client.send_request(request), "a response").await,
            Self::Http2(client) => soon(client.send_request(request), "a response").await,
        };
        Exchange {
            send: Some(send),
            response: response.unwrap(),
            unread: Vec::new(),
        }
    }

    /// Opens a stream of messages.
    pub(crate) async fn open_stream(&mut self) -> Exchange {
        self.open(&[("content-type", "application/x-ndjson")]).await
    }
}

/// A request and its response, both of which go on.
#[derive(Debug)]
pub(crate) struct Exchange {
    send: Option<Sender<Bytes, Aborted>>,
    pub(crate) response: Response<Incoming>,
    unread: Vec<u8>,
}

impl Exchange {
    /// Sends bytes. Waits until the client has taken them.
    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>) {
        let send = self.send.as_mut().unwrap();
        send.send_data(bytes.into()).await.unwrap();
    }

    /// Sends bytes, unless the client has to wait for the server.
    pub(crate) async fn sends_soon(&mut self, bytes: &str) -> bool {
        let send = self.send.as_mut().unwrap();
        let sending = send.send_data(Bytes::copy_from_slice(bytes.as_bytes()));
        matches!(tokio::time::timeout(STALL, sending).await, Ok(Ok(())))
    }

    /// Resets the client's half.
    pub(crate) fn abort(&mut self) {
        self.send.take().unwrap().abort(Aborted);
    }

    /// Ends the body of the request.
    pub(crate) fn finish(&mut self) {
        self.send = None;
    }

    /// Receives a line, without its LF. Returns `None` at the end of the body, and an error if the body was cut.
    pub(crate) async fn line(&mut self) -> Result<Option<String>, hyper::Error> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.unread, rest);
                line.pop();
                return Ok(Some(String::from_utf8(line).unwrap()));
            }
            match soon(self.response.body_mut().frame(), "a line").await {
                Some(frame) => self.unread.extend(frame?.into_data().unwrap_or_default()),
                None if self.unread.is_empty() => return Ok(None),
                None => panic!("the last line is cut"),
            }
        }
    }

    /// Receives the rest of the body.
    pub(crate) async fn rest(&mut self) -> String {
        let rest = soon(self.response.body_mut().collect(), "the rest of the body").await;
        String::from_utf8(rest.unwrap().to_bytes().into()).unwrap()
    }

    /// Carries out a transcript in the notation of `PROTOCOL.md`. `--> (end)` and `<-- (end)` are the ends of the bodies.
    pub(crate) async fn run(&mut self, transcript: &str) {
        for step in transcript
            .lines()
            .map(str::trim)
            .filter(|step| !step.is_empty())
        {
            match step.split_at_checked(4) {
                Some(("--> ", "(end)")) => self.finish(),
                Some(("--> ", message)) => self.send(format!("{message}\n")).await,
                Some(("<-- ", "(end)")) => assert_eq!(self.line().await.unwrap(), None),
                Some(("<-- ", reply)) => {
                    assert_eq!(self.line().await.unwrap().as_deref(), Some(reply));
                }
                _ => panic!("not a step of a transcript: {step}"),
            }
        }
    }
}
