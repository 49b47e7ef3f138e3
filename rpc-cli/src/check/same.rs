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
    let own = [old, new].map(|document| Walk::run(document, &HashSet::new(), 0, &keys));
    let changed = changed([(old, &own[0]), (new, &own[1])]);
    let prints = |document, salt| Walk::run(document, &changed, salt, &keys);
    (prints(old, 1), prints(new, 2))
}

/// Computes the fingerprints of a document.
struct Walk<'w, 'a> {
    changed: &'w HashSet<Cow<'a, str>>,
    /// Makes references to a changed part differ between the documents.
    salt: u64,
    ids: Vec<u32>,
    prints: Vec<u64>,
    keys: &'w RandomState,
}

impl<'w, 'a> Walk<'w, 'a> {
    fn run(
        document: &Document,
        changed: &'w HashSet<Cow<'a, str>>,
        salt: u64,
        keys: &'w RandomState,
    ) -> Prints {
        let mut walk = Walk {
            changed,
            salt,
            ids: Vec::new(),
            prints: Vec::new(),
            keys,
        };
        walk.value(document.json().root());
        Prints {
            ids: walk.ids,
            prints: walk.prints,
            keys: keys.clone(),
        }
    }

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
        let is_changed = !self.changed.is_empty()
            && reference(value).is_some_and(|text| self.changed.contains(&text));
        let salt = if is_changed { self.salt } else { 0 };
        self.keys.hash_one(('{', all, salt))
    }
}

/// The parts of both documents that references lead to, as a graph.
#[derive(Default)]
struct Graph<'a> {
    /// The number of each reference by its text, which is the same in both documents.
    references: HashMap<Cow<'a, str>, usize>,
    /// The fingerprints of the targets in both documents. None for the numbers of parts.
    prints: Vec<[Option<u64>; 2]>,
    /// If the first one changes, the second one does, too.
    edges: Vec<(usize, usize)>,
}

impl<'a> Graph<'a> {
    fn add_node(&mut self) -> usize {
        self.prints.push([None; 2]);
        self.prints.len() - 1
    }

    fn reference(&mut self, value: Value<'a>) -> Option<usize> {
        let text = reference(value)?;
        if let Some(number) = self.references.get(&text) {
            return Some(*number);
        }
        let number = self.add_node();
        self.references.insert(text, number);
        Some(number)
    }

    /// Adds the references of a document, and the parts that they lead to.
    fn add(&mut self, side: usize, document: &'a Document, own: &Prints) {
        let mut parts = HashMap::new();
        for (value, target) in document.json().references() {
            let Some(number) = self.reference(value) else {
                continue;
            };
            let part = *parts.entry(target.id()).or_insert_with(|| self.add_node());
            self.edges.push((part, number));
            self.prints[number][side] = Some(own.of(target));
        }
        // The parts around the current value, the innermost last, and their ends.
        let mut around: Vec<(usize, u32)> = Vec::new();
        for value in document.json().root().containers() {
            while around.last().is_some_and(|(_, end)| *end <= value.id()) {
                around.pop();
            }
            if let Some(part) = parts.get(&value.id()) {
                self.edges
                    .extend(around.last().map(|(outer, _)| (*part, *outer)));
                around.push((*part, value.end_id()));
            }
            if let (Some((part, _)), Some(number)) = (around.last(), self.reference(value)) {
                self.edges.push((number, *part));
            }
        }
    }
}

/// Returns the texts of the references whose targets differ between the documents, or refer to parts that do.
fn changed<'a>(documents: [(&'a Document, &Prints); 2]) -> HashSet<Cow<'a, str>> {
    let mut graph = Graph::default();
    for (side, (document, own)) in documents.into_iter().enumerate() {
        graph.add(side, document, own);
    }
    let Graph {
        references,
        prints,
        mut edges,
    } = graph;
    edges.sort_unstable();
    edges.dedup();
    let mut is_changed: Vec<_> = prints.iter().map(|[old, new]| old != new).collect();
    let mut left: Vec<_> = (0..is_changed.len())
        .filter(|index| is_changed[*index])
        .collect();
    while let Some(from) = left.pop() {
        let first = edges.partition_point(|(other, _)| *other < from);
        let to = edges[first..]
            .iter()
            .take_while(|(other, _)| *other == from);
        for (_, to) in to {
            if !std::mem::replace(&mut is_changed[*to], true) {
                left.push(*to);
            }
        }
    }
    let changed = references
        .into_iter()
        .filter(|(_, number)| is_changed[*number]);
    changed.map(|(text, _)| text).collect()
}
