//! Traits and types of unusual shapes, as `OpenRPC` documents.
//! The lints are those of a strict user: what the macro writes trips none.
#![deny(warnings, missing_docs, clippy::pedantic, unreachable_pub)]

use rpc_runtime::{Described, OpenRpc, RpcError, rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, RpcError, thiserror::Error)]
enum Failed<T: std::fmt::Debug> {
    #[error("{0:?}")]
    #[rpc(code = 1)]
    With(T),
}

mod answer {
    pub(super) type Result<T> = std::result::Result<T, super::Failed<T>>;
}

fn document<S: Described>() -> Value {
    serde_json::to_value(OpenRpc::of::<S>()).unwrap()
}

#[test]
fn names_of_defaults_do_not_meet() {
    #[rpc(openrpc)]
    trait Store {
        async fn get(&self, #[rpc(default = 1)] all_items: u32) -> u32;
        async fn get_all(&self, #[rpc(default = 2)] items: u32) -> u32;
        async fn r#type(&self, #[rpc(default = 3)] r#fn: u32) -> u32;
    }
    let document = document::<StoreClient>();
    assert_eq!(document["methods"][0]["params"][0]["schema"]["default"], 1);
    assert_eq!(document["methods"][1]["params"][0]["schema"]["default"], 2);
    assert_eq!(document["methods"][2]["params"][0]["name"], "fn");
}

#[test]
fn numbers_of_examples_may_be_large() {
    #[rpc(openrpc)]
    trait Numbers {
        #[rpc(example(
            params = {"a": 3000000000, "b": -3000000000, "c": 18446744073709551615, "d": 1e300, "e": -0.5},
            result = [
                1, -1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
                28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53,
                54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70
            ]
        ))]
        #[rpc(example(params = {"a": 1.5, "b": "a\"\\\n\u{1}ä", "c": [true, null, [], {}]}))]
        async fn all(&self, a: u64, b: i64, c: u64, d: f64, e: f64) -> Vec<i64>;
    }
    let document = document::<NumbersClient>();
    let params = &document["methods"][0]["examples"][0]["params"];
    assert_eq!(params[0]["value"], 3_000_000_000_u64);
    assert_eq!(params[1]["value"], -3_000_000_000_i64);
    assert_eq!(params[2]["value"], u64::MAX);
    let values = document["methods"][0]["examples"][1]["params"]
        .as_array()
        .unwrap()
        .iter();
    let values: Vec<_> = values.map(|param| &param["value"]).collect();
    let given = [
        json!(1.5),
        json!("a\"\\\n\u{1}ä"),
        json!([true, null, [], {}]),
    ];
    assert!(values.into_iter().eq(&given));
}

#[test]
fn a_generic_trait_asks_for_the_schemas_that_it_needs() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Pair<'a, T> {
        name: &'a str,
        value: T,
    }

    #[rpc(openrpc)]
    trait Store<T: std::fmt::Debug + Send + Sync, E: Send + Sync, const N: usize>
    where
        [u8; N]: Serialize + for<'de> Deserialize<'de>,
    {
        async fn put(&self, pair: Pair<'_, T>) -> Result<(), E>;
        async fn get(&self, key: [u8; N]) -> Result<u32, Failed<T>>;
        async fn both(&self, #[rpc(default = N)] n: usize) -> answer::Result<T>;
    }
    let document = document::<StoreClient<u32, Failed<String>, 4>>();
    assert_eq!(
        document["methods"][0]["errors"][0]["data"]["type"],
        "string"
    );
    assert_eq!(
        document["methods"][1]["errors"][0]["data"]["type"],
        "integer"
    );
    assert_eq!(document["methods"][2]["params"][0]["schema"]["default"], 4);
}
