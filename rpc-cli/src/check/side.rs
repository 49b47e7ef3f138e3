//! Provides the schemas of one document for a comparison.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::rc::Rc;

use super::fuel::Fuel;
use super::limits::{Limits, Object, Rope, Ropes, Sense};
use super::same::Prints;
use crate::document::Document;
use crate::json::Value;

/// A schema, or several that apply together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Schema {
    One(u32),
    /// The number of a list of schemas.
    All(u32),
}

/// A resolved schema, with `true` if others may refer to it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResolvedSchema {
    pub(super) schema: Schema,
    pub(super) is_shared: bool,
}

/// One document of a comparison.
pub(super) struct Side<'a> {
    document: &'a Document,
    prints: Prints,
    fuel: &'a Fuel,
    lists: RefCell<Lists>,
    ropes: RefCell<Ropes>,
    /// The targets of schemas that consist of a reference only.
    aliases: RefCell<HashMap<u32, u32>>,
    /// The limits of schemas that others refer to.
    named: RefCell<HashMap<u32, Known<'a>>>,
    /// The properties that objects may have in common.
    shared: RefCell<HashSet<Rope>>,
    fields: RefCell<HashMap<Object, Rc<Fields>>>,
}

/// Lists of schemas by number, and numbers by list.
#[derive(Default)]
struct Lists {
    lists: Vec<Rc<[u32]>>,
    numbers: HashMap<Rc<[u32]>, u32>,
}

/// The result for the limits of a schema.
#[derive(Clone)]
enum Known<'a> {
    /// The limits are being determined.
    Asked,
    Answered(Limits<'a>),
}

/// A schema whose limits are being determined.
struct Asked<'a> {
    id: u32,
    limits: Limits<'a>,
    /// The schemas that it refers to and that are not merged yet.
    targets: Vec<u32>,
}

/// The properties of an object.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The properties in their order.
    all: Vec<Field>,
    /// The indexes of the properties, sorted by name.
    by_name: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    name: u32,
    pub(super) schema: Schema,
    pub(super) is_required: bool,
    /// `false` if only `required` names the property, which then has the schema of the additional properties.
    pub(super) is_listed: bool,
}

impl Field {
    /// The name of a property that was merged into another one.
    const REPEATED: u32 = u32::MAX;

    /// Returns the schema of the property. `others` is that of the additional properties.
    pub(super) fn schema_or(&self, others: Schema) -> Schema {
        if self.is_listed { self.schema } else { others }
    }
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> + Clone {
        let all = self.all.iter();
        all.filter(|field| field.name != Field::REPEATED)
    }
}

impl<'a> Side<'a> {
    pub(super) fn new(document: &'a Document, prints: Prints, fuel: &'a Fuel) -> Self {
        Self {
            document,
            prints,
            fuel,
            lists: RefCell::default(),
            ropes: RefCell::default(),
            aliases: RefCell::default(),
            named: RefCell::default(),
            shared: RefCell::default(),
            fields: RefCell::default(),
        }
    }

    /// Returns the schema. `None` is a schema that accepts everything.
    pub(super) fn schema(&self, schema: Option<Value<'a>>) -> Schema {
        match schema {
            Some(schema) => Schema::One(schema.id()),
            None => self.list(&[]),
        }
    }

    /// Returns the schema of additional properties. Any value is accepted where they are rejected, because an object
    /// that requires such a property does not exist.
    pub(super) fn additional(&self, others: Option<Value<'a>>) -> Schema {
        self.schema(others.filter(|others| others.is_object()))
    }

    fn list(&self, ids: &[u32]) -> Schema {
        let Lists { lists, numbers } = &mut *self.lists.borrow_mut();
        let number = numbers.get(ids).copied();
        Schema::All(number.unwrap_or_else(|| {
            let (list, number): (Rc<[u32]>, _) = (ids.into(), lists.len() as u32);
            lists.push(Rc::clone(&list));
            numbers.insert(list, number);
            number
        }))
    }

    /// Returns a fingerprint that is equal for schemas that mean the same in both documents, if it is known.
    pub(super) fn schema_print(&self, schema: Schema) -> Option<u64> {
        match schema {
            Schema::One(id) => Some(self.print(self.value(id))),
            Schema::All(_) => None,
        }
    }

    pub(super) fn print(&self, value: Value<'_>) -> u64 {
        self.prints.of(value)
    }

    /// Returns the fingerprint of a value outside the document.
    pub(super) fn print_of_other(&self, value: Value<'_>) -> u64 {
        value.fingerprint(self.prints.keys())
    }

    fn value(&self, id: u32) -> Value<'a> {
        self.document.json().value(id)
    }

    /// Returns the first `most` values of a rope.
    pub(super) fn values(&self, rope: Rope, most: usize) -> Vec<Value<'a>> {
        let ids = self.ropes.borrow().ids(rope, most);
        self.fuel.take(ids.len());
        ids.into_iter().map(|id| self.value(id)).collect()
    }

    /// Returns the schema that one refers to, if it consists of a reference only.
    pub(super) fn resolved(&self, schema: Schema) -> ResolvedSchema {
        let Schema::One(first) = schema else {
            let is_shared = true;
            return ResolvedSchema { schema, is_shared };
        };
        let mut aliases = self.aliases.borrow_mut();
        let mut path = Vec::new();
        let mut id = first;
        loop {
            if let Some(known) = aliases.get(&id) {
                id = *known;
                break;
            }
            let Some(target) = self.alias(id) else {
                break;
            };
            // A cycle ends where it began.
            aliases.insert(id, target);
            path.push(id);
            id = target;
        }
        for passed in path {
            aliases.insert(passed, id);
        }
        // The first schema is only a place with a reference. There may be as many of those as there is text.
        aliases.remove(&first);
        ResolvedSchema {
            schema: Schema::One(id),
            is_shared: id != first,
        }
    }

    /// Returns the target of a schema that consists of a reference only.
    fn alias(&self, id: u32) -> Option<u32> {
        let schema = self.value(id);
        let target = self.document.referred(schema)?;
        self.fuel.take(4);
        let mut keywords = schema.members().filter_map(|(name, _)| name.as_str());
        let is_alias = keywords.all(|name| name == "$ref" || is_annotation(&name));
        is_alias.then_some(target.id())
    }

    /// Returns all limits of a schema.
    pub(super) fn limits(&self, schema: Schema) -> Limits<'a> {
        match schema {
            Schema::One(id) => self.limits_of(id),
            Schema::All(number) => {
                let list = Rc::clone(&self.lists.borrow().lists[number as usize]);
                let all = list.iter().map(|id| self.limits_of(*id));
                all.fold(Limits::none(), |all, one| self.merge(&all, &one))
            }
        }
    }

    /// Returns the limits of a schema, including those of the schemas that it refers to. The chain of references may be
    /// long, so they are kept in a list and not on the stack.
    fn limits_of(&self, id: u32) -> Limits<'a> {
        let mut asked = vec![self.own_limits(id)];
        let mut named = self.named.borrow_mut();
        loop {
            let Some(innermost) = asked.last_mut() else {
                return Limits::none();
            };
            let Some(target) = innermost.targets.pop() else {
                let Asked { id, limits, .. } = asked.pop().expect("the innermost");
                let Some(outer) = asked.last_mut() else {
                    return limits;
                };
                outer.limits = self.merge(&outer.limits, &limits);
                self.share(&limits);
                named.insert(id, Known::Answered(limits));
                continue;
            };
            match named.get(&target) {
                Some(Known::Answered(limits)) => {
                    innermost.limits = self.merge(&innermost.limits, limits);
                }
                Some(Known::Asked) => innermost.limits.sense = Sense::Unclear,
                None if self.fuel.is_out() => innermost.limits.sense = Sense::Unclear,
                None => {
                    named.insert(target, Known::Asked);
                    asked.push(self.own_limits(target));
                }
            }
        }
    }

    /// Returns the limits of a schema itself, and of those in its `allOf`.
    fn own_limits(&self, id: u32) -> Asked<'a> {
        let mut asked = Asked {
            id,
            limits: Limits::none(),
            targets: Vec::new(),
        };
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            self.fuel.take(8);
            let schema = self.value(id);
            let all = schema.list("allOf").into_iter().flatten();
            let first = left.len();
            left.extend(all.map(Value::id));
            // The last element is taken first.
            left[first..].reverse();
            let part = self.part(schema, &mut asked.targets);
            asked.limits = self.merge(&asked.limits, &part);
        }
        asked.targets.reverse();
        asked
    }

    /// Returns the limits of a schema itself. Adds the schemas that it refers to to `targets`.
    fn part(&self, schema: Value<'a>, targets: &mut Vec<u32>) -> Limits<'a> {
        if schema.as_bool() == Some(false) {
            return Limits {
                sense: Sense::Nothing,
                parts: self.ropes.borrow_mut().leaf(schema),
                ..Limits::none()
            };
        }
        let mut ropes = self.ropes.borrow_mut();
        let mut keywords = Vec::new();
        let (mut properties, mut required) = (Rope::EMPTY, Rope::EMPTY);
        for (keyword, value) in schema.members() {
            self.fuel.take(1);
            let keyword = keyword.as_str().unwrap_or_default();
            match keyword.as_ref() {
                "properties" => properties = ropes.leaf(value),
                "required" => required = ropes.leaf(value),
                "$ref" | "allOf" | "$schema" => {}
                name if is_annotation(name) => {}
                _ => keywords.push((keyword, value)),
            }
        }
        let mut limits = Limits {
            properties,
            required,
            ..Limits::with_keywords(keywords)
        };
        match (schema.get("$ref"), self.document.referred(schema)) {
            (Some(_), Some(target)) => targets.push(target.id()),
            (Some(_), None) => limits.sense = Sense::Unclear,
            (None, _) => {}
        }
        let says = limits.has_properties()
            || limits.required != Rope::EMPTY
            || !limits.keywords.is_empty()
            || limits.sense != Sense::Plain;
        if says {
            limits.parts = ropes.leaf(schema);
            limits.print = self.print(schema);
        }
        limits
    }

    /// Merges two limits.
    pub(super) fn merge(&self, one: &Limits<'a>, other: &Limits<'a>) -> Limits<'a> {
        self.fuel.take(1);
        match (one.says_nothing(), other.says_nothing()) {
            (true, _) => return other.clone(),
            (_, true) => return one.clone(),
            _ => {}
        }
        if !one.keywords.is_empty() && !other.keywords.is_empty() {
            self.fuel.take(one.keywords.len() + other.keywords.len());
        }
        let is_same = |one, other| self.print(one) == self.print(other);
        let (keywords, agree) = one.merged_keywords(other, is_same);
        let mut ropes = self.ropes.borrow_mut();
        let sense = if agree { Sense::Plain } else { Sense::Unclear };
        Limits {
            keywords,
            properties: ropes.join(one.properties, other.properties),
            required: ropes.join(one.required, other.required),
            parts: ropes.join(one.parts, other.parts),
            print: self.prints.keys().hash_one((one.print, other.print)),
            sense: sense.max(one.sense).max(other.sense),
        }
    }

    /// Records that other schemas may have the properties of this object, too.
    pub(super) fn share(&self, limits: &Limits<'a>) {
        self.shared.borrow_mut().insert(limits.properties);
    }

    /// Returns `true` if other schemas may have the properties of this object, too.
    pub(super) fn is_shared(&self, (properties, _): Object) -> bool {
        self.shared.borrow().contains(&properties)
    }

    /// Returns the properties of an object.
    pub(super) fn fields(&self, limits: &Limits<'a>) -> Rc<Fields> {
        let object = limits.object();
        if let Some(fields) = self.fields.borrow().get(&object) {
            return Rc::clone(fields);
        }
        let fields = Rc::new(self.find_fields(object));
        if self.is_shared(object) {
            self.fields.borrow_mut().insert(object, Rc::clone(&fields));
        }
        fields
    }

    fn find_fields(&self, (properties, required): Object) -> Fields {
        let required = self.values(required, usize::MAX);
        let required = required.iter().flat_map(|names| names.elements());
        let required = required.filter_map(|name| Some((name.as_str()?, name.id())));
        let mut required: HashMap<_, _> = required.collect();
        let mut all = Vec::new();
        for properties in self.values(properties, usize::MAX) {
            self.fuel.take(properties.len_bound() / 64);
            all.extend(properties.members().map(|(name, schema)| Field {
                name: name.id(),
                schema: Schema::One(schema.id()),
                is_required: false,
                is_listed: true,
            }));
        }
        self.fuel.take(4 * all.len());
        let mut by_name: Vec<_> = (0..all.len() as u32).collect();
        let name = |index: &u32| self.name(&all[*index as usize]);
        by_name.sort_by(|one, other| name(one).cmp(&name(other)));
        // A property with several schemas accepts what all of them accept.
        by_name.dedup_by(|later, first| {
            let (later, first) = (*later as usize, *first as usize);
            let is_same = self.name(&all[later]) == self.name(&all[first]);
            if is_same {
                all[first].schema = self.both(all[first].schema, all[later].schema);
                all[later].name = Field::REPEATED;
            }
            is_same
        });
        for index in &by_name {
            let field = &mut all[*index as usize];
            field.is_required = required.remove(&self.name(field)).is_some();
        }
        self.add_unlisted(&mut all, &mut by_name, required.into_values());
        Fields { all, by_name }
    }

    /// Adds the properties that only `required` names. `names` are the values of the names.
    fn add_unlisted(
        &self,
        all: &mut Vec<Field>,
        by_name: &mut Vec<u32>,
        names: impl ExactSizeIterator<Item = u32>,
    ) {
        if names.len() == 0 {
            return;
        }
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        self.fuel.take(4 * (names.len() + by_name.len()));
        let schema = self.schema(None);
        for name in names {
            by_name.push(all.len() as u32);
            all.push(Field {
                name,
                schema,
                is_required: true,
                is_listed: false,
            });
        }
        let name = |index: &u32| self.name(&all[*index as usize]);
        by_name.sort_by(|one, other| name(one).cmp(&name(other)));
    }

    /// Returns two schemas that apply together.
    fn both(&self, one: Schema, other: Schema) -> Schema {
        let ids = |schema: Schema| match schema {
            Schema::One(id) => vec![id],
            Schema::All(number) => self.lists.borrow().lists[number as usize].to_vec(),
        };
        self.list(&[ids(one), ids(other)].concat())
    }

    pub(super) fn name(&self, field: &Field) -> Cow<'a, str> {
        self.value(field.name).as_str().unwrap_or_default()
    }

    /// Returns the property with this name.
    pub(super) fn field<'f>(&self, fields: &'f Fields, name: &str) -> Option<&'f Field> {
        let field = |index: &u32| &fields.all[*index as usize];
        let found = fields
            .by_name
            .binary_search_by(|index| (*self.name(field(index))).cmp(name));
        found.ok().map(|place| field(&fields.by_name[place]))
    }

    /// Returns the fingerprint of the only value that a property accepts, if it is easy to find.
    pub(super) fn only(&self, field: &Field) -> Option<u64> {
        let Schema::One(id) = field.schema else {
            return None;
        };
        let [constant, values] = self.value(id).get_all(["const", "enum"]);
        let only = constant.or_else(|| {
            let mut values = values.filter(|values| values.is_array())?.elements();
            let first = values.next()?;
            values.is_empty().then_some(first)
        });
        only.map(|only| self.print(only))
    }
}

/// Returns `true` if a keyword does not restrict the accepted values.
fn is_annotation(keyword: &str) -> bool {
    const ANNOTATIONS: [&str; 9] = [
        "title",
        "description",
        "default",
        "examples",
        "$comment",
        "$id",
        "deprecated",
        "readOnly",
        "writeOnly",
    ];
    ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-")
}
