//! The JSON of each form of type that serde has, and generated values of these forms. serde_json, which writes and reads the
//! same value, is the reference. `docs/types.md` describes the forms.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rpc_runtime::{CallError, Client, ErrorObject, code, rpc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tests::support::{current_thread, soon};

#[rpc]
trait Mirror<T: Clone + Serialize + 'static> {
    async fn echo(&self, value: T) -> T;
    async fn fail(&self, value: T) -> Result<(), ErrorObject>;
    fn items(&self, value: T) -> impl Stream<Item = T>;
    async fn upload(&self, values: impl Stream<Item = T>) -> Vec<T>;
}

struct Glass;

impl<T: Clone + Serialize + Send + 'static> Mirror<T> for Glass {
    async fn echo(&self, value: T) -> T {
        value
    }

    async fn fail(&self, value: T) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(1, "no").with_data(&value))
    }

    fn items(&self, value: T) -> impl Stream<Item = T> {
        stream::iter([value.clone(), value])
    }

    async fn upload(&self, values: impl Stream<Item = T> + Send) -> Vec<T> {
        values.collect().await
    }
}

/// A type of which a test sends values.
trait Form: Serialize + DeserializeOwned + Clone + Debug + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Debug + Send + 'static> Form for T {}

fn client<T: Form>() -> Client {
    Client::local(MirrorServer::<_, T>::new(Glass))
}

/// Asserts that a value is this JSON on the wire, and is read from it.
async fn assert_is<T: Form + PartialEq>(value: T, json: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    let client = client::<T>();
    let echoed = MirrorClient::<T>::new(client.clone()).echo(value.clone());
    assert_eq!(soon(echoed).await.unwrap(), value);
    let text = client.call::<Box<RawValue>, _>("echo", &(&value,));
    assert_eq!(soon(text).await.unwrap().get(), json);
    assert_is_read_as(json, &value).await;
}

/// Asserts that JSON of another writer is read as a value.
async fn assert_is_read_as<T: Form + PartialEq>(json: &str, value: &T) {
    let raw: &RawValue = serde_json::from_str(json).unwrap();
    let read = soon(client::<T>().call::<T, _>("echo", &(raw,))).await;
    assert_eq!(&read.unwrap(), value, "{json}");
}

/// Asserts that the server rejects JSON as an argument of this type.
async fn assert_is_rejected<T: Form>(json: &str) {
    let raw: &RawValue = serde_json::from_str(json).unwrap();
    let called = client::<T>().call::<T, _>("echo", &(raw,));
    match soon(called).await {
        Err(CallError::Remote(error)) => assert_eq!(error.code(), code::INVALID_PARAMS, "{json}"),
        other => panic!("{json}: {other:?}"),
    }
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Nothing;

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Metres(f64);

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Point(i32, i32);

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Order {
    item: String,
    note: Option<String>,
    #[serde(default)]
    size: u32,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum External {
    Unit,
    New(u128),
    Tuple(u8, String),
    Struct { a: i128, b: Option<bool> },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "kind")]
enum Internal {
    Unit,
    New(Order),
    Struct { a: i64, b: Option<bool> },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Unit,
    New(u128),
    Tuple(u8, String),
    Struct { a: i128, b: Option<bool> },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(untagged)]
enum Untagged {
    Unit,
    New(u64),
    Tuple(u8, String),
    Struct { a: i64, b: Option<bool> },
}

#[tokio::test]
async fn unit_is_null() {
    assert_is((), "null").await;
    assert_is(Nothing, "null").await;
    assert_is_rejected::<()>("0").await;
    assert_is_rejected::<Nothing>("{}").await;
}

#[tokio::test]
async fn struct_is_an_object_whose_unknown_members_are_ignored() {
    let order = Order {
        item: "pear".into(),
        note: None,
        size: 0,
    };
    assert_is(order.clone(), r#"{"item":"pear","note":null,"size":0}"#).await;
    for json in [
        r#"{"item":"pear"}"#,
        r#"{"more":[{"item":1}],"item":"pear","size":0}"#,
        r#"["pear",null,0]"#,
    ] {
        assert_is_read_as(json, &order).await;
    }
    for json in [
        r#"{"note":null,"size":0}"#,
        r#"{"item":"pear","size":null}"#,
    ] {
        assert_is_rejected::<Order>(json).await;
    }
}

#[tokio::test]
async fn newtype_is_the_value_in_it() {
    assert_is(Metres(1.5), "1.5").await;
    assert_is(Box::new(Metres(1.5)), "1.5").await;
    assert_is(NonZeroU8::MAX, "255").await;
    assert_is_rejected::<NonZeroU8>("0").await;
}

#[tokio::test]
async fn sequence_is_an_array() {
    assert_is((1, "a".to_owned(), [true]), r#"[1,"a",[true]]"#).await;
    assert_is(Point(1, -1), "[1,-1]").await;
    assert_is(vec![Some(1), None], "[1,null]").await;
    assert_is(VecDeque::from([1, 2]), "[1,2]").await;
    assert_is(
        BTreeSet::from(["b".to_owned(), "a".to_owned()]),
        r#"["a","b"]"#,
    )
    .await;
    assert_is([7_u8; 32], &format!("[7{}]", ",7".repeat(31))).await;
    assert_is_read_as(r#"["a","a"]"#, &BTreeSet::from(["a".to_owned()])).await;
    for json in ["[1]", "[1,2,3]", "{}"] {
        assert_is_rejected::<Point>(json).await;
        assert_is_rejected::<[u8; 2]>(json).await;
    }
}

#[tokio::test]
async fn variant_of_an_enum_without_a_tag_attribute_is_its_name_or_an_object_of_one_member() {
    assert_is(External::Unit, r#""Unit""#).await;
    assert_is(
        External::New(u128::MAX),
        r#"{"New":340282366920938463463374607431768211455}"#,
    )
    .await;
    assert_is(External::Tuple(1, "a".into()), r#"{"Tuple":[1,"a"]}"#).await;
    let variant = External::Struct { a: -1, b: None };
    assert_is(variant, r#"{"Struct":{"a":-1,"b":null}}"#).await;
    for json in [
        r#""None""#,
        r#"{"New":1,"Unit":null}"#,
        r#"{"New":"1"}"#,
        "0",
    ] {
        assert_is_rejected::<External>(json).await;
    }
}

#[tokio::test]
async fn variant_of_a_tagged_enum_is_an_object_with_the_tag() {
    assert_is(Internal::Unit, r#"{"kind":"Unit"}"#).await;
    let order = Order {
        item: "pear".into(),
        note: None,
        size: 1,
    };
    assert_is(
        Internal::New(order),
        r#"{"kind":"New","item":"pear","note":null,"size":1}"#,
    )
    .await;
    let variant = Internal::Struct {
        a: i64::MIN,
        b: None,
    };
    assert_is(
        variant.clone(),
        r#"{"kind":"Struct","a":-9223372036854775808,"b":null}"#,
    )
    .await;
    assert_is_read_as(r#"{"a":-9223372036854775808,"kind":"Struct"}"#, &variant).await;
    assert_is_rejected::<Internal>(r#"{"a":1}"#).await;
}

#[tokio::test]
async fn variant_of_an_enum_with_tag_and_content_is_an_object_of_both() {
    assert_is(Adjacent::Unit, r#"{"kind":"Unit"}"#).await;
    assert_is(
        Adjacent::New(u128::MAX),
        r#"{"kind":"New","of":340282366920938463463374607431768211455}"#,
    )
    .await;
    assert_is(
        Adjacent::Tuple(1, "a".into()),
        r#"{"kind":"Tuple","of":[1,"a"]}"#,
    )
    .await;
    let variant = Adjacent::Struct {
        a: -1,
        b: Some(true),
    };
    assert_is(variant, r#"{"kind":"Struct","of":{"a":-1,"b":true}}"#).await;
    let tuple = Adjacent::Tuple(1, "a".into());
    assert_is_read_as(r#"{"of":[1,"a"],"kind":"Tuple"}"#, &tuple).await;
    assert_is_rejected::<Adjacent>(r#"{"kind":"New"}"#).await;
    // serde keeps the content until it has read the tag, and keeps no integers of 128 bits.
    let reversed = r#"{"of":{"b":true,"a":-1},"kind":"Struct"}"#;
    assert!(serde_json::from_str::<Adjacent>(reversed).is_err());
    assert_is_rejected::<Adjacent>(reversed).await;
}

#[tokio::test]
async fn variant_of_an_untagged_enum_is_its_value_and_the_first_that_fits_is_read() {
    assert_is(Untagged::Unit, "null").await;
    assert_is(Untagged::New(u64::MAX), "18446744073709551615").await;
    assert_is(Untagged::Tuple(1, "a".into()), r#"[1,"a"]"#).await;
    let variant = Untagged::Struct { a: -1, b: None };
    assert_is(variant, r#"{"a":-1,"b":null}"#).await;
    assert_is_rejected::<Untagged>("true").await;
}

#[tokio::test]
async fn types_of_the_standard_library_are_as_serde_writes_them() {
    let duration = Duration::new(1, 5);
    assert_is(duration, r#"{"secs":1,"nanos":5}"#).await;
    assert_is(PathBuf::from("/a/b c"), r#""/a/b c""#).await;
    let address: IpAddr = "::1".parse().unwrap();
    assert_is(address, r#""::1""#).await;
    assert_is(1..3, r#"{"start":1,"end":3}"#).await;
    assert_is(Ok::<u8, String>(1), r#"{"Ok":1}"#).await;
}

#[cfg(unix)]
#[tokio::test]
async fn path_that_is_not_utf_8_is_rejected_by_the_side_that_writes_it() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let path = PathBuf::from(OsStr::from_bytes(b"\xff"));
    let mirror = MirrorClient::<PathBuf>::new(client::<PathBuf>());
    let rejected = soon(mirror.echo(path)).await;
    assert!(
        matches!(rejected, Err(CallError::Encode(_))),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn keys_of_a_map_are_strings() {
    assert_is(BTreeMap::from([(-1, 1), (2, 2)]), r#"{"-1":1,"2":2}"#).await;
    assert_is(
        HashMap::from([(u128::MAX, ())]),
        r#"{"340282366920938463463374607431768211455":null}"#,
    )
    .await;
    assert_is(HashMap::from([(true, 'a')]), r#"{"true":"a"}"#).await;
    assert_is(HashMap::from([('a', true)]), r#"{"a":true}"#).await;
}

/// Asserts that generated values arrive in every place of a message as serde_json reads them.
fn assert_arrive<T: Form>(values: impl Strategy<Value = T>) {
    let runtime = current_thread();
    let client = runtime.block_on(async { client::<T>() });
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let tested = runner.run(&values, |value| {
        runtime.block_on(soon(assert_arrives(&client, value)));
        Ok(())
    });
    tested.unwrap();
}

async fn assert_arrives<T: Form>(client: &Client, value: T) {
    let text = serde_json::to_string(&value).unwrap();
    let read: T = serde_json::from_str(&text).unwrap();
    let expected = serde_json::to_string(&read).unwrap();
    let same = |value: &T, place: &str| {
        assert_eq!(serde_json::to_string(value).unwrap(), expected, "{place}");
    };
    let mirror = MirrorClient::<T>::new(client.clone());
    let copy = || value.clone();

    same(&mirror.echo(copy()).await.unwrap(), "typed");
    let raw = client.call::<Box<RawValue>, _>("echo", &(&value,)).await;
    assert_eq!(raw.unwrap().get(), expected);
    let mut batch = client.batch();
    let entry = batch.call(mirror.echo(copy()));
    let mut replies = batch.send().await.unwrap();
    same(&replies.take(entry).unwrap(), "in a batch");
    match mirror.fail(copy()).await {
        Err(CallError::Application(error)) => {
            same(&error.data::<T>().unwrap(), "error data");
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

fn numbers() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -2_i64..3,
        Just(i64::MIN),
        Just(i64::MAX),
        Just(1 << 53),
    ]
}

#[test]
fn generated_variant_of_an_enum_without_a_tag_attribute_arrives() {
    assert_arrive(prop_oneof![
        Just(External::Unit),
        any::<u128>().prop_map(External::New),
        any::<(u8, String)>().prop_map(|(a, b)| External::Tuple(a, b)),
        any::<(i128, Option<bool>)>().prop_map(|(a, b)| External::Struct { a, b }),
    ]);
}

#[test]
fn generated_variant_of_a_tagged_enum_arrives() {
    let orders = any::<(String, Option<String>, u32)>();
    let orders = orders.prop_map(|(item, note, size)| Order { item, note, size });
    assert_arrive(prop_oneof![
        Just(Internal::Unit),
        orders.prop_map(Internal::New),
        (numbers(), any::<Option<bool>>()).prop_map(|(a, b)| Internal::Struct { a, b }),
    ]);
}

#[test]
fn generated_variant_of_an_enum_with_tag_and_content_arrives() {
    assert_arrive(prop_oneof![
        Just(Adjacent::Unit),
        any::<u128>().prop_map(Adjacent::New),
        any::<(u8, String)>().prop_map(|(a, b)| Adjacent::Tuple(a, b)),
        any::<(i128, Option<bool>)>().prop_map(|(a, b)| Adjacent::Struct { a, b }),
    ]);
}

#[test]
fn generated_variant_of_an_untagged_enum_arrives() {
    let variants = prop_oneof![
        Just(Untagged::Unit),
        any::<u64>().prop_map(Untagged::New),
        any::<(u8, String)>().prop_map(|(a, b)| Untagged::Tuple(a, b)),
        (numbers(), any::<Option<bool>>()).prop_map(|(a, b)| Untagged::Struct { a, b }),
    ];
    assert_arrive(prop::collection::vec(variants, 0..4));
}

#[test]
fn generated_options_in_options_arrive_as_serde_json_reads_them() {
    let nested = any::<Option<Option<Option<i8>>>>();
    let lists = prop::option::of(prop::collection::vec(nested.clone(), 0..4));
    assert_arrive((nested, lists, any::<Result<Option<u8>, ()>>()));
}

#[test]
fn generated_maps_with_keys_that_are_numbers_arrive() {
    use prop::collection::btree_map;

    assert_arrive((
        btree_map(numbers(), any::<Option<char>>(), 0..4),
        btree_map(any::<u128>(), any::<i128>(), 0..4),
        btree_map(
            any::<i8>(),
            btree_map(any::<bool>(), any::<()>(), 0..2),
            0..4,
        ),
        btree_map(
            any::<char>(),
            any::<f32>().prop_filter("JSON has no others", |it| it.is_finite()),
            0..4,
        ),
    ));
}

#[test]
fn generated_integers_of_128_bits_arrive_in_nested_sequences() {
    let pairs = prop::collection::vec(any::<(u128, Option<i128>)>(), 0..6);
    assert_arrive(prop::collection::vec((pairs, any::<[i128; 3]>()), 0..4));
}
