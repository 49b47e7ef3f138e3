//! Numbers keep every digit if serde_json keeps them.

use std::collections::BTreeMap;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{CallError, Client, rpc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Priced {
    #[serde(with = "rust_decimal::serde::arbitrary_precision")]
    price: Decimal,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Inner {
    float: f64,
    whole: u64,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
#[serde(untagged)]
enum Untagged {
    Both { float: f64, whole: u64 },
    Whole(u64),
    Float(f64),
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
#[serde(tag = "kind")]
enum Tagged {
    Both { float: f64, whole: u64 },
}

#[rpc]
trait Desk {
    async fn number(&self, number: Number) -> Number;
    async fn value(&self, value: Value) -> Value;
    #[rpc(blocking)]
    fn blocking(&self, value: Value) -> Value;
    fn items(&self, value: Value) -> impl Stream<Item = Value>;
    async fn price(&self, priced: Priced) -> Priced;
    async fn flat(&self, flat: Flat) -> Flat;
    async fn untagged(&self, untagged: Untagged) -> Untagged;
    async fn tagged(&self, tagged: Tagged) -> Tagged;
}

struct It;

impl Desk for It {
    async fn number(&self, number: Number) -> Number {
        number
    }

    async fn value(&self, value: Value) -> Value {
        value
    }

    fn blocking(&self, value: Value) -> Value {
        value
    }

    fn items(&self, value: Value) -> impl Stream<Item = Value> {
        stream::iter([value])
    }

    async fn price(&self, priced: Priced) -> Priced {
        priced
    }

    async fn flat(&self, flat: Flat) -> Flat {
        flat
    }

    async fn untagged(&self, untagged: Untagged) -> Untagged {
        untagged
    }

    async fn tagged(&self, tagged: Tagged) -> Tagged {
        tagged
    }
}

fn desk() -> (DeskClient, Client) {
    let client = Client::local(DeskServer::new(It));
    (DeskClient::new(client.clone()), client)
}

/// Numbers in the notation that serde_json keeps.
const NUMBERS: [&str; 10] = [
    "1.5",
    "1.50",
    "-0.0",
    "1e+5",
    "0.00001",
    "1.0000000000000000000001",
    "123456789012345678901234567890",
    "12345678901234567890.123456789",
    "18446744073709551616",
    "1e-400",
];

#[tokio::test]
async fn number_of_any_precision_keeps_its_digits() {
    let (desk, client) = desk();
    for digits in NUMBERS {
        let number: Number = serde_json::from_str(digits).unwrap();
        assert_eq!(desk.number(number).await.unwrap().to_string(), digits);
        // Around a long string, a message is parsed by simd-json.
        for text in ["", "\\\"", &"x\n".repeat(500)] {
            let json = serde_json::to_string(&(text, digits.len())).unwrap();
            let json = format!(r#"{{"a":[{json},{digits},{digits}],"b":{digits}}}"#);
            let value: Value = serde_json::from_str(&json).unwrap();
            for echo in [
                desk.value(value.clone()).await.unwrap(),
                desk.blocking(value.clone()).await.unwrap(),
                desk.items(value.clone()).next().await.unwrap().unwrap(),
            ] {
                assert_eq!(echo.to_string(), json);
            }
            let raw = RawValue::from_string(json.clone()).unwrap();
            let echo = client
                .call::<Box<RawValue>, _>("value", &(raw,))
                .await
                .unwrap();
            assert_eq!(echo.get(), json);
        }
    }
}

#[tokio::test]
async fn many_numbers_of_any_precision_keep_their_digits() {
    let (desk, _) = desk();
    let numbers: Vec<_> = NUMBERS.iter().cycle().take(10_000).copied().collect();
    let json = format!("[{}]", numbers.join(","));
    let value: Value = serde_json::from_str(&json).unwrap();
    // Without the two texts in the message of a failure.
    assert!(desk.value(value).await.unwrap().to_string() == json);
}

#[tokio::test]
async fn number_that_is_larger_than_any_double_is_refused() {
    let (desk, _) = desk();
    for digits in ["1e400", "-1e309", &"9".repeat(400)] {
        let number: Number = serde_json::from_str(digits).unwrap();
        let refused = desk.number(number).await.unwrap_err();
        assert!(matches!(refused, CallError::Encode(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn decimal_keeps_its_digits() {
    let (desk, _) = desk();
    for digits in ["1.50", "12345678901234567890.123456789", "0.1", "-3"] {
        let price: Decimal = digits.parse().unwrap();
        let arrived = desk.price(Priced { price }).await.unwrap();
        assert_eq!(arrived.price.to_string(), digits);
    }
}

#[tokio::test]
async fn flattened_and_tagged_floats_arrive() {
    let (desk, client) = desk();
    let exact: Value = serde_json::from_str("1.0000000000000000000001").unwrap();
    for float in [1.5, 0.1, 1e300, -0.0, 1e-7] {
        let inner = Inner {
            float,
            whole: u64::MAX,
        };
        let rest = BTreeMap::from([("exact".to_owned(), exact.clone())]);
        let flat = Flat { id: 1, inner, rest };
        assert_eq!(desk.flat(flat.clone()).await.unwrap(), flat);
        for untagged in [
            Untagged::Both { float, whole: 1 },
            Untagged::Whole(u64::MAX),
            Untagged::Float(float),
        ] {
            assert_eq!(desk.untagged(untagged.clone()).await.unwrap(), untagged);
        }
        let tagged = Tagged::Both { float, whole: 1 };
        assert_eq!(desk.tagged(tagged.clone()).await.unwrap(), tagged);
    }
    // A float in a notation that this implementation does not write.
    let foreign: Value = serde_json::from_str(r#"{"float":1.50,"whole":1}"#).unwrap();
    let read = client.call::<Untagged, _>("untagged", &[foreign]).await;
    assert_eq!(
        read.unwrap(),
        Untagged::Both {
            float: 1.5,
            whole: 1
        }
    );
}
