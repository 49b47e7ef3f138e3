//! Writes to standard output: for people if it is a terminal, for programs otherwise.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};

use crate::escape::PrintableJson;
use crate::json::{Compact, Token, tokens};

/// Controls when the output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// Uses colours on a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always uses colours.
    Always,
    /// Never uses colours.
    Never,
}

impl Color {
    /// Applies the choice to both outputs, and to the messages of clap.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => return,
            Self::Always => ColorChoice::AlwaysAnsi,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

pub(crate) const KEY: Style = AnsiColor::Blue.on_default();
pub(crate) const STRING: Style = AnsiColor::Green.on_default();
pub(crate) const NUMBER: Style = AnsiColor::Cyan.on_default();
pub(crate) const WORD: Style = AnsiColor::Magenta.on_default();
pub(crate) const TITLE: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();

/// What a command prints whose exit status is its result.
#[derive(Debug, Args)]
pub(crate) struct Printing {
    /// Prints nothing: only the exit status reports the result
    #[arg(long, short)]
    quiet: bool,
    /// Prints JSON
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

impl Printing {
    /// Writes a line of JSON, or of text.
    pub(crate) fn line(
        &self,
        output: &mut Output,
        json: &str,
        text: impl Display,
    ) -> io::Result<()> {
        match (self.json, self.quiet) {
            (true, _) => output.json_line(json),
            (false, false) => writeln!(output, "{text}"),
            (false, true) => Ok(()),
        }
    }

    /// Writes a line of text, which has no equivalent in JSON.
    pub(crate) fn text(&self, output: &mut Output, text: impl Display) -> io::Result<()> {
        match self.quiet || self.json {
            true => Ok(()),
            false => writeln!(output, "{text}"),
        }
    }
}

/// Standard output.
pub(crate) struct Output {
    stream: AutoStream<StdoutLock<'static>>,
    is_pretty: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let is_pretty = stdout.is_terminal() || ColorChoice::global() == ColorChoice::AlwaysAnsi;
        Self {
            stream: AutoStream::auto(stdout.lock()),
            is_pretty,
        }
    }

    /// Writes JSON: on several lines for people, on one line for programs.
    pub(crate) fn json(&mut self, text: &str) -> io::Result<()> {
        match self.is_pretty {
            true => {
                let mut out = BufWriter::new(&mut self.stream);
                write_pretty(&mut out, text)?;
                out.write_all(b"\n")?;
                out.flush()
            }
            false => self.json_line(text),
        }
    }

    /// Writes JSON on one line.
    pub(crate) fn json_line(&mut self, text: &str) -> io::Result<()> {
        self.stream.flush()?;
        // Bypasses the removal of colours, which would take most of the time. There are none.
        let mut out = BufWriter::new(io::stdout());
        writeln!(out, "{}", Compact(text))?;
        out.flush()
    }

    /// Writes many pieces with one buffer.
    pub(crate) fn buffered(
        &mut self,
        write: impl FnOnce(&mut BufWriter<&mut Self>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut out = BufWriter::new(self);
        write(&mut out)?;
        out.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The nesting of JSON from which on lines are not indented further.
const DEEPEST: usize = 64;

/// Writes JSON in colours, with two spaces for each level. Only the text is held in memory.
pub(crate) fn write_pretty(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut open: Vec<bool> = Vec::new();
    let mut is_name = false;
    let line = |out: &mut _, level: usize| {
        Write::write_fmt(out, format_args!("\n{:1$}", "", 2 * level.min(DEEPEST)))
    };
    let mut tokens = tokens(text).peekable();
    while let Some(token) = tokens.next() {
        match token {
            Token::Open(sign) => {
                out.write_all(sign.as_bytes())?;
                if let Some(Token::Close(sign)) = tokens.peek() {
                    out.write_all(sign.as_bytes())?;
                    tokens.next();
                    continue;
                }
                is_name = sign == "{";
                open.push(is_name);
                line(out, open.len())?;
            }
            Token::Close(sign) => {
                open.pop();
                line(out, open.len())?;
                out.write_all(sign.as_bytes())?;
            }
            Token::Comma => {
                out.write_all(b",")?;
                line(out, open.len())?;
                is_name = open.last() == Some(&true);
            }
            Token::Colon => {
                out.write_all(b": ")?;
                is_name = false;
            }
            Token::String(text) => {
                let style = if is_name { KEY } else { STRING };
                write!(out, "{style}{}{style:#}", PrintableJson(text))?;
            }
            Token::Word(word) => write!(out, "{WORD}{word}{WORD:#}")?,
            Token::Number(number) => write!(out, "{NUMBER}{number}{NUMBER:#}")?,
        }
    }
    Ok(())
}

/// Writes `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::escape::is_unprintable;

    fn pretty(text: &str) -> String {
        let mut out = Vec::new();
        write_pretty(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_printed_without_unprintable_characters_and_means_the_same() {
        let text = "{\"\u{9b}2J\": [\"\\u001b[0m\u{7f}\u{85}\u{202e}\u{2028} ü\", 1.50, null]}";
        let value: Value = serde_json::from_str(text).unwrap();
        let coloured = pretty(text);
        let plain = anstream::adapter::strip_str(&coloured).to_string();
        for printed in [Compact(text).to_string(), plain] {
            let is_odd = |c: char| is_unprintable(c) && c != '\n';
            assert!(!printed.contains(is_odd), "{printed:?}");
            assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
        }
    }

    #[test]
    fn json_for_people_has_a_line_for_each_value() {
        let text = r#" {"a":[1, {"b":{}} ,[]],"c":"{,"}"#;
        let plain = anstream::adapter::strip_str(&pretty(text)).to_string();
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(plain, serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(pretty("3"), format!("{NUMBER}3{NUMBER:#}"));
    }

    #[test]
    fn json_of_any_depth_is_indented_up_to_a_limit() {
        let levels = 10_000;
        let text = "[".repeat(levels) + &"]".repeat(levels);
        assert!(pretty(&text).len() < levels * (4 * DEEPEST + 4));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }
}
