//! The metadata of a reply, which handlers and middleware set while their call runs.

use std::sync::{Arc, OnceLock};

use crate::codec::metadata::{Metadata, MetadataError};
use crate::sync::{Mutex, get_mut, lock};

/// The metadata of the reply to a call. Copies of it belong to the same call.
///
/// A worker reuses it for the next call, so that calls allocate nothing for it, unless a copy is left.
#[derive(Debug, Default)]
pub(crate) struct ReplyMetadata(OnceLock<Arc<Mutex<Pending>>>);

#[derive(Debug, Default)]
struct Pending {
    metadata: Metadata,
    /// `true` once the call has ended.
    is_over: bool,
}

impl ReplyMetadata {
    /// Starts the next call.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if self.is_used() {
            self.reuse();
        }
    }

    /// Returns `true` if a call of the worker has had metadata, or a copy.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.0.get().is_some()
    }

    #[cold]
    fn reuse(&mut self) {
        if let Some(pending) = self.0.get_mut().and_then(Arc::get_mut) {
            let Pending { metadata, is_over } = get_mut(pending);
            metadata.clear();
            *is_over = false;
        } else if let Some(left) = self.0.take() {
            // The future of the last call may have been dropped, so the call has not ended otherwise.
            lock(&left).is_over = true;
        }
    }

    /// Sets a value.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<(), MetadataError> {
        let mut pending = lock(self.0.get_or_init(Arc::default));
        match pending.is_over {
            true => Err(MetadataError::AlreadyReplied),
            false => pending.metadata.set(name, value),
        }
    }

    /// Ends the call. Passes its metadata to `write`, if there is any.
    pub(crate) fn end(&self, write: impl FnOnce(&Metadata)) {
        if let Some(pending) = self.0.get() {
            let mut pending = lock(pending);
            pending.is_over = true;
            if !pending.metadata.is_empty() {
                write(&pending.metadata);
            }
        }
    }

    /// Returns the metadata of the same call, for a copy of its context.
    pub(crate) fn share(&self) -> Self {
        self.0.get_or_init(Arc::default);
        Self(self.0.clone())
    }

    /// Releases the buffers if they exceed `limit` bytes.
    pub(crate) fn shrink(&mut self, limit: usize) {
        if let Some(pending) = self.0.get_mut().and_then(Arc::get_mut) {
            get_mut(pending).metadata.shrink(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(metadata: &ReplyMetadata) -> String {
        let mut out = Vec::new();
        metadata.end(|metadata| metadata.write(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn metadata_of_a_call_is_not_that_of_the_next() {
        let mut metadata = ReplyMetadata::default();
        metadata.set("a", "1").unwrap();
        assert_eq!(written(&metadata), r#"{"a":"1"}"#);
        assert_eq!(metadata.set("b", "2"), Err(MetadataError::AlreadyReplied));
        metadata.begin();
        assert_eq!(written(&metadata), "");
        metadata.begin();
        metadata.set("c", "3").unwrap();
        assert_eq!(written(&metadata), r#"{"c":"3"}"#);
    }

    #[test]
    fn copy_sets_the_metadata_of_its_own_call_only() {
        let mut metadata = ReplyMetadata::default();
        let copy = metadata.share();
        copy.set("a", "1").unwrap();
        assert_eq!(written(&metadata), r#"{"a":"1"}"#);

        let copy = metadata.share();
        // The future of the call is dropped.
        metadata.begin();
        assert_eq!(copy.set("a", "1"), Err(MetadataError::AlreadyReplied));
        metadata.set("b", "2").unwrap();
        assert_eq!(written(&metadata), r#"{"b":"2"}"#);
    }
}
