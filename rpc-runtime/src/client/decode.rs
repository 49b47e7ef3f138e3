//! Decodes replies in the task of the caller.

use std::cell::Cell;

use crate::client::error::{CallError, CallFailure};
use crate::codec::arena::Arena;
use crate::codec::parser::Parser;
use crate::codec::response::ResponseBody;
use crate::codec::result::ResultReader;
use crate::codec::{MAX_RESPONSE_DEPTH, RETAINED_BUFFER_BYTES};

thread_local! {
    /// Decoding does not await, so one parser serves all calls of a thread.
    static PARSER: Cell<Option<Box<Parser>>> = const { Cell::new(None) };
}

/// Decodes a reply in place.
pub(super) fn decode_reply<T, E>(
    reader: ResultReader<T, E>,
    reply: &mut Vec<u8>,
) -> Result<T, CallError<E>> {
    if let Some(take) = reader.unparsed {
        return Ok(take(reply));
    }
    let arena = Arena::default();
    let decoded = with_parser(|parser| {
        let mut document = parser.parse_response(reply).ok()?;
        document.lend(&arena);
        let response = document.response()?;
        Some(decode_body(reader, response.outcome))
    });
    decoded.unwrap_or_else(|| Err(CallFailure::malformed(reply).into()))
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
