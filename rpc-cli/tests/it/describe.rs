//! `rpc describe` of a document in a file.

use serde_json::{Value, json};

use crate::program::{Ended, rpc, rpc_with_input};

pub(crate) const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documents/shop.json");

fn describe(arguments: &[&str]) -> Ended {
    rpc(&[&["describe", SHOP], arguments].concat())
}

#[test]
fn tree_shows_every_method_and_type() {
    let tree = describe(&[]).assert_ok();
    let expected = [
        "Fruit 1.2.0",
        "Text  Counts and repeats text.",
        "├─ text.count(text: string, needle: string) -> uint  idempotent  also wc",
        "│    Counts the occurrences of `needle` in `text`.",
        "├─ text.repeat(text: string, times?: uint16 = 2) -> string",
        "├─ text.first_line(text: string) -> string  deprecated",
        "└─ text.sum(...Vec<i64>) -> i64",
        "├─ shop.buy(item: Item, quantity?: uint32 = 1, card?: Payment | null) -> Receipt",
        "├─ shop.restock(item: Item, quantity: uint32)  notification  unreliable",
        "├─ shop.watch(item: Item) -> stream<Price>  stream",
        "└─ shop.order(stream<Order>) -> Receipt  upload",
        "│    | \"pear\"  Green.",
        "│    quantity?: uint32 = 1  The quantity. Defaults to 1.",
        "     orders: Order[]",
    ];
    let mut lines = tree.lines();
    for line in expected {
        assert!(
            lines.any(|found| found == line),
            "{line:?} is not there, or not behind those before:\n{tree}"
        );
    }
    let types = tree.split("\nTypes\n").nth(1).unwrap();
    for name in ["Item", "Payment", "Order", "Price", "Receipt"] {
        assert!(types.contains(&format!("─ {name}\n")), "{types}");
    }
}

#[test]
fn colors_are_written_only_when_wanted() {
    assert!(!describe(&[]).assert_ok().contains('\u{1b}'));
    let coloured = describe(&["--color", "always"]).assert_ok();
    assert!(coloured.contains("\u{1b}[1mtext.count"), "{coloured}");
    let plain = describe(&["--color", "never"]).assert_ok();
    assert_eq!(plain, describe(&[]).assert_ok());
}

#[test]
fn method_is_shown_with_its_whole_description() {
    let told = describe(&["shop.buy"]).assert_ok();
    for part in [
        "  - A pear costs 5, and a plum 3.\n",
        "\nParameters\n  item      Item            required\n  quantity  uint32          default 1\n  card      Payment | null  optional\n",
        "\nResult\n  Receipt\n",
        "  1001  there is no {item}  { item: string }\n",
        "  1003  closed\n",
        "\n  Payment\n",
        "\n  Order\n",
        "\nCommand line\n  rpc call HOST:PORT shop.buy item=pear\n",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    assert!(!told.contains("Price"), "a type that it does not speak of");
    let by_alias = describe(&["wc"]).assert_ok();
    assert!(by_alias.starts_with("text.count("), "{by_alias}");
    let example = "  $ rpc call HOST:PORT text.count text='to be or not to be' needle=be\n  2\n";
    assert!(by_alias.contains(example), "{by_alias}");
}

#[test]
fn method_whose_arguments_have_one_form_is_marked() {
    let document = |structure: &str| {
        let method = json!({"name": "pay", "paramStructure": structure, "params": [
            {"name": "to", "required": true, "schema": {"type": "integer"}},
            {"name": "from", "schema": {"type": "integer"}},
        ]});
        let info = json!({"title": "Bank", "version": "1"});
        json!({"openrpc": "1.4.1", "info": info, "methods": [method]}).to_string()
    };
    for (structure, mark) in [
        ("by-name", "  by name"),
        ("by-position", "  by position"),
        ("either", ""),
    ] {
        for line in [&["describe", "-"][..], &["describe", "-", "pay"]] {
            let told = rpc_with_input(line, &document(structure)).assert_ok();
            let signature = format!("pay(to: integer, from?: integer){mark}\n");
            assert!(told.contains(&signature), "{told}");
        }
    }
}

#[test]
fn json_option_prints_the_document() {
    let printed: Value = serde_json::from_str(&describe(&["--json"]).assert_ok()).unwrap();
    let file: Value = serde_json::from_slice(&std::fs::read(SHOP).unwrap()).unwrap();
    assert_eq!(printed, file);
}

#[test]
fn unknown_method_or_type_is_named_in_the_error() {
    let told = describe(&["shp.buy"]).assert_failed(2);
    assert!(
        told.contains("no method `shp.buy`") && told.contains("did you mean `shop.buy`"),
        "{told}"
    );
    let told = rpc(&["describe", "/no/such/file"]).assert_failed(2);
    assert!(told.contains("/no/such/file"), "{told}");
    let other = format!(
        "{}/other-{}.json",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    std::fs::write(&other, "{}").unwrap();
    let told = rpc(&["describe", &other]).assert_failed(5);
    assert!(told.contains("it has no `methods`"), "{told}");
    let _ = std::fs::remove_file(other);
    let told = rpc(&[
        "describe",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ])
    .assert_failed(2);
    assert!(told.contains("Cargo.toml"), "{told}");
}

/// The text of a server must not control the terminal.
#[test]
fn control_characters_of_a_server_are_escaped() {
    let path = format!(
        "{}/evil-{}.json",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let evil = r#"\u001b]0;gone\u0007\u009b2J"#;
    let document = r#"{"info": {"title": "E", "version": "E"}, "methods": [{"name": "mE", "summary": "E", "description": "E",
        "params": [{"name": "E", "schema": {"default": "E", "description": "E", "enum": ["E"]}}],
        "errors": [{"code": 1, "message": "E"}], "x-aliases": ["E"],
        "examples": [{"name": "E", "params": [{"name": "E", "value": "E"}], "result": {"value": "E"}}],
        "tags": [{"name": "E", "description": "E"}]}],
        "components": {"schemas": {"E": {"description": "E", "properties": {"E": {"format": "E", "type": "string"}}}}}}"#;
    let document = document
        .replace("\"E\"", &format!("\"{evil}\""))
        .replace("mE", "m");
    std::fs::write(&path, document).unwrap();
    for arguments in [
        &["describe", &path][..],
        &["describe", &path, "m"],
        &["describe", &path, "--json", "--color=always"],
    ] {
        let told = rpc(arguments).assert_ok();
        let is_odd = |c: char| c.is_control() && c != '\n';
        let without_colours = told.replace("\u{1b}[", "[");
        let is_fine = !without_colours.contains(is_odd);
        assert!(is_fine && told.contains("gone"), "{told:?}");
    }
    let _ = std::fs::remove_file(path);
}
