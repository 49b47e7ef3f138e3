//! A JSON document, held as its text and the positions of its values.
//!
//! A tree of values takes tens of times the memory of its text, and the text comes from a server. Here a value takes
//! four bytes in addition to its text, and an array or object twelve.

mod number;
mod text;

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};

use memchr::memchr;
use serde_json::value::RawValue;

use crate::escape::truncated;

pub(crate) use self::number::Decimal;
pub(crate) use self::text::{Compact, Token, tokens};
use self::text::{scalar_len, string_end};

/// The maximum nesting of arrays and objects in a document.
const MAX_DEPTH: usize = 128;

/// The maximum number of references from one to the next.
const MAX_CHAIN: usize = 32;

/// Marks the positions of strings with escapes. The text must therefore be smaller than 2 GiB.
const ESCAPED: u32 = 1 << 31;

/// A JSON document.
///
/// The tape has a word for each value and each member name, in the order of the text: the position where it starts. The
/// word of an array or object is followed by the index of the word behind its last value, and by the position where its
/// text ends.
pub(crate) struct Json {
    text: String,
    tape: Vec<u32>,
    /// The ids of the objects with a reference, in their order, and the ids of their targets.
    targets: Vec<(u32, u32)>,
}

impl Json {
    /// Reads a document. The error says why the text is not valid.
    pub(crate) fn parse(text: String) -> Result<Self, String> {
        if text.len() >= ESCAPED as usize {
            return Err("it has more than 2 GiB".into());
        }
        // Checks the entire text, and allocates nothing for its values.
        let checked: Result<&RawValue, _> = serde_json::from_str(&text);
        checked.map_err(|error| error.to_string())?;
        let tape = tape(text.as_bytes())
            .ok_or_else(|| format!("it nests more than {MAX_DEPTH} levels"))?;
        Ok(Self {
            text,
            tape,
            targets: Vec::new(),
        })
    }

    /// Sets the targets of the objects with a reference, which are in the order of the document.
    pub(crate) fn set_targets(&mut self, targets: Vec<(u32, u32)>) {
        self.targets = targets;
    }

    /// Returns the objects with a reference, in their order, and their targets.
    pub(crate) fn references(&self) -> impl Iterator<Item = (Value<'_>, Value<'_>)> {
        let targets = self.targets.iter();
        targets.map(|(value, target)| (self.value(*value), self.value(*target)))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn root(&self) -> Value<'_> {
        Value { json: self, at: 0 }
    }

    /// Returns the value with this [`id`](Value::id).
    pub(crate) fn value(&self, id: u32) -> Value<'_> {
        Value { json: self, at: id }
    }

    /// Returns the number of words of the tape, as a measure of the document's content.
    pub(crate) fn size(&self) -> usize {
        self.tape.len()
    }

    fn start(&self, at: u32) -> usize {
        (self.tape[at as usize] & !ESCAPED) as usize
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns the tape of a text that is JSON. Returns `None` if it is nested too deeply.
fn tape(text: &[u8]) -> Option<Vec<u32>> {
    let mut tape = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let start = at as u32;
        match byte {
            b'"' => {
                let (end, is_escaped) = string_end(text, at);
                tape.push(if is_escaped { start | ESCAPED } else { start });
                at = end;
            }
            b'[' | b'{' if open.len() == MAX_DEPTH => return None,
            b'[' | b'{' => {
                open.push(tape.len());
                tape.extend([start, 0, 0]);
                at += 1;
            }
            b']' | b'}' => {
                let opened = open.pop()?;
                tape[opened + 1] = tape.len() as u32;
                tape[opened + 2] = start + 1;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            _ => {
                tape.push(start);
                at += scalar_len(&text[at..]);
            }
        }
    }
    Some(tape)
}

/// A value of a document.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    json: &'a Json,
    at: u32,
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl<'a> Value<'a> {
    /// Returns the id of the value, which is unique in its document.
    pub(crate) fn id(self) -> u32 {
        self.at
    }

    pub(crate) fn kind(self) -> Type {
        match self.first() {
            b'n' => Type::Null,
            b't' | b'f' => Type::Boolean,
            b'"' => Type::String,
            b'[' => Type::Array,
            b'{' => Type::Object,
            _ => Type::Number,
        }
    }

    fn first(self) -> u8 {
        self.json.text.as_bytes()[self.start()]
    }

    fn start(self) -> usize {
        self.json.start(self.at)
    }

    fn is_container(self) -> bool {
        matches!(self.first(), b'[' | b'{')
    }

    /// Returns the index of the word behind the value's last.
    fn next(self) -> u32 {
        match self.is_container() {
            true => self.json.tape[self.at as usize + 1],
            false => self.at + 1,
        }
    }

    /// Returns the id behind those of the value and all values in it.
    pub(crate) fn end_id(self) -> u32 {
        self.next()
    }

    /// Returns the target of the value's reference, if it has one.
    pub(crate) fn referred(self) -> Option<Self> {
        let targets = &self.json.targets;
        let index = targets.binary_search_by_key(&self.at, |(value, _)| *value);
        Some(self.json.value(targets[index.ok()?].1))
    }

    /// Returns the value to which the references lead, or the value itself.
    pub(crate) fn resolved(self) -> Self {
        let mut value = self;
        // References may form a cycle.
        for _ in 0..MAX_CHAIN {
            match value.referred() {
                Some(target) => value = target,
                None => break,
            }
        }
        value
    }

    /// Returns the JSON text of the value.
    pub(crate) fn text(self) -> &'a str {
        let start = self.start();
        let end = match self.first() {
            b'[' | b'{' => self.json.tape[self.at as usize + 2] as usize,
            b'"' => string_end(self.json.text.as_bytes(), start).0,
            _ => start + scalar_len(&self.json.text.as_bytes()[start..]),
        };
        &self.json.text[start..end]
    }

    /// Returns an upper bound of the length of the value's text, without reading the text.
    pub(crate) fn len_bound(self) -> usize {
        let end = match self.is_container() {
            true => self.json.tape[self.at as usize + 2] as usize,
            false => match self.json.tape.get(self.at as usize + 1) {
                Some(next) => (next & !ESCAPED) as usize,
                None => self.json.text.len(),
            },
        };
        end - self.start()
    }

    /// Returns the first `most` bytes of the value's text, and `true` if that is the entire text.
    pub(crate) fn text_within(self, most: usize) -> (&'a str, bool) {
        let start = self.start();
        let rest = &self.json.text[start..start + self.len_bound()];
        let (part, is_all) = truncated(rest, most);
        let end = match self.first() {
            b'[' | b'{' => part.len(),
            b'"' => string_end(part.as_bytes(), 0).0,
            _ => scalar_len(part.as_bytes()),
        };
        // Text behind a string or a number does not belong to it.
        (&part[..end], is_all || end < part.len())
    }

    pub(crate) fn is_null(self) -> bool {
        self.kind() == Type::Null
    }

    pub(crate) fn as_bool(self) -> Option<bool> {
        match self.first() {
            b't' => Some(true),
            b'f' => Some(false),
            _ => None,
        }
    }

    /// Returns the unescaped text of a string.
    pub(crate) fn as_str(self) -> Option<Cow<'a, str>> {
        if self.kind() != Type::String {
            return None;
        }
        Some(match self.plain() {
            Ok(text) => Cow::Borrowed(text),
            // An unpaired surrogate is not a character, and stays as it is written.
            Err(quoted) => match serde_json::from_str(quoted) {
                Ok(text) => Cow::Owned(text),
                Err(_) => Cow::Borrowed(&quoted[1..quoted.len() - 1]),
            },
        })
    }

    /// Returns the content of a string, or all of its JSON text as the error if it has escapes.
    fn plain(self) -> Result<&'a str, &'a str> {
        if self.json.tape[self.at as usize] & ESCAPED != 0 {
            return Err(self.text());
        }
        let start = self.start() + 1;
        let rest = &self.json.text[start..];
        let end = memchr(b'"', rest.as_bytes()).unwrap_or(rest.len());
        Ok(&rest[..end])
    }

    /// Returns `true` if the value is this string.
    pub(crate) fn is(self, text: &str) -> bool {
        if self.json.tape[self.at as usize] & ESCAPED != 0 {
            return self.as_str().is_some_and(|own| own == text);
        }
        let own = &self.json.text.as_bytes()[self.start()..];
        let own = own.strip_prefix(b"\"");
        let rest = own.and_then(|own| own.strip_prefix(text.as_bytes()));
        // Text with a quote cannot equal a string without escapes.
        rest.is_some_and(|rest| rest.first() == Some(&b'"')) && !text.contains('"')
    }

    pub(crate) fn as_i64(self) -> Option<i64> {
        self.number()?.parse().ok()
    }

    pub(crate) fn as_u64(self) -> Option<u64> {
        self.number()?.parse().ok()
    }

    pub(crate) fn as_f64(self) -> Option<f64> {
        self.number()?.parse().ok()
    }

    /// Returns the text of a number.
    fn number(self) -> Option<&'a str> {
        (self.kind() == Type::Number).then(|| self.text())
    }

    pub(crate) fn is_object(self) -> bool {
        self.first() == b'{'
    }

    pub(crate) fn is_array(self) -> bool {
        self.first() == b'['
    }

    /// Returns the elements of an array, or none if the value is no array.
    pub(crate) fn elements(self) -> Elements<'a> {
        match self.is_array() {
            true => self.inside(),
            false => Elements::none(self.json),
        }
    }

    /// Returns the names and values of an object's members, or none if the value is no object.
    pub(crate) fn members(self) -> Members<'a> {
        Members(match self.is_object() {
            true => self.inside(),
            false => Elements::none(self.json),
        })
    }

    fn inside(self) -> Elements<'a> {
        Elements {
            json: self.json,
            at: self.at + 3,
            end: self.next(),
        }
    }

    /// Returns all arrays and objects in the value, including itself, in the order of the text.
    pub(crate) fn containers(self) -> impl Iterator<Item = Self> {
        let (json, end) = (self.json, self.next());
        let mut at = self.at;
        std::iter::from_fn(move || {
            while at < end {
                work::count();
                let value = Self { json, at };
                let is_container = value.is_container();
                at += if is_container { 3 } else { 1 };
                if is_container {
                    return Some(value);
                }
            }
            None
        })
    }

    /// Returns the value of a member. Of several with this name the last counts.
    pub(crate) fn get(self, name: &str) -> Option<Self> {
        let members = self.members();
        let found = members.filter(|(own, _)| own.is(name)).last()?;
        Some(found.1)
    }

    /// Returns the values of several members, found in one walk, because an object may have any number of members.
    pub(crate) fn get_all<const N: usize>(self, names: [&str; N]) -> [Option<Self>; N] {
        let mut found = [None; N];
        for (own, value) in self.members() {
            let index = names.iter().position(|name| own.is(name));
            if let Some(index) = index {
                found[index] = Some(value);
            }
        }
        found
    }

    /// Returns the elements of a member that is an array.
    pub(crate) fn list(self, name: &str) -> Option<Elements<'a>> {
        let list = self.get(name)?;
        list.is_array().then(|| list.elements())
    }

    /// Returns a hash of the value that ignores the order of members and the notation of numbers and strings.
    pub(crate) fn fingerprint(self, keys: &RandomState) -> u64 {
        let mut hasher = keys.build_hasher();
        (self.kind() as u8).hash(&mut hasher);
        match self.kind() {
            Type::Null => {}
            Type::Boolean => self.first().hash(&mut hasher),
            Type::Number => self.hash_number(&mut hasher),
            Type::String => self.as_str().hash(&mut hasher),
            Type::Array => {
                for element in self.elements() {
                    element.fingerprint(keys).hash(&mut hasher);
                }
            }
            Type::Object => {
                let members = self.members().map(|(name, value)| {
                    keys.hash_one((name.fingerprint(keys), value.fingerprint(keys)))
                });
                members.fold(0, u64::wrapping_add).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Returns the exact value of a number.
    pub(crate) fn as_decimal(self) -> Option<Decimal<'a>> {
        Decimal::of(self.number()?)
    }

    fn hash_number(self, hasher: &mut impl Hasher) {
        match self.as_decimal() {
            Some(decimal) => decimal.hash(hasher),
            None => self.text().hash(hasher),
        }
    }
}

/// Returns the value of a number without a fraction.
pub(crate) fn whole(number: Value<'_>) -> Option<i128> {
    number.as_decimal()?.whole()
}

/// The values of an array.
#[derive(Clone)]
pub(crate) struct Elements<'a> {
    json: &'a Json,
    at: u32,
    end: u32,
}

impl<'a> Elements<'a> {
    fn none(json: &'a Json) -> Self {
        Self {
            json,
            at: 0,
            end: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.end
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.is_empty() {
            return None;
        }
        work::count();
        let value = Value {
            json: self.json,
            at: self.at,
        };
        self.at = value.next();
        Some(value)
    }
}

/// The members of an object.
#[derive(Clone)]
pub(crate) struct Members<'a>(Elements<'a>);

impl Members<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// Counts the values that are read, for tests of how work grows with a document.
pub(crate) mod work {
    #[cfg(test)]
    thread_local! {
        static DONE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[inline]
    pub(super) fn count() {
        #[cfg(test)]
        DONE.set(DONE.get() + 1);
    }

    /// Returns the number of values that this thread has read while `work` ran.
    #[cfg(test)]
    pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let before = DONE.get();
        let done = work();
        (done, DONE.get() - before)
    }
}

#[cfg(test)]
pub(crate) mod tests;
