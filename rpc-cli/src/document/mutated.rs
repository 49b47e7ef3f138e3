//! Documents with mistakes, since a server may send anything.

use fastrand::Rng;
use serde_json::{Value, json};

use super::Document;
use crate::json::Json;

/// Creates the document of a tree of values.
pub(crate) fn document(tree: Value) -> Document {
    read(&tree).unwrap()
}

fn read(tree: &Value) -> Option<Document> {
    Document::new(Json::parse(tree.to_string()).unwrap()).ok()
}

/// Returns the shop's document, and variants of it with misplaced values.
pub(crate) fn documents() -> impl Iterator<Item = Document> {
    let shop: Value =
        serde_json::from_str(include_str!("../../tests/documents/shop.json")).unwrap();
    (0..500).filter_map(move |seed| {
        let mut rng = Rng::with_seed(seed);
        let mut document = shop.clone();
        for _ in 0..rng.u32(0..6) {
            let other = any(&shop, &mut rng);
            *place(&mut document, &mut rng) = other;
        }
        read(&document)
    })
}

/// Returns a random place in a value.
fn place<'a>(value: &'a mut Value, rng: &mut Rng) -> &'a mut Value {
    let size = value
        .as_array()
        .map_or(0, Vec::len)
        .max(value.as_object().map_or(0, serde_json::Map::len));
    if size == 0 || rng.u8(0..8) == 0 {
        return value;
    }
    let chosen = rng.usize(0..size);
    match value {
        Value::Array(elements) => place(&mut elements[chosen], rng),
        Value::Object(members) => place(members.values_mut().nth(chosen).unwrap(), rng),
        other => other,
    }
}

/// Returns a value from elsewhere in the document, or an unusual one.
fn any(shop: &Value, rng: &mut Rng) -> Value {
    let odd = [
        json!(null),
        json!({}),
        json!([]),
        json!(true),
        json!(false),
        json!(-1.5),
        json!(u64::MAX),
        json!(""),
        json!("\u{9b}é\n\t"),
        json!({"$ref": "#/components/schemas/Receipt"}),
        json!({"$ref": "#/components/schemas/"}),
        json!({"$ref": 3}),
        json!({"enum": []}),
        json!({"allOf": [{"type": "string"}, {"type": "integer"}, true, 3]}),
        json!({"type": ["integer", 3], "minimum": 1e300}),
    ];
    match rng.u8(0..3) {
        0 => place(&mut shop.clone(), rng).clone(),
        _ => rng.choice(odd).unwrap(),
    }
}

/// Returns a document with a result of the type T0, which contains T1, and so on.
pub(crate) fn chain(length: usize, last: &str) -> Document {
    let mut schemas = serde_json::Map::new();
    for level in 0..length {
        let next = json!({"$ref": format!("#/components/schemas/T{}", level + 1)});
        let list = json!({"type": "array", "items": next});
        schemas.insert(format!("T{level}"), list);
    }
    schemas.insert(format!("T{length}"), json!({"type": last}));
    let result = json!({"schema": {"$ref": "#/components/schemas/T0"}});
    let method = json!({"name": "m", "params": [], "result": result});
    document(json!({"methods": [method], "components": {"schemas": schemas}}))
}
