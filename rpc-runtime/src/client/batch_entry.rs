//! The message of a batch, and the results of its entries.

use std::any::Any;
use std::collections::HashMap;

use crate::client::decode::decode_body;
use crate::client::error::{CallError, CallFailure};
use crate::client::middleware::layers::{received_error, typed_error};
use crate::client::mux_stream::CallId;
use crate::codec::error::ErrorObject;
use crate::codec::response::ResponseBody;
use crate::codec::result::ResultReader;

/// The entries of a batch that are sent together.
#[derive(Default)]
pub(super) struct BatchMessage {
    bytes: Vec<u8>,
    /// Indexes of the calls that were written, by id.
    pub(super) ids: HashMap<u64, usize>,
}

impl BatchMessage {
    /// Adds a notification, or the call with this id and index.
    pub(super) fn add(&mut self, entry: &[u8], call: Option<(CallId, usize)>) {
        self.bytes.push(if self.is_empty() { b'[' } else { b',' });
        self.bytes.extend_from_slice(entry);
        self.ids.extend(call.map(|(id, index)| (id.0, index)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the message, whose ids are kept.
    pub(super) fn end(&mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(b"]\n");
        std::mem::take(&mut self.bytes)
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ids.clear();
    }
}

/// The results of the entries of a batch, by index.
pub(super) type EntryResults = HashMap<usize, EntryResult>;

/// Decodes the reply to one entry as the result of its call.
pub(super) type EntryDecoder = Box<dyn Fn(EntryReply<'_, '_>) -> EntryResult + Send>;

/// The reply to one entry.
pub(super) enum EntryReply<'t, 'de> {
    Received(ResponseBody<'t, 'de>),
    Missing(CallFailure),
    /// The error that the middleware of the client has returned.
    Failed(CallError<ErrorObject>),
}

/// The result of one entry.
pub(super) struct EntryResult {
    pub(super) result: Box<dyn Any + Send>,
    /// The error, for the middleware of the client.
    pub(super) failure: Option<CallError<ErrorObject>>,
}

/// Returns the decoder of an entry.
pub(super) fn decoder<T, E>(reader: ResultReader<T, E>, is_layered: bool) -> EntryDecoder
where
    T: Send + 'static,
    E: Send + 'static,
{
    Box::new(move |reply| {
        let mut received = None;
        let result: Result<T, CallError<E>> = match reply {
            EntryReply::Received(body) => {
                received = is_layered.then(|| received_error(&body)).flatten();
                decode_body(reader, body)
            }
            EntryReply::Missing(failure) => Err(failure.into()),
            EntryReply::Failed(error) => Err(typed_error(error, reader.error)),
        };
        let failure = result.as_ref().err().filter(|_| is_layered);
        EntryResult {
            failure: failure.map(|error| error.untyped(received)),
            result: Box::new(result),
        }
    })
}
