//! Finds the schemas that mean the same in both documents, so that they need not be compared.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use crate::document::Document;
use crate::json::{Type, Value};
use crate::schema::reference;

/// The fingerprints of the values of a document. They equal those of the other document if the values and the types
/// that they refer to are equal. The keys of the hash are random, so that no document can be crafted with false
/// matches.
pub(super) struct Prints {
    /// The ids of the arrays and objects, in the order of the document.
    ids: Vec<u32>,
    prints: Vec<u64>,
    keys: RandomState,
}

impl Prints {
    pub(super) fn keys(&self) -> &RandomState {
        &self.keys
    }

    /// Returns the fingerprint of a value of the document.
    pub(super) fn of(&self, value: Value<'_>) -> u64 {
        match self.ids.binary_search(&value.id()) {
            Ok(index) => self.prints[index],
            Err(_) => value.fingerprint(&self.keys),
        }
    }
}

/// Returns the fingerprints of both documents.
pub(super) fn fingerprints(old: &Document, new: &Document) -> (Prints, Prints) {
    let keys = RandomState::new();
    let changed = changed(old, new, &keys);
    let prints = |document, salt| {
        let mut walk = Walk {
            changed: &changed,
            salt,
            ids: Vec::new(),
            prints: Vec::new(),
            keys: &keys,
        };
        walk.value(Document::json(document).root());
        Prints {
            ids: walk.ids,
            prints: walk.prints,
            keys: keys.clone(),
        }
    };
    (prints(old, 1), prints(new, 2))
}

/// Computes the fingerprints of a document.
struct Walk<'w, 'a> {
    changed: &'w HashSet<Cow<'a, str>>,
    /// Makes references to a changed type differ between the documents.
    salt: u64,
    ids: Vec<u32>,
    prints: Vec<u64>,
    keys: &'w RandomState,
}

impl Walk<'_, '_> {
    fn value(&mut self, value: Value<'_>) -> u64 {
        if !matches!(value.kind(), Type::Array | Type::Object) {
            return value.fingerprint(self.keys);
        }
        let index = self.ids.len();
        self.ids.push(value.id());
        self.prints.push(0);
        let print = match value.kind() {
            Type::Array => {
                let ordered = value.elements().fold(0, |all, element| {
                    let element = self.value(element);
                    self.keys.hash_one((all, element))
                });
                self.keys.hash_one(('[', ordered))
            }
            _ => self.object(value),
        };
        self.prints[index] = print;
        print
    }

    fn object(&mut self, value: Value<'_>) -> u64 {
        let mut all: u64 = 0;
        for (name, member) in value.members() {
            let member = (name.fingerprint(self.keys), self.value(member));
            all = all.wrapping_add(self.keys.hash_one(member));
        }
        let is_changed = reference(value).is_some_and(|name| self.changed.contains(&name));
        let salt = if is_changed { self.salt } else { 0 };
        self.keys.hash_one(('{', all, salt))
    }
}

/// Returns the names of the types that differ between the documents, or that refer to such types.
fn changed<'a>(old: &'a Document, new: &'a Document, keys: &RandomState) -> HashSet<Cow<'a, str>> {
    let mut types: HashMap<Cow<'a, str>, usize> = HashMap::new();
    let mut prints: Vec<[Option<u64>; 2]> = Vec::new();
    for (side, document) in [old, new].into_iter().enumerate() {
        for (name, schema) in document.schemas() {
            let index = *types.entry(text(name)).or_insert(prints.len());
            if index == prints.len() {
                prints.push([None; 2]);
            }
            prints[index][side] = Some(schema.fingerprint(keys));
        }
    }
    // Each referenced type, with the type that refers to it.
    let mut references = Vec::new();
    for (name, schema) in old.schemas().chain(new.schemas()) {
        let from = types[&text(name)];
        let names = schema.containers().filter_map(reference);
        let indexes = names.filter_map(|name| types.get(&name));
        references.extend(indexes.map(|to| (*to, from)));
    }
    references.sort_unstable();
    references.dedup();
    let is_same = |[old, new]: &[Option<u64>; 2]| old == new;
    let mut is_changed: Vec<_> = prints.iter().map(|prints| !is_same(prints)).collect();
    let mut left: Vec<_> = (0..is_changed.len())
        .filter(|index| is_changed[*index])
        .collect();
    while let Some(to) = left.pop() {
        let first = references.partition_point(|(other, _)| *other < to);
        let from = references[first..]
            .iter()
            .take_while(|(other, _)| *other == to);
        for (_, from) in from {
            if !std::mem::replace(&mut is_changed[*from], true) {
                left.push(*from);
            }
        }
    }
    types.retain(|_, index| is_changed[*index]);
    types.into_keys().collect()
}

fn text(name: Value<'_>) -> Cow<'_, str> {
    name.as_str().unwrap_or_default()
}
