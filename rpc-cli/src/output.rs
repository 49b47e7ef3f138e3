//! Standard output: for people when it is a terminal, for programs when it is not.

use std::io::{self, IsTerminal, StdoutLock, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde_json::Value;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

impl Color {
    /// Makes it hold for both outputs, and for the messages of clap.
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

    /// A value: on several lines for people, on one for programs.
    pub(crate) fn value(&mut self, value: &Value) -> io::Result<()> {
        match self.is_pretty {
            true => {
                write_pretty(&mut self.stream, value, 0)?;
                self.stream.write_all(b"\n")?;
                self.stream.flush()
            }
            false => self.line(value),
        }
    }

    /// A value on a line of its own.
    pub(crate) fn line(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.stream, "{}", json(value))?;
        self.stream.flush()
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

/// JSON in colours, two blanks for each level.
pub(crate) fn write_pretty(out: &mut impl Write, value: &Value, level: usize) -> io::Result<()> {
    match value {
        Value::Array(elements) if !elements.is_empty() => {
            let mut next = "[";
            for element in elements {
                write!(out, "{next}\n{:1$}", "", 2 * level + 2)?;
                write_pretty(out, element, level + 1)?;
                next = ",";
            }
            write!(out, "\n{:1$}]", "", 2 * level)
        }
        Value::Object(members) if !members.is_empty() => {
            let mut next = "{";
            for (name, member) in members {
                let name = json(&name.as_str().into());
                write!(out, "{next}\n{:1$}{KEY}{name}{KEY:#}: ", "", 2 * level + 2)?;
                write_pretty(out, member, level + 1)?;
                next = ",";
            }
            write!(out, "\n{:1$}}}", "", 2 * level)
        }
        Value::String(_) => write!(out, "{STRING}{}{STRING:#}", json(value)),
        Value::Number(number) => write!(out, "{NUMBER}{number}{NUMBER:#}"),
        Value::Bool(_) | Value::Null => write!(out, "{WORD}{value}{WORD:#}"),
        empty => write!(out, "{empty}"),
    }
}

/// A value as JSON without control characters. JSON escapes those of ASCII, and a terminal obeys others, too.
pub(crate) fn json(value: &Value) -> String {
    let json = value.to_string();
    match json.contains(char::is_control) {
        false => json,
        true => json.chars().fold(String::new(), |mut escaped, c| {
            match c.is_control() {
                true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
                false => escaped.push(c),
            }
            escaped
        }),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left_and_the_value_is_the_same() {
        let value = serde_json::json!({"\u{9b}2J": "\u{1b}[0m\u{7f}\u{85}\n ü"});
        let printed = json(&value);
        assert!(!printed.contains(char::is_control), "{printed:?}");
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
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
