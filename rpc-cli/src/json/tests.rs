use fastrand::Rng;
use serde_json::{Map, Value as Tree, json};

use super::*;

/// Creates the document of a tree of values.
pub(crate) fn of_tree(tree: &Tree) -> Json {
    Json::parse(tree.to_string()).unwrap()
}

/// Returns a random tree, with names and texts that need escapes.
fn any(rng: &mut Rng, depth: usize) -> Tree {
    let text = |rng: &mut Rng| {
        let parts = [
            "a", "\"", "\\", "\n", "é", "\u{1b}", "\u{202e}", "🍐", "]", "}", ",", ":",
        ];
        (0..rng.usize(0..4))
            .map(|_| *rng.choice(&parts).unwrap())
            .collect::<String>()
    };
    match rng.u8(0..if depth == 0 { 7 } else { 10 }) {
        0 => Tree::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!(rng.u64(..)),
        4 => json!(rng.i32(..) as f64 / 8.0),
        5 | 6 => json!(text(rng)),
        7 => (0..rng.usize(0..5)).map(|_| any(rng, depth - 1)).collect(),
        _ => {
            let members = (0..rng.usize(0..5)).map(|_| (text(rng), any(rng, depth - 1)));
            Tree::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// Returns the tree of a value, read with the methods of this module.
fn tree(value: Value<'_>) -> Tree {
    match value.kind() {
        Type::Null => Tree::Null,
        Type::Boolean => json!(value.as_bool().unwrap()),
        Type::Number => match (value.as_i64(), value.as_u64()) {
            (Some(number), _) => json!(number),
            (None, Some(number)) => json!(number),
            (None, None) => json!(value.as_f64().unwrap()),
        },
        Type::String => json!(value.as_str().unwrap()),
        Type::Array => value.elements().map(tree).collect(),
        Type::Object => {
            let members = value.members();
            let members = members.map(|(name, value)| (name.as_str().unwrap().into(), tree(value)));
            Tree::Object(members.collect::<Map<_, _>>())
        }
    }
}

#[test]
fn any_document_is_read_as_serde_json_reads_it() {
    for seed in 0..2000 {
        let mut rng = Rng::with_seed(seed);
        let expected = any(&mut rng, 5);
        let text = match rng.bool() {
            true => serde_json::to_string_pretty(&expected).unwrap(),
            false => format!(" {expected}\n"),
        };
        let document = Json::parse(text.clone()).unwrap();
        assert_eq!(tree(document.root()), expected, "{text}");
        let compact = Compact(document.root().text()).to_string();
        assert!(
            !compact.contains(crate::escape::is_unprintable),
            "{compact}"
        );
        assert_eq!(serde_json::from_str::<Tree>(&compact).unwrap(), expected);
        let joined: String = tokens(&text).map(token_text).collect();
        assert_eq!(serde_json::from_str::<Tree>(&joined).unwrap(), expected);
        if let Tree::Object(members) = &expected {
            for (name, value) in members {
                let found = document.root().get(name).map(tree);
                assert_eq!(found.as_ref(), Some(value), "{name} in {text}");
            }
            assert!(document.root().get("a\":").is_none());
        }
    }
}

fn token_text(token: Token<'_>) -> &str {
    match token {
        Token::Comma => ",",
        Token::Colon => ":",
        Token::Open(text)
        | Token::Close(text)
        | Token::String(text)
        | Token::Word(text)
        | Token::Number(text) => text,
    }
}

#[test]
fn text_that_is_no_document_is_refused_without_panic() {
    for text in [
        "", " ", "{", "[1,]", "{\"a\"}", "\"\\x\"", "01", "nul", "[1] 2", "\"\n\"",
    ] {
        assert!(Json::parse(text.into()).is_err(), "{text}");
    }
    let nested = |levels| Json::parse("[".repeat(levels) + &"]".repeat(levels));
    assert!(nested(MAX_DEPTH).is_ok());
    assert!(nested(MAX_DEPTH + 1).unwrap_err().contains("128 levels"));
    assert!(nested(1 << 20).is_err());
    for seed in 0..2000 {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = any(&mut rng, 4).to_string().into_bytes();
        let at = rng.usize(0..bytes.len());
        bytes[at] = *rng.choice(b"\"\\{}[],:0n \x00").unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let is_json = serde_json::from_str::<Tree>(&text).is_ok();
        let read = Json::parse(text.clone()).map(|document| tree(document.root()));
        assert!(!is_json || read.is_ok(), "{text}");
        let (start, _) = truncated(&text, text.len() / 2);
        for part in [&text, start] {
            let shown = Compact(part).to_string();
            assert!(!shown.contains(crate::escape::is_unprintable), "{shown:?}");
        }
    }
}

#[test]
fn last_of_several_members_with_a_name_counts() {
    let document = Json::parse(r#"{"a":1,"\u0061":2,"b":"x"}"#.into()).unwrap();
    assert_eq!(document.root().get("a").unwrap().as_i64(), Some(2));
    assert!(document.root().get("b").unwrap().is("x"));
}

#[test]
fn half_a_pair_of_surrogates_stays_as_it_is_written() {
    let document = Json::parse(r#"["a\ud800"]"#.into()).unwrap();
    let text = document.root().elements().next().unwrap();
    assert_eq!(text.as_str().unwrap(), r"a\ud800");
    assert_eq!(Compact(text.text()).to_string(), r#""a\ud800""#);
}

#[test]
fn fingerprints_are_equal_if_values_mean_the_same() {
    let keys = RandomState::new();
    let of = |text: &str| Json::parse(text.into()).unwrap().root().fingerprint(&keys);
    let same = [
        (
            r#"{"a":1,"b":[true,null]}"#,
            r#"{"b": [true, null], "\u0061": 1.0}"#,
        ),
        ("1e2", "100"),
        ("0.5", "5e-1"),
        (r#""\u00e9""#, "\"é\""),
    ];
    for (one, other) in same {
        assert_eq!(of(one), of(other), "{one} {other}");
    }
    let all = [
        "{}",
        "[]",
        "null",
        "false",
        "true",
        "0",
        "1",
        "0.5",
        "0.50000000000000000000001",
        "12345678901234567890.1",
        "12345678901234567890.2",
        "\"\"",
        "\"0\"",
        "[0]",
        "[[]]",
        "[0,1]",
        "[1,0]",
        r#"{"a":0}"#,
        r#"{"a":1}"#,
        r#"{"b":0}"#,
        r#"{"a":0,"b":1}"#,
        r#"{"a":1,"b":0}"#,
        "1e40",
        "1e41",
    ];
    let different: std::collections::HashSet<_> = all.map(of).into();
    assert_eq!(different.len(), all.len());
}

#[test]
fn dense_documents_take_little_memory_beside_their_text() {
    for dense in ["0,", "[],", "\"\","] {
        let text = format!("[{}0]", dense.repeat(10_000));
        let document = Json::parse(text).unwrap();
        let tape = document.size() * size_of::<u32>();
        assert!(tape <= 4 * document.text().len() + 16, "{dense}: {tape}");
    }
}

#[test]
fn all_arrays_and_objects_in_a_value_are_found() {
    let document = Json::parse(r#"[1,{"a":[[],"b"],"c":{}},"d",[2]]"#.into()).unwrap();
    let texts = |value: Value<'_>| {
        value
            .containers()
            .map(|inner| inner.text().to_owned())
            .collect::<Vec<_>>()
    };
    let all = texts(document.root());
    let expected = [r#"{"a":[[],"b"],"c":{}}"#, r#"[[],"b"]"#, "[]", "{}", "[2]"];
    assert_eq!(all[1..], expected);
    let inner = document.root().elements().nth(1).unwrap();
    assert_eq!(texts(inner), expected[..4]);
    assert_eq!(texts(document.root().elements().next().unwrap()), [""; 0]);
}
