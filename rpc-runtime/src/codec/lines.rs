//! Splits the bytes of a stream into messages, which end with a newline.

use bytes::{Buf, Bytes};
use memchr::memchr;

use crate::codec::error_code::FullBudget;
use crate::codec::steps;

/// The number of bytes kept of a discarded message: more than its id and the bytes before it.
const DISCARDED_BYTES: usize = 128;

/// The result of [`LineSplitter::split_next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// `message` holds an entire message, without its newline.
    Message,
    /// `message` holds a part of the next message; more bytes are needed.
    Partial,
    /// A message exceeded the limit and was skipped; `message` holds its first bytes.
    TooLarge,
    /// A message was discarded before its end; `message` holds its first bytes.
    Discarded(FullBudget),
}

/// The received bytes of one stream that are not split yet.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    chunk: Bytes,
    limit: usize,
    /// The reason why the remaining bytes of the message are skipped: [`Line::TooLarge`] or [`Line::Discarded`].
    skipping: Option<Line>,
    has_blank_lines: bool,
}

impl LineSplitter {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            limit,
            skipping: None,
            has_blank_lines: false,
        }
    }

    /// Returns `true` if a blank line was skipped.
    pub(crate) fn has_blank_lines(&self) -> bool {
        self.has_blank_lines
    }

    /// Takes the next bytes of the stream. The previous bytes must be used up: [`LineSplitter::split_next`] has
    /// returned [`Line::Partial`].
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// Moves the next message to the end of `message`, which may already hold a part of it. Leading white space is
    /// skipped.
    pub(crate) fn split_next(&mut self, message: &mut Vec<u8>) -> Line {
        steps::step();
        if self.chunk.is_empty() {
            self.chunk = Bytes::new();
            return Line::Partial;
        }
        if message.is_empty() && self.skipping.is_none() {
            self.skip_blank();
        }
        let Some(end) = memchr(b'\n', &self.chunk) else {
            self.append(self.chunk.len(), message);
            self.chunk = Bytes::new();
            return Line::Partial;
        };
        self.append(end, message);
        self.chunk.advance(end.saturating_add(1));
        self.ended()
    }

    /// Skips white space before a message. Blank lines are skipped in one go, because a peer can send millions of them.
    #[inline]
    fn skip_blank(&mut self) {
        if self.chunk.first().is_some_and(is_blank) {
            let count = self.chunk.iter().take_while(|byte| is_blank(byte)).count();
            let blank = self.chunk.split_to(count);
            self.has_blank_lines |= blank.contains(&b'\n');
        }
    }

    /// Moves the next `length` bytes to the end of `message`, up to the limit.
    #[inline]
    fn append(&mut self, length: usize, message: &mut Vec<u8>) {
        if self.skipping.is_some() {
            return;
        }
        let room = self.limit.saturating_sub(message.len());
        self.skipping = (length > room).then_some(Line::TooLarge);
        let taken = self.chunk.get(..length.min(room));
        message.extend_from_slice(taken.unwrap_or_default());
    }

    /// Discards the message that `message` holds a part of, and skips its remaining bytes. Its first bytes are kept,
    /// for its id. `full` has no room for the message.
    pub(crate) fn discard(&mut self, message: &mut Vec<u8>, full: FullBudget) {
        self.skipping = Some(Line::Discarded(full));
        message.truncate(DISCARDED_BYTES);
        message.shrink_to(DISCARDED_BYTES);
    }

    /// Returns `true` while the remaining bytes of a message are skipped, since it is too large or was discarded.
    pub(crate) fn is_skipping(&self) -> bool {
        self.skipping.is_some()
    }

    /// Returns the number of received bytes that are not split yet.
    pub(crate) fn buffered(&self) -> usize {
        self.chunk.len()
    }

    /// Handles the end of the stream: the bytes in `message` are the last message, if they are one.
    pub(crate) fn finish(&mut self, message: &[u8]) -> Option<Line> {
        (self.skipping.is_some() || !message.is_empty()).then(|| self.ended())
    }

    /// Returns the kind of a line that has ended.
    fn ended(&mut self) -> Line {
        // The cost of a message equals that of a few values, whatever it holds.
        steps::add(10);
        self.skipping.take().unwrap_or(Line::Message)
    }
}

/// Returns `true` for the white space of JSON, which no message starts with.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns every message of `chunks`, as a reader receives them.
    fn messages(chunks: &[&[u8]], limit: usize) -> Vec<(Line, String)> {
        let mut framer = LineSplitter::new(limit);
        let mut found = Vec::new();
        let mut message = Vec::new();
        for chunk in chunks {
            framer.feed(Bytes::copy_from_slice(chunk));
            loop {
                let line = framer.split_next(&mut message);
                if line == Line::Partial {
                    break;
                }
                found.push((line, String::from_utf8_lossy(&message).into_owned()));
                message.clear();
            }
        }
        if let Some(line) = framer.finish(&message) {
            found.push((line, String::from_utf8_lossy(&message).into_owned()));
        }
        found
    }

    fn message(text: &str) -> (Line, String) {
        (Line::Message, text.into())
    }

    #[test]
    fn chunk_with_several_messages_is_split() {
        assert_eq!(
            messages(&[b"[1]\n[2]\n"], 9),
            [message("[1]"), message("[2]")]
        );
    }

    #[test]
    fn message_over_several_chunks_is_joined() {
        assert_eq!(messages(&[b"[", b"1", b"]", b"\n"], 9), [message("[1]")]);
    }

    #[test]
    fn end_of_stream_ends_the_last_message() {
        assert_eq!(
            messages(&[b"[1]\n[2]"], 9),
            [message("[1]"), message("[2]")]
        );
    }

    #[test]
    fn blank_lines_are_skipped() {
        assert_eq!(messages(&[b"\n \r\n\n[1]\n\n  "], 9), [message("[1]")]);
    }

    #[test]
    fn white_space_before_a_message_is_left_out_and_not_counted() {
        let blank = " \t\r\n".repeat(100);
        let text = format!("{blank} [1] \n{blank}");
        let borders = [0, 3, 250, 402, text.len()];
        let chunks = borders
            .windows(2)
            .map(|pair| &text.as_bytes()[pair[0]..pair[1]]);
        let found = messages(&chunks.collect::<Vec<_>>(), 9);
        assert_eq!(found, [message("[1] ")]);
    }

    #[test]
    fn message_past_the_limit_is_skipped_and_one_at_it_is_not() {
        let cuts = messages(&[b"123456789\n1234567890\n[1]\n"], 9);
        assert_eq!(
            cuts,
            [
                message("123456789"),
                (Line::TooLarge, "123456789".into()),
                message("[1]")
            ]
        );
    }

    #[test]
    fn endless_message_takes_no_more_memory_than_the_limit() {
        let mut framer = LineSplitter::new(100);
        let mut message = Vec::new();
        for _ in 0..1000 {
            framer.feed(Bytes::from_static(&[b'x'; 1000]));
            assert_eq!(framer.split_next(&mut message), Line::Partial);
            assert_eq!(message.len(), 100);
        }
        assert_eq!(framer.finish(&message), Some(Line::TooLarge));
    }

    proptest! {
        #[test]
        fn chunk_borders_change_nothing(text in "[a-c\n ]{0,60}", borders in prop::collection::vec(0usize..60, 0..8), limit in 1usize..8) {
            let bytes = text.as_bytes();
            let mut borders: Vec<_> = borders.into_iter().map(|border| border.min(bytes.len())).collect();
            borders.extend([0, bytes.len()]);
            borders.sort_unstable();
            let chunks: Vec<_> = borders.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).filter(|chunk| !chunk.is_empty()).collect();
            prop_assert_eq!(messages(&chunks, limit), messages(&[bytes], limit));
        }
    }
}
