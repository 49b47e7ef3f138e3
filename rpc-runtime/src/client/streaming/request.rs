//! Sends the items that follow a request.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::client::error::CallFailure;
use crate::client::mux_stream::CallId;
use crate::codec::params::encode::Write;
use crate::codec::stream_frame;
use crate::streaming::gather::{BATCH, gather};
use crate::transport::SendStream;
use crate::transport::write_buffer::WriteBuffer;

/// The items of a call, without their type.
pub(in crate::client) type BoxedUpload = Pin<Box<dyn ItemSource + Send>>;

pub(in crate::client) trait ItemSource {
    /// Appends the items that are ready, as lines. Returns `true` once the last item has been appended. The error names the
    /// item that cannot be written.
    fn poll_gather(
        self: Pin<&mut Self>,
        id: &[u8],
        lines: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, String>>;
}

struct WriteItems<S, T> {
    items: S,
    write: Write<T>,
    /// The number of items that were written.
    count: u64,
}

pub(in crate::client) fn upload<S, T>(items: S, write: Write<T>) -> BoxedUpload
where
    S: Stream<Item = T> + Send + 'static,
    T: 'static,
{
    Box::pin(WriteItems {
        items: Box::pin(items),
        write,
        count: 0,
    })
}

impl<S: Stream<Item = T> + Unpin, T> ItemSource for WriteItems<S, T> {
    fn poll_gather(
        mut self: Pin<&mut Self>,
        id: &[u8],
        lines: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, String>> {
        let Self {
            items,
            write,
            count,
        } = &mut *self;
        let gathered = gather(Pin::new(items), lines, cx, |value, lines| {
            *count += 1;
            stream_frame::write(id, lines, |out| write(&value, out))
        });
        let ended = ready!(gathered).transpose();
        let ended = ended.map_err(|error| format!("item {count} cannot be sent: {error}"))?;
        let ended = ended.is_some();
        if ended {
            stream_frame::write_end(id, lines);
        }
        Poll::Ready(Ok(ended))
    }
}

/// Sends all items and finishes the stream. Ends without an error if the server stops reading: it has replied already, or
/// will never reply.
pub(in crate::client) async fn send(
    mut items: BoxedUpload,
    id: CallId,
    mut stream: SendStream,
) -> Result<(), CallFailure> {
    let id = id.to_string();
    let mut lines = Vec::new();
    let mut buffer = WriteBuffer::default();
    loop {
        lines.clear();
        let gathered =
            poll_fn(|cx| items.as_mut().poll_gather(id.as_bytes(), &mut lines, cx)).await;
        let ended = gathered.map_err(|error| CallFailure::Encode(error.into()))?;
        buffer.push(&lines);
        let written = stream.write_chunk(buffer.take()).await;
        match written {
            Ok(()) if ended => {
                stream.finish();
                return Ok(());
            }
            Ok(()) => {}
            Err(_) => return Ok(()),
        }
        if lines.len() >= BATCH {
            tokio::task::yield_now().await;
        }
    }
}
