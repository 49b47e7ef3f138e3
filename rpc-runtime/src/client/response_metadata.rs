//! The metadata of a response.

use std::fmt;

use crate::codec::de::Value;
use crate::codec::metadata::Metadata;
use crate::codec::parser::Document;

/// The metadata of a response: strings by name, which the handler or a middleware of the server has set with
/// [`Context::set_response_meta`](crate::Context::set_response_meta).
///
/// [`Call::with_response_metadata`](crate::Call::with_response_metadata), [`Streaming::response_metadata`](crate::Streaming::response_metadata) and
/// [`BatchResponse::response_metadata`](crate::BatchResponse::response_metadata) return it. `Debug` shows the names and
/// hides the values.
///
/// It is empty if the server has sent none, and if there is no reply. It is also empty if what the server has sent breaks
/// the rules of the protocol: it has more than 64 names, more than 8 KiB, a name twice, control characters, or values that
/// are not strings. The call has its result nevertheless, and the client logs the reason.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResponseMetadata(Metadata);

impl ResponseMetadata {
    /// Returns the value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// Returns the names and the values, in the order in which the server sent them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter()
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the metadata of a response in a batch.
    pub(super) fn of_entry(response: Value<'_, '_>) -> Self {
        let mut metadata = Metadata::default();
        log(metadata.read_response(response));
        Self(metadata)
    }

    /// Returns metadata without names.
    pub(super) fn none() -> &'static Self {
        static NONE: ResponseMetadata = ResponseMetadata(Metadata::new());
        &NONE
    }
}

/// Reads the metadata of a response, or ignores it.
pub(super) trait ReadMetadata {
    /// Takes the metadata of a response.
    fn receive(&mut self, response: &Document<'_, '_>);

    /// Drops the metadata of an attempt that is followed by another one.
    fn clear(&mut self);
}

impl ReadMetadata for ResponseMetadata {
    fn receive(&mut self, response: &Document<'_, '_>) {
        let read = response.read_metadata(&mut self.0);
        log(read);
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// For callers that read no metadata.
impl ReadMetadata for () {
    #[inline]
    fn receive(&mut self, _: &Document<'_, '_>) {}

    #[inline]
    fn clear(&mut self) {}
}

fn log(read: Result<(), &str>) {
    if let Err(reason) = read {
        tracing::debug!(target: "rpc_runtime::client", reason, "response metadata ignored");
    }
}

impl fmt::Debug for ResponseMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
