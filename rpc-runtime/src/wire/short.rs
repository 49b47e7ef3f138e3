//! Reads short, plain messages without simd-json, whose set-up would cost more than they do.
//!
//! It makes the same tape, or none: whatever is not plain (white space, escapes, fractions, anything past ASCII, or a
//! mistake) is left to simd-json, untouched. So there is one meaning of a message, and this is only a shorter way to it.

use simd_json::{Node, StaticNode};

/// The longest message that is worth it.
const LONGEST: usize = 256;

/// How deeply a plain message nests.
const DEPTH: usize = 8;

/// How many digits surely fit into 63 bits.
const DIGITS: usize = 18;

/// A node whose text is still to be cut out of the message.
#[derive(Debug, Clone, Copy)]
enum Token {
    String { start: usize, end: usize },
    Node(Node<'static>),
}

/// What is found in one message, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Scan {
    tokens: Vec<Token>,
}

impl Scan {
    /// Whether the message is plain; then [`Scan::fill`] has its tape.
    pub(super) fn accepts(&mut self, message: &[u8], depth: usize) -> bool {
        self.tokens.clear();
        if message.len() > LONGEST || depth < DEPTH {
            return false;
        }
        let mut scanner = Scanner {
            message,
            at: 0,
            tokens: &mut self.tokens,
        };
        scanner.value(DEPTH).is_some() && scanner.at == message.len()
    }

    /// Puts the nodes of a message that was accepted on the tape.
    pub(super) fn fill<'de>(&self, message: &'de [u8], tape: &mut Vec<Node<'de>>) -> Option<()> {
        let text = std::str::from_utf8(message).ok()?;
        for token in &self.tokens {
            tape.push(match *token {
                Token::String { start, end } => Node::String(text.get(start..end)?),
                Token::Node(node) => node,
            });
        }
        Some(())
    }
}

struct Scanner<'m, 't> {
    message: &'m [u8],
    at: usize,
    tokens: &'t mut Vec<Token>,
}

impl Scanner<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.message.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn eat(&mut self, expected: u8) -> Option<()> {
        let found = self.peek()? == expected;
        self.step();
        found.then_some(())
    }

    fn push(&mut self, node: Node<'static>) {
        self.tokens.push(Token::Node(node));
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true", StaticNode::Bool(true)),
            b'f' => self.literal(b"false", StaticNode::Bool(false)),
            b'n' => self.literal(b"null", StaticNode::Null),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let (len, count, node) = self.items(depth, b'}', |scanner, depth| {
            scanner.string()?;
            scanner.eat(b':')?;
            scanner.value(depth)
        })?;
        *self.tokens.get_mut(node)? = Token::Node(Node::Object { len, count });
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let (len, count, node) = self.items(depth, b']', Self::value)?;
        *self.tokens.get_mut(node)? = Token::Node(Node::Array { len, count });
        Some(())
    }

    /// Items between commas up to `close`: how many they are, how many nodes they have, and where their own node goes.
    fn items(
        &mut self,
        depth: usize,
        close: u8,
        mut item: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<(usize, usize, usize)> {
        let depth = depth.checked_sub(1)?;
        self.step();
        let node = self.tokens.len();
        self.push(Node::Static(StaticNode::Null));
        let mut len = 0_usize;
        if self.peek()? == close {
            self.step();
        } else {
            loop {
                item(self, depth)?;
                len = len.saturating_add(1);
                let next = self.peek()?;
                self.step();
                match next {
                    b',' => {}
                    next if next == close => break,
                    _ => return None,
                }
            }
        }
        let count = self.tokens.len().checked_sub(node)?.checked_sub(1)?;
        Some((len, count, node))
    }

    fn string(&mut self) -> Option<()> {
        self.eat(b'"')?;
        let start = self.at;
        let rest = self.message.get(start..)?;
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..))?;
        self.at = start.saturating_add(end);
        self.tokens.push(Token::String {
            start,
            end: self.at,
        });
        self.eat(b'"')
    }

    fn number(&mut self) -> Option<()> {
        let negative = self.peek()? == b'-';
        if negative {
            self.step();
        }
        let start = self.at;
        let mut number = 0_u64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit & 0xf));
            self.step();
        }
        let digits = self.message.get(start..self.at)?;
        let is_plain = match digits {
            [] => false,
            [b'0', ..] => digits.len() == 1 && !negative,
            _ => digits.len() <= DIGITS,
        };
        let number = is_plain.then_some(number)?;
        self.push(Node::Static(match negative {
            true => StaticNode::I64(0_i64.checked_sub_unsigned(number)?),
            false => StaticNode::U64(number),
        }));
        Some(())
    }

    fn literal(&mut self, text: &[u8], value: StaticNode) -> Option<()> {
        self.message
            .get(self.at..)?
            .starts_with(text)
            .then_some(())?;
        self.at = self.at.saturating_add(text.len());
        self.push(Node::Static(value));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simd_json::{Buffers, INPUT_PADDING, Tape};

    /// What the short way makes of a message, if it takes it.
    fn short(message: &[u8]) -> Option<Vec<Node<'_>>> {
        let mut scan = Scan::default();
        let mut tape = Vec::new();
        scan.accepts(message, 64)
            .then(|| scan.fill(message, &mut tape).unwrap())?;
        Some(tape)
    }

    /// Fails if the short way takes a message and makes anything else of it than simd-json.
    fn agree(message: &[u8]) -> bool {
        let Some(short) = short(message) else {
            return false;
        };
        let mut padded = message.to_vec();
        padded.resize(message.len() + INPUT_PADDING, b' ');
        let mut tape = Tape(Vec::new());
        simd_json::fill_tape_padded(
            &mut padded,
            message.len(),
            &mut Buffers::default(),
            &mut tape,
        )
        .unwrap_or_else(|error| panic!("{}: {error}", message.escape_ascii()));
        assert_eq!(short, tape.0, "{}", message.escape_ascii());
        true
    }

    #[test]
    fn it_takes_what_clients_usually_send() {
        for message in [
            r#"{"jsonrpc":"2.0","id":12345,"method":"add","params":[1,-2]}"#,
            r#"{"jsonrpc":"2.0","id":"a b","method":"x.y","params":{"flag":true,"none":null,"list":[[],{}]}}"#,
            r#"{"jsonrpc":"2.0","id":0,"result":999999999999999999}"#,
            r#"[{"jsonrpc":"2.0","method":"f"},{"jsonrpc":"2.0","method":"g"}]"#,
        ] {
            assert!(agree(message.as_bytes()), "{message}");
        }
    }

    #[test]
    fn it_leaves_what_is_not_plain() {
        for message in [
            r#""#,
            r#" 1"#,
            r#"1 "#,
            r#"[1,2"#,
            r#"[1,]"#,
            r#"[,1]"#,
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{1:2}"#,
            r#"01"#,
            r#"-0"#,
            r#"-"#,
            r#"1.5"#,
            r#"1e3"#,
            r#"1234567890123456789"#,
            r#"tru"#,
            r#"nulL"#,
            r#""\n""#,
            r#""é""#,
            "\"\t\"",
            r#"""#,
            r#"[1]]"#,
            r#"[[[[[[[[[1]]]]]]]]]"#,
        ] {
            assert_eq!(short(message.as_bytes()), None, "{message}");
        }
        assert_eq!(
            short(format!("\"{}\"", "x".repeat(LONGEST)).as_bytes()),
            None
        );
    }

    /// What JSON is made of, mostly.
    const BYTES: &[u8] = br#"{}[]",:0129-.eEtruefalsn \/a"#;

    proptest! {
        #[test]
        fn it_agrees_with_simd_json_on_anything(message in prop::collection::vec(
            prop::sample::select(BYTES.to_vec()), 0..24)) {
            agree(&message);
        }

        #[test]
        fn it_agrees_with_simd_json_on_calls_with_a_byte_changed(
            at in 0usize..64, byte in any::<u8>(), id in any::<i64>(), a in any::<i32>(), b in any::<u64>()) {
            let call = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"add","params":[{a},{{"b":{b}}}]}}"#);
            let mut message = call.into_bytes();
            agree(&message);
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
            agree(&message);
        }
    }
}
