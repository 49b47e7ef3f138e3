//! Parses a message in place: simd-json locates every value and unescapes every string where it stands.

use simd_json::{Buffers, INPUT_PADDING, Tape};

use super::short::Scan;
use super::value::Value;
use crate::limits::RETAINED;

/// Bytes that a tape may keep: those of dense messages have several times the bytes of the message.
const TAPE_RETAINED: usize = RETAINED.saturating_mul(4);

/// simd-json's working memory, used again for every message of a worker.
pub(crate) struct Parser {
    buffers: Buffers,
    tape: Tape<'static>,
    scan: Scan,
    depth: usize,
    /// The longest message so far: simd-json's other buffers grow with it and cannot be asked.
    longest: usize,
}

/// The message is not JSON, or is nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

impl Parser {
    /// A parser that refuses more than `depth` levels of nesting.
    pub(crate) fn new(depth: usize) -> Self {
        // simd-json counts the level in which the root stands.
        Self {
            buffers: Buffers::with_max_depth(256, depth),
            tape: Tape(Vec::new()),
            scan: Scan::default(),
            depth,
            longest: 0,
        }
    }

    /// Parses `message`. Its bytes are changed, also when they turn out not to be JSON.
    pub(crate) fn parse<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, NotJson> {
        let len = message.len();
        self.longest = self.longest.max(len);
        let mut document = Document {
            tape: std::mem::replace(&mut self.tape, Tape(Vec::new())),
            home: &mut self.tape,
        };
        if self.scan.accepts(message, self.depth) {
            self.scan
                .fill(message, &mut document.tape.0)
                .ok_or(NotJson)?;
            return Ok(document);
        }
        message.resize(len.saturating_add(INPUT_PADDING), b' ');
        simd_json::fill_tape_padded(message, len, &mut self.buffers, &mut document.tape)
            .map_err(|_| NotJson)?;
        Ok(document)
    }

    /// Whether it has grown past what is kept from one message to the next.
    pub(crate) fn is_large(&self) -> bool {
        let tape = self
            .tape
            .0
            .capacity()
            .saturating_mul(size_of::<simd_json::Node<'_>>());
        self.longest > RETAINED || tape > TAPE_RETAINED
    }
}

/// A parsed message. Gives the tape back to its [`Parser`] when dropped.
#[derive(Debug)]
pub(crate) struct Document<'p, 'de> {
    tape: Tape<'de>,
    home: &'p mut Tape<'static>,
}

impl<'de> Document<'_, 'de> {
    pub(crate) fn root(&self) -> Value<'_, 'de> {
        Value::new(&self.tape.0)
    }
}

impl Drop for Document<'_, '_> {
    fn drop(&mut self) {
        *self.home = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
    }
}
