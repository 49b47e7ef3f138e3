//! Answers a request that holds one message or one batch.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use rpc_runtime::gateway::{CallDefaults, GatewayCall, GatewayConnection, ServiceSet};
use tokio::time::timeout;

use crate::body::ResponseBody;
use crate::refusal::Refusal;

/// Answers a request. Its headers are checked before its body is read.
pub(crate) async fn answer<B: Body>(
    services: &ServiceSet,
    connection: &GatewayConnection,
    request: Request<B>,
    defaults: Option<Arc<CallDefaults>>,
) -> Result<Response<ResponseBody>, Refusal> {
    let (head, body) = request.into_parts();
    check_content(&head.headers)?;
    let limits = services.limits();
    let max_bytes = limits.max_request_bytes;
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(Refusal::BodyTooLarge { max_bytes });
    }
    let mut call = connection.call(defaults);
    let received = timeout(limits.message_timeout, receive(body, &mut call, max_bytes));
    received.await.map_err(|_| Refusal::BodyTimedOut)??;
    Ok(respond(call.answer().await))
}

/// Checks that the body is JSON without an encoding. Encodings are not accepted, since a small body could become a large one.
fn check_content(headers: &HeaderMap) -> Result<(), Refusal> {
    if !is_json(headers) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let encoding = headers.get(CONTENT_ENCODING);
    match encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        true => Err(Refusal::UnsupportedEncoding),
        false => Ok(()),
    }
}

/// Returns `true` if the body is JSON, by its content type.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    essence.is_some_and(|essence| {
        ["application/json", "application/json-rpc"]
            .iter()
            .any(|json| essence.eq_ignore_ascii_case(json))
    })
}

/// Receives the body into the buffer of the call, without a copy between.
async fn receive<B: Body>(
    body: B,
    call: &mut GatewayCall,
    max_bytes: usize,
) -> Result<(), Refusal> {
    let mut body = pin!(body);
    let mut received = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Refusal::BodyBroken)?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        received += data.remaining();
        if received > max_bytes {
            return Err(Refusal::BodyTooLarge { max_bytes });
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            call.push(chunk);
            data.advance(chunk.len());
        }
    }
    Ok(())
}

/// Returns the response that holds a reply. A message without a reply has status 204.
fn respond(reply: Bytes) -> Response<ResponseBody> {
    if reply.is_empty() {
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return response;
    }
    let mut response = Response::new(ResponseBody::whole(reply));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
