//! The metadata of requests and of responses: strings by name, beside the parameters or the result.

use std::fmt;
use std::hash::Hasher;

use rustc_hash::FxHasher;
use thiserror::Error;

use crate::codec::de::Value;
use crate::codec::escape::Escaped;
use crate::codec::parser::Document;
use crate::codec::ser::write_string;
use crate::codec::steps;

/// The maximum number of names in the metadata of a request or a response.
pub(crate) const MAX_NAMES: usize = 64;

/// The maximum size of the names and the values in the metadata of a response, in bytes without quotes and escapes.
pub(crate) const MAX_RESPONSE_BYTES: usize = 8 << 10;

const NO_STRINGS: &str = "`meta` is not an object of strings";
const TOO_MANY_NAMES: &str = "`meta` has more than 64 names";

/// Checks that the metadata is an object of strings in which no name is repeated. Readers disagree on which of two
/// values counts, so an intermediary could check one value while the server uses the other.
///
/// Compares each name with all names before it, by their hashes first. For at most [`MAX_NAMES`] names this costs less
/// than reading them, and does not allocate.
pub(super) fn check(meta: Value<'_, '_>) -> Result<(), &'static str> {
    let members = meta.members().ok_or(NO_STRINGS)?;
    let mut names = [(0, ""); MAX_NAMES];
    for (index, (name, value)) in members.enumerate() {
        steps::step();
        value.as_str().ok_or(NO_STRINGS)?;
        let Some((earlier, [place, ..])) = names.split_at_mut_checked(index) else {
            return Err(TOO_MANY_NAMES);
        };
        let name = (hash(name), name);
        if earlier.contains(&name) {
            return Err("a name in `meta` stands twice");
        }
        *place = name;
    }
    Ok(())
}

fn hash(name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// Strings by name, in reused buffers.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    text: String,
    /// The ends of each name and its value in `text`.
    ends: Vec<(usize, usize)>,
}

/// The reason why the metadata of a response cannot be set.
///
/// The metadata is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The response would have more than 64 names.
    #[error("the metadata of a response has up to 64 names")]
    TooManyNames,
    /// The names and the values would have more than 8 KiB.
    #[error("the names and values in the metadata of a response have up to 8192 bytes together")]
    TooLarge,
    /// The name or the value contains a control character, such as a line feed.
    #[error("the metadata of a response contains no control characters")]
    ControlCharacter,
    /// The call has ended, and its reply was written.
    #[error("the reply was written before")]
    AlreadyReplied,
}

impl Metadata {
    pub(crate) const fn new() -> Self {
        Self {
            text: String::new(),
            ends: Vec::new(),
        }
    }

    /// Takes the metadata of a request, which was checked.
    pub(crate) fn read(&mut self, meta: Option<Value<'_, '_>>) {
        self.clear();
        let Some(members) = meta.and_then(Value::members) else {
            return;
        };
        for (name, value) in members {
            self.push(name, value.as_str().unwrap_or_default());
        }
    }

    /// Takes the metadata of a response, which another implementation may have written. Returns the reason why the
    /// metadata is ignored, if it breaks a rule.
    pub(crate) fn read_response(&mut self, response: Value<'_, '_>) -> Result<(), &'static str> {
        self.clear();
        let mut meta = None;
        for (name, value) in response.members().into_iter().flatten() {
            if name == "meta" && meta.replace(value).is_some() {
                return Err("`meta` stands twice");
            }
        }
        let Some(meta) = meta.filter(|meta| !meta.is_null()) else {
            return Ok(());
        };
        check(meta)?;
        let (mut names, mut bytes) = (0_usize, 0_usize);
        for (name, value) in meta.members().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            names = names.saturating_add(1);
            bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
            if bytes > MAX_RESPONSE_BYTES {
                return Err("`meta` has more than 8192 bytes");
            }
            if has_control_character(name) || has_control_character(value) {
                return Err("`meta` contains a control character");
            }
        }
        self.text.reserve_exact(bytes);
        self.ends.reserve_exact(names);
        self.read(Some(meta));
        Ok(())
    }

    /// Sets a value of a response. It replaces an earlier value of the same name.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), MetadataError> {
        if has_control_character(name) || has_control_character(value) {
            return Err(MetadataError::ControlCharacter);
        }
        let former = self.position(name);
        let replaced = former.and_then(|index| self.range(index));
        let freed = replaced.map_or(0, |(start, _, end)| end.saturating_sub(start));
        let added = name.len().saturating_add(value.len());
        if self.text.len().saturating_sub(freed).saturating_add(added) > MAX_RESPONSE_BYTES {
            return Err(MetadataError::TooLarge);
        }
        if former.is_none() && self.ends.len() >= MAX_NAMES {
            return Err(MetadataError::TooManyNames);
        }
        if let Some(index) = former {
            self.remove(index);
        }
        self.push(name, value);
        Ok(())
    }

    fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len()));
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.iter().position(|(other, _)| other == name)
    }

    /// Returns the start of a name, its end, and the end of its value.
    fn range(&self, index: usize) -> Option<(usize, usize, usize)> {
        let &(name_end, value_end) = self.ends.get(index)?;
        let before = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        Some((before.map_or(0, |&(_, end)| end), name_end, value_end))
    }

    fn remove(&mut self, index: usize) {
        let Some((start, _, end)) = self.range(index) else {
            return;
        };
        let length = end.saturating_sub(start);
        self.text.replace_range(start..end, "");
        self.ends.remove(index);
        for (name_end, value_end) in self.ends.iter_mut().skip(index) {
            *name_end = name_end.saturating_sub(length);
            *value_end = value_end.saturating_sub(length);
        }
    }

    /// Returns the value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Returns the names and the values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&(name_end, value_end)| {
            let pair = (
                self.text.get(start..name_end)?,
                self.text.get(name_end..value_end)?,
            );
            start = value_end;
            Some(pair)
        })
    }

    /// Appends an object with the names and the values.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut next = b'{';
        for (name, value) in self.iter() {
            out.push(next);
            next = b',';
            write_string(name, out);
            out.push(b':');
            write_string(value, out);
        }
        if next == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Releases the buffers if they exceed `limit` bytes.
    pub(crate) fn shrink(&mut self, limit: usize) {
        let ends = self
            .ends
            .capacity()
            .saturating_mul(size_of::<(usize, usize)>());
        if self.text.capacity().saturating_add(ends) > limit {
            *self = Self::default();
        }
    }
}

impl Document<'_, '_> {
    /// Takes the metadata of a response. Returns the reason why it is ignored, if it breaks a rule.
    pub(crate) fn read_metadata(&self, into: &mut Metadata) -> Result<(), &'static str> {
        match self.compact() {
            Some(_) => {
                into.clear();
                Ok(())
            }
            None => into.read_response(self.root()),
        }
    }
}

fn has_control_character(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Shows names only: values may be secret, such as that of `authorization`.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|(name, _)| Escaped(name));
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::parser::Parser;

    fn check_text(meta: &str) -> Result<(), &'static str> {
        let mut message = meta.as_bytes().to_vec();
        let mut parser = Parser::new(64);
        check(parser.parse(&mut message).unwrap().root())
    }

    fn object<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
        let members = names
            .into_iter()
            .map(|name| format!("{}:\"\"", serde_json::Value::from(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn name_that_stands_twice_is_rejected() {
        let twice = Err("a name in `meta` stands twice");
        assert_eq!(check_text(r#"{"user":"a","user":"b"}"#), twice);
        assert_eq!(check_text(r#"{"user":"a","other":"","user":"a"}"#), twice);
        // The same name in another notation.
        assert_eq!(check_text(r#"{"user":"a","\u0075ser":"b"}"#), twice);
        assert_eq!(check_text(r#"{"":"a","":"b"}"#), twice);
        assert_eq!(check_text(r#"{"user":"a","User":"b"}"#), Ok(()));
    }

    #[test]
    fn names_past_the_limit_are_rejected() {
        let names: Vec<_> = (0..=MAX_NAMES).map(|number| number.to_string()).collect();
        let all = names.iter().map(String::as_str);
        assert_eq!(check_text(&object(all.clone().take(MAX_NAMES))), Ok(()));
        let too_many = Err("`meta` has more than 64 names");
        assert_eq!(check_text(&object(all)), too_many);
    }

    #[test]
    fn value_that_is_no_string_is_rejected() {
        let no_strings = Err("`meta` is not an object of strings");
        for meta in ["[]", "null", r#""a""#, r#"{"a":1}"#, r#"{"a":"","b":null}"#] {
            assert_eq!(check_text(meta), no_strings, "{meta}");
        }
    }

    fn read_text(response: &str) -> Result<Metadata, &'static str> {
        let mut message = response.as_bytes().to_vec();
        let mut parser = Parser::new(64);
        let mut metadata = Metadata::default();
        // From an earlier response.
        metadata.set("earlier", "1").unwrap();
        let read = parser
            .parse_response(&mut message)
            .unwrap()
            .read_metadata(&mut metadata);
        match read {
            Ok(()) => Ok(metadata),
            Err(reason) => {
                assert!(metadata.is_empty(), "{metadata:?}");
                Err(reason)
            }
        }
    }

    #[test]
    fn metadata_of_a_response_is_read_at_any_place() {
        for response in [
            r#"{"jsonrpc":"2.0","id":1,"result":3,"meta":{"a":"1","b\n\u0041":"\""}}"#,
            r#"{"meta":{"a":"1","b\nA":"\u0022"},"error":{"code":1,"message":"","meta":{"c":"2"}},"id":1}"#,
        ] {
            // The line feed is not allowed.
            assert_eq!(
                read_text(response),
                Err("`meta` contains a control character")
            );
            let metadata = read_text(&response.replace("\\n", "")).unwrap();
            assert!(metadata.iter().eq([("a", "1"), ("bA", "\"")]), "{response}");
        }
    }

    #[test]
    fn response_without_metadata_has_none() {
        for response in [
            r#"{"jsonrpc":"2.0","id":1,"result":3}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"meta":{"a":"1"}} }"#,
            r#"{"jsonrpc":"2.0","id":1,"result":3,"meta":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":3,"meta":null}"#,
        ] {
            assert_eq!(read_text(response), Ok(Metadata::new()), "{response}");
        }
    }

    #[test]
    fn metadata_of_a_response_that_breaks_a_rule_is_ignored() {
        let response =
            |meta: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":3,"meta":{meta}}}"#);
        for (meta, reason) in [
            ("7", "`meta` is not an object of strings"),
            (r#"["a","1"]"#, "`meta` is not an object of strings"),
            (r#"{"a":1}"#, "`meta` is not an object of strings"),
            (r#"{"a":"1","a":"1"}"#, "a name in `meta` stands twice"),
            (r#"{"a":"1"},"meta":{"a":"1"}"#, "`meta` stands twice"),
            (r#"null,"meta":{"a":"1"}"#, "`meta` stands twice"),
            (r#"{"a":"\u007f"}"#, "`meta` contains a control character"),
            (r#"{"\u0085":""}"#, "`meta` contains a control character"),
        ] {
            assert_eq!(read_text(&response(meta)), Err(reason), "{meta}");
        }
        let names: Vec<_> = (0..=MAX_NAMES).map(|number| number.to_string()).collect();
        let all = names.iter().map(String::as_str);
        let metadata = read_text(&response(&object(all.clone().take(MAX_NAMES))));
        assert_eq!(metadata.unwrap().len(), MAX_NAMES);
        assert_eq!(
            read_text(&response(&object(all))),
            Err("`meta` has more than 64 names")
        );
        let value = |bytes: usize| response(&format!(r#"{{"a":"{}"}}"#, "\\".repeat(2 * bytes)));
        assert!(read_text(&value(MAX_RESPONSE_BYTES - 1)).is_ok());
        assert_eq!(
            read_text(&value(MAX_RESPONSE_BYTES)),
            Err("`meta` has more than 8192 bytes")
        );
    }

    #[test]
    fn value_past_a_limit_is_not_set() {
        let mut metadata = Metadata::default();
        for (name, value) in [("a\n", ""), ("", "\r"), ("\0", ""), ("", "\u{9f}")] {
            let set = metadata.set(name, value);
            assert_eq!(set, Err(MetadataError::ControlCharacter));
        }
        let value = "x".repeat(MAX_RESPONSE_BYTES - 1);
        assert_eq!(metadata.set("ab", &value), Err(MetadataError::TooLarge));
        assert_eq!(metadata.set("a", &value), Ok(()));
        assert_eq!(metadata.set("a", &value), Ok(()), "it replaces the value");
        assert_eq!(metadata.set("", "x"), Err(MetadataError::TooLarge));
        metadata.set("a", "").unwrap();
        for number in 1..MAX_NAMES {
            metadata.set(&number.to_string(), "").unwrap();
        }
        assert_eq!(metadata.set("b", ""), Err(MetadataError::TooManyNames));
        assert_eq!(metadata.set("a", "1"), Ok(()));
        assert_eq!(metadata.len(), MAX_NAMES);
    }

    proptest! {
        #[test]
        fn metadata_that_is_set_is_read_as_the_last_value_of_each_name(
            pairs in prop::collection::vec(("[a-c\"]{0,2}", "[\\PC\"\\\\]{0,4}"), 0..12),
        ) {
            let mut metadata = Metadata::default();
            for (name, value) in &pairs {
                metadata.set(name, value).unwrap();
            }
            let mut response = br#"{"id":1,"result":null,"meta":"#.to_vec();
            metadata.write(&mut response);
            response.push(b'}');
            let read = read_text(std::str::from_utf8(&response).unwrap()).unwrap();
            let expected = pairs.iter().enumerate().filter(|(index, (name, _))| {
                pairs[index + 1..].iter().all(|(later, _)| later != name)
            });
            let expected = expected.map(|(_, (name, value))| (name.as_str(), value.as_str()));
            prop_assert!(read.iter().eq(expected), "{}", response.escape_ascii());
            prop_assert_eq!(read, metadata);
        }

        #[test]
        fn only_equal_names_are_rejected(names in prop::collection::vec("[a-c]{0,3}|.*", 0..MAX_NAMES)) {
            let mut different = names.clone();
            different.sort();
            different.dedup();
            let checked = check_text(&object(names.iter().map(String::as_str)));
            prop_assert_eq!(checked.is_ok(), different.len() == names.len());
        }
    }
}
