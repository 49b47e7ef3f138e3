//! Finds the id of a reply before the caller parses it, in order to find that caller.

use memchr::memchr;

use crate::codec::envelope::{leading_id, leading_reply_id};
use crate::codec::error_code::code;
use crate::codec::steps;
use crate::codec::values::closing_quote;

/// The call to which a received line belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressee {
    /// The call with this id.
    Call(u64),
    /// Unknown: the line has no id that a call could have.
    Unknown,
    /// None: the line is a request or a notification.
    None,
}

impl Addressee {
    fn call(self) -> Option<u64> {
        match self {
            Self::Call(id) => Some(id),
            _ => None,
        }
    }
}

/// Returns the id of a reply, if it is an integer of 0 or more, at any position among the members. A fraction of zero and
/// quotes around it are ignored, since some servers change an id in this way. If there are several ids the last one counts,
/// as when the response is read.
///
/// The reply is neither copied nor parsed: only strings and brackets are recognized. The reply may therefore be an
/// invalid response or not JSON, which the caller finds out.
pub(crate) fn reply_id(reply: &[u8]) -> Option<u64> {
    addressee(reply).call()
}

/// Returns the call to which a line belongs, found as [`reply_id`] does.
pub(crate) fn addressee(line: &[u8]) -> Addressee {
    if let Some(id) = leading_reply_id(line) {
        return Addressee::Call(id);
    }
    match (find(line).0, leading_id(line)) {
        (Addressee::None, _) => Addressee::None,
        (_, Some(id)) => Addressee::Call(id),
        (found, None) => found,
    }
}

/// Returns `true` if a line is the error for a message whose id the server did not read, since the message was too large for
/// a limit. Such a message is no call of a client of this crate, whose ids are always read.
#[cold]
pub(crate) fn is_reply_to_unread_message(line: &[u8]) -> bool {
    let codes = [code::REQUEST_TOO_LARGE, code::MEMORY_LIMIT];
    error_of_any_call(line).is_some_and(|(code, has_null_id)| has_null_id && codes.contains(&code))
}

/// Returns the code of a response with an error and without an id, and `true` if its id is null.
#[cold]
pub(crate) fn error_of_any_call(line: &[u8]) -> Option<(i64, bool)> {
    const MAX_BYTES: usize = 1 << 10;
    let line = line.get(..MAX_BYTES).unwrap_or(line);
    let reply: serde_json::Value = serde_json::from_slice(line).ok()?;
    let code = reply.pointer("/error/code")?.as_i64()?;
    let id = reply.get("id");
    id.is_none_or(serde_json::Value::is_null)
        .then_some((code, id.is_some()))
}

/// Returns the calls to which the objects of a line belong. A line should hold one object; some servers write several.
#[cold]
pub(crate) fn all_addressees(mut line: &[u8]) -> impl Iterator<Item = u64> {
    let mut next = move || {
        let start = memchr(b'{', line)?;
        let (addressee, rest) = find(line.get(start..)?);
        line = rest;
        Some(addressee)
    };
    std::iter::from_fn(move || next().map(Addressee::call)).flatten()
}

/// Returns the id of the call to which an item belongs, if the line is one.
#[cold]
pub(crate) fn item_id(line: &[u8]) -> Option<u64> {
    let (mut is_item, mut id) = (false, None);
    members(line, |name, value| match name {
        b"method" => {
            let name = value.strip_prefix(b"\"").and_then(string);
            is_item = name.is_some_and(|(name, _)| is(name, "rpc.item"));
        }
        b"params" => {
            id = match value.strip_prefix(b"[") {
                Some(elements) => number(skip_blank(elements)),
                None => find(value).0.call(),
            }
        }
        _ => {}
    });
    id.filter(|_| is_item)
}

/// Returns `true` for a request or a notification that concerns no stream of items.
#[cold]
pub(crate) fn is_of_no_call(line: &[u8]) -> bool {
    let mut is_frame = false;
    members(line, |name, value| {
        if name == b"method" {
            let method = value.strip_prefix(b"\"").and_then(string);
            let is_item = |method| is(method, "rpc.item") || is(method, "rpc.end");
            is_frame = method.is_none_or(|(method, _)| is_item(method));
        }
    });
    !is_frame && find(line).0 == Addressee::None
}

/// Returns the call to which a line belongs, and the text behind the first object.
#[cold]
fn find(line: &[u8]) -> (Addressee, &[u8]) {
    let (mut has_method, mut has_outcome, mut id) = (false, false, None);
    let rest = members(line, |name, value| match name {
        b"method" => has_method = true,
        b"result" | b"error" => has_outcome = true,
        name if is(name, "id") => id = number(value),
        _ => {}
    });
    let addressee = match id {
        _ if has_method && !has_outcome => Addressee::None,
        Some(id) => Addressee::Call(id),
        None => Addressee::Unknown,
    };
    (addressee, rest)
}

/// Passes the names of the members of an object, and the text from their values on. Returns the text behind the object.
fn members<'l>(line: &'l [u8], mut visit: impl FnMut(&'l [u8], &'l [u8])) -> &'l [u8] {
    let Some(mut rest) = skip_blank(line).strip_prefix(b"{") else {
        return &[];
    };
    let mut depth = 0_usize;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        steps::step();
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' if depth == 0 => return rest,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let Some((text, behind)) = string(rest) else {
                    return &[];
                };
                rest = behind;
                // A string before a colon is the name of a member.
                if depth == 0
                    && let Some(value) = skip_blank(rest).strip_prefix(b":")
                {
                    visit(text, skip_blank(value));
                }
            }
            _ => {}
        }
    }
    &[]
}

/// Splits a string from the text that follows it, behind its opening quote. Escapes are kept.
fn string(start: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, rest) = start.split_at_checked(closing_quote(start)?)?;
    Some((text, rest.get(1..)?))
}

/// Returns `true` if a string is `text`, in any notation.
fn is(string: &[u8], text: &str) -> bool {
    // An escape has six bytes for a character.
    let may_be = string.contains(&b'\\') && string.len() <= text.len().saturating_mul(6);
    if !may_be {
        return string == text.as_bytes();
    }
    // The quotes make the string JSON again.
    let json = [b"\"", string, b"\""].concat();
    serde_json::from_slice::<String>(&json).is_ok_and(|string| string == text)
}

/// Reads an integer that is an entire value, possibly with a fraction of zero or in quotes.
fn number(start: &[u8]) -> Option<u64> {
    let (quote, start): (&[u8], _) = match start.strip_prefix(b"\"") {
        Some(start) => (b"\"", start),
        None => (b"", start),
    };
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    // No number of more digits fits.
    let length = start.iter().take(21).take_while(is_digit).count();
    let (digits, rest) = start.split_at_checked(length)?;
    let rest = rest.strip_prefix(b".0").unwrap_or(rest);
    match (digits, skip_blank(rest.strip_prefix(quote)?)) {
        ([b'0', _, ..], _) => None,
        // At the end of a truncated line, more digits may be missing.
        (_, [b',' | b'}', ..]) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

fn skip_blank(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let blank = text.iter().take_while(is_blank).count();
    text.get(blank..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::codec::id::Id;
    use crate::codec::parser::Parser;

    /// Returns the id as simd-json reads it.
    fn parsed(reply: &[u8]) -> Option<u64> {
        let mut reply = reply.to_vec();
        let mut parser = Parser::new(128);
        let document = parser.parse(&mut reply).ok()?;
        let members = document.root().members()?;
        let (_, id) = members.filter(|(name, _)| *name == "id").last()?;
        Id::read_call_id(id)
    }

    #[test]
    fn id_is_found_whatever_the_order_of_members() {
        for reply in [
            r#"{"jsonrpc":"2.0","id":64,"result":1}"#,
            r#" {"result":{"id":1},"id": 64,"jsonrpc":"2.0"}"#,
            r#"{"id":64}"#,
            r#"{"error":{"message":"\"id\":1,\\","data":[{"id":1}]},"\u0069d" : 64 }"#,
            r#"{"id":1,"id":64,"x":"id"}"#,
            r#"{"result":1,"id":"64"}"#,
            r#"{"id": 64.0 ,"result":1}"#,
            // A response with a superfluous method.
            r#"{"id":64,"result":1,"method":"add"}"#,
            // Truncated: the caller finds that out.
            r#"{"id":64,"result":["#,
        ] {
            assert_eq!(reply_id(reply.as_bytes()), Some(64), "{reply}");
        }
        for reply in [
            "",
            "7",
            "[64]",
            r#"{"id":"64x"}"#,
            r#"{"id":"64}"#,
            r#"{"id":-1}"#,
            r#"{"id":64.5}"#,
            r#"{"id":064}"#,
            r#"{"id":}"#,
            // Digits may be missing.
            r#"{"id":64"#,
            r#"{"id":64.0"#,
            r#"{"id":99999999999999999999}"#,
            r#"{"id":64,"id":null}"#,
            r#"{"a":{"id":64}}"#,
            r#"{"a":"id"}"#,
            r#"{"result":1}{"id":64}"#,
        ] {
            assert_eq!(reply_id(reply.as_bytes()), None, "{reply}");
        }
    }

    #[test]
    fn all_objects_of_a_line_are_found() {
        for (line, ids) in [
            (r#"{"id":1}"#, &[1][..]),
            (r#"{"id":1}}"#, &[1]),
            (r#"{"id":1,"result":"}{\"id\":2}"}"#, &[1]),
            (r#"{"id":1,"result":"}{"#, &[1]),
            (r#"{"id":1,"id":2}"#, &[2]),
            (r#"{"id":1}{"id":2}"#, &[1, 2]),
            (
                r#"{"id":1} , {"id":2,"result":{"id":3}}x{}{"id":"4"}{"id":5"#,
                &[1, 2, 4],
            ),
            (r#"[{"id":1},{"id":2}]"#, &[1, 2]),
        ] {
            assert!(
                all_addressees(line.as_bytes()).eq(ids.iter().copied()),
                "{line}"
            );
        }
    }

    #[test]
    fn id_of_an_item_is_found() {
        for line in [
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":[64,{"a":1}]}"#,
            r#"{"params" : [ "64" , 7], "method" : "rpc.\u0069tem"}"#,
            r#"{"params":{"item":{"id":1},"id":64.0},"method":"rpc.item"}"#,
        ] {
            assert_eq!(item_id(line.as_bytes()), Some(64), "{line}");
        }
        for line in [
            "",
            r#"{"method":"rpc.items","params":[64,1]}"#,
            r#"{"method":"rpc.item"}"#,
            r#"{"method":"rpc.item","params":[]}"#,
            r#"{"method":"rpc.item","params":{"item":64}}"#,
            r#"{"x":{"method":"rpc.item"},"params":[64,1]}"#,
        ] {
            assert_eq!(item_id(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn line_with_a_method_and_no_outcome_belongs_to_no_call() {
        for line in [
            r#"{"jsonrpc":"2.0","method":"tick","params":[64]}"#,
            r#"{"jsonrpc":"2.0", "id":64, "method":"add"}"#,
            r#"{"jsonrpc":"2.0","id":64,"method":"add"}"#,
            r#"{"jsonrpc":"2.0","id":64,"method":"add","params":[{"result":1}]}"#,
            r#"{"jsonrpc":"2.0","id":64,"params":[1],"method":"add"}"#,
            // Truncated.
            r#"{"jsonrpc":"2.0","id":64,"method":"add","params":["#,
        ] {
            assert_eq!(addressee(line.as_bytes()), Addressee::None, "{line}");
        }
        for line in [
            r#"{"jsonrpc":"2.0","id":64,"method":"add","result":1}"#,
            r#"{"jsonrpc":"2.0","id":64,"meta":{"method":"add"},"result":1}"#,
            r#"{"jsonrpc":"2.0","id":64,"meta":{},"id":65,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":64,"id":65,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":64,"me"#,
        ] {
            assert_eq!(addressee(line.as_bytes()), Addressee::Call(64), "{line}");
        }
        for line in ["", "<html>", "[1]", r#"{"id":null,"error":{}}"#] {
            assert_eq!(addressee(line.as_bytes()), Addressee::Unknown, "{line}");
        }
    }

    fn id() -> impl Strategy<Value = Json> {
        prop_oneof![
            any::<u64>().prop_map(Json::from),
            (0u64..12).prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            any::<String>().prop_map(Json::from),
            Just(Json::Null),
        ]
    }

    fn value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![id(), "[\"\\\\{}\\[\\]:,id]{0,6}".prop_map(Json::from)];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let name = "id|[\"\\\\a]{0,2}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
                prop::collection::btree_map(name, inner, 0..3).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn id_of_valid_json_is_that_of_its_parser(
            members in prop::collection::vec(("id|error|result|[\"\\\\]{1,2}", value()), 0..5),
            blank in "[ \t]{0,2}",
        ) {
            let members = members.iter().map(|(name, value)| {
                format!("{blank}{}{blank}:{blank}{value}{blank}", Json::from(name.as_str()))
            });
            let reply = format!("{blank}{{{}}}", members.collect::<Vec<_>>().join(","));
            prop_assert_eq!(reply_id(reply.as_bytes()), parsed(reply.as_bytes()), "{}", reply);
        }

        #[test]
        fn any_bytes_are_searched_without_panic(
            bytes in any::<Vec<u8>>(),
            text in "[{}\\[\\]\",:\\\\id0-9 ]{0,40}",
        ) {
            item_id(&bytes);
            item_id(text.as_bytes());
            reply_id(&bytes);
            reply_id(text.as_bytes());
            all_addressees(&bytes).chain(all_addressees(text.as_bytes())).for_each(drop);
        }
    }
}
