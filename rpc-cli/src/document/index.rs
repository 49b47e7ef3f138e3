//! Indexes values by name.

use std::borrow::Cow;

use crate::json::Json;

/// Values by their names, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Index(Vec<Entry>);

/// The ids of a name and of its value. A missing name is the empty name.
type Entry = (Option<u32>, u32);

impl Index {
    /// Creates an index in which the first of several values with the same name is found.
    pub(super) fn first(json: &Json, entries: impl Iterator<Item = Entry>) -> Self {
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|one, other| text(json, *one).cmp(&text(json, *other)));
        Self(entries)
    }

    /// Creates an index in which the last of several values with the same name is found.
    pub(super) fn last(json: &Json, entries: impl Iterator<Item = Entry>) -> Self {
        let mut entries: Vec<_> = entries.collect();
        entries.reverse();
        Self::first(json, entries.into_iter())
    }

    pub(super) fn find(&self, json: &Json, name: &str) -> Option<u32> {
        self.with_name(json, name).first().map(|(_, value)| *value)
    }

    /// Returns `true` if a value is among those with this name, which are in the order of the document.
    pub(super) fn has(&self, json: &Json, name: &str, value: u32) -> bool {
        let named = self.with_name(json, name);
        let found = named.binary_search_by_key(&value, |(_, value)| *value);
        found.is_ok()
    }

    fn with_name(&self, json: &Json, name: &str) -> &[Entry] {
        let first = self.0.partition_point(|entry| *text(json, *entry) < *name);
        let behind = &self.0[first..];
        let count = behind.partition_point(|entry| *text(json, *entry) == *name);
        &behind[..count]
    }
}

fn text(json: &Json, (name, _): Entry) -> Cow<'_, str> {
    let name = name.and_then(|name| json.value(name).as_str());
    name.unwrap_or_default()
}
