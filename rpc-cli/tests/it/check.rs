//! `rpc check`. The rules for breaking changes are tested in `src/check/tests.rs`.

use std::fs;

use serde_json::{Value, json};

use crate::describe::SHOP;
use crate::program::{Demo, rpc, rpc_with_input};

/// Writes the description of the shop with changes to a file.
fn changed(name: &str, replaced: &[(&str, &str)]) -> String {
    let path = format!(
        "{}/{name}-{}.json",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let mut document = fs::read_to_string(SHOP).unwrap();
    for (from, to) in replaced {
        assert!(document.contains(from), "{from}");
        document = document.replace(from, to);
    }
    fs::write(&path, document).unwrap();
    path
}

#[test]
fn description_compared_with_itself_is_compatible() {
    let told = rpc(&["check", SHOP, SHOP]).assert_ok();
    assert_eq!(told, "0 breaking, 0 may break, 0 compatible\n");
}

#[test]
fn breaking_changes_are_listed_first_and_set_the_exit_status() {
    let new = changed(
        "breaking",
        &[
            ("\"text.repeat\"", "\"text.again\""),
            ("\"gift\"", "\"present\""),
            ("\"closed\"", "\"not open\""),
        ],
    );
    let ended = rpc(&["check", SHOP, &new]);
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (1, "error: one change breaks callers\n")
    );
    let expected = "breaking\n  text.repeat  the method is removed\n\
                    may break\n  shop.buy  the message of error 1003 was “closed”, and is “not open”\n\
                    \u{20} shop.order  uploaded items.gift: is now ignored\n\
                    compatible\n  shop.buy  result.orders[].present: is new\n\
                    \u{20} shop.buy  result.orders[].gift: is removed, and was optional\n\
                    \u{20} shop.order  result.orders[].present: is new\n\
                    \u{20} shop.order  result.orders[].gift: is removed, and was optional\n\
                    \u{20} text.again  the method is new\n\
                    1 breaking, 2 may break, 5 compatible\n";
    assert_eq!(ended.stdout, expected);
    let listed = rpc(&["check", SHOP, &new, "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["breaking"][0]["method"], "text.repeat");
    assert_eq!(listed["may_break"].as_array().unwrap().len(), 2);
    let _ = fs::remove_file(new);
}

#[test]
fn description_is_read_from_standard_input() {
    let shop = fs::read_to_string(SHOP).unwrap();
    for line in [["check", SHOP, "-"], ["check", "-", SHOP]] {
        let told = rpc_with_input(&line, &shop).assert_ok();
        assert_eq!(told, "0 breaking, 0 may break, 0 compatible\n");
    }
    let of_file = rpc(&["describe", SHOP]).assert_ok();
    assert_eq!(
        rpc_with_input(&["describe", "-"], &shop).assert_ok(),
        of_file
    );
    let told = rpc_with_input(&["check", "-", "-"], &shop).assert_failed(2);
    assert!(told.contains("cannot be both"), "{told}");
    let told = rpc_with_input(&["describe", "-"], "{").assert_failed(2);
    assert!(told.contains("standard input: "), "{told}");
}

#[test]
fn possibly_breaking_change_sets_the_exit_status_if_strict() {
    let new = changed("unsure", &[("\"default\": 2", "\"default\": 3")]);
    let told = rpc(&["check", SHOP, &new]).assert_ok();
    assert!(told.contains("the default was 2, and is 3"), "{told}");
    assert_eq!(rpc(&["check", SHOP, &new, "--strict"]).status, 1);
    let _ = fs::remove_file(new);
}

#[test]
fn server_compared_with_a_file_is_checked() {
    let demo = Demo::start();
    let document = demo.rpc("describe", &["--json"]).assert_ok();
    let path = format!(
        "{}/served-{}.json",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    fs::write(&path, document).unwrap();
    let told = rpc(&["check", &path, &demo.address, "--pin", &demo.pin]).assert_ok();
    assert_eq!(told, "0 breaking, 0 may break, 0 compatible\n");
    let _ = fs::remove_file(&path);
    rpc(&["check", &path, &demo.address]).assert_failed(2);
}

/// A description whose parts are all references.
fn of_references() -> Value {
    let to = |place: &str| json!({"$ref": format!("#/components/{place}")});
    json!({
        "openrpc": "1.4.1",
        "info": {"title": "Library", "version": "1.0.0"},
        "methods": [
            {
                "name": "lend",
                "tags": [to("tags/Desk")],
                "params": [to("contentDescriptors/Book"), to("contentDescriptors/Days")],
                "result": to("contentDescriptors/Loan"),
                "errors": [to("errors/Lent")],
                "links": [to("links/Return")],
                "examples": [to("examplePairings/Dune")],
            },
            {"$ref": "#/x-methods/watch"},
        ],
        "x-methods": {"watch": {
            "name": "watch",
            "params": [],
            "result": {"name": "end", "schema": {"type": "null"}},
            "x-items": to("contentDescriptors/Loan"),
        }},
        "components": {
            "tags": {"Desk": {"name": "desk"}},
            "contentDescriptors": {
                "Book": {"name": "book", "required": true, "schema": to("schemas/Isbn")},
                "Days": {"name": "days", "required": false, "schema": {"type": "integer", "format": "uint32"}},
                "Loan": {"name": "loan", "schema": to("schemas/Loan")},
            },
            "schemas": {
                "Isbn": {"type": "string"},
                "Loan": {"type": "object", "required": ["due"], "properties": {"due": {"$ref": "#/components/x-dates/Day"}}},
            },
            "x-dates": {"Day": {"type": "string"}},
            "errors": {"Lent": {"code": 409, "message": "already lent", "data": to("schemas/Isbn")}},
            "links": {"Return": {"name": "return"}},
            "examplePairings": {"Dune": {"name": "dune", "params": [to("examples/Dune")], "result": to("examples/Tomorrow")}},
            "examples": {
                "Dune": {"name": "book", "value": "0441013597"},
                "Tomorrow": {"name": "loan", "value": {"due": "tomorrow"}},
            },
        },
    })
}

#[test]
fn break_behind_a_reference_is_found() {
    let old = written("references-old", &of_references());
    let told = rpc(&["check", &old, &old]).assert_ok();
    assert_eq!(told, "0 breaking, 0 may break, 0 compatible\n");
    let descriptors = "/components/contentDescriptors";
    let cases = [
        (
            format!("{descriptors}/Book/name"),
            json!("isbn"),
            "parameter `book` is removed",
        ),
        (
            format!("{descriptors}/Book/schema"),
            json!({"type": "integer"}),
            "parameter `book`",
        ),
        (
            format!("{descriptors}/Days/required"),
            json!(true),
            "`days` is required now",
        ),
        (
            format!("{descriptors}/Days/schema/format"),
            json!("uint8"),
            "parameter `days`",
        ),
        (
            format!("{descriptors}/Loan/schema"),
            json!({"type": "string"}),
            "lend  result",
        ),
        (
            format!("{descriptors}/Loan/schema"),
            json!({"type": "string"}),
            "watch  items",
        ),
        (
            "/components/schemas/Isbn/type".into(),
            json!("integer"),
            "data of error 409",
        ),
        (
            "/components/schemas/Loan/required".into(),
            json!([]),
            "lend  result",
        ),
        (
            "/components/x-dates/Day/type".into(),
            json!("integer"),
            "watch  items.due",
        ),
        (
            "/components/errors/Lent/code".into(),
            json!(410),
            "error 409 (already lent) is removed",
        ),
        (
            "/x-methods/watch/name".into(),
            json!("follow"),
            "watch  the method is removed",
        ),
        (
            "/x-methods/watch/x-items".into(),
            json!(null),
            "watch  it was a call answered by",
        ),
    ];
    for (place, value, finding) in cases {
        let mut changed = of_references();
        *changed.pointer_mut(&place).unwrap() = value;
        let new = written("references-new", &changed);
        let ended = rpc(&["check", &old, &new]);
        assert_eq!(ended.status, 1, "{place}: {}", ended.stdout);
        assert!(ended.stdout.contains(finding), "{place}: {}", ended.stdout);
        let _ = fs::remove_file(new);
    }
    // The same description without references is compatible with it in both directions.
    let mut inline = of_references();
    let components = inline["components"].clone();
    inline["methods"][1] = inline["x-methods"]["watch"].clone();
    inline["methods"][0]["params"] = json!([
        components["contentDescriptors"]["Book"],
        components["contentDescriptors"]["Days"],
    ]);
    inline["methods"][0]["errors"] = json!([components["errors"]["Lent"]]);
    let inline = written("references-inline", &inline);
    for [one, other] in [[&old, &inline], [&inline, &old]] {
        let told = rpc(&["check", one, other]).assert_ok();
        assert_eq!(told, "0 breaking, 0 may break, 0 compatible\n");
    }
    let told = rpc(&["describe", &old, "lend"]).assert_ok();
    for part in ["book", "days", "409", "already lent", "0441013597"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let _ = (fs::remove_file(old), fs::remove_file(inline));
}

#[test]
fn reference_that_leads_nowhere_is_refused_with_its_place() {
    let good = written("dangling-old", &of_references());
    let removed = [
        ("contentDescriptors", "Book", ".methods[0].params[0]"),
        ("contentDescriptors", "Loan", ".methods[0].result"),
        ("errors", "Lent", ".methods[0].errors[0]"),
        ("tags", "Desk", ".methods[0].tags[0]"),
        ("links", "Return", ".methods[0].links[0]"),
        ("examplePairings", "Dune", ".methods[0].examples[0]"),
        ("examples", "Dune", ".methods[0].examples[0].params[0]"),
        ("schemas", "Isbn", ".methods[0].params[0].schema"),
        ("x-dates", "Day", ".components.schemas.Loan.properties.due"),
    ];
    for (kind, name, place) in removed {
        let mut document = of_references();
        document["components"][kind]
            .as_object_mut()
            .unwrap()
            .remove(name);
        let bad = written("dangling-new", &document);
        for pair in [[&good, &bad], [&bad, &good], [&bad, &bad]] {
            let told = rpc(&["check", pair[0], pair[1]]).assert_failed(5);
            let reference = format!("the reference `#/components/{kind}/{name}` leads nowhere");
            assert!(told.contains(&bad) && told.contains(&reference), "{told}");
        }
        let told = rpc(&["check", &good, &bad]).stderr;
        assert!(told.contains(place), "{place}: {told}");
        let _ = fs::remove_file(bad);
    }
    let mut document = of_references();
    document["methods"][0]["params"][0] = json!({"$ref": "common.json#/Book"});
    let bad = written("dangling-file", &document);
    let told = rpc(&["check", &good, &bad]).assert_failed(5);
    assert!(
        told.contains(".methods[0].params[0]: the reference `common.json#/Book`"),
        "{told}"
    );
    let _ = (fs::remove_file(good), fs::remove_file(bad));
}

/// Writes a description to a file.
fn written(name: &str, document: &Value) -> String {
    let (folder, id) = (env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let path = format!("{folder}/{name}-{id}.json");
    fs::write(&path, document.to_string()).unwrap();
    path
}
