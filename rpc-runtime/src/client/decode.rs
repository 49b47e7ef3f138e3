//! Decodes replies in the task of the caller.

use std::cell::Cell;

use crate::client::error::CallError;
use crate::client::response_metadata::ReadMetadata;
use crate::codec::arena::Arena;
use crate::codec::parser::Parser;
use crate::codec::response::ResponseBody;
use crate::codec::result::ResultReader;
use crate::codec::{MAX_RESPONSE_DEPTH, RETAINED_BUFFER_BYTES};

thread_local! {
    /// Decoding does not await, so one parser serves all calls of a thread.
    static PARSER: Cell<Option<Box<Parser>>> = const { Cell::new(None) };
}

/// Decodes a reply in place, with its metadata if the caller reads it, after `see` has seen it and its length. Returns `None`
/// if it is not a response; it is then unchanged.
pub(super) fn decode_reply<T, E>(
    reader: ResultReader<T, E>,
    reply: &mut Vec<u8>,
    metadata: &mut impl ReadMetadata,
    see: impl FnOnce(&ResponseBody<'_, '_>, usize),
) -> Option<Result<T, CallError<E>>> {
    if let Some(take) = reader.unparsed {
        return Some(Ok(take(reply)));
    }
    let length = reply.len();
    let arena = Arena::default();
    let decoded = with_parser(|parser| {
        let mut document = parser.parse_response(reply).ok()?;
        document.lend(&arena);
        let response = document.response()?;
        let is_reply = response.id.is_some() || response.outcome.is_error();
        // A line with two ids may be the reply to either call.
        let leading = document.leading_id();
        let has_one_id = leading.is_none() || leading == response.id;
        (is_reply && has_one_id).then(|| {
            metadata.receive(&document);
            see(&response.outcome, length);
            decode_body(reader, response.outcome)
        })
    });
    if decoded.is_none() {
        restore(reply, length);
    }
    decoded
}

/// Restores a line of `length` bytes that was parsed. The parser changes the text, and leaves a copy behind it.
#[cold]
pub(super) fn restore(line: &mut Vec<u8>, length: usize) {
    let copied = line.len().saturating_sub(length);
    line.drain(..copied);
}

/// Decodes the result or the error of a response.
#[inline]
pub(super) fn decode_body<T, E>(
    reader: ResultReader<T, E>,
    body: ResponseBody<'_, '_>,
) -> Result<T, CallError<E>> {
    match body {
        ResponseBody::Result(value) => {
            (reader.value)(value).map_err(|mismatch| CallError::Decode(mismatch.to_string()))
        }
        error => Err(CallError::received(error, reader.error)),
    }
}

/// Lends the thread's parser, or a new parser if the thread's is already lent.
#[inline]
pub(crate) fn with_parser<R>(decode: impl FnOnce(&mut Parser) -> R) -> R {
    let parser = PARSER.take();
    let mut parser = parser.unwrap_or_else(|| Box::new(Parser::new(MAX_RESPONSE_DEPTH)));
    let decoded = decode(&mut parser);
    parser.shrink(RETAINED_BUFFER_BYTES);
    PARSER.set(Some(parser));
    decoded
}
