//! Sends each message as one request of HTTP.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use rpc_runtime::gateway::{CarriedConnection, GatewayRecv, GatewaySend};
use serde_json::json;
use tokio::task::{AbortHandle, JoinSet};
use tower_service::Service;

use crate::carrier::connector::{Connector, Socket};
use crate::carrier::lines::{Envelope, Lines, line_of};
use crate::carrier::refused;
use crate::carrier::shared::{Shared, locked};
use crate::failure::Failure;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// The code of an error that stands for a response that is no answer.
const REFUSED: i64 = -32000;

type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// The requests of a carrier.
pub(super) struct Http {
    shared: Arc<Shared>,
    client: legacy::Client<Connect, RequestBody>,
    /// The requests of calls that can be cancelled, by the text of their ids.
    running: Mutex<HashMap<String, AbortHandle>>,
}

impl Http {
    /// Uses the socket for the first request.
    pub(super) fn new(shared: Arc<Shared>, connector: Connector, socket: Socket) -> Arc<Self> {
        let connect = Connect {
            connector: Arc::new(connector),
            first: Arc::new(Mutex::new(Some(socket))),
        };
        let client = legacy::Client::builder(TokioExecutor::new()).build(connect);
        Arc::new(Self {
            shared,
            client,
            running: Mutex::default(),
        })
    }

    /// Carries the streams of the connection.
    pub(super) async fn run(self: Arc<Self>, connection: CarriedConnection) {
        while let Ok((send, recv)) = connection.accept_stream().await {
            tokio::spawn(Arc::clone(&self).carry(send, recv));
        }
    }

    /// Carries a stream to its end.
    async fn carry(self: Arc<Self>, send: Option<GatewaySend>, recv: GatewayRecv) {
        let mut lines = Lines::new(recv);
        let stream = Arc::new(OpenStream::new(send));
        let mut calls = JoinSet::new();
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                Some(_) = calls.join_next(), if !calls.is_empty() => continue,
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => break,
                // The client has cancelled the calls of the stream.
                Err(_) => return,
            };
            let envelope = Envelope::of(&line);
            let method = envelope.method.as_deref().unwrap_or_default();
            if self.shared.needs.has_items && !method.starts_with("rpc.") {
                if let Some(send) = stream.take().await {
                    self.exchange(line, lines, send).await;
                }
                return;
            }
            if method == "rpc.cancel" {
                self.cancel(envelope.id_of_params());
                continue;
            }
            let id = envelope.id().map(str::to_owned);
            let (http, stream) = (Arc::clone(&self), Arc::clone(&stream));
            match id {
                None => {
                    let guard = self.shared.notification();
                    // It goes on after the client has ended the stream.
                    tokio::spawn(async move {
                        let _guard = guard;
                        http.notify(line).await;
                    });
                }
                Some(id) => {
                    let call = http.call(line, id.clone(), stream);
                    let handle = calls.spawn(call);
                    self.running().insert(id, handle);
                }
            }
        }
        stream.has_ended.store(true, Ordering::SeqCst);
        while calls.join_next().await.is_some() {}
        if let Some(send) = stream.take().await {
            send.finish();
        }
    }

    async fn notify(&self, line: Bytes) {
        if let Err(failure) = self.post(line).await {
            self.shared.refuse_notification(failure);
        }
    }

    /// Makes a call, and sends its reply to the stream.
    async fn call(self: Arc<Self>, line: Bytes, id: String, stream: Arc<OpenStream>) {
        let answered = self.post(line).await;
        self.running().remove(&id);
        let answered = answered.and_then(|(status, reply)| match reply.trim_ascii().is_empty() {
            true => Err(refused::unanswered(&self.shared, status)),
            false => Ok(reply),
        });
        match answered {
            Ok(reply) => {
                self.shared.succeed();
                stream.send(line_of(&reply)).await;
            }
            Err(failure) => {
                let reason = failure.message().to_owned();
                self.shared.fail(failure);
                if stream.has_ended.load(Ordering::SeqCst) {
                    // The stream is that of this call alone, which ends with it.
                    drop(stream.take().await);
                    return;
                }
                let error = json!({"code": REFUSED, "message": reason});
                let reply = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
                stream.send(line_of(reply.as_bytes())).await;
            }
        }
    }

    /// Sends one message, and returns the status and the body of the response.
    async fn post(&self, line: Bytes) -> Result<(http::StatusCode, Bytes), Failure> {
        let body = Full::new(line).map_err(|never| match never {});
        let response = self.request(JSON, UnsyncBoxBody::new(body)).await?;
        let (head, body) = response.into_parts();
        let body = self.collect(body).await?;
        let starts_as_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
        match head.status.is_success() {
            true if body.trim_ascii().is_empty() || starts_as_json => Ok((head.status, body)),
            true => Err(refused::not_json(&self.shared, &head)),
            // Some servers answer with an error of JSON-RPC and another status than 200.
            false if starts_as_json && is_reply(&body) => Ok((head.status, body)),
            false => Err(refused::refused(&self.shared, &head, &body)),
        }
    }

    /// Sends a stream as the body of a request, and the body of the response to the stream.
    async fn exchange(&self, first: Bytes, lines: Lines, mut send: GatewaySend) {
        let (rest, recv) = lines.into_rest();
        let begun = [&first[..], b"\n", &rest[..]].concat();
        let body = StreamBody {
            begun: Some(begun.into()),
            recv,
        };
        let response = match self.request(NDJSON, UnsyncBoxBody::new(body)).await {
            Ok(response) => response,
            Err(failure) => return self.shared.fail(failure),
        };
        let (head, mut body) = response.into_parts();
        let content_type = head.headers.get(CONTENT_TYPE).map(|it| it.as_bytes());
        let has_lines = content_type.is_some_and(|it| {
            let types = [NDJSON, JSON];
            types.iter().any(|name| it.starts_with(name.as_bytes()))
        });
        if !head.status.is_success() || !has_lines {
            let failure = match (head.status.is_success(), self.collect(body).await) {
                (_, Err(failure)) => failure,
                (true, Ok(_)) => refused::not_json(&self.shared, &head),
                (false, Ok(body)) => refused::refused(&self.shared, &head, &body),
            };
            return self.shared.fail(failure);
        }
        let mut is_empty = true;
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                // A server of HTTP/1.1 that has answered before the end of the items closes the connection.
                Err(_) if is_over(&mut send).await => return,
                Err(error) => return self.shared.fail(refused::lost(&self.shared, &error)),
            };
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            if is_over(&mut send).await {
                return;
            }
            is_empty &= chunk.trim_ascii().is_empty();
            send.send(chunk);
        }
        match is_empty {
            true => self
                .shared
                .fail(refused::unanswered(&self.shared, head.status)),
            false => send.finish(),
        }
    }

    async fn request(
        &self,
        content_type: &'static str,
        body: RequestBody,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.shared.url.uri.clone();
        *request.headers_mut() = self.headers(content_type);
        self.client.request(request).await.map_err(|error| {
            // The connector knows more.
            let known = error.is_connect().then(|| self.shared.take_failure());
            known
                .flatten()
                .unwrap_or_else(|| refused::lost(&self.shared, &error))
        })
    }

    fn headers(&self, content_type: &'static str) -> HeaderMap {
        let mut headers = self.shared.headers.clone();
        for name in [CONTENT_TYPE, ACCEPT] {
            headers.insert(name, http::HeaderValue::from_static(content_type));
        }
        headers
    }

    /// Receives a body, up to a size that the client rejects.
    async fn collect(&self, mut body: Incoming) -> Result<Bytes, Failure> {
        let enough = self.shared.needs.max_reply.saturating_add(1024);
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| refused::lost(&self.shared, &error))?;
            if let Ok(chunk) = frame.into_data() {
                received.extend_from_slice(&chunk);
            }
            if received.len() > enough {
                break;
            }
        }
        Ok(received.into())
    }

    fn cancel(&self, id: Option<&str>) {
        if let Some(call) = id.and_then(|id| self.running().remove(id)) {
            call.abort();
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        locked(&self.running)
    }
}

/// Returns `true` if the client has its reply, and reads no further.
async fn is_over(send: &mut GatewaySend) -> bool {
    poll_fn(|cx| send.poll_ready(cx)).await.is_err()
}

/// Returns `true` if a body is a reply of JSON-RPC.
fn is_reply(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Reply<'b> {
        #[serde(borrow)]
        error: Option<&'b serde_json::value::RawValue>,
        id: Option<serde::de::IgnoredAny>,
        jsonrpc: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Reply<'_>>(body)
        .is_ok_and(|reply| reply.error.is_some() && (reply.id.or(reply.jsonrpc)).is_some())
}

/// A stream of the client.
struct OpenStream {
    send: tokio::sync::Mutex<Option<GatewaySend>>,
    /// The client sends no more on it.
    has_ended: AtomicBool,
}

impl OpenStream {
    fn new(send: Option<GatewaySend>) -> Self {
        Self {
            send: tokio::sync::Mutex::new(send),
            has_ended: AtomicBool::new(false),
        }
    }

    async fn take(&self) -> Option<GatewaySend> {
        self.send.lock().await.take()
    }

    async fn send(&self, line: Bytes) {
        let mut send = self.send.lock().await;
        if let Some(send) = &mut *send
            && poll_fn(|cx| send.poll_ready(cx)).await.is_ok()
        {
            send.send(line);
        }
    }
}

/// The client's half of a stream.
struct StreamBody {
    /// What was received before the request.
    begun: Option<Bytes>,
    recv: GatewayRecv,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(begun) = self.begun.take() {
            return Poll::Ready(Some(Ok(Frame::data(begun))));
        }
        let received = self.recv.poll_recv(cx).map_err(io::Error::other);
        received.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

/// Connects for the pool of connections.
#[derive(Clone)]
struct Connect {
    connector: Arc<Connector>,
    first: Arc<Mutex<Option<Socket>>>,
}

impl Service<Uri> for Connect {
    type Response = Socket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let first = locked(&self.first).take();
        let connector = Arc::clone(&self.connector);
        Box::pin(async move {
            match first {
                Some(socket) => Ok(socket),
                None => connector.connect().await.map_err(|failure| {
                    connector.fail(failure);
                    io::Error::other("no connection")
                }),
            }
        })
    }
}
