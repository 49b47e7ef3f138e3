//! The pictures in the READMEs, which `pictures/draw` makes.

use serde_json::Value;

use crate::program::Demo;

#[test]
fn picture_of_describe_shows_the_demo_service() {
    let picture = include_str!("../../pictures/describe.svg");
    let document = Demo::start().rpc("describe", &["--json"]).assert_ok();
    let document: Value = serde_json::from_str(&document).unwrap();
    let methods = document["methods"].as_array().unwrap().iter();
    let names = methods.map(|method| method["name"].as_str().unwrap());
    let types = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys();
    for name in names.chain(types.map(String::as_str)) {
        assert!(
            picture.contains(&format!(">{name}<")),
            "{name}: run `rpc-cli/pictures/draw`"
        );
    }
}

#[test]
fn picture_of_bench_shows_percentiles_and_bars() {
    let picture = include_str!("../../pictures/bench.svg");
    for part in ["calls/s", "p99.9<", "█", "in flight"] {
        assert!(
            picture.contains(part),
            "{part}: run `rpc-cli/pictures/draw`"
        );
    }
}
