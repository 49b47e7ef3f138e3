//! Resolves a schema into the kinds of values that it accepts, without names and unions.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::LazyLock;

use super::fuel::Fuel;
use super::limits::{Limits, Sense};
use super::side::{ResolvedSchema, Schema, Side};
use crate::json::{Json, Value};
use crate::types::{self, Literal, Piece, Pieces};

/// One kind of values that a schema accepts.
#[derive(Debug, Clone)]
pub(super) enum Kind<'a> {
    Anything,
    /// Only this value.
    Constant(Constant<'a>),
    /// Any value of a list, which may be long.
    Constants(Value<'a>),
    /// A JSON type and its limits.
    Type(Cow<'a, str>, Rc<Limits<'a>>),
    /// A schema that is not understood.
    Unknown(Rc<Limits<'a>>),
}

/// A value and its fingerprint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Constant<'a> {
    pub(super) print: u64,
    pub(super) value: Value<'a>,
}

/// The keywords of unions.
const UNIONS: [&str; 2] = ["oneOf", "anyOf"];

/// The maximum nesting of unions, because each level takes stack space.
const DEEPEST: usize = 64;

/// Values that types stand for and that are not in the document.
static NULL: LazyLock<Json> = LazyLock::new(|| constant("null"));
static TRUE: LazyLock<Json> = LazyLock::new(|| constant("true"));
static FALSE: LazyLock<Json> = LazyLock::new(|| constant("false"));

fn constant(text: &str) -> Json {
    Json::parse(text.into()).expect("a word of JSON")
}

/// The kinds of the schemas of a document.
pub(super) struct Kinds<'c, 'a> {
    pub(super) side: &'c Side<'a>,
    fuel: &'c Fuel,
    known: RefCell<HashMap<Schema, Known<'a>>>,
}

/// The result for the kinds of a schema.
#[derive(Clone)]
enum Known<'a> {
    /// The kinds are being determined: the schema is an alternative of itself.
    Asked,
    Answered(Rc<[Kind<'a>]>),
}

impl<'c, 'a> Kinds<'c, 'a> {
    pub(super) fn new(side: &'c Side<'a>, fuel: &'c Fuel) -> Self {
        let known = RefCell::default();
        Self { side, fuel, known }
    }

    /// Returns the fingerprints of `true` and `false`.
    pub(super) fn booleans(&self) -> [u64; 2] {
        [&TRUE, &FALSE].map(|word| self.side.print_of_other(word.root()))
    }

    /// Returns all kinds of values that a schema accepts. Returns none if it accepts no value.
    pub(super) fn of(&self, schema: ResolvedSchema) -> Rc<[Kind<'a>]> {
        self.within(schema, DEEPEST)
    }

    fn within(&self, resolved: ResolvedSchema, depth: usize) -> Rc<[Kind<'a>]> {
        let ResolvedSchema { schema, is_shared } = resolved;
        let known = self.known.borrow().get(&schema).cloned();
        match known {
            Some(Known::Answered(kinds)) => return kinds,
            None if depth > 0 && !self.fuel.is_out() => {}
            None | Some(Known::Asked) => {
                return [Kind::Unknown(self.side.limits(schema).into())].into();
            }
        }
        // A schema in a single place is rarely requested again, and there may be many of them.
        if !is_shared {
            return self.of_limits(self.side.limits(schema), depth).into();
        }
        self.known.borrow_mut().insert(schema, Known::Asked);
        let limits = self.side.limits(schema);
        self.side.share(&limits);
        let kinds: Rc<[_]> = self.of_limits(limits, depth).into();
        let answered = Known::Answered(Rc::clone(&kinds));
        self.known.borrow_mut().insert(schema, answered);
        kinds
    }

    fn of_limits(&self, limits: Limits<'a>, depth: usize) -> Vec<Kind<'a>> {
        match limits.sense {
            Sense::Plain if limits.says_nothing() => return vec![Kind::Anything],
            Sense::Plain if depth > 0 => {}
            Sense::Plain | Sense::Unclear => return vec![Kind::Unknown(limits.into())],
            Sense::Nothing => return Vec::new(),
        }
        for union in UNIONS {
            if let Some(either) = limits.get(union).filter(|either| either.is_array()) {
                return self.of_union(&limits, (union, either), depth);
            }
        }
        if let Some(value) = limits.get("const") {
            return vec![Kind::Constant(self.constant(value))];
        }
        match limits.get("enum").filter(|values| values.is_array()) {
            Some(values) => vec![Kind::Constants(values)],
            None => self.of_type(limits.into()),
        }
    }

    /// Returns the kinds of each alternative of a union, merged with the other keywords.
    fn of_union(
        &self,
        limits: &Limits<'a>,
        (keyword, either): (&str, Value<'a>),
        depth: usize,
    ) -> Vec<Kind<'a>> {
        let is_all = limits.says_only(keyword);
        let rest = limits.without(keyword);
        let (mut schemas, mut prints) = (HashSet::new(), HashSet::new());
        let mut kinds = Vec::new();
        for one in either.elements() {
            self.fuel.take(1);
            if self.fuel.is_out() {
                break;
            }
            let resolved = self.side.resolved(self.side.schema(Some(one)));
            // Duplicate alternatives are resolved only once.
            if resolved.is_shared && !schemas.insert(resolved.schema) {
                continue;
            }
            if is_all && resolved.is_shared {
                let of_one = self.within(resolved, depth - 1);
                self.fuel.take(of_one.len());
                kinds.extend(of_one.iter().cloned());
            } else {
                let own = self.side.limits(resolved.schema);
                if resolved.is_shared || prints.insert(own.print) {
                    kinds.extend(self.of_limits(self.side.merge(&rest, &own), depth - 1));
                }
            }
            if let Some(Kind::Anything) = kinds.last() {
                return vec![Kind::Anything];
            }
        }
        kinds
    }

    /// Returns the kinds of a schema according to its `type`.
    fn of_type(&self, limits: Rc<Limits<'a>>) -> Vec<Kind<'a>> {
        let kind = |name: Cow<'a, str>| match name.as_ref() {
            "null" => Kind::Constant(Constant {
                print: self.side.print_of_other(NULL.root()),
                value: NULL.root(),
            }),
            _ => Kind::Type(name, Rc::clone(&limits)),
        };
        let names = limits.get("type");
        if let Some(names) = names.filter(|names| names.is_array()) {
            let names = names.elements().filter_map(Value::as_str);
            return names.map(kind).collect();
        }
        match names.and_then(Value::as_str) {
            Some(name) => vec![kind(name)],
            None if limits.has_properties() => vec![kind("object".into())],
            None if limits.get("items").is_some() => vec![kind("array".into())],
            None => vec![Kind::Unknown(limits)],
        }
    }

    /// Returns the only kind, if there is only one. A list of one value is that value.
    pub(super) fn only(&self, kinds: &[Kind<'a>]) -> Option<Kind<'a>> {
        match kinds {
            [Kind::Constants(values)] => {
                let mut values = self.constants(*values);
                let first = values.next()?;
                values.next().is_none().then_some(Kind::Constant(first))
            }
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// Returns the values of a list.
    pub(super) fn constants(&self, list: Value<'a>) -> impl Iterator<Item = Constant<'a>> + '_ {
        list.elements().map(|value| {
            self.fuel.take(value.len_bound() / 64 + 1);
            self.constant(value)
        })
    }

    fn constant(&self, value: Value<'a>) -> Constant<'a> {
        let print = self.side.print(value);
        Constant { print, value }
    }
}

/// The maximum length of a type's text in characters, and of the parts that are read for it.
const TOLD: usize = 200;
const PARTS: usize = 20;

/// The maximum number of a schema's kinds in a text.
const KINDS: usize = 8;

fn literal(value: Value<'_>) -> String {
    types::text(TOLD, |out| out(Piece::Literal, &Literal(value)))
}

impl<'a> Kinds<'_, 'a> {
    /// Returns a kind as text for people.
    pub(super) fn text(&self, kind: &Kind<'a>) -> String {
        self.fuel.take(16);
        match kind {
            Kind::Anything => "anything".into(),
            Kind::Constant(constant) => literal(constant.value),
            Kind::Constants(_) => self.all_text(std::slice::from_ref(kind)),
            Kind::Type(name, limits) => self.limits_text(Some(name), limits),
            Kind::Unknown(limits) => self.limits_text(None, limits),
        }
    }

    /// Returns the first of several accepted kinds as text.
    pub(super) fn all_text(&self, kinds: &[Kind<'a>]) -> String {
        if kinds.is_empty() {
            return "nothing".into();
        }
        let mut texts = Vec::new();
        for kind in kinds {
            match kind {
                Kind::Constants(values) => {
                    texts.extend(values.elements().take(KINDS + 1).map(literal));
                }
                kind => texts.push(self.text(kind)),
            }
            if texts.len() > KINDS {
                texts.truncate(KINDS);
                texts.push("…".into());
                break;
            }
        }
        texts.join(" | ")
    }

    fn limits_text(&self, name: Option<&str>, limits: &Limits<'a>) -> String {
        let parts = self.side.values(limits.parts, PARTS);
        let length: usize = parts.iter().map(|part| part.len_bound()).sum();
        self.fuel.take(length / 8 + 16);
        if self.fuel.is_out() {
            return "…".into();
        }
        types::text(TOLD, |out| match (name, parts.as_slice()) {
            (Some(name), [only]) => types::of_type(name, *only, out),
            (Some("object"), _) if limits.has_properties() => self.write_object(limits, out),
            (Some(name), all) => {
                let typed = all.iter().find(|part| part.get("type").is_some());
                match typed {
                    Some(part) => types::of_type(name, *part, out),
                    None => out(Piece::Basic, &name),
                }
            }
            (None, []) => out(Piece::Basic, &"any"),
            (None, all) => all.iter().enumerate().try_for_each(|(index, part)| {
                if index > 0 {
                    out(Piece::Sign, &" & ")?;
                }
                types::of_schema(*part, out)
            }),
        })
    }

    /// Writes the properties of all parts.
    fn write_object(&self, limits: &Limits<'a>, out: &mut Pieces<'_>) -> io::Result<()> {
        let required = self.side.values(limits.required, PARTS);
        let required = required.iter().flat_map(|names| names.elements());
        let required: HashSet<_> = required.filter_map(Value::as_str).take(TOLD).collect();
        let mut before = "{ ";
        for properties in self.side.values(limits.properties, PARTS) {
            for (name, schema) in properties.members() {
                let name = name.as_str().unwrap_or_default();
                out(Piece::Sign, &before)?;
                types::property(&name, required.contains(&name), out)?;
                types::of_schema(schema, out)?;
                before = ", ";
            }
        }
        out(Piece::Sign, &" }")
    }
}
