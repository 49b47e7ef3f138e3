//! Reads the short, plain messages of clients and servers of this implementation without simd-json, whose set-up would
//! cost more than they do.
//!
//! Such a message has its members in one order, no white space, no escapes, no exponents and nothing past ASCII; it is
//! found out byte by byte. Whatever is not so is left to simd-json, untouched. There is one meaning of a message, and
//! this is only a shorter way to it: the tests hold both against each other.

use simd_json::{Node, StaticNode};

use crate::codec::envelope::{HEAD, ITEM, RESULT, VERSION};

/// The start of an id.
const ID: &[u8] = br#","id":"#;

/// The start of a request's method, its parameters and its time limit.
const METHOD: &[u8] = br#","method":""#;
const PARAMS: &[u8] = br#","params":"#;
const TIMEOUT: &[u8] = br#","timeout":"#;

/// The longest message that is worth it.
const LONGEST: usize = 256;

/// How deeply a plain value nests.
const DEPTH: usize = 8;

/// How many digits surely fit into 63 bits.
const DIGITS: usize = 18;

/// How many digits a double surely holds exactly.
const EXACT_DIGITS: usize = 15;

/// From where to where a string stands in its message.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn of(self, message: &[u8]) -> Option<&str> {
        std::str::from_utf8(message.get(self.start..self.end)?).ok()
    }
}

/// A node whose text is still to be cut out of the message.
#[derive(Debug, Clone, Copy)]
enum Token {
    String(Span),
    Node(Node<'static>),
}

/// What surrounds the parameters, the result or the item of a compact message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compact<'de> {
    Request {
        /// A notification has none.
        id: Option<u64>,
        method: &'de str,
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

/// The same, with the method still to be cut out of the message.
#[derive(Debug, Clone, Copy)]
enum Surroundings {
    Request {
        id: Option<u64>,
        method: Span,
        timeout: Option<u64>,
    },
    Response {
        id: u64,
    },
    Item {
        id: u64,
    },
}

/// What was found in a message, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Scan {
    surroundings: Option<Surroundings>,
    /// The parameters, the result or the item.
    value: Vec<Token>,
}

impl Scan {
    /// Whether the message is `{"jsonrpc":"2.0","id":1,"method":"m","params":[…],"timeout":1}`, plain, with or without
    /// id, parameters and time limit.
    pub(super) fn is_request(&mut self, message: &[u8]) -> bool {
        self.is(message, |scanner| {
            scanner.eat(VERSION)?;
            let id = match scanner.eat(ID) {
                Some(()) => Some(scanner.digits()?),
                None => None,
            };
            scanner.eat(METHOD)?;
            let method = scanner.quoted()?;
            if scanner.eat(PARAMS).is_some() {
                matches!(scanner.rest.first()?, b'[' | b'{').then_some(())?;
                scanner.value(DEPTH)?;
            }
            let timeout = match scanner.eat(TIMEOUT) {
                Some(()) => Some(scanner.digits()?),
                None => None,
            };
            scanner.eat(b"}")?;
            Some(Surroundings::Request {
                id,
                method,
                timeout,
            })
        })
    }

    /// Whether the message is `{"jsonrpc":"2.0","id":1,"result":…}`, plain.
    pub(super) fn is_response(&mut self, message: &[u8]) -> bool {
        self.is(message, |scanner| {
            scanner.eat(HEAD)?;
            let id = scanner.digits()?;
            scanner.eat(RESULT)?;
            scanner.value(DEPTH)?;
            scanner.eat(b"}")?;
            Some(Surroundings::Response { id })
        })
    }

    /// Whether the message is `{"jsonrpc":"2.0","method":"rpc.item","params":[1,…]}`, plain.
    pub(super) fn is_item(&mut self, message: &[u8]) -> bool {
        self.is(message, |scanner| {
            scanner.eat(ITEM)?;
            let id = scanner.digits()?;
            scanner.eat(b",")?;
            scanner.value(DEPTH)?;
            scanner.eat(b"]}")?;
            Some(Surroundings::Item { id })
        })
    }

    fn is(
        &mut self,
        message: &[u8],
        scan: impl FnOnce(&mut Scanner<'_, '_>) -> Option<Surroundings>,
    ) -> bool {
        self.value.clear();
        self.surroundings = Scanner::new(message, &mut self.value).and_then(|mut scanner| {
            let surroundings = scan(&mut scanner)?;
            scanner.rest.is_empty().then_some(surroundings)
        });
        self.surroundings.is_some()
    }

    /// Returns what surrounds the value, cut out of the message that was scanned.
    pub(super) fn compact<'de>(&self, message: &'de [u8]) -> Option<Compact<'de>> {
        Some(match self.surroundings? {
            Surroundings::Request {
                id,
                method,
                timeout,
            } => Compact::Request {
                id,
                method: method.of(message)?,
                timeout,
            },
            Surroundings::Response { id } => Compact::Response { id },
            Surroundings::Item { id } => Compact::Item { id },
        })
    }

    /// Puts the parameters or the result on the tape, cut out of the message that was scanned.
    pub(super) fn fill<'de>(&self, message: &'de [u8], tape: &mut Vec<Node<'de>>) -> Option<()> {
        for token in &self.value {
            tape.push(match *token {
                Token::String(span) => Node::String(span.of(message)?),
                Token::Node(node) => node,
            });
        }
        Some(())
    }
}

enum Number {
    Whole(u64),
    Fraction(f64),
}

struct Scanner<'m, 't> {
    rest: &'m [u8],
    length: usize,
    tokens: &'t mut Vec<Token>,
}

impl<'m, 't> Scanner<'m, 't> {
    fn new(message: &'m [u8], tokens: &'t mut Vec<Token>) -> Option<Self> {
        let length = message.len();
        (length <= LONGEST).then_some(Self {
            rest: message,
            length,
            tokens,
        })
    }

    fn position(&self) -> usize {
        self.length.saturating_sub(self.rest.len())
    }

    fn eat(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn push(&mut self, node: Node<'static>) {
        self.tokens.push(Token::Node(node));
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.rest.first()? {
            b'0'..=b'9' => {
                let number = match self.number()? {
                    Number::Whole(number) => StaticNode::U64(number),
                    Number::Fraction(number) => StaticNode::from(number),
                };
                self.push(Node::Static(number));
            }
            b'-' => {
                self.eat(b"-")?;
                let number = match self.number()? {
                    // −0 is no integer to everybody.
                    Number::Whole(0) => return None,
                    Number::Whole(number) => StaticNode::I64(0_i64.checked_sub_unsigned(number)?),
                    Number::Fraction(number) => StaticNode::from(-number),
                };
                self.push(Node::Static(number));
            }
            b'"' => {
                self.eat(b"\"")?;
                let span = self.quoted()?;
                self.tokens.push(Token::String(span));
            }
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b't' => self.literal(b"true", StaticNode::Bool(true))?,
            b'f' => self.literal(b"false", StaticNode::Bool(false))?,
            b'n' => self.literal(b"null", StaticNode::Null)?,
            _ => return None,
        }
        Some(())
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let (len, count, node) = self.items(depth, b'}', |scanner, depth| {
            scanner.eat(b"\"")?;
            let name = scanner.quoted()?;
            scanner.tokens.push(Token::String(name));
            scanner.eat(b":")?;
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
        let node = self.tokens.len();
        self.push(Node::Static(StaticNode::Null));
        let mut len = 0_usize;
        let (_, rest) = self.rest.split_first()?;
        self.rest = rest;
        if *rest.first()? == close {
            self.rest = rest.get(1..)?;
        } else {
            loop {
                item(self, depth)?;
                len = len.saturating_add(1);
                let (next, rest) = self.rest.split_first()?;
                self.rest = rest;
                if *next == close {
                    break;
                }
                (*next == b',').then_some(())?;
            }
        }
        let count = self.tokens.len().checked_sub(node)?.checked_sub(1)?;
        Some((len, count, node))
    }

    /// A string behind its opening quote.
    fn quoted(&mut self) -> Option<Span> {
        let start = self.position();
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let length = self.rest.iter().position(|byte| !plain(byte))?;
        let (_, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.eat(b"\"")?;
        Some(Span {
            start,
            end: start.saturating_add(length),
        })
    }

    /// A number without sign and exponent. A fraction is one that a single division makes of two numbers that a double
    /// holds exactly, so that it is rounded once, as it must be.
    fn number(&mut self) -> Option<Number> {
        let start = self.rest;
        let whole = self.digits()?;
        if self.eat(b".").is_none() {
            return Some(Number::Whole(whole));
        }
        let (mut number, mut power) = (whole, 1_u64);
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit & 0xf));
            power = power.wrapping_mul(10);
            self.rest = rest;
        }
        let digits = start
            .len()
            .saturating_sub(self.rest.len())
            .saturating_sub(1);
        let is_exact = power > 1 && digits <= EXACT_DIGITS;
        is_exact.then(|| Number::Fraction(number as f64 / power as f64))
    }

    /// A number that needs neither sign nor fraction, written as JSON writes it.
    fn digits(&mut self) -> Option<u64> {
        let start = self.rest;
        let mut number = 0_u64;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit & 0xf));
            self.rest = rest;
        }
        let digits = start.len().saturating_sub(self.rest.len());
        let is_plain = match start.first()? {
            b'0' => digits == 1,
            _ => (1..=DIGITS).contains(&digits),
        };
        is_plain.then_some(number)
    }

    fn literal(&mut self, text: &[u8], value: StaticNode) -> Option<()> {
        self.eat(text)?;
        self.push(Node::Static(value));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::codec::parser::Parser;

    /// Reads `message` both ways; fails if the short way takes it and comes to anything else. Says whether it took it.
    fn agree(message: &[u8]) -> bool {
        let (mut parser, mut other) = (Parser::new(64), Parser::new(64));
        let (mut one, mut two, mut three) = (message.to_vec(), message.to_vec(), message.to_vec());
        let long = other.parse(&mut three);
        let request = parser.parse_request(&mut one).map(|document| {
            let told = (
                document.compact().is_some(),
                format!("{:?}", document.message()),
            );
            (
                told,
                long.as_ref().map(|long| format!("{:?}", long.message())),
            )
        });
        let response = parser.parse_response(&mut two).map(|document| {
            let told = (
                document.compact().is_some(),
                format!("{:?}", document.response()),
            );
            (
                told,
                long.as_ref().map(|long| format!("{:?}", long.response())),
            )
        });
        let mut four = message.to_vec();
        let line = parser.parse_line(&mut four).map(|document| {
            let told = (
                document.compact().is_some(),
                format!("{:?}", document.line()),
            );
            (told, long.as_ref().map(|long| format!("{:?}", long.line())))
        });
        let mut short = false;
        for read in [request, response, line].into_iter().flatten() {
            let ((is_short, told), long) = read;
            assert_eq!(Ok(told), long.map_err(|_| ()), "{}", message.escape_ascii());
            short |= is_short;
        }
        short
    }

    #[test]
    fn it_takes_what_our_clients_and_servers_send() {
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
            r#"{"jsonrpc":"2.0","id":7,"result":999999999999999999}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":["text",false,{"a":{"b":0}}]}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":[21.5,-0.001,0.0,-0.0,99999999999999.9]}"#,
        ] {
            assert!(agree(message.as_bytes()), "{message}");
        }
    }

    #[test]
    fn it_leaves_what_is_not_plain() {
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
            "1234567890123456789",
            "tru",
            "nulL",
            r#""\n""#,
            "\"é\"",
            "\"\t\"",
            r#"""#,
            "[1]]",
            "\"\u{7f}\"",
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
        let long = "x".repeat(super::LONGEST);
        assert!(!agree(
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{long}"}}"#).as_bytes()
        ));
    }

    /// What JSON is made of, mostly.
    const BYTES: &[u8] = br#"{}[]",:0129-.eEtruefalsn \/a"#;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn both_ways_agree_on_any_value(value in prop::collection::vec(prop::sample::select(BYTES), 0..16)) {
            let value = String::from_utf8(value).unwrap();
            agree(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{value}}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":[{value}]}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","method":"m","params":[{value}]}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","method":"rpc.item","params":[7,{value}]}}"#).as_bytes());
            agree(format!(r#"{{"jsonrpc":"2.0","method":"rpc.item","params":[{value}]}}"#).as_bytes());
        }

        #[test]
        fn both_ways_agree_on_any_fraction(
            whole in any::<u32>(), shift in 0u32..32, fraction in "[0-9]{1,16}", sign in "-?") {
            let whole = whole >> shift;
            agree(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{sign}{whole}.{fraction}}}"#).as_bytes());
        }

        #[test]
        fn both_ways_agree_on_a_call_with_a_byte_changed(
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
