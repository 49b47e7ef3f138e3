//! Documents of any size, in shapes that cause much work. The old and the new one differ everywhere.

use serde_json::{Map, Value, json};

use super::Document;
use super::mutated::document;

/// A pair of documents whose size is proportional to a number.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// A part of a finding of the comparison.
    pub(crate) found: &'static str,
    make: fn(usize, u64) -> Value,
}

impl Shape {
    /// Returns the old document and the new one.
    pub(crate) fn pair(&self, size: usize) -> (Document, Document) {
        let [old, new] = [0, 1].map(|tweak| document((self.make)(size, tweak)));
        (old, new)
    }
}

pub(crate) const SHAPES: [Shape; 25] = [
    shape(
        "methods that refer to one changed parameter",
        "parameter `a`: accepts more than before",
        |size, tweak| {
            let to = json!({"$ref": "#/components/contentDescriptors/A"});
            let method = |index| json!({"name": format!("m{index}"), "params": [to]});
            let methods: Vec<_> = (0..size).map(method).collect();
            let descriptors = json!({"A": parameter("a", limited(tweak))});
            json!({"methods": methods, "components": {"contentDescriptors": descriptors}})
        },
    ),
    shape(
        "methods that refer to parts of one changed type",
        "result: at most 6 characters, and was 5",
        |size, tweak| {
            let part = |index| named(&format!("T/properties/p{index}"));
            let all = (0..size).map(|index| method(&format!("m{index}"), part(index)));
            let all = all.collect::<Vec<_>>().into_iter();
            with_types(all, [("T".into(), object("p", size, |_| limited(tweak)))])
        },
    ),
    shape(
        "methods of other names",
        "the method is removed",
        |size, tweak| {
            let start = tweak as usize * size;
            methods(
                (start..start + size)
                    .map(|index| json!({"name": format!("m{index}"), "params": []})),
            )
        },
    ),
    shape(
        "methods with a changed type each",
        "result: at most 6 characters, and was 5",
        |size, tweak| methods((0..size).map(|index| method(&format!("m{index}"), limited(tweak)))),
    ),
    shape(
        "methods that refer to one changed type",
        "result.p3: at most 6 characters",
        |size, tweak| {
            let all = (0..size).map(|index| method(&format!("m{index}"), named("T")));
            with_types(all, [("T".into(), object("p", 4, |_| limited(tweak)))])
        },
    ),
    shape(
        "methods that refer to one large type",
        ": at most 6 characters",
        |size, tweak| {
            let all = (0..size).map(|index| method(&format!("m{index}"), named("T")));
            let last = size - 1;
            let large = object("p", size, |index| {
                limited(if index == last { tweak } else { 0 })
            });
            with_types(all, [("T".into(), large)])
        },
    ),
    shape("services", "", |size, _| {
        methods((0..size).map(|index| {
            let tag = json!({"name": format!("s{index}"), "description": "d"});
            json!({"name": format!("m{index}"), "tags": [tag]})
        }))
    }),
    shape(
        "aliases of one method",
        "the alias `a0` is removed",
        |size, tweak| {
            let aliases = names(size, if tweak == 0 { "a" } else { "b" });
            methods([json!({"name": "m", "x-aliases": aliases})].into_iter())
        },
    ),
    shape(
        "aliases that are other methods now",
        "the alias `a99` is another method now",
        |size, tweak| {
            let aliases = names(size, "a");
            let params: Vec<_> = (0..size)
                .map(|index| parameter(&format!("p{index}"), json!({})))
                .collect();
            let method = json!({"name": "m", "params": params, "x-aliases": if tweak == 0 { aliases.clone() } else { Vec::new() }});
            let others = aliases.iter().map(|name| json!({"name": name}));
            let others = others.take(if tweak == 0 { 0 } else { size });
            methods([method].into_iter().chain(others))
        },
    ),
    shape("parameters", "parameter `p0` is removed", |size, tweak| {
        let moved = (0..size).map(|index| (index + tweak as usize) % (size + 1));
        let params: Vec<_> = moved
            .map(|index| parameter(&format!("p{index}"), limited(tweak)))
            .collect();
        methods([json!({"name": "m", "params": params})].into_iter())
    }),
    shape(
        "errors",
        "data of error 99: at most 6 characters",
        |size, tweak| {
            let errors: Vec<_> = (0..size)
            .map(|index| json!({"code": index, "message": format!("e{tweak}"), "data": limited(tweak)}))
            .collect();
            methods([json!({"name": "m", "errors": errors})].into_iter())
        },
    ),
    shape(
        "properties",
        "result.p99: at most 6 characters",
        |size, tweak| {
            with_types(
                [method("m", named("T"))].into_iter(),
                [("T".into(), object("p", size, |_| limited(tweak)))],
            )
        },
    ),
    shape(
        "required properties of other names",
        "a99: is removed",
        |size, tweak| {
            let name = if tweak == 0 { "a" } else { "b" };
            let mut object = object(name, size, |_| json!({"type": "string"}));
            object["required"] = names(size, name).into();
            methods([method("m", object)].into_iter())
        },
    ),
    shape("values", "\"v0\" is no longer accepted", |size, tweak| {
        let values: Vec<_> = (0..size)
            .map(|index| json!(format!("v{}", index + tweak as usize)))
            .collect();
        methods([method("m", json!({"enum": values}))].into_iter())
    }),
    shape(
        "alternatives",
        "result.of: at most 6 characters",
        |size, tweak| {
            let alternatives: Vec<_> = (0..size)
            .map(|index| {
                let kind = json!({"const": format!("k{index}")});
                json!({"type": "object", "properties": {"kind": kind, "of": limited(tweak)}, "required": ["kind", "of"]})
            })
            .collect();
            methods([method("m", json!({"oneOf": alternatives}))].into_iter())
        },
    ),
    shape(
        "alternatives that nothing tells apart",
        ": at most 99 elements",
        |size, tweak| {
            let alternatives: Vec<_> = (0..size)
            .map(|index| json!({"type": "array", "minItems": index, "maxItems": index + tweak as usize}))
            .collect();
            methods([method("m", json!({"oneOf": alternatives}))].into_iter())
        },
    ),
    shape(
        "types one in the other",
        ": at most 6 characters",
        |size, tweak| {
            let types = (0..size).map(|index| {
                let next = if index + 1 == size {
                    limited(tweak)
                } else {
                    named(&format!("T{}", index + 1))
                };
                (format!("T{index}"), object("p", 1, |_| next.clone()))
            });
            with_types([method("m", named("T0"))].into_iter(), types)
        },
    ),
    shape(
        "optional types one in the other",
        "too complex",
        |size, tweak| {
            let types = (0..size).map(|index| {
                let next = match index + 1 == size {
                    true => limited(tweak),
                    false => named(&format!("T{}", index + 1)),
                };
                let mut object = object("p", 1, |_| next.clone());
                object["required"] = json!(["p0"]);
                let inner = json!({"anyOf": [{"type": "null"}, {"type": "array", "items": [next]}]});
                let outer = json!({"oneOf": [{"type": "null"}, {"type": "object", "required": ["a"], "properties": {"a": inner}}, object]});
                (format!("T{index}"), outer)
            });
            with_types([method("m", named("T0"))].into_iter(), types)
        },
    ),
    shape(
        "references to references",
        "result: at most 6 characters",
        |size, tweak| {
            let types = (0..size).map(|index| {
                let next = if index + 1 == size {
                    limited(tweak)
                } else {
                    named(&format!("T{}", index + 1))
                };
                (format!("T{index}"), next)
            });
            let all =
                (0..size).map(|index| method(&format!("m{index}"), named(&format!("T{index}"))));
            with_types(all, types)
        },
    ),
    shape(
        "a circle of types",
        "result.next.p: at most 6 characters",
        |size, tweak| {
            let types = (0..size).map(|index| {
                let next = named(&format!("T{}", (index + 1) % size));
                (
                    format!("T{index}"),
                    json!({"type": "object", "properties": {"next": next, "p": limited(tweak)}}),
                )
            });
            let all =
                (0..size).map(|index| method(&format!("m{index}"), named(&format!("T{index}"))));
            with_types(all, types)
        },
    ),
    shape(
        "types that refer to themselves and to one another",
        "result.a.p: at most 6 characters",
        |size, tweak| {
            let types = (0..size).map(|index| {
            let own = named(&format!("T{index}"));
            let others = [1, 2, 3].map(|step| named(&format!("T{}", (index + step * step) % size)));
            let properties = json!({"own": own, "a": others[0], "b": others[1], "c": others[2], "p": limited(tweak)});
            (format!("T{index}"), json!({"type": "object", "properties": properties}))
        });
            let all =
                (0..size).map(|index| method(&format!("m{index}"), named(&format!("T{index}"))));
            with_types(all, types)
        },
    ),
    shape(
        "a long chain of allOf, and many that refer to it",
        "q99: `minProperties` is different",
        |size, tweak| {
            let chain = size / 3 + 1;
            let types = (0..chain).map(|index| {
                let mut schema = object(&format!("p{index}_"), 20, |_| json!({"type": "string"}));
                if index + 1 < chain {
                    schema["allOf"] = json!([named(&format!("T{}", index + 1))]);
                }
                (format!("T{index}"), schema)
            });
            let all = object("q", size, |index| {
                let mut schema = named("T0");
                schema["minProperties"] = json!(index as u64 + tweak);
                schema
            });
            with_types([method("m", all)].into_iter(), types)
        },
    ),
    shape("unions of unions", "the limits of ", |size, tweak| {
        let types = (0..size).map(|index| {
            let next = named(&format!("T{}", (index + 1) % size));
            let list = json!({"type": "array", "items": next});
            (format!("T{index}"), json!({"anyOf": [next, next, list, {"type": "object", "properties": {"a": list, "b": next, "c": limited(tweak)}}]}))
        });
        with_types([method("m", named("T0"))].into_iter(), types)
    }),
    shape(
        "unknown keywords",
        "the limits of T & any have changed",
        |size, tweak| {
            let keywords: Map<_, _> = (0..size)
                .map(|index| (format!("k{index}"), json!(tweak)))
                .collect();
            let types = [("T".into(), Value::from(keywords))];
            let all = (0..size).map(|index| {
                let mut schema = named("T");
                schema["minLength"] = json!(index as u64 + tweak);
                method(&format!("m{index}"), schema)
            });
            with_types(all, types)
        },
    ),
    shape(
        "long names and texts",
        ": at most 6 characters",
        |size, tweak| {
            let long = "x".repeat(size);
            let types = [(
                long.clone(),
                json!({"type": "object", "properties": {(long.clone()): limited(tweak)}, "description": long}),
            )];
            let all = (0..10).map(|index| method(&format!("m{index}"), named(&long)));
            let all = all.chain([
                json!({"name": long, "examples": [{"params": [{"name": "a", "value": long}]}]}),
            ]);
            with_types(all, types)
        },
    ),
];

const fn shape(name: &'static str, found: &'static str, make: fn(usize, u64) -> Value) -> Shape {
    Shape { name, found, make }
}

fn methods(methods: impl Iterator<Item = Value>) -> Value {
    with_types(methods, [])
}

fn with_types(
    methods: impl Iterator<Item = Value>,
    types: impl IntoIterator<Item = (String, Value)>,
) -> Value {
    let types: Map<_, _> = types.into_iter().collect();
    json!({"methods": methods.collect::<Vec<_>>(), "components": {"schemas": types}})
}

fn method(name: &str, schema: Value) -> Value {
    json!({"name": name, "params": [parameter("a", schema.clone())], "result": {"schema": schema}})
}

fn parameter(name: &str, schema: Value) -> Value {
    json!({"name": name, "required": true, "schema": schema})
}

fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Returns a type that changes: the old one accepts 5 characters, the new one 6.
fn limited(tweak: u64) -> Value {
    json!({"type": "string", "maxLength": 5 + tweak})
}

fn object(prefix: &str, size: usize, property: impl Fn(usize) -> Value) -> Value {
    let properties = (0..size).map(|index| (format!("{prefix}{index}"), property(index)));
    json!({"type": "object", "properties": properties.collect::<Map<_, _>>()})
}

fn names(size: usize, prefix: &str) -> Vec<String> {
    (0..size).map(|index| format!("{prefix}{index}")).collect()
}
