//! The streams of a connection, and the cancellations that name them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::codec::id::Id;
use crate::codec::request::RequestEnd;
use crate::codec::steps;
use crate::server::id_index::HashedId;
use crate::server::shutdown::UnackedStreams;
use crate::server::stream::ServerStream;
use crate::transport::Stopped;

/// Maximum number of cancellations of a connection that wait for the streams of their requests.
const MAX_EARLY_CANCELS: usize = 1024;

/// An ID that no stream has, since stream IDs have 62 bits (RFC 9000, section 2.1).
const DATAGRAMS: u64 = u64::MAX;

/// The streams of a connection.
#[derive(Default)]
pub(super) struct StreamTable {
    /// Streams by ID; datagrams have the ID [`DATAGRAMS`].
    open: HashMap<u64, Arc<ServerStream>, FxBuildHasher>,
    unacked: UnackedStreams,
    /// `true` if replies may be missing on a stream that has ended.
    is_truncated: bool,
    /// The highest ID of the bidirectional streams that the peer has opened.
    last_id: Option<u64>,
    /// Cancellations that arrived before the stream of their requests.
    early: BTreeSet<CancelOfLaterStream>,
}

impl StreamTable {
    /// Adds a stream, and gives it the cancellations that were waiting for it.
    pub(super) fn open(&mut self, stream: &Arc<ServerStream>) {
        let stream_id = stream.id().unwrap_or(DATAGRAMS);
        self.open.insert(stream_id, Arc::clone(stream));
        if stream.id().is_none() || !stream.is_bidirectional() {
            return;
        }
        self.last_id = self.last_id.max(Some(stream_id));
        while let Some(early) = self.early.first().filter(|early| early.stream <= stream_id) {
            if early.stream == stream_id {
                let id = HashedId::new(Id::Unsigned(early.id));
                stream.in_flight.cancel(id, Some(early.offset));
            }
            steps::step();
            self.early.pop_first();
        }
    }

    /// Removes a stream that is over. Returns `false` if it was removed before.
    pub(super) fn remove(&mut self, stream: &ServerStream) -> bool {
        let stream_id = stream.id().unwrap_or(DATAGRAMS);
        let is_first = self.open.remove(&stream_id).is_some();
        if is_first {
            self.is_truncated |= stream.is_truncated();
            if let Some(unacked) = stream.unacked() {
                self.unacked.push(unacked);
            }
        }
        is_first
    }

    /// Cancels the call whose request ends at `end`, now or once the request arrives.
    pub(super) fn cancel_at(&mut self, id: HashedId<'_>, end: RequestEnd) {
        let RequestEnd { stream, offset } = end;
        if let Some(stream) = self.open.get(&stream) {
            return stream.in_flight.cancel(id, Some(offset));
        }
        // Streams are opened in the order of their IDs (RFC 9000, section 2.1), so this stream is over or will be opened
        // later.
        let is_to_come = self.last_id.is_none_or(|last| stream > last);
        if let Id::Unsigned(id) = id.id
            && is_to_come
            && self.early.len() < MAX_EARLY_CANCELS
        {
            self.early
                .insert(CancelOfLaterStream { stream, offset, id });
        }
    }

    /// Cancels a waiting call with this ID, on every stream.
    pub(super) fn cancel(&self, id: HashedId<'_>) {
        let calls = self.open.values().map(|stream| &stream.in_flight);
        let waiting = calls.filter(|calls| {
            steps::step();
            !calls.is_empty()
        });
        waiting.for_each(|calls| calls.cancel(id, None));
    }

    /// Releases the buffers that were not used since the last call.
    pub(super) fn release_unused(&self) {
        let open = self.open.values();
        open.for_each(|stream| stream.release_unused());
    }

    /// Releases all buffers that are not in use.
    pub(super) fn release_idle_buffers(&mut self) {
        self.unacked.release_idle_buffers();
        self.open.shrink_to_fit();
        let open = self.open.values();
        open.for_each(|stream| stream.release_idle_buffers());
    }

    /// Ends all streams of items, each after its current item. Returns `true` if there were any.
    pub(super) fn stop_streaming(&self) -> bool {
        let open = self.open.values();
        open.fold(false, |found, stream| {
            found | stream.in_flight.stop_streaming()
        })
    }

    /// Returns the open streams, and futures that resolve when the last replies of the streams that have ended are
    /// acknowledged.
    pub(super) fn take_unacked(&mut self) -> (Vec<Arc<ServerStream>>, Vec<Stopped>) {
        let open = self.open.values().cloned().collect();
        (open, self.unacked.take())
    }

    /// Returns `true` if replies may be missing on a stream.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated || self.open.values().any(|stream| stream.is_truncated())
    }

    /// Resets all streams.
    pub(super) fn reset(&self) {
        self.open.values().for_each(|stream| stream.reset());
    }
}

/// A cancellation of a request on a stream that is not open yet. Ordered by stream, in the order in which streams are
/// opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CancelOfLaterStream {
    stream: u64,
    offset: u64,
    id: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancels_of_requests_on_streams_that_never_open_are_bounded() {
        let mut streams = StreamTable::default();
        for id in 0..2 * MAX_EARLY_CANCELS as u64 {
            let end = RequestEnd {
                stream: 4 * id,
                offset: 10,
            };
            streams.cancel_at(HashedId::new(Id::Unsigned(id)), end);
        }
        assert_eq!(streams.early.len(), MAX_EARLY_CANCELS);
    }

    #[test]
    fn cancel_of_a_request_on_a_stream_that_is_over_leaves_nothing() {
        let mut streams = StreamTable {
            last_id: Some(8),
            ..StreamTable::default()
        };
        for (stream, kept) in [(4, 0), (8, 0), (12, 1)] {
            let end = RequestEnd { stream, offset: 10 };
            streams.cancel_at(HashedId::new(Id::Unsigned(7)), end);
            assert_eq!(streams.early.len(), kept, "stream {stream}");
        }
    }
}
