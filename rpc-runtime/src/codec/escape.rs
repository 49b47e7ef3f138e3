//! Escapes untrusted text for logs.

use std::fmt::{self, Display, Formatter, Write};

/// The maximum length of escaped text, in bytes.
const MAX_BYTES: usize = 128;

/// The maximum length of an escaped message, in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// Displays text on one line, without control characters and truncated to 128 bytes, so that a peer's text can neither
/// forge a line of the log nor fill it.
///
/// Control characters, line separators and characters that change the direction of text are escaped as in Rust. An
/// ellipsis replaces truncated text. The crates of this project log all text of a peer this way.
///
/// ```
/// use rpc_runtime::Escaped;
///
/// assert_eq!(Escaped("ada\nroot \u{202e}nimda").to_string(), r"ada\nroot \u{202e}nimda");
/// assert_eq!(Escaped("x".repeat(1000)).to_string(), "x".repeat(128) + "…");
/// ```
#[derive(Clone, Copy)]
pub struct Escaped<T>(
    /// The value to display.
    pub T,
);

impl<T: Display> fmt::Debug for Escaped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_escaped(&self.0, MAX_BYTES, f)
    }
}

/// Displays the text of an error like [`Escaped`], truncated to 1,024 bytes.
#[derive(Clone, Copy)]
pub(crate) struct EscapedMessage<T>(pub(crate) T);

impl<T: Display> fmt::Debug for EscapedMessage<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<T: Display> Display for EscapedMessage<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_escaped(&self.0, MAX_MESSAGE_BYTES, f)
    }
}

fn write_escaped(text: &impl Display, left: usize, f: &mut Formatter<'_>) -> fmt::Result {
    let mut truncated = Truncated { out: f, left };
    match write!(truncated, "{text}") {
        Ok(()) => Ok(()),
        Err(_) => f.write_char('…'),
    }
}

/// Displays the start of bytes that should be text, like [`Escaped`].
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

impl Display for Excerpt<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let start = self.0.get(..=MAX_BYTES).unwrap_or(self.0);
        Escaped(String::from_utf8_lossy(start)).fmt(f)
    }
}

/// Writes up to `left` bytes, then fails.
struct Truncated<'o, 'f> {
    out: &'o mut Formatter<'f>,
    left: usize,
}

impl Write for Truncated<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if matches!(c, '"' | '\'' | '\\') {
                self.put(c, 1)?;
            } else {
                let escaped = c.escape_debug();
                let length = escaped.clone().map(char::len_utf8).sum();
                self.put(escaped, length)?;
            }
        }
        Ok(())
    }
}

impl Truncated<'_, '_> {
    /// Writes all of an escape sequence, or fails without writing any of it.
    fn put(&mut self, escaped: impl Display, length: usize) -> fmt::Result {
        self.left = self.left.checked_sub(length).ok_or(fmt::Error)?;
        write!(self.out, "{escaped}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prints_stays() {
        let text = r#"closed: "it's" C:\ naïve 漢"#;
        assert_eq!(Escaped(text).to_string(), text);
    }

    #[test]
    fn what_does_not_print_is_escaped() {
        let shown = Escaped("a\n\r\t\0\x1b[2J\u{7f}\u{202e}\u{2028}b").to_string();
        assert_eq!(shown, r"a\n\r\t\0\u{1b}[2J\u{7f}\u{202e}\u{2028}b");
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(Escaped("x".repeat(128)).to_string(), "x".repeat(128));
        assert_eq!(Escaped("x".repeat(129)).to_string(), "x".repeat(128) + "…");
        assert_eq!(Escaped("é".repeat(65)).to_string(), "é".repeat(64) + "…");
        let almost = "x".repeat(125);
        assert_eq!(Escaped(format!("{almost}\x1b")).to_string(), almost + "…");
    }
}
