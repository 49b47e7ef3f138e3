//! Discards what a client sends of a body that is not read.
//!
//! Many clients send all of their body before they read the response. If the server stopped reading, TCP or HTTP/2 would reset
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

/// Maximum time for which a body is discarded.
const MAX_TIME: Duration = Duration::from_secs(10);

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
    tokio::spawn(timeout(MAX_TIME, async move {
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
    }));
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use bytes::Bytes;
    use http_body::Frame;
    use tokio::sync::oneshot;
    use tokio::time::{Instant, Interval, interval};

    use super::*;

    /// A body of a byte every half a second, without end.
    struct Trickle {
        ticks: Interval,
        _dropped: oneshot::Sender<()>,
    }

    impl Body for Trickle {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            ready!(self.ticks.poll_tick(cx));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_body_of_a_refused_request_is_discarded_for_a_limited_time() {
        let (sender, dropped) = oneshot::channel();
        let begun = Instant::now();
        rest_of(Request::new(Trickle {
            ticks: interval(PAUSE / 2),
            _dropped: sender,
        }));
        dropped.await.unwrap_err();
        assert_eq!(begun.elapsed(), MAX_TIME);
    }
}
