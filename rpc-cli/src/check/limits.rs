//! What schemas say together.

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;

use crate::json::Value;

/// What a schema says, and what those say that hold beside it: what it refers to, and those of its `allOf`.
///
/// Many schemas may refer to one that is long, so that what they have in common is shared and not copied.
#[derive(Debug, Clone)]
pub(super) struct Limits<'a> {
    /// Besides those below, in their order.
    pub(super) keywords: Rc<[Keyword<'a>]>,
    /// The values of the keyword `properties`, and of `required`.
    pub(super) properties: Rope,
    pub(super) required: Rope,
    /// The schemas that say something.
    pub(super) parts: Rope,
    /// The same for what means the same in both documents.
    pub(super) print: u64,
    pub(super) sense: Sense,
}

/// Where the properties of an object are, and what says which are required.
pub(super) type Object = (Rope, Rope);

pub(super) type Keyword<'a> = (Cow<'a, str>, Value<'a>);

/// Whether it can be said in one schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sense {
    Plain,
    /// What it refers to is missing, it is a part of itself, or two parts say different things in one way.
    Unclear,
    /// No value is taken.
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

    /// With keywords in any order. Of several of one name in a schema the last counts.
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

    /// Whether everything is taken.
    pub(super) fn says_nothing(&self) -> bool {
        self.parts == Rope::EMPTY && self.sense == Sense::Plain
    }

    /// Whether a keyword is all that is said.
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

    /// What tells the properties of an object from those of others.
    pub(super) fn object(&self) -> Object {
        (self.properties, self.required)
    }

    pub(super) fn has_properties(&self) -> bool {
        self.properties != Rope::EMPTY
    }

    /// What is said without a keyword.
    pub(super) fn without(&self, keyword: &str) -> Self {
        let others = self.keywords.iter().filter(|(own, _)| own != keyword);
        Self {
            keywords: others.cloned().collect(),
            ..self.clone()
        }
    }

    /// All keywords of both; `is_same` says whether values that stand under one keyword are the same. The second value says
    /// whether all of them are.
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
        // Both are in order, and those of one name stand together then.
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

/// A list of values that shares its parts with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rope(u32);

impl Rope {
    pub(super) const EMPTY: Self = Self(0);
}

/// The ropes of a document.
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

    /// The ids of the first values of a rope, each part once.
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
        // Twice as many, if each counted as often as it is there.
        for _ in 0..100_000 {
            let other = ropes.join(rope, leaves[2]);
            rope = ropes.join(other, rope);
        }
        assert_eq!(ropes.ids(rope, 9), ids);
        assert_eq!(ropes.ids(rope, 1), ids[..1]);
        assert_eq!(ropes.ids(Rope::EMPTY, 9), [0; 0]);
    }
}
