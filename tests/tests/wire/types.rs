//! Values of all kinds between a typed client and a typed server. serde_json, which writes and reads the same value, is the
//! reference.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{self, AtomicUsize};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use proptest::prelude::*;
use rpc_runtime::{CallError, Client, ErrorObject, Limits, code, rpc};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tests::support::{current_thread, serve, soon};

/// A float that can be a key.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
struct Level(f64);

impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Level {}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Bytes that tell serde that they are bytes, not a list of numbers.
#[derive(Debug, Clone)]
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Octets, E> {
                Ok(Octets(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Octets, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Octets(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Read)
    }
}

/// A value with a member of each kind.
#[derive(Serialize, Deserialize, Debug, Clone)]
struct Everything {
    raw: Box<RawValue>,
    raws: Vec<Option<Box<RawValue>>>,
    unsigned: u128,
    signed: i128,
    integers: Vec<(u128, i128)>,
    by_integer: BTreeMap<u128, i128>,
    by_level: BTreeMap<Level, f32>,
    octets: Octets,
    double: f64,
    single: Option<f32>,
    text: String,
    json: Value,
    shape: Shape,
    next: Option<Box<Everything>>,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
enum Shape {
    Unit,
    New(Box<RawValue>),
    Tuple(i128, Octets),
    Struct {
        level: Level,
        of: BTreeMap<i128, Octets>,
    },
}

#[rpc]
trait Mirror {
    async fn echo(&self, value: Everything) -> Everything;
    #[rpc(blocking)]
    fn echo_blocking(&self, value: Everything) -> Everything;
    async fn fail(&self, value: Everything) -> Result<(), ErrorObject>;
    fn items(&self, value: Everything) -> impl Stream<Item = Everything>;
    async fn upload(&self, values: impl Stream<Item = Everything>) -> Vec<Everything>;
}

struct Glass;

impl Mirror for Glass {
    async fn echo(&self, value: Everything) -> Everything {
        value
    }

    fn echo_blocking(&self, value: Everything) -> Everything {
        value
    }

    async fn fail(&self, value: Everything) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(1, "no").with_data(&value))
    }

    fn items(&self, value: Everything) -> impl Stream<Item = Everything> {
        stream::iter([value.clone(), value])
    }

    async fn upload(&self, values: impl Stream<Item = Everything> + Send) -> Vec<Everything> {
        values.collect().await
    }
}

/// Asserts that a value arrives in every place of a message.
async fn assert_arrives(client: &Client, value: &Everything) {
    #[derive(Serialize)]
    struct Named<'a> {
        value: &'a Everything,
    }
    let expected = serde_json::to_string(value).unwrap();
    let read: Everything = serde_json::from_str(&expected).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), expected);
    let same = |value: &Everything, place: &str| {
        assert_eq!(serde_json::to_string(value).unwrap(), expected, "{place}");
    };
    let mirror = MirrorClient::new(client.clone());
    let copy = || value.clone();

    same(&mirror.echo(copy()).await.unwrap(), "by position");
    same(&mirror.echo_blocking(copy()).await.unwrap(), "blocking");
    let by_name = client.call::<Everything, _>("echo", &Named { value });
    same(&by_name.await.unwrap(), "by name");
    let raw = client.call::<Box<RawValue>, _>("echo", &(value,)).await;
    assert_eq!(raw.unwrap().get(), expected);

    let mut batch = client.batch();
    let (first, second) = (
        batch.call(mirror.echo(copy())),
        batch.call(mirror.echo(copy())),
    );
    let mut replies = batch.send().await.unwrap();
    same(&replies.take(second).unwrap(), "in a batch");
    same(&replies.take(first).unwrap(), "in a batch");

    match mirror.fail(copy()).await {
        Err(CallError::Application(error)) => {
            same(&error.data::<Everything>().unwrap(), "error data");
            assert_eq!(error.raw_data(), Some(expected.as_str()));
        }
        other => panic!("{other:?}"),
    }
    for item in mirror.items(copy()).try_collect::<Vec<_>>().await.unwrap() {
        same(&item, "item");
    }
    for item in mirror.upload(stream::iter([copy(), copy()])).await.unwrap() {
        same(&item, "uploaded item");
    }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn everything() -> Everything {
    Everything {
        raw: raw(r#"{"a": [1.50, 1e3, -0, 12345678901234567890.123456789, "\u00e9\n\"]"]}"#),
        raws: vec![Some(raw("18446744073709551616")), Some(raw("[ ]")), None],
        unsigned: u128::MAX,
        signed: i128::MIN,
        integers: vec![
            (u128::from(u64::MAX) + 1, i128::from(i64::MIN) - 1),
            (0, -1),
        ],
        by_integer: BTreeMap::from([(u128::MAX, i128::MAX), (0, 0)]),
        by_level: BTreeMap::from([(Level(-2.0), 0.1), (Level(1e300), -0.0), (Level(1.5), 1e-7)]),
        octets: Octets(vec![0, 127, 128, 255]),
        double: 0.1,
        single: Some(f32::MAX),
        text: "a \"quoted\"\n\u{2028}\u{1F600} text".to_owned(),
        json: json!({"a": [1, -1, 1.5, null, u64::MAX, i64::MIN, {"": []}]}),
        shape: Shape::New(raw(
            r#"["\\", {"b": 340282366920938463463374607431768211456}]"#,
        )),
        next: None,
    }
}

#[tokio::test]
async fn value_of_every_kind_arrives_over_memory_and_quic() {
    let nested = Everything {
        next: Some(Box::new(everything())),
        ..everything()
    };
    for value in [everything(), nested] {
        soon(assert_arrives(
            &Client::local(MirrorServer::new(Glass)),
            &value,
        ))
        .await;
        let (client, _server) = serve(MirrorServer::new(Glass), Limits::default()).await;
        soon(assert_arrives(&client, &value)).await;
    }
}

#[tokio::test]
async fn value_of_every_kind_arrives_in_a_small_and_in_a_large_message() {
    let client = Client::local(MirrorServer::new(Glass));
    for repetitions in [0, 1, 100, 2_000] {
        let value = Everything {
            integers: vec![(u128::MAX, i128::MIN); repetitions],
            raws: vec![Some(raw("[1.0, 18446744073709551616]")); repetitions],
            text: "\\".repeat(repetitions),
            ..everything()
        };
        soon(assert_arrives(&client, &value)).await;
    }
}

fn raw_values() -> impl Strategy<Value = Box<RawValue>> {
    let number = "-?(0|[1-9][0-9]{0,45})(\\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?";
    let leaf = prop_oneof![
        number.prop_map(|number| number),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        Just(r#""\ud83d\ude00 \/\u0000""#.to_owned()),
        prop::sample::select(vec!["null", "true", "false", "-0"]).prop_map(str::to_owned),
    ];
    let json = leaf.prop_recursive(4, 24, 4, |inner| {
        let space = "[ \t\r]{0,2}";
        let elements = prop::collection::vec((space, inner.clone(), space), 0..4);
        let members = prop::collection::vec((any::<String>(), space, inner), 0..4);
        prop_oneof![
            elements.prop_map(|elements| {
                let elements = elements
                    .into_iter()
                    .map(|(a, json, b)| format!("{a}{json}{b}"));
                format!("[{}]", elements.collect::<Vec<_>>().join(","))
            }),
            members.prop_map(|members| {
                let members = members.into_iter();
                let members = members
                    .map(|(name, space, json)| format!("{}{space}:{json}", Value::from(name)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    });
    json.prop_map(|json| raw(&json))
}

fn doubles() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has no others", |number| number.is_finite())
}

fn octets() -> impl Strategy<Value = Octets> {
    any::<Vec<u8>>().prop_map(Octets)
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Unit),
        raw_values().prop_map(Shape::New),
        (any::<i128>(), octets()).prop_map(|(number, octets)| Shape::Tuple(number, octets)),
        (
            doubles(),
            prop::collection::btree_map(any::<i128>(), octets(), 0..3)
        )
            .prop_map(|(level, of)| {
                let level = Level(level);
                Shape::Struct { level, of }
            }),
    ]
}

fn values() -> impl Strategy<Value = Everything> {
    let integers = (
        any::<u128>(),
        any::<i128>(),
        prop::collection::vec(any::<(u128, i128)>(), 0..4),
    );
    let maps = (
        prop::collection::btree_map(any::<u128>(), any::<i128>(), 0..4),
        prop::collection::btree_map(doubles().prop_map(Level), -1e30f32..1e30, 0..4),
    );
    let raws = (
        raw_values(),
        prop::collection::vec(prop::option::of(raw_values()), 0..3),
    );
    let others = (
        octets(),
        doubles(),
        prop::option::of(-1e30f32..1e30),
        any::<String>(),
    );
    let leaf = (integers, maps, raws, others, shapes()).prop_map(
        |((unsigned, signed, integers), (by_integer, by_level), (raw, raws), others, shape)| {
            let (octets, double, single, text) = others;
            // serde_json reads a raw null that may be missing as missing.
            let is_null = |raw: &RawValue| raw.get() == "null";
            let raws = raws
                .into_iter()
                .map(|raw| raw.filter(|raw| !is_null(raw)))
                .collect();
            let json = json!([text, double, {"a": [null, unsigned as u64]}]);
            let next = None;
            Everything {
                raw,
                raws,
                unsigned,
                signed,
                integers,
                by_integer,
                by_level,
                octets,
                double,
                single,
                text,
                json,
                shape,
                next,
            }
        },
    );
    leaf.prop_recursive(2, 3, 1, |inner| {
        (inner.clone(), inner).prop_map(|(outer, inner)| Everything {
            next: Some(Box::new(inner)),
            ..outer
        })
    })
}

#[test]
fn generated_value_is_read_as_by_serde_json() {
    let runtime = current_thread();
    let client = runtime.block_on(async { Client::local(MirrorServer::new(Glass)) });
    proptest!(ProptestConfig::with_cases(64), |(value in values())| {
        runtime.block_on(soon(assert_arrives(&client, &value)));
    });
}

#[derive(Serialize, Deserialize)]
struct Upload<'a> {
    name: &'a str,
    data: &'a [u8],
    #[serde(borrow)]
    cow: Cow<'a, [u8]>,
    document: &'a RawValue,
}

#[rpc]
trait Files {
    async fn put(&self, upload: Upload<'_>) -> Vec<u8>;
    async fn parts(&self, parts: Vec<&[u8]>, pair: (&str, &[u8])) -> Vec<u8>;
    async fn cow(&self, data: Cow<'_, [u8]>) -> Vec<u8>;
    async fn nested(&self, data: Option<Option<&[u8]>>) -> Option<Vec<u8>>;
    async fn document(&self, document: &RawValue) -> String;
    #[rpc(blocking)]
    fn put_blocking(&self, upload: Upload<'_>) -> Vec<u8>;
}

struct Disk;

impl Files for Disk {
    async fn put(&self, upload: Upload<'_>) -> Vec<u8> {
        self.put_blocking(upload)
    }

    async fn parts(&self, parts: Vec<&[u8]>, (name, data): (&str, &[u8])) -> Vec<u8> {
        [parts.concat().as_slice(), name.as_bytes(), data].concat()
    }

    async fn cow(&self, data: Cow<'_, [u8]>) -> Vec<u8> {
        data.into_owned()
    }

    async fn nested(&self, data: Option<Option<&[u8]>>) -> Option<Vec<u8>> {
        data.flatten().map(<[u8]>::to_vec)
    }

    async fn document(&self, document: &RawValue) -> String {
        document.get().to_owned()
    }

    fn put_blocking(&self, upload: Upload<'_>) -> Vec<u8> {
        let Upload {
            name,
            data,
            cow,
            document,
        } = upload;
        [name.as_bytes(), data, &*cow, document.get().as_bytes()].concat()
    }
}

#[tokio::test]
async fn borrowed_bytes_and_raw_json_arrive_at_any_depth() {
    let (quic, _server) = serve(FilesServer::new(Disk), Limits::default()).await;
    for client in [Client::local(FilesServer::new(Disk)), quic] {
        let files = FilesClient::new(client);
        for length in [0, 3, 5_000] {
            let data = [0, 255, 128].repeat(length / 3);
            let json = format!(r#"{{"a" : [1.50, "\n{}"]}}"#, "x".repeat(length));
            let document = raw(&json);
            let upload = || Upload {
                name: "n",
                data: &data,
                cow: Cow::Borrowed(&data),
                document: &document,
            };
            let put = [b"n", data.as_slice(), &data, json.as_bytes()].concat();
            assert_eq!(files.put(upload()).await.unwrap(), put);
            assert_eq!(files.put_blocking(upload()).await.unwrap(), put);
            let parts = files.parts(vec![&data, &data], ("n", &data)).await.unwrap();
            assert_eq!(parts, [&data, &data, b"n".as_slice(), &data].concat());
            assert_eq!(files.cow(Cow::Borrowed(&data)).await.unwrap(), data);
            assert_eq!(
                files.nested(Some(Some(&data))).await.unwrap(),
                Some(data.clone())
            );
            assert_eq!(files.document(&document).await.unwrap(), json);
        }
    }
}

#[tokio::test]
async fn raw_json_of_a_large_request_without_fractions_keeps_its_meaning() {
    let files = FilesClient::new(Client::local(FilesServer::new(Disk)));
    let text = "\\u00e9\\n".repeat(500);
    let json = format!(r#"{{ "a" : [ 1, -1, null, "{text}", {{}} ], "b" : "" }}"#);
    let arrived = files.document(&raw(&json)).await.unwrap();
    let [sent, arrived] =
        [&json, &arrived].map(|json| serde_json::from_str::<Value>(json).unwrap());
    assert_eq!(arrived, sent);
}

/// Counts the calls of its handlers, and returns floats that JSON does not have.
#[derive(Default)]
struct Desk(AtomicUsize);

#[rpc]
trait Floats {
    async fn scale(&self, by: f64) -> f64;
    async fn hint(&self, weight: Option<f32>) -> bool;
    async fn levels(&self, levels: BTreeMap<Level, u8>) -> usize;
    async fn tree(&self, tree: Value) -> Value;
    async fn divide(&self, a: f64, b: f64) -> f64;
    async fn mean(&self, of: Vec<f64>) -> Option<f64>;
    async fn deep(&self, levels: usize) -> Value;
    async fn fail(&self, with: u8) -> Result<(), ErrorObject>;
    fn ratios(&self) -> impl Stream<Item = f64>;
    async fn sum(&self, of: impl Stream<Item = f64>) -> f64;
}

impl Floats for Desk {
    async fn scale(&self, by: f64) -> f64 {
        self.0.fetch_add(1, atomic::Ordering::Relaxed);
        by
    }

    async fn hint(&self, weight: Option<f32>) -> bool {
        self.0.fetch_add(1, atomic::Ordering::Relaxed);
        weight.is_some()
    }

    async fn levels(&self, levels: BTreeMap<Level, u8>) -> usize {
        self.0.fetch_add(1, atomic::Ordering::Relaxed);
        levels.len()
    }

    async fn tree(&self, tree: Value) -> Value {
        tree
    }

    async fn divide(&self, a: f64, b: f64) -> f64 {
        a / b
    }

    async fn mean(&self, of: Vec<f64>) -> Option<f64> {
        Some(of.iter().sum::<f64>() / of.len() as f64)
    }

    async fn deep(&self, levels: usize) -> Value {
        tree(levels)
    }

    async fn fail(&self, with: u8) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(1, "no").with_data(&(f64::from(with) / 0.0)))
    }

    fn ratios(&self) -> impl Stream<Item = f64> {
        stream::iter([1.0, f64::NAN, 2.0])
    }

    async fn sum(&self, of: impl Stream<Item = f64> + Send) -> f64 {
        of.fold(0.0, async |sum, item| sum + item).await
    }
}

/// Returns a value with this many levels of arrays and objects.
fn tree(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, level| match level % 2 {
        0 => json!([inner]),
        _ => json!({ "a": inner }),
    })
}

#[tokio::test]
async fn float_that_json_does_not_have_is_refused_by_the_side_that_writes_it() {
    let desk = Arc::new(Desk::default());
    let floats = FloatsClient::new(Client::local(FloatsServer::from_arc(Arc::clone(&desk))));
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for error in [
            floats.scale(number).await.unwrap_err(),
            floats.hint(Some(number as f32)).await.unwrap_err(),
            floats
                .levels(BTreeMap::from([(Level(number), 1)]))
                .await
                .unwrap_err(),
        ] {
            let CallError::Encode(reason) = &error else {
                panic!("{error:?}");
            };
            let names = ["`by`", "`weight`", "`levels`"];
            assert!(names.iter().any(|name| reason.contains(name)), "{reason}");
        }
    }
    assert_eq!(desk.0.load(atomic::Ordering::Relaxed), 0);
    let is_internal = |error: &CallError| match error {
        CallError::Remote(error) => error.code() == code::INTERNAL_ERROR,
        _ => false,
    };
    assert!(is_internal(&floats.divide(1.0, 0.0).await.unwrap_err()));
    assert!(is_internal(&floats.mean(vec![]).await.unwrap_err()));
    match floats.fail(1).await.unwrap_err() {
        CallError::Remote(error) => assert_eq!(error.code(), code::INTERNAL_ERROR),
        other => panic!("{other:?}"),
    }
    let mut ratios = floats.ratios();
    assert_eq!(ratios.next().await.unwrap().unwrap(), 1.0);
    assert!(is_internal(&ratios.next().await.unwrap().unwrap_err()));
    let sum = floats.sum(stream::iter([1.0, f64::INFINITY])).await;
    assert!(matches!(sum, Err(CallError::Encode(_))), "{sum:?}");
}

#[tokio::test]
async fn value_with_too_many_levels_is_refused_by_the_side_that_writes_it() {
    let client = Client::local(FloatsServer::new(Desk::default()));
    let floats = FloatsClient::new(client.clone());
    assert_eq!(floats.tree(tree(125)).await.unwrap(), tree(125));
    let mut batch = client.batch();
    let entry = batch.call(floats.tree(tree(125)));
    assert_eq!(batch.send().await.unwrap().take(entry).unwrap(), tree(125));
    match floats.tree(tree(126)).await.unwrap_err() {
        CallError::Encode(reason) => assert!(reason.contains("125"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(floats.deep(125).await.unwrap(), tree(125));
    match floats.deep(126).await.unwrap_err() {
        CallError::Remote(error) => assert_eq!(error.code(), code::INTERNAL_ERROR),
        other => panic!("{other:?}"),
    }
}

#[rpc]
trait Users {
    async fn rename(&self, nickname: Option<Option<String>>) -> String;
    async fn edit(&self, nickname: Edit<String>) -> String;
}

/// An option that may be left alone, as the documentation recommends.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Edit<T> {
    Keep,
    Clear,
    Set(T),
}

struct All;

impl Users for All {
    async fn rename(&self, nickname: Option<Option<String>>) -> String {
        format!("{nickname:?}")
    }

    async fn edit(&self, nickname: Edit<String>) -> String {
        format!("{nickname:?}")
    }
}

#[tokio::test]
async fn option_in_an_option_arrives_as_from_serde_json_and_an_enum_keeps_all_three_values() {
    let users = UsersClient::new(Client::local(UsersServer::new(All)));
    for (sent, arrived) in [
        (None, "None"),
        (Some(None), "None"),
        (Some(Some("x".to_owned())), r#"Some(Some("x"))"#),
    ] {
        let text = serde_json::to_string(&sent).unwrap();
        let read: Option<Option<String>> = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{read:?}"), arrived);
        assert_eq!(users.rename(sent).await.unwrap(), arrived);
    }
    for edit in [Edit::Keep, Edit::Clear, Edit::Set("x".to_owned())] {
        let told = format!("{edit:?}");
        assert_eq!(users.edit(edit).await.unwrap(), told);
    }
}

/// Floats whose text is nearer to another value than the double that is nearest to the text.
const TWICE_ROUNDED: [(&str, f32); 4] = [
    ("7.038531e-26", 7.038531e-26),
    ("-7.038531e-26", -7.038531e-26),
    ("1.00000017881393432617187499", 1.000_000_1),
    ("3.4028235677973366e38", f32::MAX),
];

#[rpc]
trait Singles {
    async fn echo(&self, single: f32) -> f32;
    #[rpc(blocking)]
    fn echo_blocking(&self, single: f32, filler: &str) -> f32;
    async fn all(&self, singles: Vec<f32>, by_single: BTreeMap<Single, Option<f32>>) -> Vec<f32>;
    fn items(&self, single: f32) -> impl Stream<Item = f32>;
    async fn upload(&self, singles: impl Stream<Item = f32>) -> Vec<f32>;
    async fn fail(&self, single: f32) -> Result<(), ErrorObject>;
    async fn is_negative(&self, double: f64, json: Value) -> (bool, bool);
}

/// A float of 32 bits that can be a key.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
struct Single(f32);

impl PartialEq for Single {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Single {}

impl PartialOrd for Single {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Single {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Singles for Glass {
    async fn echo(&self, single: f32) -> f32 {
        single
    }

    fn echo_blocking(&self, single: f32, _: &str) -> f32 {
        single
    }

    async fn all(&self, singles: Vec<f32>, by_single: BTreeMap<Single, Option<f32>>) -> Vec<f32> {
        let others = by_single
            .into_iter()
            .flat_map(|(key, value)| [Some(key.0), value]);
        singles.into_iter().chain(others.flatten()).collect()
    }

    fn items(&self, single: f32) -> impl Stream<Item = f32> {
        stream::iter([single])
    }

    async fn upload(&self, singles: impl Stream<Item = f32> + Send) -> Vec<f32> {
        singles.collect().await
    }

    async fn fail(&self, single: f32) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(1, "no").with_data(&single))
    }

    async fn is_negative(&self, double: f64, json: Value) -> (bool, bool) {
        let json = json.as_f64().unwrap_or_default();
        (double.is_sign_negative(), json.is_sign_negative())
    }
}

#[tokio::test]
async fn float_of_32_bits_is_rounded_once_in_every_place() {
    for (text, single) in TWICE_ROUNDED {
        assert_eq!(serde_json::from_str::<f32>(text).unwrap(), single);
        let client = Client::local(SinglesServer::new(Glass));
        let singles = SinglesClient::new(client.clone());
        for filler in ["", &"x".repeat(2_000), &"x".repeat(40_000)] {
            let sent = (raw(text), filler);
            let typed = singles.echo_blocking(single, filler);
            assert_eq!(soon(typed).await.unwrap(), single, "{text}");
            let foreign = client.call::<f32, _>("echo_blocking", &sent);
            assert_eq!(soon(foreign).await.unwrap(), single, "{text}");
        }
        let foreign = client.call::<f32, _>("echo", &(raw(text),));
        assert_eq!(soon(foreign).await.unwrap(), single, "{text}");
        let map = BTreeMap::from([(Single(single), Some(single))]);
        let all = singles.all(vec![single; 2], map).await.unwrap();
        assert_eq!(all, [single; 4]);
        let foreign = json!([[], {text: null}]);
        assert_eq!(
            client.call::<Vec<f32>, _>("all", &foreign).await.unwrap(),
            [single]
        );
        let items: Vec<_> = singles.items(single).try_collect().await.unwrap();
        assert_eq!(items, [single]);
        assert_eq!(
            singles.upload(stream::iter([single])).await.unwrap(),
            [single]
        );
        match singles.fail(single).await {
            Err(CallError::Application(error)) => assert_eq!(error.data(), Some(single)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn number_beyond_the_range_of_a_float_of_32_bits_is_refused() {
    let client = Client::local(SinglesServer::new(Glass));
    for number in ["1e39", "-3.5e38", "3.4028235677973367e38"] {
        match client.call::<f32, _>("echo", &(raw(number),)).await {
            Err(CallError::Remote(error)) => assert_eq!(error.code(), code::INVALID_PARAMS),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn negative_zero_without_a_fraction_keeps_its_sign_as_a_float() {
    let client = Client::local(SinglesServer::new(Glass));
    for (zero, expected) in [("-0", true), ("-0.0", true), ("0", false), ("0.0", false)] {
        let sent = (raw(zero), raw(zero));
        let negative = client.call::<(bool, bool), _>("is_negative", &sent).await;
        assert_eq!(negative.unwrap(), (expected, expected), "{zero}");
        let single = client.call::<f32, _>("echo", &(raw(zero),)).await.unwrap();
        assert_eq!(single.is_sign_negative(), expected, "{zero}");
    }
}

#[rpc]
trait Lender {
    async fn document<'a>(&self, document: &'a RawValue) -> &'a RawValue;
    async fn home(&self) -> &Path;
    async fn found<'a>(&self, names: Vec<&'a Path>) -> Option<&'a Path>;
    async fn all<'a>(&self, documents: Vec<&'a RawValue>)
    -> Result<Vec<&'a RawValue>, ErrorObject>;
}

impl Lender for Disk {
    async fn document<'a>(&self, document: &'a RawValue) -> &'a RawValue {
        document
    }

    async fn home(&self) -> &Path {
        Path::new("/home")
    }

    async fn found<'a>(&self, names: Vec<&'a Path>) -> Option<&'a Path> {
        names.into_iter().next()
    }

    async fn all<'a>(
        &self,
        documents: Vec<&'a RawValue>,
    ) -> Result<Vec<&'a RawValue>, ErrorObject> {
        Ok(documents)
    }
}

#[tokio::test]
async fn borrowed_result_without_a_size_arrives_in_its_owned_form() {
    let lender = LenderClient::new(Client::local(LenderServer::new(Disk)));
    let json = raw(r#"{"a" : [1.50]}"#);
    let document: Box<RawValue> = lender.document(&json).await.unwrap();
    assert_eq!(document.get(), json.get());
    let home: PathBuf = lender.home().await.unwrap();
    assert_eq!(home, Path::new("/home"));
    let found = lender.found(vec![&home]).await.unwrap();
    assert_eq!(found, Some(home));
    let all: Vec<Box<RawValue>> = lender.all(vec![&json, &json]).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|document| document.get() == json.get()));
}
