//! The values of a message, and the text that each of them was read from.
//!
//! The tape holds no positions, and a number on it is rounded to 64 bits. The values of these types need the text: integers
//! of 128 bits, numbers of any precision and raw JSON. The text of a value is found by walking the tape and the text side
//! by side. That happens only when a value of such a type is decoded.

use memchr::memchr2;
use simd_json::{Node, Tape};

use crate::codec::arena::Arena;
use crate::codec::literals::{HEAD, ITEM, METHOD, PARAMS, RESULT, VERSION};
use crate::codec::milestones::{Milestone, Milestones};
use crate::codec::steps;

/// The size of a text, in bytes, up to which the walk always begins at the start.
const SHORT_TEXT_BYTES: usize = 512;

/// A milestone is at most so many values and, between two values, so many bytes behind the one before.
const MILESTONE_VALUES: usize = 16;
const MILESTONE_BYTES: usize = 128;

/// The values of a message.
#[derive(Debug)]
pub(crate) struct Values<'de> {
    pub(super) tape: Tape<'de>,
    /// The received text. It starts with a brace if the tape holds only the parameters, the result or the item of a compact
    /// message. Otherwise it starts with a byte that separates values, behind which the first value is.
    pub(super) text: &'de [u8],
    /// Memory for bytes that are lent to the arguments, and for milestones.
    pub(super) arena: Option<&'de Arena>,
}

/// No values.
pub(super) static NONE: Values<'static> = Values::new(Tape(Vec::new()));

/// A null that no message holds.
pub(super) const NULL: Node<'static> = Node::Static(simd_json::StaticNode::Null);

impl<'de> Values<'de> {
    pub(super) const fn new(tape: Tape<'de>) -> Self {
        Self {
            tape,
            text: &[],
            arena: None,
        }
    }

    /// Returns a copy of the `count` values from `node` on.
    pub(super) fn copy(&self, node: &Node<'de>, count: usize) -> Self {
        let index = self.index(node).unwrap_or(usize::MAX);
        let nodes = self.tape.0.get(index..index.saturating_add(count));
        // A value of a member follows a colon or white space.
        let start = self.first().and_then(|first| self.walk(first, index));
        let text = start.and_then(|start| self.text.get(start.checked_sub(1)?..));
        Self {
            text: text.unwrap_or_default(),
            arena: self.arena,
            ..Self::new(Tape(nodes.unwrap_or_default().to_vec()))
        }
    }

    /// Returns the nodes behind `node`.
    #[inline]
    pub(super) fn behind(&self, node: &Node<'de>) -> &[Node<'de>] {
        let behind = self.index(node).map(|index| index.wrapping_add(1));
        let nodes = behind.and_then(|start| self.tape.0.get(start..));
        nodes.unwrap_or_default()
    }

    /// Returns the index of a node of the tape.
    #[inline]
    fn index(&self, node: &Node<'de>) -> Option<usize> {
        let bytes = std::ptr::from_ref(node).addr();
        let bytes = bytes.checked_sub(self.tape.0.as_ptr().addr())?;
        bytes.checked_div(size_of::<Node<'_>>())
    }

    /// Returns the text of the value that starts at `node`.
    pub(super) fn text(&self, node: &Node<'de>) -> Option<&'de str> {
        let start = self.offset(self.index(node)?)?;
        let rest = self.text.get(start..)?;
        std::str::from_utf8(rest.get(..value_length(rest)?)?).ok()
    }

    fn first(&self) -> Option<Milestone> {
        let offset = match self.text.first()? {
            b'{' => compact_value(self.text)?,
            _ => 1,
        };
        Some(Milestone {
            index: 0,
            offset: u32::try_from(self.skip_separators(offset)).ok()?,
        })
    }

    /// Returns the offset of a value in the text.
    fn offset(&self, index: usize) -> Option<usize> {
        let first = self.first()?;
        if self.text.len() <= SHORT_TEXT_BYTES {
            return self.walk(first, index);
        }
        let tape = self.tape.0.as_ptr().addr();
        let milestones = self.arena.map(|arena| {
            arena.milestones(|| Milestones {
                tape,
                places: self.milestones(first),
            })
        });
        let milestones = milestones.filter(|milestones| milestones.tape == tape);
        let nearest = milestones.and_then(|milestones| milestones.before(index));
        self.walk(nearest.unwrap_or(first), index)
    }

    fn walk(&self, from: Milestone, index: usize) -> Option<usize> {
        let (start, mut offset) = (from.index as usize, from.offset as usize);
        for node in self.tape.0.get(start..index)? {
            offset = self.next(node, offset);
        }
        (offset < self.text.len()).then_some(offset)
    }

    fn milestones(&self, first: Milestone) -> Vec<Milestone> {
        let mut milestones = vec![first];
        let (mut last, mut offset) = (first, first.offset as usize);
        for (before, node) in self.tape.0.iter().enumerate() {
            offset = self.next(node, offset);
            let index = before.wrapping_add(1);
            let is_far = index.wrapping_sub(last.index as usize) >= MILESTONE_VALUES
                || offset.wrapping_sub(last.offset as usize) >= MILESTONE_BYTES;
            if let (true, Ok(index), Ok(offset)) = (is_far, index.try_into(), offset.try_into()) {
                last = Milestone { index, offset };
                milestones.push(last);
            }
        }
        milestones.shrink_to_fit();
        milestones
    }

    /// Returns the offset of the value behind `node`, which stands at `offset`.
    fn next(&self, node: &Node<'de>, offset: usize) -> usize {
        steps::step();
        let rest = self.text.get(offset..).unwrap_or_default();
        let length = match node {
            Node::Object { .. } | Node::Array { .. } => 1,
            Node::String(_) => string_length(rest),
            Node::Static(_) => word_length(rest),
        };
        self.skip_separators(offset.saturating_add(length))
    }

    /// Returns the offset of the next value at or behind `offset`.
    fn skip_separators(&self, offset: usize) -> usize {
        let rest = self.text.get(offset..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_separator(**byte)).count();
        offset.saturating_add(length)
    }
}

/// Returns the offset of the parameters, the result or the item in a compact message.
fn compact_value(message: &[u8]) -> Option<usize> {
    let digits = |text: &'_ [u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let item = message.strip_prefix(ITEM);
    let item = item.and_then(|rest| rest.get(digits(rest)..)?.strip_prefix(b","));
    let behind_id = || {
        message
            .strip_prefix(HEAD)
            .and_then(|rest| rest.get(digits(rest)..))
    };
    let result = || behind_id()?.strip_prefix(RESULT);
    let params = || {
        let method = behind_id().or_else(|| message.strip_prefix(VERSION));
        let method = method?.strip_prefix(METHOD)?;
        let end = method.iter().position(|byte| *byte == b'"')?;
        method.get(end..)?.strip_prefix(b"\"")?.strip_prefix(PARAMS)
    };
    let value = item.or_else(result).or_else(params)?;
    message.len().checked_sub(value.len())
}

/// Returns `true` for the bytes between two values.
fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n'
    )
}

/// Returns the length of the number or literal that `text` starts with.
pub(super) fn word_length(text: &[u8]) -> usize {
    text.iter().take_while(|byte| !is_separator(**byte)).count()
}

/// Returns the length of the string that `text` starts with, with its quotes.
pub(super) fn string_length(text: &[u8]) -> usize {
    let end = closing_quote(text.get(1..).unwrap_or_default());
    end.map_or(text.len(), |end| end.saturating_add(2))
}

/// Returns the position of the quote that ends a string, in the text behind its opening quote.
pub(super) fn closing_quote(start: &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    loop {
        length = length.saturating_add(memchr2(b'"', b'\\', start.get(length..)?)?);
        if start.get(length) == Some(&b'"') {
            return Some(length);
        }
        length = length.saturating_add(2);
    }
}

/// Returns the length of the value that `text` starts with. Returns `None` if its end is missing.
fn value_length(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'[' | b'{' => {}
        b'"' => return Some(string_length(text)),
        _ => return Some(word_length(text)),
    }
    let (mut offset, mut depth) = (0_usize, 0_usize);
    while let Some(byte) = text.get(offset) {
        steps::step();
        offset = match byte {
            b'"' => offset.saturating_add(string_length(text.get(offset..)?)),
            _ => offset.saturating_add(1),
        };
        match byte {
            b'[' | b'{' => depth = depth.saturating_add(1),
            b']' | b'}' if depth <= 1 => return Some(offset),
            b']' | b'}' => depth = depth.wrapping_sub(1),
            _ => {}
        }
    }
    None
}
