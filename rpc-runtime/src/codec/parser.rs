//! Parses a message in place: simd-json locates every value and unescapes every string where it stands.

use simd_json::{Buffers, INPUT_PADDING, Tape};

use crate::codec::de::Value;
use crate::codec::envelope::leading_id;
use crate::codec::fast_path::{Compact, Scanner, Span, Strings};

/// A tape may keep so many times the bytes of a message: those of dense messages have several times as many.
const TAPE: usize = 4;

/// The limit of nesting from which on no compact message can pass it.
const COMPACT_DEPTH: usize = 10;

/// simd-json's working memory, used again for every message of a worker.
pub(crate) struct Parser {
    buffers: Buffers,
    tape: Tape<'static>,
    strings: Strings,
    depth: usize,
    /// The longest message so far: simd-json's other buffers grow with it and cannot be asked.
    longest: usize,
}

/// The message is not JSON, or is nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParseError {
    /// The id of a message that starts as our own clients' do.
    pub(crate) id: Option<u64>,
}

impl Parser {
    /// A parser that rejects more than `depth` levels of nesting.
    pub(crate) fn new(depth: usize) -> Self {
        // simd-json counts the level in which the root stands.
        Self {
            buffers: Buffers::with_max_depth(256, depth),
            tape: Tape(Vec::new()),
            strings: Strings::default(),
            depth,
            longest: 0,
        }
    }

    /// Parses `message`. Its bytes are changed, also when they turn out not to be JSON.
    pub(crate) fn parse<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        let len = message.len();
        self.longest = self.longest.max(len);
        let mut document = Document::new(&mut self.tape);
        message.resize(len.saturating_add(INPUT_PADDING), b' ');
        simd_json::fill_tape_padded(message, len, &mut self.buffers, &mut document.tape)
            .map_err(|_| ParseError { id: None })?;
        Ok(document)
    }

    /// Parses a message that should be a request or a batch of them.
    #[inline]
    pub(crate) fn parse_request<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        match self.scan(message, |scanner| scanner.request()) {
            Some(found) => self.compact(message, found),
            None => self.parse_any_request(message),
        }
    }

    fn parse_any_request<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        // Looked for now, since parsing changes the bytes.
        let id = leading_id(message);
        self.parse(message)
            .map_err(|ParseError { .. }| ParseError { id })
    }

    /// Parses a message that should be a response or a batch of them.
    pub(crate) fn parse_response<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        match self.scan(message, |scanner| scanner.response()) {
            Some(found) => self.compact(message, found),
            None => self.parse(message),
        }
    }

    /// Parses a line of a stream of items: an item, that there are no more, or the response at the end.
    pub(crate) fn parse_line<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        let item = self.scan(message, |scanner| scanner.item());
        match item.or_else(|| self.scan(message, |scanner| scanner.response())) {
            Some(found) => self.compact(message, found),
            None => self.parse(message),
        }
    }

    /// Scans a message without simd-json, if that can be enough.
    #[inline]
    fn scan(
        &mut self,
        message: &[u8],
        scan: impl FnOnce(&mut Scanner<'_>) -> Option<Compact>,
    ) -> Option<Compact> {
        if self.depth < COMPACT_DEPTH {
            return None;
        }
        scan(&mut Scanner::new(
            message,
            &mut self.tape.0,
            &mut self.strings,
        )?)
    }

    /// Returns what the scan found in `message`.
    #[inline]
    fn compact<'p, 'de>(
        &'p mut self,
        message: &'de [u8],
        found: Compact,
    ) -> Result<Document<'p, 'de>, ParseError> {
        let mut document = Document::new(&mut self.tape);
        let filled = self.strings.fill(message, &mut document.tape.0);
        filled.ok_or(ParseError { id: None })?;
        document.message = message;
        document.compact = Some(found);
        Ok(document)
    }

    /// Gives back what messages of more than `limit` bytes made of it.
    pub(crate) fn shrink(&mut self, limit: usize) {
        let tape = self
            .tape
            .0
            .capacity()
            .saturating_mul(size_of::<simd_json::Node<'_>>());
        if self.longest > limit || tape > limit.saturating_mul(TAPE) {
            *self = Self::new(self.depth);
        }
    }
}

/// A parsed message. Gives the tape back to its [`Parser`] when dropped.
#[derive(Debug)]
pub(crate) struct Document<'p, 'de> {
    tape: Tape<'de>,
    home: &'p mut Tape<'static>,
    /// The bytes of a compact message.
    message: &'de [u8],
    /// What surrounds the value on the tape, if the message was read without simd-json.
    compact: Option<Compact>,
}

impl<'p, 'de> Document<'p, 'de> {
    fn new(home: &'p mut Tape<'static>) -> Self {
        let tape = std::mem::replace(home, Tape(Vec::new()));
        Self {
            tape,
            home,
            message: &[],
            compact: None,
        }
    }

    /// Returns what surrounds the value on the tape, if the tape does not have the whole message.
    pub(super) fn compact(&self) -> Option<Compact> {
        self.compact
    }

    /// Returns a string of a compact message.
    #[inline]
    pub(super) fn text(&self, span: Span) -> Option<&'de str> {
        span.of(self.message)
    }

    /// Returns the value of the whole message; of a compact one, its parameters, its result or its item.
    pub(crate) fn root(&self) -> Value<'_, 'de> {
        Value::new(&self.tape.0)
    }

    /// Returns the root, if there is one: a compact message may have no parameters.
    pub(super) fn value(&self) -> Option<Value<'_, 'de>> {
        (!self.tape.0.is_empty()).then(|| self.root())
    }
}

impl Drop for Document<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        *self.home = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
    }
}
