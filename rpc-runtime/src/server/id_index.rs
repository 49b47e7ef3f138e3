//! Finds entries of a table by the ids of their calls, in time that does not depend on the number of entries.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use rustc_hash::FxBuildHasher;

use crate::codec::id::Id;

/// An id with its hash, which is computed once and used for several tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct HashedId<'a> {
    pub(super) id: Id<'a>,
    hash: u64,
}

impl<'a> HashedId<'a> {
    pub(super) fn new(id: Id<'a>) -> Self {
        /// Seeded randomly, so that a peer cannot choose ids with equal hashes.
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = HASHER.hash_one(id);
        Self { id, hash }
    }
}

/// The slots of a table by the hashes of their ids. Slots of equal ids form a chain.
#[derive(Debug, Default)]
pub(super) struct IdIndex {
    /// The first slot of each chain.
    first: HashMap<u64, usize, FxBuildHasher>,
    /// Links by slot.
    links: Vec<IndexLink>,
}

/// The position of a slot in its chain.
#[derive(Debug, Default, Clone, Copy)]
struct IndexLink {
    /// `None` while the slot is in no chain.
    hash: Option<u64>,
    previous: Option<usize>,
    next: Option<usize>,
}

impl IdIndex {
    /// Adds a slot that is in no chain.
    pub(super) fn insert(&mut self, slot: usize, id: Id<'_>) {
        let HashedId { hash, .. } = HashedId::new(id);
        let next = self.first.insert(hash, slot);
        if let Some(next) = next {
            self.links[next].previous = Some(slot);
        }
        if self.links.len() <= slot {
            self.links.resize(slot + 1, IndexLink::default());
        }
        self.links[slot] = IndexLink {
            hash: Some(hash),
            previous: None,
            next,
        };
    }

    /// Removes a slot, if it is in a chain.
    pub(super) fn remove(&mut self, slot: usize) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let IndexLink {
            hash,
            previous,
            next,
        } = std::mem::take(link);
        let Some(hash) = hash else { return };
        if let Some(next) = next {
            self.links[next].previous = previous;
        }
        match (previous, next) {
            (Some(previous), _) => self.links[previous].next = next,
            (None, Some(next)) => {
                self.first.insert(hash, next);
            }
            (None, None) => {
                self.first.remove(&hash);
            }
        }
    }

    /// Returns the slots that may have this id, the most recent slot first.
    pub(super) fn find(&self, id: HashedId<'_>) -> impl Iterator<Item = usize> {
        let first = self.first.get(&id.hash).copied();
        std::iter::successors(first, |slot| self.links[*slot].next)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn find(index: &IdIndex, id: Id<'_>) -> HashSet<usize> {
        let found: Vec<_> = index.find(HashedId::new(id)).collect();
        let slots: HashSet<_> = found.iter().copied().collect();
        assert_eq!(slots.len(), found.len(), "{found:?}");
        slots
    }

    proptest! {
        #[test]
        fn slots_are_found_by_the_ids_that_they_were_entered_with(
            steps in prop::collection::vec((0usize..8, 0u64..4, any::<bool>()), 0..60),
        ) {
            let mut index = IdIndex::default();
            let mut expected: [Option<u64>; 8] = [None; 8];
            for (slot, id, inserts) in steps {
                index.remove(slot);
                expected[slot] = inserts.then_some(id);
                if inserts {
                    index.insert(slot, Id::Unsigned(id));
                }
                for id in 0..4 {
                    let slots = (0..8).filter(|slot| expected[*slot] == Some(id));
                    prop_assert_eq!(find(&index, Id::Unsigned(id)), slots.collect());
                }
            }
        }
    }

    #[test]
    fn ids_of_different_kinds_are_different() {
        let mut index = IdIndex::default();
        let ids = [Id::Null, Id::Unsigned(1), Id::Signed(-1), Id::String("1")];
        for (slot, id) in ids.into_iter().enumerate() {
            index.insert(slot, id);
        }
        for (slot, id) in ids.into_iter().enumerate() {
            assert_eq!(find(&index, id), HashSet::from([slot]));
        }
        assert_eq!(find(&index, Id::String("")), HashSet::new());
    }
}
