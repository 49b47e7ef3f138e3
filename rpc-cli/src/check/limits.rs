//! Combines the keywords of several schemas.

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;

use crate::json::Value;

/// The keywords of a schema, combined with those of the schemas that it refers to and of its `allOf`.
///
/// Many schemas may refer to a long one, so their common parts are shared, not copied.
#[derive(Debug, Clone)]
pub(super) struct Limits<'a> {
    /// The keywords except those below, in their order.
    pub(super) keywords: Rc<[Keyword<'a>]>,
    /// The values of the keywords `properties` and `required`.
    pub(super) properties: Rope,
    pub(super) required: Rope,
    /// The schemas with any keywords.
    pub(super) parts: Rope,
    /// The fingerprint, which is equal for schemas that mean the same in both documents.
    pub(super) print: u64,
    pub(super) sense: Sense,
}

/// The positions of an object's properties and of its `required` lists.
pub(super) type Object = (Rope, Rope);

pub(super) type Keyword<'a> = (Cow<'a, str>, Value<'a>);

/// The meaning of the combined keywords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sense {
    Plain,
    /// The schema that it refers to is missing, it is a part of itself, or two parts have different values for one
    /// keyword.
    Unclear,
    /// No value is accepted.
    Nothing,
}

impl<'a> Limits<'a> {
    pub(super) fn none() -> Self {
        Self {
            keywords: Rc::default(),
            properties: Rope::EMPTY,
            required: Rope::EMPTY,
            parts: Rope::EMPTY,
            print: 0,
            sense: Sense::Plain,
        }
    }

    /// Creates limits from keywords in any order. Of several with the same name in a schema the last counts.
    pub(super) fn with_keywords(mut keywords: Vec<Keyword<'a>>) -> Self {
        keywords.sort_by(|(one, _), (other, _)| one.cmp(other));
        keywords.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 = later.1;
            }
            is_same
        });
        Self {
            keywords: keywords.into(),
            ..Self::none()
        }
    }

    /// Returns `true` if every value is accepted.
    pub(super) fn says_nothing(&self) -> bool {
        self.parts == Rope::EMPTY && self.sense == Sense::Plain
    }

    /// Returns `true` if this is the only keyword.
    pub(super) fn says_only(&self, keyword: &str) -> bool {
        matches!(&*self.keywords, [(only, _)] if only == keyword)
            && self.properties == Rope::EMPTY
            && self.required == Rope::EMPTY
    }

    pub(super) fn get(&self, keyword: &str) -> Option<Value<'a>> {
        let found = self
            .keywords
            .binary_search_by(|(own, _)| (**own).cmp(keyword));
        found.ok().map(|index| self.keywords[index].1)
    }

    /// Returns what identifies the properties of an object.
    pub(super) fn object(&self) -> Object {
        (self.properties, self.required)
    }

    pub(super) fn has_properties(&self) -> bool {
        self.properties != Rope::EMPTY
    }

    /// Returns the limits without a keyword.
    pub(super) fn without(&self, keyword: &str) -> Self {
        let others = self.keywords.iter().filter(|(own, _)| own != keyword);
        Self {
            keywords: others.cloned().collect(),
            ..self.clone()
        }
    }

    /// Returns all keywords of both, and `true` if no keyword has different values. `is_same` compares the values of a
    /// keyword.
    pub(super) fn merged_keywords(
        &self,
        other: &Self,
        is_same: impl Fn(Value<'a>, Value<'a>) -> bool,
    ) -> (Rc<[Keyword<'a>]>, bool) {
        if other.keywords.is_empty() {
            return (Rc::clone(&self.keywords), true);
        }
        if self.keywords.is_empty() {
            return (Rc::clone(&other.keywords), true);
        }
        let mut all: Vec<_> = self.keywords.iter().chain(&*other.keywords).collect();
        // Both lists are sorted, so equal names are adjacent afterwards.
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut agree = true;
        all.dedup_by(|(later, value), (kept, first)| {
            let is_twice = later == kept;
            agree &= !is_twice || is_same(*value, *first);
            is_twice
        });
        (all.into_iter().cloned().collect(), agree)
    }
}

/// A list of values that shares its parts with other lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rope(u32);

impl Rope {
    pub(super) const EMPTY: Self = Self(0);
}

/// All ropes of a document.
#[derive(Debug, Default)]
pub(super) struct Ropes(Vec<Node>);

#[derive(Debug, Clone, Copy)]
enum Node {
    /// The id of a value.
    Leaf(u32),
    Join(Rope, Rope),
}

impl Ropes {
    pub(super) fn leaf(&mut self, value: Value<'_>) -> Rope {
        self.add(Node::Leaf(value.id()))
    }

    pub(super) fn join(&mut self, one: Rope, other: Rope) -> Rope {
        match (one, other) {
            (Rope::EMPTY, rope) | (rope, Rope::EMPTY) => rope,
            (one, other) if one == other => one,
            (one, other) => self.add(Node::Join(one, other)),
        }
    }

    fn add(&mut self, node: Node) -> Rope {
        self.0.push(node);
        Rope(self.0.len() as u32)
    }

    /// Returns the ids of the first `most` values of a rope, with each part once.
    pub(super) fn ids(&self, rope: Rope, most: usize) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut seen = HashSet::new();
        let mut left = vec![rope];
        while let (Some(rope), true) = (left.pop(), ids.len() < most) {
            if rope == Rope::EMPTY || !seen.insert(rope) {
                continue;
            }
            match self.0[rope.0 as usize - 1] {
                Node::Leaf(id) => ids.push(id),
                Node::Join(one, other) => left.extend([other, one]),
            }
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    #[test]
    fn rope_has_the_values_of_its_parts_in_order_and_each_once() {
        let json = Json::parse("[0,1,2]".into()).unwrap();
        let mut ropes = Ropes::default();
        let leaves: Vec<_> = json
            .root()
            .elements()
            .map(|value| ropes.leaf(value))
            .collect();
        let ids: Vec<_> = json.root().elements().map(|value| value.id()).collect();
        let mut rope = ropes.join(leaves[0], leaves[1]);
        assert_eq!(ropes.ids(rope, 9), ids[..2]);
        assert_eq!(ropes.join(rope, Rope::EMPTY), rope);
        // The rope would double each time if parts counted repeatedly.
        for _ in 0..100_000 {
            let other = ropes.join(rope, leaves[2]);
            rope = ropes.join(other, rope);
        }
        assert_eq!(ropes.ids(rope, 9), ids);
        assert_eq!(ropes.ids(rope, 1), ids[..1]);
        assert_eq!(ropes.ids(Rope::EMPTY, 9), [0; 0]);
    }
}
