//! Any argument is written as serde_json writes it, reaches the handler, and returns unchanged, in single calls and in
//! batches.
#![no_main]

use std::collections::BTreeMap;

use fuzz::{block_on, oracle};
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::{Client, Context, fuzzing, rpc};
use serde::{Deserialize, Serialize};

fuzz_target!(|input: (Everything, &str, &str)| {
    let (everything, text, other) = input;
    let json = serde_json::to_vec(&everything).unwrap();
    assert_eq!(fuzzing::write(text), serde_json::to_vec(text).ok());
    assert_eq!(fuzzing::write(&everything).as_ref(), Some(&json));
    let client = || Client::local(MirrorServer::new(MirrorService));
    block_on(async {
        send_text(client(), text, other).await;
        if oracle::depth(&json) <= DEPTH {
            send(client(), everything).await;
        }
    });
});

async fn send_text(client: Client, text: &str, other: &str) {
    let mirror = MirrorClient::new(client);
    let both = mirror.text(text, other.as_bytes()).await.unwrap();
    assert_eq!(both, (text.to_owned(), other.to_owned()));
    let meta = [(text, other), ("name", text)];
    let call = mirror.metadata().meta(text, other).meta("name", text);
    assert_eq!(
        call.await.unwrap(),
        meta.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

async fn send(client: Client, everything: Everything) {
    let mirror = MirrorClient::new(client.clone());
    let at_once = || mirror.at_once(everything.clone());
    let later = || mirror.later(everything.clone());
    assert_eq!(at_once().await.unwrap(), everything);
    assert_eq!(later().await.unwrap(), everything);
    assert_eq!(at_once().dedicated_stream().await.unwrap(), everything);
    let mut batch = client.batch();
    let entries = [batch.call(at_once()), batch.call(later())];
    let mut replies = batch.send().await.unwrap();
    for entry in entries {
        assert_eq!(replies.take(entry).unwrap(), everything);
    }
    let by_name = BTreeMap::from([("value", everything.clone())]);
    let by_name = client.call::<Everything, _>("at_once", &by_name).await;
    assert_eq!(by_name.unwrap(), everything);
}

/// The maximum depth of an argument, which is nested in a batch, its entry and the parameters.
const DEPTH: usize = 64 - 3;

#[rpc]
trait Mirror {
    async fn at_once(&self, value: Everything) -> Everything;
    #[rpc(name = "\"\\\u{1f980}\n")]
    async fn later(&self, value: Everything) -> Everything;
    async fn text(&self, a: &str, b: &[u8]) -> (String, String);
    async fn metadata(&self, cx: &Context) -> Vec<(String, String)>;
}

struct MirrorService;

impl Mirror for MirrorService {
    async fn at_once(&self, value: Everything) -> Everything {
        value
    }

    async fn later(&self, value: Everything) -> Everything {
        tokio::task::yield_now().await;
        value
    }

    async fn text(&self, a: &str, b: &[u8]) -> (String, String) {
        (a.to_owned(), String::from_utf8(b.to_vec()).unwrap())
    }

    async fn metadata(&self, cx: &Context) -> Vec<(String, String)> {
        let metadata = cx.metadata();
        metadata
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
struct Everything {
    nothing: (),
    unit: Unit,
    flag: bool,
    signed: (i8, i16, i32, i64, isize),
    unsigned: (u8, u16, u32, u64, usize),
    wide: (Wide<i128>, Wide<u128>),
    fraction: Finite,
    character: char,
    text: String,
    newtype: Newtype,
    pair: Pair,
    optional: Option<Box<Everything>>,
    list: Vec<External>,
    array: [u8; 3],
    by_name: BTreeMap<String, Internal>,
    by_number: BTreeMap<i64, Adjacent>,
    by_flag: BTreeMap<bool, Untagged>,
    by_character: BTreeMap<char, u8>,
    by_newtype: BTreeMap<Newtype, Unit>,
    by_variant: BTreeMap<Plain, Option<bool>>,
    renamed: Renamed,
    outcome: Result<u8, String>,
    #[serde(flatten)]
    flat: Flat,
}

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Arbitrary, Serialize, Deserialize)]
struct Newtype(u16);

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
struct Pair(Newtype, String);

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
struct Flat {
    flat: u8,
    flatter: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Renamed {
    first_field: u8,
    #[serde(rename = "\"\\\n\u{7f}é")]
    odd: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    perhaps: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Arbitrary, Serialize, Deserialize)]
enum Plain {
    One,
    #[serde(rename = "")]
    Empty,
}

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
enum External {
    Unit,
    New(String),
    Tuple(u8, String),
    Struct { a: i8, b: Option<Box<External>> },
}

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Internal {
    Unit,
    New(Flat),
    Struct { a: i8, b: Finite },
}

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    New(String),
    Tuple(u8, String),
    Struct { a: i8 },
}

#[derive(Debug, Clone, PartialEq, Arbitrary, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Untagged>),
    Struct { a: u8 },
}

/// Finite numbers: JSON has no others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Finite(f64, f32);

impl<'a> Arbitrary<'a> for Finite {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (double, single): (f64, f32) = u.arbitrary()?;
        let double = if double.is_finite() { double } else { 0.0 };
        let single = if single.is_finite() { single } else { 0.0 };
        Ok(Self(double, single))
    }
}

/// A type of 128 bits with a value of at most 64 bits: larger integers are rounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wide<T>(T);

impl<'a> Arbitrary<'a> for Wide<i128> {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        u.arbitrary::<i64>().map(i128::from).map(Self)
    }
}

impl<'a> Arbitrary<'a> for Wide<u128> {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        u.arbitrary::<u64>().map(u128::from).map(Self)
    }
}
