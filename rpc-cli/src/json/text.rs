//! Reads JSON text token by token.

use std::fmt::{self, Display};

use memchr::{memchr, memchr2};

use crate::escape::PrintableJson;

/// Displays JSON text without white space between its values, and without unprintable characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compact<'a>(pub(crate) &'a str);

impl Display for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while !rest.is_empty() {
            let end = match rest.starts_with('"') {
                true => string_end(rest.as_bytes(), 0).0,
                false => memchr(b'"', rest.as_bytes()).unwrap_or(rest.len()),
            };
            let (part, behind) = rest.split_at(end);
            rest = behind;
            match part.starts_with('"') {
                true => PrintableJson(part).fmt(f)?,
                false => without_space(part).try_for_each(|part| PrintableJson(part).fmt(f))?,
            }
        }
        Ok(())
    }
}

/// Returns the parts of a text between white space.
fn without_space(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.bytes().position(|byte| !is_space(byte))?;
        let part = &rest[start..];
        let end = part.bytes().position(is_space).unwrap_or(part.len());
        rest = &part[end..];
        Some(&part[..end])
    })
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// A token of JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// `[` or `{`.
    Open(&'a str),
    /// `]` or `}`.
    Close(&'a str),
    Comma,
    Colon,
    String(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
    Number(&'a str),
}

/// Returns the tokens of a text that is JSON.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text.as_bytes()[at..];
        let start = at + rest.iter().position(|byte| !is_space(*byte))?;
        let rest = &text.as_bytes()[start..];
        at = match rest.first()? {
            b'[' | b'{' | b']' | b'}' | b',' | b':' => start + 1,
            b'"' => string_end(text.as_bytes(), start).0,
            _ => start + scalar_len(rest),
        };
        let token = &text[start..at];
        Some(match token.as_bytes().first()? {
            b'[' | b'{' => Token::Open(token),
            b']' | b'}' => Token::Close(token),
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => Token::String(token),
            b't' | b'f' | b'n' => Token::Word(token),
            _ => Token::Number(token),
        })
    })
}

/// Returns the end of the string that starts here, and `true` if it has escapes.
pub(super) fn string_end(text: &[u8], start: usize) -> (usize, bool) {
    let mut at = start + 1;
    let mut is_escaped = false;
    // Truncated text may end within a string.
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if text[at - 1] == b'"' {
            return (at, is_escaped);
        }
        is_escaped = true;
        at += 1;
    }
    (text.len(), is_escaped)
}

/// Returns the length of a number or a word.
pub(super) fn scalar_len(text: &[u8]) -> usize {
    let end = text.iter().position(|byte| {
        matches!(
            byte,
            b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r'
        )
    });
    end.unwrap_or(text.len())
}
