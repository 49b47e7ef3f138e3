//! The bodies of responses.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::held_reply::HeldReply;
use crate::stream_body::{BodyError, StreamBody};

/// The body of a response. Dropping it before its end cancels the calls of the request.
#[derive(Debug, Default)]
pub struct ResponseBody(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Empty,
    Whole(Bytes),
    Large(HeldReply),
    Stream(Box<StreamBody>),
}

impl ResponseBody {
    /// Returns the body that holds `bytes`.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        match bytes.is_empty() {
            true => Self::default(),
            false => Self(Kind::Whole(bytes)),
        }
    }

    /// Returns the body that holds a reply, which is released when the client does not take it in time.
    pub(crate) fn reply(reply: Bytes, write_timeout: Duration) -> Self {
        match HeldReply::is_large(&reply) {
            true => Self(Kind::Large(HeldReply::new(reply, write_timeout))),
            false => Self::whole(reply),
        }
    }

    /// Returns the body that holds the server's half of a stream.
    pub(crate) fn stream(stream: StreamBody) -> Self {
        Self(Kind::Stream(Box::new(stream)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let kind = &mut self.get_mut().0;
        let polled = match kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *kind = Kind::Empty;
                Poll::Ready(Some(Ok(bytes)))
            }
            Kind::Large(reply) => {
                let piece = reply.next_piece().map_err(BodyError::from);
                Poll::Ready(piece.transpose())
            }
            Kind::Stream(stream) => stream.poll_chunk(cx),
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            *kind = Kind::Empty;
        }
        polled.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Large(reply) => SizeHint::with_exact(reply.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}
