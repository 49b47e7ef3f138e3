//! Reads text as editors and shells write it: UTF-8 or UTF-16, with or without a byte order mark.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The encoding of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// The byte order marks.
const MARKS: [(&[u8], Encoding); 3] = [
    (b"\xef\xbb\xbf", Encoding::Utf8),
    (b"\xff\xfe", Encoding::Utf16Le),
    (b"\xfe\xff", Encoding::Utf16Be),
];

impl Encoding {
    /// Returns the encoding of a text that starts with these bytes, and the length of its byte order mark.
    fn of(text: &[u8]) -> (Self, usize) {
        let marked = MARKS.iter().find(|(mark, _)| text.starts_with(mark));
        match (marked, text) {
            (Some((mark, encoding)), _) => (*encoding, mark.len()),
            // JSON starts with an ASCII character, and has no NUL characters.
            (None, [0, low, ..]) if *low != 0 => (Self::Utf16Be, 0),
            (None, [low, 0, ..]) if *low != 0 => (Self::Utf16Le, 0),
            (None, _) => (Self::Utf8, 0),
        }
    }

    fn decode(self, text: Vec<u8>) -> Result<String, String> {
        let units: fn([u8; 2]) -> u16 = match self {
            Self::Utf8 => {
                return String::from_utf8(text).map_err(|error| {
                    let at = error.utf8_error().valid_up_to();
                    let byte = error.as_bytes()[at];
                    format!(
                        "neither UTF-8 nor UTF-16: the byte {byte:#04x} at offset {at}; save it as UTF-8"
                    )
                });
            }
            Self::Utf16Le => u16::from_le_bytes,
            Self::Utf16Be => u16::from_be_bytes,
        };
        let (pairs, rest) = text.as_chunks();
        let decoded = char::decode_utf16(pairs.iter().map(|pair| units(*pair)));
        let decoded: Option<String> = decoded.collect::<Result<_, _>>().ok();
        let complete = decoded.filter(|_| rest.is_empty());
        complete.ok_or_else(|| "not valid UTF-16; save it as UTF-8".into())
    }
}

/// Returns the text of a file or of standard input. The error says why the bytes are not text.
pub(crate) fn decode(mut bytes: Vec<u8>) -> Result<String, String> {
    let (encoding, mark) = Encoding::of(&bytes);
    bytes.drain(..mark);
    encoding.decode(bytes)
}

/// The lines of a text.
pub(crate) struct Lines<R> {
    source: R,
    /// The encoding, once bytes have been read.
    encoding: Option<Encoding>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            encoding: None,
        }
    }

    /// Returns the next line, without its end, or the reason why its bytes are not text. Returns `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Result<String, String>>> {
        let mut line = Vec::new();
        let (encoding, mark) = loop {
            let is_end = self.source.read_until(b'\n', &mut line).await? == 0;
            if line.is_empty() {
                return Ok(None);
            }
            let (encoding, mark) = match self.encoding {
                Some(encoding) => (encoding, 0),
                None => Encoding::of(&line),
            };
            if is_end || self.is_line(&mut line, encoding).await? {
                break (encoding, mark);
            }
        };
        self.encoding = Some(encoding);
        line.drain(..mark);
        Ok(Some(encoding.decode(line).map(|mut line| {
            let end = line.trim_end_matches(['\r', '\n']).len();
            line.truncate(end);
            line
        })))
    }

    /// Returns `true` if the last byte, 0x0A, belongs to a line feed. Reads the rest of the line feed.
    async fn is_line(&mut self, line: &mut Vec<u8>, encoding: Encoding) -> io::Result<bool> {
        match encoding {
            Encoding::Utf8 => Ok(true),
            Encoding::Utf16Be => Ok(line.len().is_multiple_of(2) && line.ends_with(b"\0\n")),
            Encoding::Utf16Le if line.len().is_multiple_of(2) => Ok(false),
            Encoding::Utf16Le => {
                let mut high = [0];
                let read = self.source.read(&mut high).await?;
                line.extend(&high[..read]);
                Ok(read == 0 || high == [0])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a text in all encodings.
    fn encoded(text: &str) -> Vec<Vec<u8>> {
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        vec![
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", &le[..]].concat(),
            [b"\xfe\xff", &be[..]].concat(),
            le,
            be,
        ]
    }

    /// Characters whose UTF-16 has the byte of a line feed, and one of two units.
    const TEXT: &str = "{\"a\":\"ü\u{a0a}\u{100a}\u{a00}\u{1f600}\"}";

    #[test]
    fn text_in_every_encoding_is_read() {
        for bytes in encoded(TEXT) {
            assert_eq!(decode(bytes.clone()).as_deref(), Ok(TEXT), "{bytes:?}");
        }
        assert_eq!(decode(Vec::new()).as_deref(), Ok(""));
    }

    #[test]
    fn text_in_no_encoding_is_refused_with_the_place() {
        let refused = decode(b"{\"a\":\"\xfc\"}".to_vec()).unwrap_err();
        assert!(refused.contains("the byte 0xfc at offset 6"), "{refused}");
        for wrong in [&b"\xff\xfe1"[..], b"\xff\xfe\x00\xd8", b"1\x002"] {
            assert!(decode(wrong.to_vec()).unwrap_err().contains("UTF-16"));
        }
    }

    #[tokio::test]
    async fn lines_in_every_encoding_are_read_with_every_line_end() {
        let text = format!("{TEXT}\r\n\r\n1\n{TEXT}");
        for last in ["", "\n", "\r\n"] {
            for bytes in encoded(&format!("{text}{last}")) {
                // A small buffer splits characters.
                let source = tokio::io::BufReader::with_capacity(3, &bytes[..]);
                let mut lines = Lines::new(source);
                let mut read = Vec::new();
                while let Some(line) = lines.next().await.unwrap() {
                    read.push(line.unwrap());
                }
                assert_eq!(read, [TEXT, "", "1", TEXT], "{last:?} {bytes:?}");
            }
        }
    }
}
