//! Parses a message in place: simd-json locates every value and unescapes every string in the receive buffer.

use simd_json::{Buffers, INPUT_PADDING, Node, StaticNode, Tape};

use crate::codec::arena::Arena;
use crate::codec::de::Value;
use crate::codec::envelope::leading_id;
use crate::codec::fast_path::{Compact, Scanner, Span, Strings};
use crate::codec::values::Values;
use crate::codec::{RETAINED_BUFFER_BYTES, steps};

/// The maximum size of a retained tape, as a multiple of the bytes of a message. The tape of a dense message is several
/// times as large as the message.
const TAPE_TO_MESSAGE: usize = 4;

/// The size of a value on the tape, in bytes.
const NODE_BYTES: usize = size_of::<Node<'_>>();

/// simd-json's index of a message takes up to so many times the bytes of the message.
pub(crate) const INDEX_TO_MESSAGE: usize = 5;

/// The nesting limit from which on no compact message can exceed it.
const COMPACT_DEPTH: usize = 10;

/// The working memory of a worker, reused for every message.
pub(crate) struct Parser {
    buffers: ParseBuffers,
    tape: TapeBuffer,
}

/// The memory that is needed only until a message is parsed.
pub(crate) struct ParseBuffers {
    simd_json: Buffers,
    strings: Strings,
    depth: usize,
    /// The length of the longest message so far: simd-json's buffers grow with it and do not report their size.
    longest: usize,
}

/// The memory of a tape, reused.
#[derive(Debug)]
pub(crate) struct TapeBuffer(Tape<'static>);

/// The message is not JSON, or is nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParseError {
    /// The id of a message that starts as those of this crate's clients do.
    pub(crate) id: Option<u64>,
    /// `true` if the message is nested too deeply.
    pub(crate) is_too_deep: bool,
}

impl ParseError {
    fn new(error: &simd_json::Error, id: Option<u64>) -> Self {
        let is_too_deep = matches!(error.error(), simd_json::ErrorType::DepthLimitExceeded);
        Self { id, is_too_deep }
    }
}

impl Parser {
    /// Creates a parser that rejects more than `depth` levels of nesting.
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            buffers: ParseBuffers::new(depth),
            tape: TapeBuffer::default(),
        }
    }

    /// Parses `message`. Its bytes are changed even if they are not JSON.
    pub(crate) fn parse<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        self.buffers.parse(&mut self.tape, message)
    }

    /// Parses a message that should be a response or a batch of them.
    pub(crate) fn parse_response<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        let Self { buffers, tape } = self;
        match buffers.scan(tape, message, |scanner| scanner.response()) {
            Some(found) => buffers.compact(tape, message, found),
            None => buffers.parse(tape, message),
        }
    }

    /// Parses a line of a stream of items: an item, the end of the items, or the response.
    pub(crate) fn parse_line<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        let Self { buffers, tape } = self;
        let item = buffers.scan(tape, message, |scanner| scanner.item());
        match item.or_else(|| buffers.scan(tape, message, |scanner| scanner.response())) {
            Some(found) => buffers.compact(tape, message, found),
            None => buffers.parse(tape, message),
        }
    }

    /// Separates the memory that is needed during parsing from the memory that is needed while the message is read.
    pub(crate) fn split(&mut self) -> (&mut ParseBuffers, &mut TapeBuffer) {
        (&mut self.buffers, &mut self.tape)
    }

    /// Returns approximately how many bytes are kept for the next message.
    pub(crate) fn retained_bytes(&self) -> usize {
        let Self { buffers, tape } = self;
        buffers
            .retained_bytes()
            .saturating_add(tape.retained_bytes())
    }

    /// Releases the memory that messages of more than `limit` bytes have allocated.
    pub(crate) fn shrink(&mut self, limit: usize) {
        self.buffers.shrink(limit);
        self.tape.shrink(limit);
    }
}

impl ParseBuffers {
    fn new(depth: usize) -> Self {
        Self {
            // simd-json counts the level of the root as well.
            simd_json: Buffers::with_max_depth(256, depth),
            strings: Strings::default(),
            depth,
            longest: 0,
        }
    }

    fn parse<'p, 'de>(
        &mut self,
        tape: &'p mut TapeBuffer,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        let len = message.len();
        self.longest = self.longest.max(len);
        // The last byte of the padding stands before the text, as `Values` expects.
        let text_at = len.saturating_add(INPUT_PADDING);
        reserve(message);
        message.resize(text_at.saturating_add(1), b' ');
        message.extend_from_within(..len);
        let (message, text) = message.split_at_mut(text_at);
        let mut document = Document::new(tape, text, None);
        let tape = &mut document.values.tape;
        simd_json::fill_tape_padded(message, len, &mut self.simd_json, tape)
            .map_err(|error| ParseError::new(&error, None))?;
        steps::add(tape.0.len());
        Ok(document)
    }

    /// Parses a message that should be a request or a batch of them.
    #[inline]
    pub(crate) fn parse_request<'p, 'de>(
        &mut self,
        tape: &'p mut TapeBuffer,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        match self.scan(tape, message, |scanner| scanner.request()) {
            Some(found) => self.compact(tape, message, found),
            None => self.parse_any_request(tape, message),
        }
    }

    fn parse_any_request<'p, 'de>(
        &mut self,
        tape: &'p mut TapeBuffer,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        // Read before parsing, which changes the bytes.
        let id = leading_id(message);
        self.parse(tape, message)
            .map_err(|error| ParseError { id, ..error })
    }

    /// Parses a large request. The copy of its text is in `copy`, and kept only if the tape does not hold all numbers exactly:
    /// otherwise a value can be written again.
    pub(crate) fn parse_large_request<'p, 'de>(
        &mut self,
        tape: &'p mut TapeBuffer,
        message: &'de mut Vec<u8>,
        copy: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        // Read before parsing, which changes the bytes.
        let id = leading_id(message);
        let len = message.len();
        self.longest = self.longest.max(len);
        // The space stands before the text, as `Values` expects.
        copy.clear();
        copy.reserve_exact(len.saturating_add(1));
        copy.push(b' ');
        copy.extend_from_slice(message);
        message.resize(len.saturating_add(INPUT_PADDING), b' ');
        let mut document = Document::new(tape, &[], None);
        let values = &mut document.values;
        simd_json::fill_tape_padded(message, len, &mut self.simd_json, &mut values.tape)
            .map_err(|error| ParseError::new(&error, id))?;
        steps::add(values.tape.0.len());
        if values.tape.0.iter().any(is_inexact) {
            values.text = copy;
        } else if copy.capacity() > RETAINED_BUFFER_BYTES {
            *copy = Vec::new();
        }
        Ok(document)
    }

    /// Scans a message without simd-json, if the fast path can read it.
    #[inline]
    fn scan(
        &mut self,
        tape: &mut TapeBuffer,
        message: &[u8],
        scan: impl FnOnce(&mut Scanner<'_>) -> Option<Compact>,
    ) -> Option<Compact> {
        if self.depth < COMPACT_DEPTH {
            return None;
        }
        scan(&mut Scanner::new(
            message,
            &mut tape.0.0,
            &mut self.strings,
        )?)
    }

    /// Returns the document that the scan found in `message`.
    #[inline]
    fn compact<'p, 'de>(
        &mut self,
        tape: &'p mut TapeBuffer,
        message: &'de [u8],
        found: Compact,
    ) -> Result<Document<'p, 'de>, ParseError> {
        let mut document = Document::new(tape, message, Some(found));
        let tape = &mut document.values.tape.0;
        let filled = self.strings.fill(message, tape);
        filled.ok_or(ParseError {
            id: None,
            is_too_deep: false,
        })?;
        steps::add(tape.len());
        Ok(document)
    }

    /// Returns approximately how many bytes are kept for the next message.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.longest.saturating_mul(INDEX_TO_MESSAGE)
    }

    /// Releases the memory that messages of more than `limit` bytes have allocated.
    pub(crate) fn shrink(&mut self, limit: usize) {
        if self.longest > limit {
            *self = Self::new(self.depth);
        }
    }
}

impl TapeBuffer {
    /// Returns how many bytes are kept for the next message.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.0.0.capacity().saturating_mul(NODE_BYTES)
    }

    /// Releases the memory that messages of more than `limit` bytes have allocated.
    pub(crate) fn shrink(&mut self, limit: usize) {
        if self.retained_bytes() > limit.saturating_mul(TAPE_TO_MESSAGE) {
            *self = Self::default();
        }
    }
}

impl Default for TapeBuffer {
    fn default() -> Self {
        Self(Tape(Vec::new()))
    }
}

/// Returns `true` for a number that may have been written otherwise than its node would be.
fn is_inexact(node: &Node<'_>) -> bool {
    matches!(node, Node::Static(StaticNode::F64(_) | StaticNode::I64(0)))
}

/// Returns the size of a message's buffer once it is parsed: padding and a copy of the text follow the message, since parsing
/// changes it.
pub(crate) const fn parsed_bytes(message: usize) -> usize {
    message
        .saturating_mul(2)
        .saturating_add(INPUT_PADDING)
        .saturating_add(1)
}

/// Makes room for what parsing appends to a message.
fn reserve(message: &mut Vec<u8>) {
    let more = parsed_bytes(message.len()).saturating_sub(message.len());
    match message.len() > RETAINED_BUFFER_BYTES / 2 {
        true => message.reserve_exact(more),
        false => message.reserve(more),
    }
}

/// Returns an upper bound of the bytes that the values of a message take.
pub(crate) fn most_parsed_bytes(message: &[u8]) -> usize {
    // A chunk is so short that a `u8` counts its bytes, which lets the compiler use vector instructions.
    let values: usize = message.chunks(192).map(values_begun).sum();
    values.saturating_add(1).saturating_mul(NODE_BYTES)
}

/// Returns an upper bound of the values and names that begin in a chunk of less than 256 bytes.
fn values_begun(chunk: &[u8]) -> usize {
    // At most one value or name follows each of these bytes.
    let is_before_value = |byte: &u8| matches!(byte, b',' | b':' | b'[' | b'{');
    let count = chunk.iter().map(|byte| u8::from(is_before_value(byte)));
    usize::from(count.fold(0, u8::wrapping_add))
}

/// A parsed message. Returns the tape to its [`TapeBuffer`] when dropped.
#[derive(Debug)]
pub(crate) struct Document<'p, 'de> {
    values: Values<'de>,
    buffer: &'p mut TapeBuffer,
    /// The envelope around the value on the tape, if the message was read without simd-json.
    compact: Option<Compact>,
}

impl<'p, 'de> Document<'p, 'de> {
    #[inline]
    fn new(buffer: &'p mut TapeBuffer, text: &'de [u8], compact: Option<Compact>) -> Self {
        Self {
            values: Values {
                tape: std::mem::take(buffer).0,
                text,
                arena: None,
            },
            buffer,
            compact,
        }
    }

    /// Returns how many bytes the tape takes.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.values.tape.0.capacity().saturating_mul(NODE_BYTES)
    }

    /// Returns how many bytes the copy of the text takes.
    pub(crate) fn text_bytes(&self) -> usize {
        self.values.text.len()
    }

    /// Releases the tape instead of returning it to the buffer.
    pub(crate) fn release(mut self) {
        self.values.tape = Tape(Vec::new());
    }

    /// Lends memory to the arguments that are decoded.
    #[inline]
    pub(crate) fn lend(&mut self, arena: &'de Arena) {
        self.values.arena = Some(arena);
    }

    /// Returns the envelope around the value on the tape, if the tape does not hold the entire message.
    pub(super) fn compact(&self) -> Option<Compact> {
        self.compact
    }

    /// Returns the id with which the received text starts. `None` for a compact message, which has one id.
    #[inline]
    pub(crate) fn leading_id(&self) -> Option<u64> {
        match self.compact {
            Some(_) => None,
            None => leading_id(self.values.text.get(1..)?),
        }
    }

    /// Returns a string of a compact message.
    #[inline]
    pub(super) fn text(&self, span: Span) -> Option<&'de str> {
        span.of(self.values.text)
    }

    /// Returns the value of the entire message. For a compact message this is its parameters, its result or its item.
    pub(crate) fn root(&self) -> Value<'_, 'de> {
        Value::first(&self.values)
    }

    /// Returns the root, if there is one: a compact message may lack parameters.
    pub(super) fn value(&self) -> Option<Value<'_, 'de>> {
        (!self.values.tape.0.is_empty()).then(|| self.root())
    }
}

impl Drop for Document<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        let tape = std::mem::replace(&mut self.values.tape, Tape(Vec::new()));
        *self.buffer = TapeBuffer(tape.reset());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_of_a_message_take_no_more_than_estimated(
            names in prop::collection::vec("[a-z\"\\\\,:{\\[]{0,4}", 0..300),
            depth in 0usize..30,
        ) {
            let members: serde_json::Map<_, _> =
                names.into_iter().map(|name| (name.clone(), name.into())).collect();
            let inner = serde_json::Value::from(vec![members.clone().into(), serde_json::Value::from(members)]);
            let nested = (0..depth).fold(inner, |inner, _| vec![inner, 1.into()].into());
            let mut message = nested.to_string().into_bytes();
            let estimate = most_parsed_bytes(&message);
            let mut parser = Parser::new(64);
            let document = parser.parse(&mut message).expect("it is JSON");
            prop_assert!(document.values.tape.0.len() * NODE_BYTES <= estimate);
        }
    }

    #[test]
    fn values_of_a_long_message_are_all_counted() {
        let numbers = format!("[{}1]", "1,".repeat(1_000));
        assert_eq!(most_parsed_bytes(numbers.as_bytes()), 1_002 * NODE_BYTES);
    }
}
