//! `OpenRPC` documents of unusual traits and types, under strict lints, which generated code must pass.
#![deny(warnings, missing_docs, clippy::pedantic, unreachable_pub)]

use std::collections::{BTreeMap, HashMap};

use rpc_runtime::description::{Described, OpenRpc};
use rpc_runtime::{RpcError, rpc};
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

/// Returns `true` if a value matches a schema of a document.
fn fits(document: &Value, schema: &Value, value: &Value) -> bool {
    let mut schema = json!({"allOf": [schema]});
    schema["components"] = document["components"].clone();
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft7);
    options.build(&schema).unwrap().is_valid(value)
}

#[test]
fn tuple_schema_in_draft_07_lists_its_elements() {
    #[rpc(openrpc)]
    trait Pairs {
        async fn swap(&self, pair: (u32, String)) -> (String, u32);
    }
    let document = document::<PairsClient>();
    let swap = &document["methods"][0];
    let pair = &swap["params"][0]["schema"];
    assert!(fits(&document, pair, &json!([1, "one"])));
    assert!(!fits(&document, pair, &json!(["one", 1])), "{pair}");
    let swapped = &swap["result"]["schema"];
    assert!(!fits(&document, swapped, &json!([1, "one"])), "{swapped}");
}

#[test]
fn defaults_of_similar_names_are_kept_apart() {
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
fn example_with_large_numbers_keeps_them() {
    #[rpc(openrpc)]
    #[allow(clippy::too_many_arguments)]
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
fn generic_trait_requires_only_the_schemas_it_uses() {
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

/// Types of the same name.
mod one {
    use super::{Deserialize, JsonSchema, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) struct Thing {
        one: u32,
        #[serde(default)]
        more: u8,
    }
}

mod two {
    use super::{Deserialize, JsonSchema, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) struct Thing {
        two: String,
        #[serde(default)]
        more: u8,
    }
}

#[test]
fn types_of_the_same_name_have_separate_schemas() {
    #[rpc(openrpc)]
    trait Things {
        async fn swap(&self, one: one::Thing, two: two::Thing) -> (two::Thing, one::Thing);
    }
    let document = document::<ThingsClient>();
    let swap = &document["methods"][0];
    for (at, thing, other) in [
        (0, json!({"one": 1}), json!({"two": "a"})),
        (1, json!({"two": "a"}), json!({"one": 1})),
    ] {
        let schema = &swap["params"][at]["schema"];
        assert!(fits(&document, schema, &thing), "{schema}");
        assert!(!fits(&document, schema, &other), "{schema}");
    }
    let result = &swap["result"]["schema"];
    let things = |more: &Value| json!([{"two": "a", "more": more}, {"one": 1, "more": 1}]);
    assert!(fits(&document, result, &things(&json!(1))), "{result}");
    assert!(!fits(&document, result, &things(&json!("1"))), "{result}");
}

#[test]
fn recursive_type_with_any_name_has_a_schema() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename = "geo/Größe 1 ~")]
    struct Size {
        #[serde(default)]
        width: u32,
        next: Option<Box<Size>>,
    }
    #[rpc(openrpc)]
    trait Sizes {
        async fn next(&self, size: Size) -> Size;
        async fn set(&self, #[rpc(params)] size: Size);
    }
    let document = document::<SizesClient>();
    let next = &document["methods"][0];
    let given = &next["params"][0]["schema"];
    assert!(fits(&document, given, &json!({})), "{given}");
    // A type that is serialized has all members, also in nested values.
    let result = &next["result"]["schema"];
    let whole = json!({"width": 1, "next": {"width": 1, "next": null}});
    assert!(fits(&document, result, &whole), "{document:#}");
    assert!(!fits(&document, result, &json!({})), "{document:#}");
    let in_part = json!({"width": 1, "next": {"next": null}});
    assert!(!fits(&document, result, &in_part), "{document:#}");
    assert_eq!(
        document["methods"][1]["params"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn serde_attributes_are_reflected_in_schemas() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename(serialize = "Out", deserialize = "In"))]
    struct Renamed {
        #[serde(rename(serialize = "given", deserialize = "taken"))]
        number: u32,
        #[serde(flatten)]
        thing: one::Thing,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Tree {
        Leaf(u32),
        Fork(u8, Box<Tree>),
    }
    #[rpc(openrpc)]
    trait Odd {
        async fn rename(&self, #[rpc(params)] it: Renamed) -> Renamed;
        async fn grow(&self, tree: Tree) -> HashMap<String, Tree>;
        async fn bytes(&self, bytes: &[u8], more: Option<&[u8]>) -> [u8; 2];
    }
    let document = document::<OddClient>();
    let [rename, grow, bytes] = [0, 1, 2].map(|at| &document["methods"][at]);
    let whole = &rename["x-params"]["schema"];
    assert!(fits(&document, whole, &json!({"taken": 1, "one": 2})));
    assert!(!fits(&document, whole, &json!({"given": 1, "one": 2})));
    let result = &rename["result"]["schema"];
    assert!(fits(
        &document,
        result,
        &json!({"given": 1, "one": 2, "more": 3, "x": []})
    ));
    assert!(!fits(
        &document,
        result,
        &json!({"taken": 1, "one": 2, "more": 3})
    ));
    let tree = &grow["params"][0]["schema"];
    assert!(fits(&document, tree, &json!([1, [2, 3]])));
    assert!(!fits(&document, tree, &json!([1, [2, "3"]])));
    assert!(fits(&document, &grow["result"]["schema"], &json!({"a": 1})));
    assert_eq!(bytes["params"][0]["schema"]["type"], "string");
    assert!(fits(&document, &bytes["result"]["schema"], &json!([1, 2])));
    assert!(!fits(&document, &bytes["result"]["schema"], &json!([1])));
}

#[test]
fn optional_parameters_are_listed_last() {
    #[rpc]
    trait Ranges {
        async fn take(&self, from: Option<u32>, to: u32, #[rpc(default = 1)] step: u32);
        async fn skip(&self, to: u32, from: Option<u32>);
    }
    let document = document::<RangesClient>();
    let told = |at: usize| {
        let method = &document["methods"][at];
        let params = method["params"].as_array().unwrap().iter();
        let names: Vec<_> = params.map(|it| it["name"].as_str().unwrap()).collect();
        (method["paramStructure"].as_str().unwrap(), names)
    };
    // In this order their positions are not those of the trait.
    assert_eq!(told(0), ("by-name", vec!["to", "from", "step"]));
    assert_eq!(told(1), ("either", vec!["to", "from"]));
}

#[test]
fn method_of_two_services_is_listed_once() {
    #[rpc]
    trait First {
        #[rpc(alias = "find")]
        async fn get(&self) -> u32;
    }
    #[rpc]
    trait Second {
        async fn get(&self) -> String;
        async fn find(&self) -> String;
        async fn put(&self);
    }
    let document = OpenRpc::of::<FirstClient>().and::<SecondClient>();
    let document = serde_json::to_value(document).unwrap();
    let methods = document["methods"].as_array().unwrap().iter();
    let told = methods.map(|it| (it["name"].as_str(), it["tags"][0]["name"].as_str()));
    let told: Vec<_> = told.collect();
    // The first service with a method serves it.
    let answer = [(Some("get"), Some("First")), (Some("put"), Some("Second"))];
    assert_eq!(told, answer);
}
