//! Answers a request whose body is the client's half of a stream. The response is the server's half.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue};
use http::{Request, Response, Version};
use http_body::Body;
use rpc_runtime::gateway::{CallDefaults, GatewayRecv, GatewaySend};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::body::ResponseBody;
use crate::media::{ContentType, EVENTS, NDJSON, ReplyForm};
use crate::pump::{Pump, Upload};
use crate::refusal::Refusal;
use crate::session::RequestConnection;
use crate::stream_body::StreamBody;

/// Keeps reverse proxies from holding lines back. nginx reads it.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers a request with a stream, at once.
pub(crate) async fn answer<B>(
    connection: RequestConnection,
    request: Request<B>,
    forms: (ContentType, ReplyForm),
    defaults: Option<Arc<CallDefaults>>,
) -> Result<Response<ResponseBody>, Refusal>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    if request.version() < Version::HTTP_11 {
        // The end of the connection ends the body, so a body that is cut would look complete.
        return Err(Refusal::VersionNotSupported);
    }
    let stream = match connection.stream() {
        Some(id) => connection.open_stream_as(id, defaults)?,
        None => connection.open_stream(defaults)?,
    };
    Ok(exchange(connection, stream, request, forms).await)
}

/// Returns the response that carries `stream` while the body of the request is sent to it.
pub(crate) async fn exchange<B>(
    connection: RequestConnection,
    (send, recv): (GatewaySend, GatewayRecv),
    request: Request<B>,
    (content_type, form): (ContentType, ReplyForm),
) -> Response<ResponseBody>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let version = request.version();
    let expects_continue = version == Version::HTTP_11 && request.headers().contains_key(EXPECT);
    let (begun, has_begun) = expects_continue.then(oneshot::channel).unzip();
    let upload = Upload {
        send,
        content_type,
        version,
        begun,
    };
    let pump = Pump::spawn(request.into_body(), upload);
    if let Some(has_begun) = has_begun {
        // hyper sends `100 Continue` when the body was polled, and not after the head of the response.
        let _ = has_begun.await;
        yield_now().await;
    }
    respond(StreamBody::new(recv, pump, version, connection), form)
}

/// Returns the response that carries a stream.
pub(crate) fn respond(body: StreamBody, form: ReplyForm) -> Response<ResponseBody> {
    let (content_type, body) = match form {
        ReplyForm::Events => (EVENTS, body.into_events()),
        ReplyForm::Whole | ReplyForm::Lines => (NDJSON, body),
    };
    let mut response = Response::new(ResponseBody::stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
