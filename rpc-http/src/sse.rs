//! The lines of a stream as server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep};

/// The time without an event after which a comment is sent, since intermediaries end connections on which nothing is sent. The HTML
/// standard recommends this time.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const COMMENT: &[u8] = b":\n\n";

/// Turns lines into events.
#[derive(Debug)]
pub(crate) struct EventWriter {
    /// `true` if the last line is not complete.
    in_line: bool,
    keep_alive: Pin<Box<Sleep>>,
}

impl EventWriter {
    pub(crate) fn new() -> Self {
        Self {
            in_line: false,
            keep_alive: Box::pin(sleep(KEEP_ALIVE)),
        }
    }

    /// Returns the events of a chunk, whose first and last lines may be parts of lines.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> Bytes {
        self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
        let mut events = BytesMut::with_capacity(chunk.len() + chunk.len() / 8 + 16);
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            if !std::mem::replace(&mut self.in_line, true) {
                events.put_slice(b"data: ");
            }
            // CR would end the line of the event. In JSON it is white space, like the space.
            let spaced = piece
                .iter()
                .map(|byte| if *byte == b'\r' { b' ' } else { *byte });
            events.extend(spaced);
            if piece.ends_with(b"\n") {
                // A blank line ends the event.
                events.put_u8(b'\n');
                self.in_line = false;
            }
        }
        events.freeze()
    }

    /// Returns a comment once nothing was sent for some time.
    pub(crate) fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        while self.keep_alive.as_mut().poll(cx).is_ready() {
            self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
            if !self.in_line {
                return Poll::Ready(Bytes::from_static(COMMENT));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_the_same_events_however_they_are_cut() {
        let lines = b"{\"id\":1}\n{\"a\":\r [2]}\n\n{}\n";
        let events: &[u8] = b"data: {\"id\":1}\n\ndata: {\"a\":  [2]}\n\ndata: \n\ndata: {}\n\n";
        for size in 1..=lines.len() {
            let mut writer = EventWriter::new();
            let written: Vec<u8> = lines
                .chunks(size)
                .flat_map(|chunk| writer.write(chunk))
                .collect();
            assert_eq!(written, events, "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn comment_is_sent_between_events_after_a_silence() {
        let mut writer = EventWriter::new();
        for (chunk, comes) in [("", true), ("{}\n", true), ("{", false), ("}\n", true)] {
            writer.write(chunk.as_bytes());
            let comment = std::future::poll_fn(|cx| writer.poll_keep_alive(cx));
            let waited = tokio::time::timeout(KEEP_ALIVE + Duration::from_secs(1), comment).await;
            assert_eq!(
                waited.is_ok_and(|comment| comment == COMMENT),
                comes,
                "{chunk}"
            );
        }
    }
}
