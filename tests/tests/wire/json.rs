//! Valid and invalid JSON in every place of a message. serde_json must agree, except where RFC 8259 leaves the choice
//! to the implementation.

use rpc_runtime::{RawService, rpc};
use serde_json::{Value, json};

#[rpc]
trait Mirror {
    async fn echo(&self, value: Value) -> Value;
}

struct MirrorService;

impl Mirror for MirrorService {
    async fn echo(&self, value: Value) -> Value {
        value
    }
}

/// Returns the response to a message, and checks that the next message is served.
async fn reply(message: &[u8]) -> Value {
    let mut mirror = RawService::new(MirrorServer::new(MirrorService));
    let reply = serde_json::from_slice(mirror.respond(message).await).unwrap();
    let next = br#"{"jsonrpc":"2.0","id":1,"method":"echo","params":["next"]}"#;
    let answer = br#"{"jsonrpc":"2.0","id":1,"result":"next"}"#;
    assert_eq!(mirror.respond(next).await, answer);
    reply
}

/// Returns messages with the JSON as an argument, as an unknown member, and in a batch.
fn messages(json: &[u8]) -> [Vec<u8>; 3] {
    [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":["#,
            "]}",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"extra":"#,
            r#","method":"echo","params":[0]}"#,
        ),
        (
            r#"[7,{"jsonrpc":"2.0","id":1,"method":"echo","params":{"value":"#,
            "}}]",
        ),
    ]
    .map(|(before, after)| [before.as_bytes(), json, after.as_bytes()].concat())
}

/// Checks that the JSON is read as this value.
async fn is_read(json: &[u8], value: Value) {
    let told = json.escape_ascii();
    let [argument, unread, batch] = messages(json);
    let echo = json!({"jsonrpc": "2.0", "id": 1, "result": value});
    assert_eq!(reply(&argument).await, echo, "{told}");
    assert_eq!(reply(&unread).await["result"], 0, "{told}");
    assert_eq!(reply(&batch).await[1], echo, "{told}");
    let alone = reply(json).await;
    assert_ne!(alone["error"]["code"], -32700, "{told}");
}

/// Checks that no message with this JSON is accepted.
async fn is_refused(json: &[u8]) {
    let told = json.escape_ascii();
    for message in messages(json).iter().map(Vec::as_slice).chain([json]) {
        let reply = reply(message).await;
        assert_eq!(
            reply["error"]["code"],
            -32700,
            "{told} in {}",
            message.escape_ascii()
        );
    }
}

/// Checks that each case is read as the value that serde_json reads.
async fn are_read(cases: &[&[u8]]) {
    for json in cases {
        let value = serde_json::from_slice(json);
        is_read(
            json,
            value.unwrap_or_else(|error| panic!("{}: {error}", json.escape_ascii())),
        )
        .await;
    }
}

/// Checks that each case is rejected, as by serde_json.
async fn are_refused(cases: &[&[u8]]) {
    for json in cases {
        let read = serde_json::from_slice::<Value>(json);
        assert!(read.is_err(), "{}", json.escape_ascii());
        is_refused(json).await;
    }
}

mod accepted {
    use super::*;

    #[tokio::test]
    async fn literals_are_accepted() {
        are_read(&[b"null", b"true", b"false"]).await;
    }

    #[tokio::test]
    async fn arrays_are_accepted() {
        are_read(&[
            b"[]",
            b"[[]]",
            b"[[],[[]]]",
            b"[1]",
            b"[null,true,0,\"\",[],{}]",
            b"[\"a\",\"a\",\"a\"]",
            b"[[[[[[[[1]]]]]]]]",
        ])
        .await;
    }

    #[tokio::test]
    async fn objects_are_accepted() {
        are_read(&[
            b"{}",
            br#"{"a":1}"#,
            br#"{"":0}"#,
            br#"{"a":{"b":[{"c":null}]}}"#,
            br#"{"b":1,"a":2}"#,
            br#"{"a b":1,"a\"b":2,"\\":3}"#,
            br#"{"\u0061\u0000":"\u0000"}"#,
            "{\"é€🦀\":1}".as_bytes(),
            br#"{"jsonrpc":"1.0","id":[],"method":7}"#,
        ])
        .await;
    }

    #[tokio::test]
    async fn numbers_are_accepted() {
        are_read(&[
            b"0",
            b"1",
            b"-1",
            b"10",
            b"1234567890",
            b"0.0",
            b"-0.0",
            b"1.0",
            b"-1.5",
            b"0.5",
            b"10.01",
            b"1e2",
            b"1E2",
            b"1e+2",
            b"1E+2",
            b"1e-2",
            b"1E-2",
            b"1e02",
            b"1e-02",
            b"0e0",
            b"0e1",
            b"0e+1",
            b"0E-1",
            b"-0e1",
            b"1.5e3",
            b"123.456e78",
            b"-123.456E-78",
            b"0.1",
            b"0.2",
            b"0.30000000000000004",
            b"3.141592653589793238462643383279",
            b"0.00000000000000000000000000000000000000000000000000000001",
            b"123456789012345678.5",
            b"9007199254740993",
            b"9007199254740993.0",
            b"9223372036854775807",
            b"-9223372036854775808",
            b"9223372036854775808",
            b"18446744073709551615",
            b"1.7976931348623157e308",
            b"2.2250738585072014e-308",
            b"4.9e-324",
        ])
        .await;
    }

    #[tokio::test]
    async fn strings_are_accepted() {
        are_read(&[
            br#""""#,
            br#"" ""#,
            br#""a""#,
            br#""[1,{\"a\":2}]""#,
            br#""\"\\\/\b\f\n\r\t""#,
            br#""\\\\\\\\""#,
            br#""\\\"\\""#,
            br#""\\n\\u0041""#,
            br#""\u0041\u00e9\u20AC\uABCD\uabcd""#,
            br#""\u0000\u0001\u001f\u007f\u0080""#,
            br#""\ud83e\udd80 \uD83E\uDD80""#,
            br#""\ud800\udc00\udbff\udfff""#,
            br#""\u0022\u005c\u002f""#,
            br#""\u2028\u2029\ufeff""#,
            br#""a/*b*/c//d#e""#,
            b"\"\x7f\"",
            "\"é€🦀\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}\"".as_bytes(),
            "\"\u{feff}\u{2028}\u{2029}\u{a0}\u{fffe}\u{1fffe}\"".as_bytes(),
        ])
        .await;
    }

    #[tokio::test]
    async fn escapes_at_any_position_are_accepted() {
        for length in 0..70 {
            for place in 0..=length {
                let (before, behind) = ("a".repeat(place), "é".repeat(length - place));
                let text = format!("\"{before}\\n{behind}\"");
                is_read(text.as_bytes(), json!(format!("{before}\n{behind}"))).await;
            }
        }
    }

    #[tokio::test]
    async fn whitespace_between_tokens_is_accepted() {
        are_read(&[
            b" 1",
            b"1 ",
            b"\t\r\n 1\t\r\n ",
            b"[ ]",
            b"{ }",
            b"[ 1 ,\t2\r,\n3 ]",
            b"{ \"a\" : 1 ,\n\"b\"\t:\r[ ] }",
            b" \"\" ",
        ])
        .await;
    }
}

mod rejected {
    use super::*;

    #[tokio::test]
    async fn misspelt_literals_are_rejected() {
        are_refused(&[
            b"nul",
            b"nulll",
            b"NULL",
            b"Null",
            b"tru",
            b"truee",
            b"True",
            b"TRUE",
            b"fals",
            b"falsee",
            b"False",
            b"truefalse",
            b"nul l",
            b"none",
            b"None",
            b"nil",
            b"undefined",
            b"yes",
            b"a",
            b"null\x00",
            b"t",
            b"n",
            b"f",
        ])
        .await;
    }

    #[tokio::test]
    async fn malformed_arrays_are_rejected() {
        are_refused(&[
            b"[",
            b"]",
            b"[[]",
            b"[]]",
            b"[1",
            b"1]",
            b"[1,",
            b"[1,]",
            b"[,]",
            b"[,1]",
            b"[1,,2]",
            b"[1 2]",
            b"[1;2]",
            b"[1:2]",
            b"[\"a\":1]",
            b"[\"a\" 1]",
            b"[}",
            b"[1}",
            b"[[1]",
            b"[\"a",
            b"[a]",
            b"[*]",
            b"[1],",
            b",[1]",
            b"[]1",
            b"[,,]",
            b"(1)",
        ])
        .await;
    }

    #[tokio::test]
    async fn malformed_objects_are_rejected() {
        are_refused(&[
            b"{",
            b"}",
            b"{]",
            b"{1}",
            b"{,}",
            b"{\"a\"",
            b"{\"a\"}",
            b"{\"a\":",
            b"{\"a\":}",
            b"{\"a\":1",
            b"{\"a\":1,",
            b"{\"a\":1,}",
            b"{,\"a\":1}",
            b"{\"a\":1,,\"b\":2}",
            b"{\"a\":1 \"b\":2}",
            b"{\"a\" 1}",
            b"{\"a\"::1}",
            b"{\"a\":1:2}",
            b"{\"a\",1}",
            b"{\"a\":1}}",
            b"{{\"a\":1}}",
            b"{:1}",
            b"{a:1}",
            b"{'a':1}",
            b"{1:1}",
            b"{null:1}",
            b"{[]:1}",
            b"{\"a\":1]",
            b"{\"a\" \"b\":1}",
            b"{\"a\":b}",
            b"{\"a\":1}#",
            b"{\"a\":1};",
            b"{\"a\n\":1}",
            b"{\"\\a\":1}",
            b"{\"a\\\":1}",
        ])
        .await;
    }

    #[tokio::test]
    async fn malformed_numbers_are_rejected() {
        are_refused(&[
            b"01",
            b"-01",
            b"00",
            b"-00",
            b"00.5",
            b"+1",
            b"++1",
            b"--1",
            b"-+1",
            b"-",
            b"- 1",
            b"1.",
            b"-1.",
            b"0.",
            b".1",
            b"-.1",
            b".",
            b"1.e1",
            b"0.e1",
            b"1.5.",
            b"1..5",
            b"1.5.5",
            b"1e",
            b"1E",
            b"1e+",
            b"1e-",
            b"1.5e",
            b"1e1.5",
            b"1ee1",
            b"1e+-1",
            b"e1",
            b"-e1",
            b"1 e1",
            b"1e 1",
            b"0x1",
            b"0X1F",
            b"0b1",
            b"0o7",
            b"1_000",
            b"1 000",
            b"1'000",
            b"1a",
            b"1-1",
            b"1+1",
            b"1f",
            b"1n",
            b"0e",
            b"NaN",
            b"nan",
            b"-NaN",
            b"inf",
            b"Infinity",
            b"-Infinity",
            b"+Infinity",
            b"1/2",
            b"1%",
            b"\\u0031",
            b"-a",
            b"-\"1\"",
            b"123456789012345678901234567890x",
            b"1\x00",
            "１".as_bytes(),
            "−1".as_bytes(),
            "٣".as_bytes(),
            "∞".as_bytes(),
        ])
        .await;
    }

    #[tokio::test]
    async fn malformed_strings_are_rejected() {
        are_refused(&[
            br#"""#,
            br#""a"#,
            br#"a""#,
            br#""""""#,
            br#""a"b"#,
            br#""a" "b""#,
            br#"'a'"#,
            br#"`a`"#,
            br#""\"#,
            br#""\""#,
            br#""\\\""#,
            br#""\a""#,
            br#""\0""#,
            br#""\x41""#,
            br#""\'""#,
            br#""\ ""#,
            br#""\v""#,
            br#""\U0041""#,
            br#""\u""#,
            br#""\u4""#,
            br#""\u004""#,
            br#""\u004g""#,
            br#""\u+041""#,
            br#""\u 041""#,
            br#""\u{41}""#,
            br#""\u-041""#,
            br#"\n"#,
            br#""\u0041"#,
            b"\"\\\n\"",
            b"\"\\\x00\"",
            "\"\\é\"".as_bytes(),
            "“a”".as_bytes(),
        ])
        .await;
    }

    #[tokio::test]
    async fn control_characters_in_strings_are_rejected() {
        for byte in 0..0x20 {
            for length in [0, 1, 15, 31, 32, 63, 100] {
                let text = [b"\"".as_slice(), &vec![b'x'; length], &[byte], b"\""].concat();
                are_refused(&[&text]).await;
            }
        }
    }

    #[tokio::test]
    async fn other_whitespace_is_rejected() {
        for space in [
            "\x0b", "\x0c", "\0", "\u{85}", "\u{a0}", "\u{2003}", "\u{2028}", "\u{200b}",
            "\u{feff}",
        ] {
            for text in [
                format!("{space}1"),
                format!("1{space}"),
                format!("[1,{space}2]"),
            ] {
                are_refused(&[text.as_bytes()]).await;
            }
        }
    }

    #[tokio::test]
    async fn comments_and_several_values_are_rejected() {
        are_refused(&[
            b"1//",
            b"1#",
            b"/**/1",
            b"1/**/",
            b"[1/**/]",
            b"//\n1",
            b"1 1",
            b"[][]",
            b"{}{}",
            b"[]{}",
            b"1\"\"",
            b"\"\"1",
            b"null null",
            b"nulltrue",
            b"<null>",
            b"&",
            b"@",
            b"^",
            b"%",
            b"1;",
            b"{}[",
            b"[]\x00",
            b"true,",
            b":1",
            b",1",
        ])
        .await;
    }

    #[tokio::test]
    async fn lone_surrogates_are_rejected() {
        are_refused(&[
            br#""\ud800""#,
            br#""\udbff""#,
            br#""\udc00""#,
            br#""\udfff""#,
            br#""\ud800a""#,
            br#""\ud800\n""#,
            br#""\ud800\u0041""#,
            br#""\ud800\ud800""#,
            br#""\udc00\ud800""#,
            br#""\ud800\ud800\udc00""#,
            br#""\ud800\udc00\udc00""#,
            br#""\ud800\u""#,
            br#""\ud800\udc0""#,
            br#""\ud800udc00""#,
            br#"{"\ud800":1}"#,
        ])
        .await;
    }

    #[tokio::test]
    async fn invalid_utf8_is_rejected() {
        for bytes in [
            b"\x80".as_slice(),
            b"\xbf",
            b"\xff",
            b"\xfe\xff",
            b"\xc3",
            b"\xc3\x28",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe2\x82",
            b"\xe2\x28\xa1",
            b"\xe0\x80\x80",
            b"\xe0\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xf0\x9f\xa6",
            b"\xf0\x80\x80\x80",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\xe9",
        ] {
            for (before, behind) in [
                ("\"", "\""),
                ("{\"", "\":1}"),
                ("", ""),
                ("[1,", "]"),
                ("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\n", "b\""),
            ] {
                let json = [before.as_bytes(), bytes, behind.as_bytes()].concat();
                are_refused(&[&json]).await;
            }
        }
    }

    #[tokio::test]
    async fn empty_messages_and_other_encodings_are_rejected() {
        for message in [
            b"".as_slice(),
            b" ",
            b"\t\r\n",
            b"\xef\xbb\xbf",
            b"\xef\xbb\xbf{}",
            b"\xff\xfe[\x00]\x00",
            b"\xfe\xff\x00[\x00]",
            b"[\x00]\x00",
            b"\x00[\x00]",
        ] {
            assert!(serde_json::from_slice::<Value>(message).is_err());
            assert_eq!(reply(message).await["error"]["code"], -32700);
        }
    }
}

/// RFC 8259 leaves these cases to the implementation.
mod implementation_defined {
    use super::*;

    #[tokio::test]
    async fn last_of_duplicate_members_is_used() {
        is_read(br#"{"a":1,"a":2}"#, json!({"a": 2})).await;
        is_read(br#"{"a":1,"\u0061":[]}"#, json!({"a": []})).await;
    }

    #[tokio::test]
    async fn minus_zero_without_fraction_is_a_float() {
        is_read(b"-0", json!(-0.0)).await;
        is_read(b"[-0,-0 ]", json!([-0.0, -0.0])).await;
        is_read(b"-0.0", json!(-0.0)).await;
    }

    #[tokio::test]
    async fn integers_past_64_bits_are_rounded_to_floats() {
        is_read(b"18446744073709551616", json!(18446744073709551616.0)).await;
        is_read(b"-9223372036854775809", json!(-9223372036854775809.0)).await;
        is_read(b"100000000000000000000000", json!(1e23)).await;
        let long = format!("1{}", "0".repeat(300));
        is_read(long.as_bytes(), json!(1e300)).await;
    }

    #[tokio::test]
    async fn numbers_too_small_are_zero_and_too_large_are_rejected() {
        is_read(b"1e-400", json!(0.0)).await;
        is_read(b"-1e-99999999999999999999", json!(-0.0)).await;
        is_read(b"0e99999999999999999999", json!(0.0)).await;
        let long = format!("-1{}", "0".repeat(400));
        for json in [
            "1e309",
            "-1e309",
            "1e400",
            "1.8e308",
            "1e99999999999999999999",
            &long,
        ] {
            is_refused(json.as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn noncharacters_of_unicode_are_accepted() {
        is_read(br#""\uffff\ufffe""#, json!("\u{ffff}\u{fffe}")).await;
        is_read(br#""\u0000""#, json!("\0")).await;
        is_read(br#""\udbff\udffe""#, json!("\u{10fffe}")).await;
    }

    #[tokio::test]
    async fn nesting_past_128_levels_is_rejected() {
        // One level is the request, which leaves 127.
        for (open, close) in [("[", "]"), ("{\"a\":[", "]}")] {
            let levels = 127 / open.matches(['[', '{']).count();
            let nested = |levels| format!("{}{}", open.repeat(levels), close.repeat(levels));
            let message = |levels| {
                let [_, unread, _] = messages(nested(levels).as_bytes());
                unread
            };
            assert!(reply(&message(levels)).await.get("result").is_some());
            assert_eq!(reply(&message(levels + 1)).await["error"]["code"], -32700);
            for open_for_ever in [open.repeat(levels), open.repeat(100_000)] {
                is_refused(open_for_ever.as_bytes()).await;
            }
        }
    }
}
