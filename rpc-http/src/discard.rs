//! Discards what a client sends of a body that is not read.
//!
//! Many clients send all of their body before they read the response. If the server stopped to read, TCP or HTTP/2 would reset
//! what carries the response, and such a client would not learn why its request was refused.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Buf;
use http::Request;
use http::header::EXPECT;
use http_body::Body;
use tokio::task::coop;
use tokio::time::timeout;

/// Maximum number of bytes of a body that are discarded.
pub(crate) const MAX_DISCARDED: usize = 8 << 20;

/// Maximum time until more of a body that is discarded arrives.
const PAUSE: Duration = Duration::from_secs(1);

/// Discards the body of a request that is refused, in a task of its own, so that the response is sent meanwhile.
pub(crate) fn rest_of<B>(request: Request<B>)
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    // A client that waits for `100 Continue` sends no body.
    if request.headers().contains_key(EXPECT) || request.body().is_end_stream() {
        return;
    }
    let body = request.into_body();
    tokio::spawn(async move {
        let mut body = pin!(body);
        let mut left = MAX_DISCARDED;
        while left > 0 {
            coop::consume_budget().await;
            let frame = timeout(PAUSE, poll_fn(|cx| body.as_mut().poll_frame(cx))).await;
            let Ok(Some(Ok(frame))) = frame else { return };
            if let Ok(data) = frame.into_data() {
                left = left.saturating_sub(data.remaining());
            }
        }
    });
}
