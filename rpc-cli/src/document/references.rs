//! Finds the targets of references, and the references that have none.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::escape::Short;
use crate::json::{Json, Value};
use crate::schema::reference;

/// Returns the ids of all objects with a reference, in their order, with the ids of their targets.
pub(super) fn targets(json: &Json) -> Vec<(u32, u32)> {
    let mut pointers = Pointers::new(json);
    let mut known = HashMap::new();
    let mut targets = Vec::new();
    let root = json.root();
    for value in root.containers().filter(|value| value.id() != root.id()) {
        let Some(text) = reference(value) else {
            continue;
        };
        let target = match known.get(&text) {
            Some(target) => *target,
            None => {
                let target = pointers.find(&text).map(Value::id);
                known.insert(text, target);
                target
            }
        };
        targets.extend(target.map(|target| (value.id(), target)));
    }
    targets
}

impl Part {
    fn is_schema(&self) -> bool {
        let (Self::One(kind) | Self::List(kind) | Self::OneOrList(kind) | Self::Map(kind)) = self;
        *kind == Kind::Schema
    }
}

/// Finds values by their pointers. The members of each object on a path are read once.
struct Pointers<'a> {
    json: &'a Json,
    objects: HashMap<u32, HashMap<Cow<'a, str>, Value<'a>>>,
    arrays: HashMap<u32, Vec<Value<'a>>>,
    /// The schemas by `$anchor`, or by an `$id` that is a fragment. They are searched when the first one is needed.
    anchors: Option<HashMap<Cow<'a, str>, Value<'a>>>,
}

impl<'a> Pointers<'a> {
    fn new(json: &'a Json) -> Self {
        Self {
            json,
            objects: HashMap::new(),
            arrays: HashMap::new(),
            anchors: None,
        }
    }

    fn find(&mut self, text: &str) -> Option<Value<'a>> {
        let fragment = text.strip_prefix('#')?;
        let root = self.json.root();
        let mut steps = fragment.split('/');
        if let Some(anchor) = steps.next().filter(|anchor| !anchor.is_empty()) {
            return self.anchor(anchor).filter(|_| steps.next().is_none());
        }
        let mut value = root;
        for step in steps {
            value = self.member(value, step)?;
        }
        Some(value)
    }

    fn member(&mut self, value: Value<'a>, step: &str) -> Option<Value<'a>> {
        if value.is_array() {
            let elements = self.arrays.entry(value.id());
            let elements = elements.or_insert_with(|| value.elements().collect());
            // An index has no sign and no leading zeros.
            let index = step.parse::<usize>().ok();
            let index = index.filter(|index| index.to_string() == step)?;
            return elements.get(index).copied();
        }
        let members = self.objects.entry(value.id()).or_insert_with(|| {
            let named = value.members();
            named
                .filter_map(|(name, value)| Some((name.as_str()?, value)))
                .collect()
        });
        let name = match step.contains('~') {
            true => Cow::Owned(step.replace("~1", "/").replace("~0", "~")),
            false => Cow::Borrowed(step),
        };
        members.get(&name).copied()
    }

    fn anchor(&mut self, name: &str) -> Option<Value<'a>> {
        let anchors = self.anchors.get_or_insert_with(|| {
            let mut anchors = HashMap::new();
            for schema in self.json.root().containers() {
                let [anchor, id] = schema.get_all(["$anchor", "$id"]);
                let id = id.and_then(Value::as_str);
                let id = id.and_then(|id| Some(id.strip_prefix('#')?.to_owned().into()));
                let names = [anchor.and_then(Value::as_str), id];
                anchors.extend(names.into_iter().flatten().map(|name| (name, schema)));
            }
            anchors
        });
        anchors.get(name).copied()
    }
}

/// The kinds of objects that a reference can replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Document,
    Components,
    Method,
    /// A parameter, a result or an item.
    Descriptor,
    Error,
    Tag,
    Pairing,
    Example,
    Link,
    Schema,
}

/// The objects in a member.
enum Part {
    One(Kind),
    List(Kind),
    OneOrList(Kind),
    Map(Kind),
}

impl Kind {
    /// Returns the objects in a member of this kind of object. References elsewhere are data.
    fn part(self, member: &str) -> Option<Part> {
        use Part::{List, Map, One, OneOrList};
        Some(match (self, member) {
            (Self::Document, "methods") => List(Self::Method),
            (Self::Document, "components") => One(Self::Components),
            (Self::Components, "schemas") => Map(Self::Schema),
            (Self::Components, "contentDescriptors") => Map(Self::Descriptor),
            (Self::Components, "errors") => Map(Self::Error),
            (Self::Components, "tags") => Map(Self::Tag),
            (Self::Components, "links") => Map(Self::Link),
            (Self::Components, "examples") => Map(Self::Example),
            (Self::Components, "examplePairings" | "examplePairingObjects") => Map(Self::Pairing),
            (Self::Method, "params") => List(Self::Descriptor),
            (Self::Method, "result" | "x-params" | "x-items" | "x-upload") => One(Self::Descriptor),
            (Self::Method, "errors") => List(Self::Error),
            (Self::Method, "tags") => List(Self::Tag),
            (Self::Method, "links") => List(Self::Link),
            (Self::Method, "examples") => List(Self::Pairing),
            (Self::Pairing, "params") => List(Self::Example),
            (Self::Pairing, "result") => One(Self::Example),
            (Self::Descriptor, "schema") | (Self::Error, "data") => One(Self::Schema),
            (
                Self::Schema,
                "properties" | "patternProperties" | "dependentSchemas" | "dependencies"
                | "definitions" | "$defs",
            ) => Map(Self::Schema),
            (Self::Schema, "allOf" | "anyOf" | "oneOf" | "prefixItems") => List(Self::Schema),
            (Self::Schema, "items") => OneOrList(Self::Schema),
            (
                Self::Schema,
                "additionalProperties"
                | "additionalItems"
                | "contains"
                | "contentSchema"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "not"
                | "if"
                | "then"
                | "else",
            ) => One(Self::Schema),
            _ => return None,
        })
    }
}

/// The place of a reference, and what is wrong with it.
type Wrong = (String, String);

/// The maximum number of bytes of all referenced objects, counted once for each reference: for any document, and for
/// each byte of it. Schemas are not counted, because they are shown by their names.
const EXPANDED: u64 = 4 << 20;
const EXPANDED_PER_BYTE: u64 = 16;

/// Checks that all references lead to their targets, except those of schemas. The error says what is wrong, and where.
pub(super) fn check(json: &Json) -> Result<(), String> {
    let limit = EXPANDED + EXPANDED_PER_BYTE * json.text().len() as u64;
    match Check::new(false).members(json.root(), Kind::Document) {
        Ok(expanded) if expanded <= limit => Ok(()),
        Ok(_) => Err("it refers to its own parts too many times".into()),
        Err(wrong) => Err(told(wrong)),
    }
}

/// Checks the references of schemas, too. Those to URLs are assumed to have targets.
pub(super) fn check_all(json: &Json) -> Result<(), String> {
    let mut check = Check::new(true);
    let checked = check.members(json.root(), Kind::Document);
    checked.map_err(told)?;
    while let Some((text, schema)) = check.left.pop() {
        let checked = check.members(schema, Kind::Schema);
        checked.map_err(|(place, what)| told((format!("{}{place}", Short(&text)), what)))?;
    }
    Ok(())
}

fn told((place, what): Wrong) -> String {
    format!("{place}: {what}")
}

struct Check<'a> {
    has_schemas: bool,
    /// The bytes of each referenced object and of those that it refers to.
    known: HashMap<(u32, Kind), u64>,
    /// The referenced schemas, and those that are not checked yet. The chain of references may be long.
    schemas: HashSet<u32>,
    left: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Check<'a> {
    fn new(has_schemas: bool) -> Self {
        Self {
            has_schemas,
            known: HashMap::new(),
            schemas: HashSet::new(),
            left: Vec::new(),
        }
    }

    /// Checks an object, or the target of its reference. Returns the number of bytes of all objects that it refers to.
    fn object(&mut self, value: Value<'a>, kind: Kind) -> Result<u64, Wrong> {
        if kind == Kind::Schema {
            self.schema(value)?;
            return self.members(value, kind);
        }
        let target = value.resolved();
        if let Some(text) = reference(target) {
            return Err(match target.referred() {
                Some(_) => wrong(&text, "refers to itself"),
                None => without_target(&text),
            });
        }
        if target.id() == value.id() {
            without_text(value)?;
            return self.members(value, kind);
        }
        if !target.is_object() {
            return Err(wrong(
                &reference(value).unwrap_or_default(),
                "leads to no object",
            ));
        }
        if let Some(bytes) = self.known.get(&(target.id(), kind)) {
            return Ok(*bytes);
        }
        let bytes = target.len_bound() as u64 + self.members(target, kind)?;
        self.known.insert((target.id(), kind), bytes);
        Ok(bytes)
    }

    /// Checks the reference of a schema, if it has one.
    fn schema(&mut self, value: Value<'a>) -> Result<(), Wrong> {
        let Some(text) = reference(value) else {
            return without_text(value);
        };
        match value.referred() {
            Some(target) if !target.is_object() && target.as_bool().is_none() => {
                return Err(wrong(&text, "leads to no schema"));
            }
            Some(target) if self.schemas.insert(target.id()) => {
                // A schema that refers to itself within its parts describes a recursive type.
                if target.resolved().referred().is_some() {
                    return Err(wrong(&text, "refers to itself"));
                }
                self.left.push((text, target));
            }
            Some(_) => {}
            None if text.contains("://") => {}
            None => return Err(without_target(&text)),
        }
        Ok(())
    }

    fn members(&mut self, value: Value<'a>, kind: Kind) -> Result<u64, Wrong> {
        let mut bytes: u64 = 0;
        for (name, member) in value.members() {
            let Some(name) = name.as_str() else {
                continue;
            };
            let part = kind
                .part(&name)
                .filter(|part| self.has_schemas || !part.is_schema());
            let of_part = match part {
                None => continue,
                Some(Part::List(kind)) => self.list(member, kind),
                Some(Part::OneOrList(kind)) if member.is_array() => self.list(member, kind),
                Some(Part::One(kind) | Part::OneOrList(kind)) => self.object(member, kind),
                Some(Part::Map(kind)) => self.map(member, kind),
            };
            let within = |(place, what)| (format!(".{}{place}", Short(&name)), what);
            bytes = bytes.saturating_add(of_part.map_err(within)?);
        }
        Ok(bytes)
    }

    fn list(&mut self, list: Value<'a>, kind: Kind) -> Result<u64, Wrong> {
        let mut elements = list.elements().enumerate();
        elements.try_fold(0_u64, |bytes, (index, element)| {
            let within = |(place, what)| (format!("[{index}]{place}"), what);
            let of_element = self.object(element, kind).map_err(within)?;
            Ok(bytes.saturating_add(of_element))
        })
    }

    fn map(&mut self, map: Value<'a>, kind: Kind) -> Result<u64, Wrong> {
        for (name, member) in map.members() {
            let name = name.as_str().unwrap_or_default();
            let within = |(place, what)| (format!(".{}{place}", Short(&name)), what);
            self.object(member, kind).map_err(within)?;
        }
        // The parts of a map count where they are referred to.
        Ok(0)
    }
}

fn wrong(text: &str, what: &str) -> Wrong {
    (
        String::new(),
        format!("the reference `{}` {what}", Short(text)),
    )
}

/// Checks an object that has no text of a reference.
fn without_text(value: Value<'_>) -> Result<(), Wrong> {
    match value.get("$ref") {
        Some(_) => Err((String::new(), "the reference is no string".into())),
        None => Ok(()),
    }
}

fn without_target(text: &str) -> Wrong {
    match text.starts_with('#') {
        true => wrong(text, "leads nowhere"),
        false => wrong(text, "leads to another document: put both into one"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Tree, json};

    use crate::document::Document;
    use crate::json::Json;

    fn read(tree: &Tree) -> Result<Document, String> {
        let document = Document::new(Json::parse(tree.to_string()).unwrap());
        document.map_err(|failure| failure.to_string())
    }

    fn refused(tree: &Tree) -> String {
        match read(tree) {
            Ok(document) => document.check_references().unwrap_err().to_string(),
            Err(refused) => refused,
        }
    }

    fn to(pointer: &str) -> Tree {
        json!({"$ref": pointer})
    }

    #[test]
    fn reference_is_followed_at_every_place() {
        let document = json!({
            "methods": [to("#/components/x-methods/m"), {
                "name": "n",
                "params": [to("#/components/x-methods/m/params/1"), to("#/components/contentDescriptors/a~1b%20c")],
            }],
            "components": {
                "x-methods": {"m": {
                    "name": "m",
                    "tags": [to("#/components/tags/T")],
                    "params": [to("#/components/contentDescriptors/Chain"), {"name": "own", "schema": to("#anchor")}],
                    "result": to("#/components/contentDescriptors/R"),
                    "errors": [to("#/components/errors/E")],
                    "links": [to("#/components/links/L")],
                    "examples": [to("#/components/examplePairings/P")],
                    "x-items": to("#/components/contentDescriptors/R"),
                }},
                "tags": {"T": {"name": "service", "description": "docs"}},
                "contentDescriptors": {
                    "Chain": to("#/components/contentDescriptors/Next"),
                    "Next": {"name": "p", "required": true, "description": "text", "schema": {"type": "string", "default": 5}},
                    "a/b c": {"name": "odd"},
                    "R": {"name": "r", "schema": {"type": "integer", "$anchor": "anchor"}},
                },
                "errors": {"E": {"code": 7, "message": "seven", "data": {"type": "string"}}},
                "links": {"L": {"name": "l"}},
                "examplePairings": {"P": {"name": "pair", "params": [to("#/components/examples/X")], "result": to("#/components/examples/X")}},
                "examples": {"X": {"name": "p", "value": 1.50}},
            },
        });
        let document = read(&document).unwrap();
        document.check_references().unwrap();
        let [m, n] = ["m", "n"].map(|name| document.method(name).unwrap());
        let names = |method: crate::document::Method<'_>| -> Vec<String> {
            method
                .params()
                .map(|parameter| parameter.name().into_owned())
                .collect()
        };
        assert_eq!(names(m), ["p", "own"]);
        assert_eq!(names(n), ["own", "odd"]);
        let first = m.params().next().unwrap();
        assert!(first.is_required());
        assert_eq!(first.docs().as_deref(), Some("text"));
        assert_eq!(first.typed().default().unwrap().text(), "5");
        let own = m.params().nth(1).unwrap().typed().schema().unwrap();
        assert!(document.resolve(own).get("type").unwrap().is("integer"));
        assert!(m.result().unwrap().schema().is_some() && m.items().is_some());
        let error = m.errors().next().unwrap();
        assert_eq!((error.code(), &*error.message()), (7, "seven"));
        assert!(error.data().is_some());
        let example = m.examples().next().unwrap();
        assert_eq!(example.name(), "pair");
        assert_eq!(example.params().next().unwrap().value(), "1.5");
        assert_eq!(example.result().unwrap().name(), "p");
        assert_eq!(document.services()[0].name, "service");
    }

    #[test]
    fn reference_without_a_target_is_refused_with_its_place() {
        let missing = "the reference `#/components/x/Y` leads nowhere";
        let list = || json!([to("#/components/x/Y")]);
        let cases = [
            (method("params", list()), ".methods[0].params[0]", missing),
            (method("errors", list()), ".methods[0].errors[0]", missing),
            (method("tags", list()), ".methods[0].tags[0]", missing),
            (method("links", list()), ".methods[0].links[0]", missing),
            (
                method("examples", list()),
                ".methods[0].examples[0]",
                missing,
            ),
            (
                method("examples", json!([{"params": list()}])),
                ".methods[0].examples[0].params[0]",
                missing,
            ),
            (
                method("result", to("#/components/x/Y")),
                ".methods[0].result",
                missing,
            ),
            (
                method("params", json!([to("common.json#/X")])),
                ".methods[0].params[0]",
                "leads to another document",
            ),
            (
                method("result", json!({"schema": to("#/components/x/Y")})),
                ".methods[0].result.schema",
                missing,
            ),
            (
                method("result", json!({"schema": {"items": [{"anyOf": list()}]}})),
                ".methods[0].result.schema.items[0].anyOf[0]",
                missing,
            ),
            (
                method("result", json!({"schema": to("common.json#/X")})),
                ".methods[0].result.schema",
                "leads to another document",
            ),
            (
                json!({"methods": [to("#/methods/1")]}),
                ".methods[0]",
                "leads nowhere",
            ),
            (
                json!({"methods": [to("#/methods/1"), to("#/methods/0")]}),
                ".methods[0]",
                "refers to itself",
            ),
            (
                json!({"methods": [], "components": {"schemas": {"A": {"properties": {"$ref": to("#/components/x/Y")}}}}}),
                ".components.schemas.A.properties.$ref",
                missing,
            ),
            (
                json!({"methods": [{"name": "m", "result": {"schema": to("#/x-types/A")}}], "x-types": {"A": {"not": to("#/components/x/Y")}}}),
                "#/x-types/A.not",
                missing,
            ),
        ];
        are_refused(&cases);
    }

    fn are_refused(cases: &[(Tree, &str, &str)]) {
        for (document, place, what) in cases {
            let told = refused(document);
            assert!(
                told.contains(&format!("{place}: ")) && told.contains(what),
                "{told}"
            );
        }
    }

    /// Returns a document with a method that has this member.
    fn method(member: &str, value: Tree) -> Tree {
        json!({"methods": [{"name": "m", member: value}], "components": {"schemas": {"S": {"type": "string"}}}})
    }

    #[test]
    fn reference_to_something_else_or_in_a_circle_is_refused_with_its_place() {
        let missing = "the reference `#/components/x/Y` leads nowhere";
        are_refused(&[
            (
                method(
                    "result",
                    json!({"schema": {"dependencies": {"a": ["b"], "b": to("#/components/x/Y")}}}),
                ),
                ".methods[0].result.schema.dependencies.b",
                missing,
            ),
            (
                method(
                    "result",
                    json!({"schema": to("#/components/schemas/S/type")}),
                ),
                ".methods[0].result.schema",
                "leads to no schema",
            ),
            (
                method("params", json!([to("#/components/schemas/S/type")])),
                ".methods[0].params[0]",
                "leads to no object",
            ),
            (
                method("params", json!([to("#/methods/00")])),
                ".methods[0].params[0]",
                "leads nowhere",
            ),
            (
                method("result", json!({"schema": {"$ref": 5}})),
                ".methods[0].result.schema",
                "the reference is no string",
            ),
            (
                method("params", json!([{"$ref": null}])),
                ".methods[0].params[0]",
                "the reference is no string",
            ),
            (
                method("result", json!({"schema": to("#/methods/0/result/schema")})),
                ".methods[0].result.schema",
                "refers to itself",
            ),
            (
                json!({"methods": [], "components": {"schemas": {"A": to("#/components/schemas/B"), "B": to("#/components/schemas/A")}}}),
                ".components.schemas.A",
                "refers to itself",
            ),
        ]);
    }

    #[test]
    fn reference_to_a_url_or_in_data_is_no_fault() {
        let document = json!({"methods": [{
            "name": "m",
            "params": [{"name": "a", "schema": {"default": to("#/no/where"), "enum": [to("#/no/where")]}}],
            "result": {"schema": to("https://example.com/schema.json")},
            "examples": [{"params": [{"name": "a", "value": to("#/no/where")}]}],
        }]});
        read(&document).unwrap().check_references().unwrap();
    }

    #[test]
    fn reference_of_a_schema_to_the_schema_around_it_is_no_fault() {
        let node = json!({"properties": {"next": to("#/components/schemas/Node"), "any": to("#/components/schemas/Any")}});
        let document = json!({"methods": [], "components": {"schemas": {"Node": node, "Any": true, "Other": to("#/components/schemas/Node")}}});
        read(&document).unwrap().check_references().unwrap();
    }

    #[test]
    fn document_whose_references_multiply_it_is_refused() {
        let docs = "x".repeat(100_000);
        let many: Vec<_> = (0..1000)
            .map(|index| json!({"name": format!("m{index}"), "params": [to("#/components/contentDescriptors/A")]}))
            .collect();
        let document = json!({"methods": many, "components": {"contentDescriptors": {"A": {"name": "a", "description": docs}}}});
        assert!(refused(&document).contains("too many times"));
    }

    #[test]
    fn chain_of_references_of_any_length_ends() {
        let chain: Vec<_> = (1..100_000)
            .map(|index| to(&format!("#/methods/{index}")))
            .collect();
        assert!(refused(&json!({"methods": chain})).contains(".methods[0]: "));
    }
}
