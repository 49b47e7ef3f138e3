//! Answers a request that holds one message or one batch.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body;
use rpc_runtime::gateway::{CallDefaults, GatewayCall, GatewayConnection, ServiceSet};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::body::ResponseBody;
use crate::discard::MAX_DISCARDED;
use crate::refusal::Refusal;

/// Answers a request, whose head has been checked.
pub(crate) async fn answer<B: Body>(
    services: &ServiceSet,
    connection: &GatewayConnection,
    body: B,
    defaults: Option<Arc<CallDefaults>>,
) -> Result<Response<ResponseBody>, Refusal> {
    let limits = services.limits();
    let max_bytes = limits.max_request_bytes;
    let mut call = connection.call(defaults);
    let received = receive(body, &mut call, max_bytes);
    match in_time(limits.message_timeout, received).await {
        Ok(received) => received?,
        Err(_) => {
            call.time_out();
            return Err(Refusal::BodyTimedOut);
        }
    }
    Ok(respond(call.answer().await, limits.write_timeout))
}

/// Resolves as `received` does, within `limit`. Most bodies have arrived with the head, and need no timer.
async fn in_time<T>(limit: Duration, received: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut received = pin!(received);
    match poll_fn(|cx| Poll::Ready(received.as_mut().poll(cx))).await {
        Poll::Ready(received) => Ok(received),
        Poll::Pending => timeout(limit, received).await,
    }
}

/// Receives the body into the buffer of the call, without a copy between.
async fn receive<B: Body>(
    body: B,
    call: &mut GatewayCall,
    max_bytes: usize,
) -> Result<(), Refusal> {
    let mut body = pin!(body);
    let mut received: usize = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Refusal::BodyBroken)?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        received += data.remaining();
        if received > max_bytes {
            // A client may send all of its body before it reads the answer.
            if received < MAX_DISCARDED {
                continue;
            }
            break;
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            call.push(chunk);
            data.advance(chunk.len());
        }
    }
    match received > max_bytes {
        true => Err(Refusal::BodyTooLarge { max_bytes }),
        false => Ok(()),
    }
}

/// Returns the response that holds a reply. A message without a reply has status 204.
fn respond(reply: Bytes, write_timeout: Duration) -> Response<ResponseBody> {
    if reply.is_empty() {
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return response;
    }
    let mut response = Response::new(ResponseBody::reply(reply, write_timeout));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
