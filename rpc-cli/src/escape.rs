//! Escapes untrusted text for terminals and command lines.
//!
//! All text of a server, a certificate or a file is shown through one of the types below. A terminal executes control
//! characters. Characters of direction change the order in which text is read. Characters without a glyph stay
//! invisible in pasted text.

use std::fmt::{self, Display, Write};

/// The characters other than controls that change how text is shown, or that are not shown. These are Unicode's general
/// categories Cf, Zl and Zp and the property Default_Ignorable_Code_Point, as sorted ranges.
const HIDDEN: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Returns `true` if a character must not reach a terminal or a command line unescaped: a control character including
/// the line feed, a character of direction, or one without a glyph.
pub(crate) fn is_unprintable(c: char) -> bool {
    match c {
        ' '..='~' => false,
        ..'\u{a0}' => true,
        _ => {
            let index = HIDDEN.partition_point(|(_, last)| *last < c);
            HIDDEN.get(index).is_some_and(|(first, _)| *first <= c)
        }
    }
}

/// Displays untrusted text on one line. Unprintable characters are shown as `\n` or `\u{202e}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printable<T>(pub(crate) T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notation = Notation::Rust;
        write!(Escaping { out: f, notation }, "{}", self.0)
    }
}

/// Displays untrusted text with its line breaks. A tab becomes spaces, and all other unprintable characters are
/// escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrintableLines<T>(pub(crate) T);

impl<T: Display> Display for PrintableLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notation = Notation::Lines;
        write!(Escaping { out: f, notation }, "{}", self.0)
    }
}

/// Displays JSON without white space between its values. Unprintable characters are shown as `\u202e`. Valid JSON has
/// such characters only in strings, so the meaning is unchanged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrintableJson<T>(pub(crate) T);

impl<T: Display> Display for PrintableJson<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notation = Notation::Json;
        write!(Escaping { out: f, notation }, "{}", self.0)
    }
}

/// The notation of an escaped character.
#[derive(Debug, Clone, Copy)]
enum Notation {
    Rust,
    Lines,
    Json,
}

/// The maximum number of bytes that are passed on at once.
const PIECE: usize = 4096;

/// Passes text on, and escapes unprintable characters.
struct Escaping<'o, 'f> {
    out: &'o mut fmt::Formatter<'f>,
    notation: Notation,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while !rest.is_empty() {
            // Written in pieces, because the output may stop early.
            let (piece, _) = truncated(rest, PIECE);
            match find_unprintable(piece) {
                Some((at, c)) => {
                    self.out.write_str(&piece[..at])?;
                    self.escape(c)?;
                    rest = &rest[at + c.len_utf8()..];
                }
                None => {
                    self.out.write_str(piece)?;
                    rest = &rest[piece.len()..];
                }
            }
        }
        Ok(())
    }
}

/// Returns the first unprintable character and its position.
fn find_unprintable(text: &str) -> Option<(usize, char)> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    text.char_indices().find(|(_, c)| is_unprintable(*c))
}

impl Escaping<'_, '_> {
    fn escape(&mut self, c: char) -> fmt::Result {
        match (self.notation, c) {
            (Notation::Lines, '\n') => self.out.write_str("\n"),
            (Notation::Lines, '\t') => self.out.write_str("    "),
            (Notation::Rust | Notation::Lines, _) => write!(self.out, "{}", c.escape_default()),
            (Notation::Json, _) => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .try_for_each(|unit| write!(self.out, "\\u{unit:04x}")),
        }
    }
}

/// Returns the first `most` bytes of a text, and `true` if that is the entire text.
pub(crate) fn truncated(text: &str, most: usize) -> (&str, bool) {
    match text.len() <= most {
        true => (text, true),
        false => {
            let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
            (&text[..end.unwrap_or_default()], false)
        }
    }
}

/// Displays the start of a text that may have any length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short<'a>(pub(crate) &'a str);

/// The maximum length of the text that [`Short`] shows, in bytes. Ordinary names are shorter.
const SHORT: usize = 120;

impl Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, is_all) = truncated(self.0, SHORT);
        f.write_str(start)?;
        match is_all {
            true => Ok(()),
            false => f.write_str("…"),
        }
    }
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::{Class, HirKind};

    use super::*;

    /// Compares the ranges with the Unicode tables of another crate.
    #[test]
    fn unprintable_characters_are_those_of_unicodes_categories() {
        let pattern = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]";
        let parsed = regex_syntax::parse(pattern).unwrap();
        let HirKind::Class(Class::Unicode(class)) = parsed.kind() else {
            panic!("{parsed:?}");
        };
        let expected: Vec<_> = class
            .iter()
            .flat_map(|range| range.start()..=range.end())
            .collect();
        let found: Vec<_> = ('\0'..=char::MAX).filter(|c| is_unprintable(*c)).collect();
        assert!(found.contains(&'\u{202e}') && found.contains(&'\u{9b}'));
        assert_eq!(found, expected);
    }

    #[test]
    fn printable_text_is_shown_as_it_is() {
        let text = r#"it's "naïve" C:\ 漢 שלום हिन्दी e\u{301} 🍐"#;
        assert_eq!(Printable(text).to_string(), text);
        assert_eq!(PrintableLines(text).to_string(), text);
        assert_eq!(PrintableJson(text).to_string(), text);
    }

    #[test]
    fn unprintable_characters_are_escaped_in_the_notation_of_their_place() {
        let text = "a\n\t\r\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2028}\u{e0041}b";
        assert_eq!(
            Printable(text).to_string(),
            r"a\n\t\r\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2028}\u{e0041}b"
        );
        assert_eq!(
            PrintableLines(text).to_string(),
            "a\n    \\r\\u{1b}[2J\\u{7f}\\u{9b}\\u{202e}\\u{2028}\\u{e0041}b"
        );
        let json = format!("\"{}\"", PrintableJson(text));
        assert!(json.is_ascii(), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(truncated("éé", 4), ("éé", true));
        assert_eq!(truncated("éé", 3), ("é", false));
        let long = "é".repeat(SHORT);
        assert_eq!(Short(&long).to_string(), "é".repeat(SHORT / 2) + "…");
        assert_eq!(Short("name").to_string(), "name");
    }
}
