//! The metadata of a call.

use std::borrow::Cow;
use std::fmt;

use crate::codec::ser::write_string;

/// Metadata of one call, as the members of a JSON object. A value replaces an earlier one of the same name.
#[derive(Clone, Default)]
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

    /// Returns the value of this name.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut members = self.iter();
        members.find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Returns all names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let ends = self.starts.iter().skip(1).copied();
        let ends = ends.chain([self.members.len()]);
        let members = self.starts.iter().zip(ends);
        members.filter_map(|(start, end)| {
            let member = self.members.get(start + 1..end)?;
            let mut strings = serde_json::Deserializer::from_slice(member).into_iter();
            let JsonText(name) = strings.next()?.ok()?;
            let value = member.get(strings.byte_offset() + 1..)?;
            let JsonText(value) = serde_json::from_slice(value).ok()?;
            Some((name, value))
        })
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

/// A string of JSON, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Prints no metadata, since its values are secret.
impl fmt::Debug for MetadataWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataWriter").finish_non_exhaustive()
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
