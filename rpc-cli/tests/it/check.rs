//! `rpc check`. The rules for breaking changes are tested in `src/check/tests.rs`.

use std::fs;

use serde_json::Value;

use crate::describe::SHOP;
use crate::program::{Demo, rpc};

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
                    compatible\n  text.again  the method is new\n\
                    1 breaking, 2 may break, 1 compatible\n";
    assert_eq!(ended.stdout, expected);
    let listed = rpc(&["check", SHOP, &new, "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["breaking"][0]["method"], "text.repeat");
    assert_eq!(listed["may_break"].as_array().unwrap().len(), 2);
    let _ = fs::remove_file(new);
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
