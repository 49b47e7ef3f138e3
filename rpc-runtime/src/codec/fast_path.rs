//! Reads the compact messages of this implementation's clients and servers without simd-json, whose set-up would cost
//! more than reading them.
//!
//! A compact message has its members in one order, no white space, no escapes, no exponents and only ASCII characters.
//! Any other message is left unchanged for simd-json. A message has one meaning: the fast path takes a message only if
//! simd-json reads it the same way, and the tests compare both.
//!
//! The functions below take the remaining text of a message and return the text behind what they have read.

use simd_json::{Node, StaticNode};

use crate::codec::digits::{self, HIGH_BITS};
use crate::codec::literals::{HEAD, ITEM, METHOD, PARAMS, RESULT, VERSION};
use crate::codec::ser::{is_special, specials};

/// The text before the id of a request.
const ID: &[u8] = br#","id":"#;
const TIMEOUT: &[u8] = br#","timeout":"#;

/// The maximum length of a message for which the fast path pays off, in bytes.
const MAX_BYTES: usize = 256;

/// The maximum nesting of arrays and objects.
const MAX_DEPTH: usize = 8;

/// The number of digits that a double always holds exactly.
const MAX_EXACT_DIGITS: usize = 15;

/// The envelope of a compact message around its parameters, result or item.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compact {
    Request {
        /// `None` for a notification.
        id: Option<u64>,
        method: Span,
        timeout: Option<u64>,
    },
    Response {
        id: u64,
    },
    /// An item of the call with this id.
    Item {
        id: u64,
    },
}

/// The position of a string in its message, which has at most [`MAX_BYTES`] bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Returns the string as a slice of its message.
    #[inline]
    pub(super) fn of(self, message: &[u8]) -> Option<&str> {
        std::str::from_utf8(message.get(self.start.into()..self.end.into())?).ok()
    }
}

/// A string on the tape, by the index of its node.
#[derive(Debug, Clone, Copy)]
struct StringNode {
    index: usize,
    span: Span,
}

/// The strings of a scanned message, in reused memory. They are put on the tape once it is certain that the message
/// stays unchanged: simd-json changes the messages that the scanner leaves to it.
#[derive(Debug, Default)]
pub(super) struct Strings(Vec<StringNode>);

impl Strings {
    /// Puts the strings on the tape as slices of the scanned message.
    #[inline]
    pub(super) fn fill<'de>(&self, message: &'de [u8], tape: &mut [Node<'de>]) -> Option<()> {
        match self.0.as_slice() {
            [] => Some(()),
            strings => fill(strings, message, tape),
        }
    }
}

/// Not inlined, so that messages with numbers only need no registers for it.
#[inline(never)]
fn fill<'de>(strings: &[StringNode], message: &'de [u8], tape: &mut [Node<'de>]) -> Option<()> {
    // A UTF-8 check of the entire message costs less than a check of several pieces of it.
    let text = match strings {
        [_] => None,
        _ => Some(std::str::from_utf8(message).ok()?),
    };
    for StringNode { index, span } in strings {
        let string = match text {
            Some(text) => text.get(span.start.into()..span.end.into())?,
            None => span.of(message)?,
        };
        *tape.get_mut(*index)? = Node::String(string);
    }
    Some(())
}

/// Scans a message. Puts its values on the tape, with null in the places of the strings.
pub(super) struct Scanner<'s> {
    message: &'s [u8],
    tape: &'s mut Vec<Node<'static>>,
    strings: &'s mut Vec<StringNode>,
}

impl<'s> Scanner<'s> {
    /// Creates a scanner for `message`. Returns `None` if the message is too long.
    pub(super) fn new(
        message: &'s [u8],
        tape: &'s mut Vec<Node<'static>>,
        strings: &'s mut Strings,
    ) -> Option<Self> {
        let strings = &mut strings.0;
        (message.len() <= MAX_BYTES).then(|| {
            tape.clear();
            strings.clear();
            Self {
                message,
                tape,
                strings,
            }
        })
    }

    /// Scans `{"jsonrpc":"2.0","id":1,"method":"m","params":[…],"timeout":1}`, with or without id, parameters and
    /// timeout.
    pub(super) fn request(&mut self) -> Option<Compact> {
        let mut rest = self.message.strip_prefix(VERSION)?;
        let mut id = None;
        if let Some(start) = rest.strip_prefix(ID) {
            let (number, behind) = digits::read_long(start)?;
            (id, rest) = (Some(number), behind);
        }
        let (method, mut rest) = self.string(rest.strip_prefix(METHOD)?)?;
        if let Some(params) = rest.strip_prefix(PARAMS) {
            rest = match params {
                [b'[', elements @ ..] => self.array(elements, MAX_DEPTH - 1)?,
                [b'{', members @ ..] => self.object(members, MAX_DEPTH - 1)?,
                _ => return None,
            };
        }
        let mut timeout = None;
        if let Some(start) = rest.strip_prefix(TIMEOUT) {
            let (number, behind) = digits::read(start)?;
            (timeout, rest) = (Some(number), behind);
        }
        (rest == b"}").then_some(Compact::Request {
            id,
            method,
            timeout,
        })
    }

    /// Scans `{"jsonrpc":"2.0","id":1,"result":…}`.
    pub(super) fn response(&mut self) -> Option<Compact> {
        let (id, rest) = digits::read_long(self.message.strip_prefix(HEAD)?)?;
        let rest = self.value(rest.strip_prefix(RESULT)?, MAX_DEPTH)?;
        (rest == b"}").then_some(Compact::Response { id })
    }

    /// Scans `{"jsonrpc":"2.0","method":"rpc.item","params":[1,…]}`.
    pub(super) fn item(&mut self) -> Option<Compact> {
        let (id, rest) = digits::read_long(self.message.strip_prefix(ITEM)?)?;
        let rest = self.value(rest.strip_prefix(b",")?, MAX_DEPTH)?;
        (rest == b"]}").then_some(Compact::Item { id })
    }

    /// Inlined, so that only nested arrays and objects cost function calls.
    #[inline(always)]
    fn value<'m>(&mut self, rest: &'m [u8], depth: usize) -> Option<&'m [u8]> {
        let (first, behind) = rest.split_first()?;
        let (node, rest) = match first {
            b'0'..=b'9' => unsigned(rest)?,
            b'-' => negative(behind)?,
            b'"' => {
                let (span, rest) = self.string(behind)?;
                let index = self.tape.len();
                self.strings.push(StringNode { index, span });
                (StaticNode::Null, rest)
            }
            b'[' => return self.array(behind, depth.checked_sub(1)?),
            b'{' => return self.object(behind, depth.checked_sub(1)?),
            b't' => (StaticNode::Bool(true), behind.strip_prefix(b"rue")?),
            b'f' => (StaticNode::Bool(false), behind.strip_prefix(b"alse")?),
            b'n' => (StaticNode::Null, behind.strip_prefix(b"ull")?),
            _ => return None,
        };
        self.tape.push(Node::Static(node));
        Some(rest)
    }

    /// Scans the elements of an array, behind its bracket.
    fn array<'m>(&mut self, mut rest: &'m [u8], depth: usize) -> Option<&'m [u8]> {
        let (node, mut len) = (self.reserve(), 0_usize);
        if let [b']', behind @ ..] = rest {
            rest = behind;
        } else {
            loop {
                len = len.saturating_add(1);
                match self.value(rest, depth)? {
                    [b',', behind @ ..] => rest = behind,
                    [b']', behind @ ..] => {
                        rest = behind;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        let count = self.tape.len().wrapping_sub(node).wrapping_sub(1);
        *self.tape.get_mut(node)? = Node::Array { len, count };
        Some(rest)
    }

    /// Scans the members of an object, behind its brace.
    fn object<'m>(&mut self, mut rest: &'m [u8], depth: usize) -> Option<&'m [u8]> {
        let (node, mut len) = (self.reserve(), 0_usize);
        if let [b'}', behind @ ..] = rest {
            rest = behind;
        } else {
            loop {
                len = len.saturating_add(1);
                let (span, behind) = self.string(rest.strip_prefix(b"\"")?)?;
                let index = self.reserve();
                self.strings.push(StringNode { index, span });
                match self.value(behind.strip_prefix(b":")?, depth)? {
                    [b',', behind @ ..] => rest = behind,
                    [b'}', behind @ ..] => {
                        rest = behind;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        let count = self.tape.len().wrapping_sub(node).wrapping_sub(1);
        *self.tape.get_mut(node)? = Node::Object { len, count };
        Some(rest)
    }

    /// Appends a node that is filled in later and returns its index.
    fn reserve(&mut self) -> usize {
        let index = self.tape.len();
        self.tape.push(Node::Static(StaticNode::Null));
        index
    }

    /// Scans a string, behind its opening quote.
    #[inline]
    fn string<'m>(&self, rest: &'m [u8]) -> Option<(Span, &'m [u8])> {
        let length = plain(rest);
        let start = self.message.len().wrapping_sub(rest.len());
        let rest = rest.get(length..)?.strip_prefix(b"\"")?;
        let (start, end) = (start as u16, start.wrapping_add(length) as u16);
        Some((Span { start, end }, rest))
    }
}

/// Returns the number of bytes before the first one that ends a string, must be escaped in one, or is not ASCII.
#[inline]
fn plain(string: &[u8]) -> usize {
    let mut rest = string;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        match specials(word) | word & HIGH_BITS {
            0 => rest = behind,
            found => {
                let before = string.len().wrapping_sub(rest.len());
                return before.wrapping_add(found.trailing_zeros() as usize / 8);
            }
        }
    }
    let is_plain = |byte: &&u8| byte.is_ascii() && !is_special(**byte);
    let tail = rest.iter().take_while(is_plain).count();
    string.len().wrapping_sub(rest.len()).wrapping_add(tail)
}

#[inline]
fn unsigned(start: &[u8]) -> Option<(StaticNode, &[u8])> {
    let (integer, rest) = digits::read(start)?;
    match rest {
        [b'.', fraction @ ..] => {
            let (number, rest) = decimal(integer, start, fraction)?;
            Some((StaticNode::from(number), rest))
        }
        _ => Some((StaticNode::U64(integer), rest)),
    }
}

/// Scans a number, behind its minus sign.
#[inline]
fn negative(start: &[u8]) -> Option<(StaticNode, &[u8])> {
    match unsigned(start)? {
        // Some readers do not accept −0 as an integer.
        (StaticNode::U64(0), _) => None,
        (StaticNode::U64(integer), rest) => {
            let number = 0_i64.checked_sub_unsigned(integer)?;
            Some((StaticNode::I64(number), rest))
        }
        (StaticNode::F64(number), rest) => Some((StaticNode::from(-number), rest)),
        _ => None,
    }
}

/// Reads a number whose integer part starts at `start` and whose fraction starts at `fraction`. Accepts it only if it
/// is the quotient of two numbers that a double holds exactly, so that a single division rounds it once and correctly.
fn decimal<'m>(integer: u64, start: &[u8], fraction: &'m [u8]) -> Option<(f64, &'m [u8])> {
    let (mut number, mut power, mut rest) = (integer, 1_u64, fraction);
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit & 0xf));
        power = power.wrapping_mul(10);
        rest = behind;
    }
    let digits = start.len().wrapping_sub(rest.len()).wrapping_sub(1);
    let is_exact = power > 1 && digits <= MAX_EXACT_DIGITS;
    is_exact.then(|| (number as f64 / power as f64, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::codec::parser::Parser;

    /// Reads `message` both ways and asserts that the fast path, if it takes the message, reads the same. Returns
    /// `true` if it took the message.
    fn agree(message: &[u8]) -> bool {
        let [mut request, mut response, mut line, mut any] = [(); 4].map(|()| message.to_vec());
        let (mut parser, mut slow_parser) = (Parser::new(64), Parser::new(64));
        let slow = slow_parser.parse(&mut any).ok();
        let slow = slow.as_ref();
        let mut taken = false;
        let mut compare = |fast: Option<String>, slow: Option<String>| {
            taken |= fast.is_some();
            assert!(fast.is_none() || fast == slow, "{}", message.escape_ascii());
        };
        let (index, tape) = parser.split();
        let fast = index.parse_request(tape, &mut request).ok();
        let fast = fast.filter(|document| document.compact().is_some());
        compare(
            fast.map(|document| format!("{:?}", document.message())),
            slow.map(|document| format!("{:?}", document.message())),
        );
        let fast = parser.parse_response(&mut response).ok();
        let fast = fast.filter(|document| document.compact().is_some());
        compare(
            fast.map(|document| format!("{:?}", document.response())),
            slow.map(|document| format!("{:?}", document.response())),
        );
        let fast = parser.parse_line(&mut line).ok();
        let fast = fast.filter(|document| document.compact().is_some());
        compare(
            fast.map(|document| format!("{:?}", document.line())),
            slow.map(|document| format!("{:?}", document.line())),
        );
        taken
    }

    #[test]
    fn message_with_more_levels_than_the_limit_is_left_to_the_parser() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let call =
            |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
        let response = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let object = |levels| call(&format!(r#"{{"a":{}}}"#, nested(levels - 1)));
        for (levels, is_taken) in [(super::MAX_DEPTH, true), (super::MAX_DEPTH + 1, false)] {
            for message in [
                call(&nested(levels)),
                object(levels),
                response(&nested(levels)),
            ] {
                assert_eq!(agree(message.as_bytes()), is_taken, "{message}");
            }
        }
    }

    #[test]
    fn message_of_this_implementation_is_taken() {
        for message in [
            r#"{"jsonrpc":"2.0","id":12345,"method":"add","params":[1,-2]}"#,
            r#"{"jsonrpc":"2.0","id":0,"method":"a b","params":{"flag":true,"none":null,"list":[[],{}]}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"now"}"#,
            r#"{"jsonrpc":"2.0","method":"now"}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":[7,{"celsius":21}]}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":[0,null]}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.end","params":[7]}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"now","timeout":0}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"now","params":{"in":"UTC"},"timeout":1500}"#,
            r#"{"jsonrpc":"2.0","id":9999999999999999999,"result":9999999999999999999}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":-9223372036854775808}"#,
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"\u{7f}\"}",
            r#"{"jsonrpc":"2.0","id":7,"result":["text",false,{"a":{"b":0}}]}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":[21.5,-0.001,0.0,-0.0,99999999999999.9]}"#,
        ] {
            assert!(agree(message.as_bytes()), "{message}");
        }
    }

    #[test]
    fn message_that_is_not_compact_is_left() {
        let values = [
            "",
            " 1",
            "1 ",
            "[1,2",
            "[1,]",
            "[,1]",
            r#"{"a"}"#,
            r#"{"a":}"#,
            "{1:2}",
            "01",
            "-0",
            "-",
            "-01",
            "1.",
            "1.e3",
            ".5",
            "1.5e3",
            "-.5",
            "01.5",
            "1.5.5",
            "0.1234567890123456",
            "1e3",
            "12345678901234567890",
            "-9223372036854775809",
            "tru",
            "nulL",
            r#""\n""#,
            "\"é\"",
            "\"\t\"",
            r#"""#,
            "[1]]",
            "[[[[[[[[[1]]]]]]]]]",
        ];
        for value in values {
            assert!(
                !agree(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{value}}}"#).as_bytes()),
                "{value}"
            );
            let call = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":[{value}]}}"#);
            assert!(value.is_empty() || !agree(call.as_bytes()), "{value}");
        }
        for message in [
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":[7],"id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","timeout":-1}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","timeout":1,"timeout":1}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","timeout":1,"params":[7]}"#,
            r#"{"jsonrpc":"2.0","result":1}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":1,"timeout":1}"#,
            r#"{"jsonrpc":"2.0","id":-7,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":"7","method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":"m","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m"}}"#,
        ] {
            assert!(!agree(message.as_bytes()), "{message}");
        }
        let long = "x".repeat(super::MAX_BYTES);
        assert!(!agree(
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{long}"}}"#).as_bytes()
        ));
    }

    /// Bytes that are frequent in JSON.
    const BYTES: &[u8] = br#"{}[]",:0129-.eEtruefalsn \/a"#;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_value_is_read_as_by_simd_json(value in prop::collection::vec(prop::sample::select(BYTES), 0..16)) {
            let value = String::from_utf8(value).unwrap();
            agree(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{value}}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":[{value}]}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","method":"m","params":[{value}]}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","method":"rpc.item","params":[7,{value}]}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","method":"rpc.item","params":[{value}]}}"#).as_bytes());
        }

        #[test]
        fn any_fraction_is_read_as_by_simd_json(
            whole in any::<u32>(), shift in 0u32..32, fraction in "[0-9]{1,16}", sign in "-?") {
            let whole = whole >> shift;
            agree(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{sign}{whole}.{fraction}}}"#).as_bytes());
        }

        #[test]
        fn call_with_a_byte_changed_is_read_as_by_simd_json(
            at in 0usize..72, byte in any::<u8>(), id in any::<u64>(), a in any::<i32>(), b in any::<u64>()) {
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
