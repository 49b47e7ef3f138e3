//! The task that sends the body of a request to a stream.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Version;
use http_body::{Body, Frame};
use rpc_runtime::gateway::GatewaySend;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, coop};

use crate::discard::MAX_DISCARDED;
use crate::line_feeds::one_line;
use crate::media::ContentType;

/// The client's half of a stream, and how a body is sent to it.
pub(crate) struct Upload {
    pub(crate) send: GatewaySend,
    pub(crate) content_type: ContentType,
    pub(crate) version: Version,
    /// Receives a message when the body was polled.
    pub(crate) begun: Option<oneshot::Sender<()>>,
}

/// A task that sends the body of a request to a stream. Dropping this ends the task, which cancels the calls of the stream if
/// the body has not ended.
///
/// It is a task of its own, since the body of the response is not polled while the client does not read it.
#[derive(Debug)]
pub(crate) struct Pump(Option<JoinHandle<()>>);

impl Pump {
    pub(crate) fn spawn<B>(body: B, upload: Upload) -> Self
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        Self(Some(tokio::spawn(run(body, upload))))
    }

    /// Resolves when the body has ended, or is read no further.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(task) => Pin::new(task).poll(cx).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// Lets the task run until the body has ended.
    pub(crate) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Sends a body. It is read only while the server has room for it, so the flow control of HTTP reaches the client. If it ends
/// early, the client's half of the stream is dropped, which cancels the calls of the stream.
async fn run<B: Body>(body: B, upload: Upload) {
    let Upload {
        mut send,
        content_type,
        version,
        mut begun,
    } = upload;
    let mut body = pin!(body);
    while poll_fn(|cx| send.poll_ready(cx)).await.is_ok() {
        // The body may always be ready.
        coop::consume_budget().await;
        match next_data(body.as_mut(), &mut begun).await {
            Some(Ok(mut data)) => {
                let data = data.copy_to_bytes(data.remaining());
                if !data.is_empty() {
                    send.send(to_lines(data, content_type));
                }
            }
            Some(Err(BodyCut)) => return,
            None => return send.finish(),
        }
    }
    // The server reads no more. HTTP/2 says so to the client. A client of HTTP/1.1 may send all of its body before it reads the
    // response, and would not receive the response if the connection was closed meanwhile.
    drop(send);
    let mut left = match version {
        Version::HTTP_11 => MAX_DISCARDED,
        _ => 0,
    };
    while left > 0 {
        coop::consume_budget().await;
        match next_data(body.as_mut(), &mut begun).await {
            Some(Ok(data)) => left = left.saturating_sub(data.remaining()),
            Some(Err(BodyCut)) | None => return,
        }
    }
    // Reading no further slows the client down. It is released with the response.
    if version == Version::HTTP_11 {
        std::future::pending().await
    }
}

/// Returns a part of a body as the services read it: as lines.
fn to_lines(data: Bytes, content_type: ContentType) -> Bytes {
    match content_type {
        ContentType::Json => one_line(data),
        ContentType::Ndjson => data,
    }
}

/// The client has disconnected or reset its half.
struct BodyCut;

/// Returns the next data of a body, which may be empty.
async fn next_data<B: Body>(
    mut body: Pin<&mut B>,
    begun: &mut Option<oneshot::Sender<()>>,
) -> Option<Result<B::Data, BodyCut>> {
    poll_fn(|cx| {
        loop {
            let polled = body.as_mut().poll_frame(cx).map_err(|_| BodyCut);
            if let Some(begun) = begun.take() {
                let _ = begun.send(());
            }
            match ready!(polled).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => return Poll::Ready(Some(Ok(data))),
                // Trailers.
                Some(Ok(Err(_))) => {}
                Some(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                None => return Poll::Ready(None),
            }
        }
    })
    .await
}
