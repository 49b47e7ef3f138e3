//! Settings of a client and of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::retry::backoff::Backoff;
use crate::codec::ser::write_string;
use crate::deadline;
use crate::event::EventHook;
use crate::limits::Limits;
use crate::memory::ServerMemory;

/// The settings of a client for its calls.
#[derive(Debug, Clone)]
pub(super) struct ClientOptions {
    /// Number of multiplexed streams.
    pub(super) streams: usize,
    /// Maximum number of dedicated streams of a connection.
    pub(super) max_dedicated_streams: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) reply_limit: usize,
    pub(super) wait_for_ready: bool,
    /// Delays between attempts; `None` if calls are not retried.
    pub(super) retry: Option<Backoff>,
    pub(super) metadata: Option<MetadataSource>,
    pub(super) events: EventHook,
    /// Counts the memory that is held for all connections.
    pub(super) memory: Arc<ServerMemory>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            streams: 1,
            max_dedicated_streams: 100,
            timeout: None,
            reply_limit: 4 << 20,
            wait_for_ready: true,
            retry: None,
            metadata: None,
            events: EventHook::default(),
            memory: ServerMemory::new(&Limits::default()),
        }
    }
}

/// Writes the metadata that a client adds to all its calls.
#[derive(Clone)]
pub(super) struct MetadataSource(pub(super) Arc<AddMetadata>);

type AddMetadata = dyn Fn(&mut dyn FnMut(&str, &str)) + Send + Sync;

impl fmt::Debug for MetadataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetadataSource")
    }
}

/// Metadata of one call, as the members of a JSON object. A value replaces an earlier one of the same name.
#[derive(Default)]
pub(super) struct MetadataWriter {
    /// Each member is preceded by a comma.
    members: Vec<u8>,
    /// Offset of the comma before each member.
    starts: Vec<usize>,
}

impl MetadataWriter {
    pub(super) fn push(&mut self, name: &str, value: &str) {
        let start = self.members.len();
        self.members.push(b',');
        write_string(name, &mut self.members);
        self.members.push(b':');
        let former = self.find(start);
        write_string(value, &mut self.members);
        self.starts.push(start);
        if let Some(former) = former {
            self.remove(former);
        }
    }

    /// Returns the index of the member whose name equals the bytes from `start` on.
    fn find(&self, start: usize) -> Option<usize> {
        let (members, name) = self.members.split_at(start);
        let has_name = |member: &usize| members[*member..].starts_with(name);
        self.starts.iter().position(has_name)
    }

    fn remove(&mut self, index: usize) {
        let start = self.starts.remove(index);
        let length = self.starts[index] - start;
        self.members.drain(start..start + length);
        for later in &mut self.starts[index..] {
            *later -= length;
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some((_, members)) = self.members.split_first() {
            out.extend_from_slice(br#","meta":{"#);
            out.extend_from_slice(members);
            out.push(b'}');
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.starts.clear();
    }

    /// Returns the capacity of the buffers that are kept for the next call, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.members.capacity() + self.starts.capacity() * size_of::<usize>()
    }
}

/// Prints no metadata, since its values are secret.
impl fmt::Debug for MetadataWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataWriter").finish_non_exhaustive()
    }
}

/// Settings of a call.
#[derive(Debug, Default)]
pub(super) struct CallOptions {
    pub(super) time: TimeLimit,
    pub(super) dedicated_stream: bool,
    pub(super) retries: bool,
    pub(super) metadata: MetadataWriter,
}

impl CallOptions {
    /// Sets the options of a new call, whose metadata is empty.
    pub(super) fn begin(&mut self, options: &ClientOptions) {
        self.time = TimeLimit::inherited(options);
        self.dedicated_stream = false;
        self.retries = options.retry.is_some();
        if let Some(MetadataSource(add)) = &options.metadata {
            add(&mut |name, value| self.metadata.push(name, value));
        }
    }
}

/// The time limit of a call, a batch or a notification.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct TimeLimit {
    /// Maximum duration of the wait.
    pub(super) timeout: Option<Duration>,
    /// The deadline of the handler that makes the call.
    pub(super) deadline: Option<Instant>,
}

impl TimeLimit {
    /// Returns the client's timeout and the deadline of the current task.
    pub(super) fn inherited(options: &ClientOptions) -> Self {
        Self {
            timeout: options.timeout,
            deadline: deadline::inherited(),
        }
    }

    /// Returns the time that remains if the wait begins now: the timeout, or the time until the deadline if that is shorter.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let Some(deadline) = self.deadline else {
            return self.timeout;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        Some(self.timeout.map_or(left, |timeout| timeout.min(left)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metadata_written_is_read_as_the_last_value_of_each_name() {
        proptest!(|(pairs in prop::collection::vec(("[a\",:]{0,2}|.*", "[a\",:]{0,3}|.*"), 0..8))| {
            let mut writer = MetadataWriter::default();
            pairs.iter().for_each(|(name, value)| writer.push(name, value));
            let mut json = Vec::new();
            writer.write(&mut json);
            let written = json.strip_prefix(br#","meta":"#);
            prop_assert_eq!(written.is_some(), !pairs.is_empty());
            let mut members = Vec::new();
            let mut deserializer = serde_json::Deserializer::from_slice(written.unwrap_or(b"{}"));
            serde::Deserializer::deserialize_map(&mut deserializer, Pairs(&mut members)).unwrap();
            let expected = pairs.iter().enumerate().filter(|(index, (name, _))| {
                pairs[index + 1..].iter().all(|(later, _)| later != name)
            });
            prop_assert_eq!(members, expected.map(|(_, pair)| pair.clone()).collect::<Vec<_>>());
        });
    }

    /// Reads the members of an object in order, including repeated names.
    struct Pairs<'a>(&'a mut Vec<(String, String)>);

    impl<'de> serde::de::Visitor<'de> for Pairs<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(pair) = map.next_entry()? {
                self.0.push(pair);
            }
            Ok(())
        }
    }
}
