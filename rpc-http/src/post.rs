//! Answers a request that holds one message or one batch.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use rpc_runtime::gateway::{GatewayCall, GatewayConnection, ServiceSet};

use crate::body::ResponseBody;
use crate::refusal::Refusal;

/// Answers a request. Its headers are checked before its body is read.
pub(crate) async fn answer<B: Body>(
    services: &ServiceSet,
    connection: &GatewayConnection,
    request: Request<B>,
) -> Result<Response<ResponseBody>, Refusal> {
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let max_bytes = services.limits().max_request_bytes;
    let is_too_large = body.size_hint().lower() > max_bytes as u64;
    if is_too_large {
        return Err(Refusal::PayloadTooLarge { max_bytes });
    }
    let mut call = connection.call(None);
    receive(body, &mut call, max_bytes).await?;
    Ok(respond(call.answer().await))
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
        // The client has disconnected, so the answer is never read.
        let Ok(frame) = frame else { break };
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        received += data.remaining();
        if received > max_bytes {
            return Err(Refusal::PayloadTooLarge { max_bytes });
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
