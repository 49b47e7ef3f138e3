//! Answers requests that carry the other streams of a client over HTTP/2: unidirectional streams, and streams of the server.

use std::future::poll_fn;

use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use http_body::Body;
use rpc_runtime::ServerHandle;
use rpc_runtime::gateway::{GatewaySend, header};

use crate::body::ResponseBody;
use crate::media::{ContentType, ReplyForm};
use crate::pump::{Pump, Upload};
use crate::refusal::Refusal;
use crate::session::RequestConnection;
use crate::stream::respond;
use crate::stream_body::StreamBody;

/// Answers a request that names the kind of its stream.
pub(crate) async fn answer<B>(
    handle: ServerHandle,
    connection: RequestConnection,
    request: Request<B>,
) -> Result<Response<ResponseBody>, Refusal>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let kind = request.headers().get(header::STREAM_KIND);
    match kind {
        Some(kind) if kind == header::ACCEPT => accept(handle, connection, request).await,
        Some(kind) if kind == header::UNI => receive(connection, request).await,
        _ => Err(Refusal::BadSession),
    }
}

/// Receives a unidirectional stream of the client. The response tells that all of it was received.
async fn receive<B>(
    connection: RequestConnection,
    request: Request<B>,
) -> Result<Response<ResponseBody>, Refusal>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let id = connection.stream().ok_or(Refusal::BadSession)?;
    let send = connection.open_uni_as(id)?;
    let mut pump = spawn(send, request);
    poll_fn(|cx| pump.poll_done(cx)).await;
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Waits until the server opens a stream to the client, and returns the response that carries it.
async fn accept<B>(
    handle: ServerHandle,
    connection: RequestConnection,
    request: Request<B>,
) -> Result<Response<ResponseBody>, Refusal>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let (send, recv) = connection.accept_stream().await?;
    let (id, is_uni) = (recv.id(), send.is_none());
    // The client has no half of a unidirectional stream.
    let pump = send.map(|send| spawn(send, request));
    let until = Box::pin(async move { handle.draining().await });
    let body = StreamBody::accepted(recv, pump, until, connection);
    let mut response = respond(body, ReplyForm::Lines);
    let headers = response.headers_mut();
    headers.insert(header::STREAM, id.into());
    if is_uni {
        headers.insert(header::STREAM_KIND, HeaderValue::from_static(header::UNI));
    }
    Ok(response)
}

fn spawn<B>(send: GatewaySend, request: Request<B>) -> Pump
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let upload = Upload {
        send,
        content_type: ContentType::Ndjson,
        version: request.version(),
        begun: None,
    };
    Pump::spawn(request.into_body(), upload)
}
