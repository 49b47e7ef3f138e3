//! Parses a message in place: simd-json locates every value and unescapes every string where it stands.

use simd_json::{Buffers, INPUT_PADDING, Tape};

use crate::codec::de::Value;
use crate::codec::fast_path::Scan;
use crate::codec::id::Id;
use crate::codec::request::{Message, Request};
use crate::codec::response::{Response, ResponseBody, leading_id};
use crate::codec::stream_frame::StreamFrame;

/// A tape may keep so many times the bytes of a message: those of dense messages have several times as many.
const TAPE: usize = 4;

/// The limit of nesting from which on no short message can pass it.
const SHORT_DEPTH: usize = 10;

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
pub(crate) struct ParseError {
    /// The id of a message that starts as our own clients' do.
    pub(crate) id: Option<u64>,
}

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
    pub(crate) fn parse_request<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        if self.depth >= SHORT_DEPTH && self.scan.is_request(message) {
            return self.short(message);
        }
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
        match self.depth >= SHORT_DEPTH && self.scan.is_response(message) {
            true => self.short(message),
            false => self.parse(message),
        }
    }

    /// Parses a line of a stream of items: an item, that there are no more, or the response at the end.
    pub(crate) fn parse_line<'p, 'de>(
        &'p mut self,
        message: &'de mut Vec<u8>,
    ) -> Result<Document<'p, 'de>, ParseError> {
        if self.depth >= SHORT_DEPTH {
            if self.scan.is_item(message) {
                let mut document = self.short(message)?;
                document.is_item = true;
                return Ok(document);
            }
            if self.scan.is_response(message) {
                return self.short(message);
            }
        }
        self.parse(message)
    }

    /// What the scan found in `message`.
    fn short<'p, 'de>(&'p mut self, message: &'de [u8]) -> Result<Document<'p, 'de>, ParseError> {
        let mut document = Document::new(&mut self.tape);
        self.scan
            .fill(message, &mut document.tape.0)
            .ok_or(ParseError { id: None })?;
        document.short = Some(Short {
            id: self.scan.id(),
            method: self.scan.method(message),
            timeout: self.scan.timeout(),
        });
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
    short: Option<Short<'de>>,
    /// The tape has an item alone, and the id is that of its call.
    is_item: bool,
}

/// What stands around the parameters or the result of a message that was read the short way: the tape has those alone.
#[derive(Debug)]
struct Short<'de> {
    id: Option<u64>,
    /// A request's.
    method: Option<&'de str>,
    timeout: Option<u64>,
}

impl<'p, 'de> Document<'p, 'de> {
    fn new(home: &'p mut Tape<'static>) -> Self {
        let tape = std::mem::replace(home, Tape(Vec::new()));
        Self {
            tape,
            home,
            short: None,
            is_item: false,
        }
    }

    /// The document as what a server receives.
    pub(crate) fn message(&self) -> Message<'_, 'de> {
        let Some(Short {
            id,
            method: Some(method),
            timeout,
        }) = self.short
        else {
            return Message::read(self.root());
        };
        Message::Single(Ok(Request {
            id: id.map(Id::Unsigned),
            method,
            params: (!self.tape.0.is_empty()).then(|| self.root()),
            timeout,
            meta: None,
        }))
    }

    /// The document as what a caller receives.
    pub(crate) fn response(&self) -> Option<Response<'_, 'de>> {
        match self.short {
            Some(Short {
                id: Some(id),
                method: None,
                ..
            }) => Some(Response {
                id: Id::Unsigned(id),
                outcome: ResponseBody::Result(self.root()),
            }),
            _ => Response::read(self.root()),
        }
    }

    /// The document as a line of a stream of items.
    pub(crate) fn line(&self) -> Option<StreamFrame<'_, 'de>> {
        match self.short {
            Some(Short { id: Some(id), .. }) if self.is_item => {
                Some(StreamFrame::Item(Id::Unsigned(id), self.root()))
            }
            Some(_) => self.response().map(StreamFrame::Response),
            None => StreamFrame::read(self.root()),
        }
    }

    #[cfg(test)]
    pub(crate) fn is_short(&self) -> bool {
        self.short.is_some()
    }

    /// The one value of a document that was parsed as JSON of any kind.
    pub(crate) fn root(&self) -> Value<'_, 'de> {
        Value::new(&self.tape.0)
    }
}

impl Drop for Document<'_, '_> {
    fn drop(&mut self) {
        *self.home = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
    }
}
