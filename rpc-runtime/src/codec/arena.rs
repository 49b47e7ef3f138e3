//! Memory that few messages need: bytes that arguments borrow and that do not stand in the message as they are, and the
//! offsets of values.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codec::milestones::Milestones;

type Slot = OnceLock<Box<[u8]>>;

/// Each group has twice the slots of the one before, so that no slot ever moves.
const GROUPS: usize = 32;

/// Memory that is released all at once. Takes none before it is used.
#[derive(Debug, Default)]
pub(crate) struct Arena(OnceLock<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    groups: [OnceLock<Box<[Slot]>>; GROUPS],
    taken: AtomicUsize,
    milestones: OnceLock<Milestones>,
}

impl Arena {
    /// Keeps `bytes` for as long as the arena. Returns `None` if it is full.
    pub(crate) fn keep(&self, bytes: Vec<u8>) -> Option<&[u8]> {
        let kept = self.0.get_or_init(Box::default);
        let number = kept.taken.fetch_add(1, Ordering::Relaxed);
        let number = number.checked_add(1)?;
        let group = number.checked_ilog2()?;
        let size = 1_usize.checked_shl(group)?;
        let group = kept.groups.get(group as usize)?;
        let group = group.get_or_init(|| (0..size).map(|_| Slot::new()).collect());
        let slot = group.get(number.checked_sub(size)?)?;
        Some(slot.get_or_init(|| bytes.into()))
    }

    /// Returns the milestones of the first message that asks for some.
    pub(super) fn milestones(&self, find: impl FnOnce() -> Milestones) -> &Milestones {
        self.0
            .get_or_init(Box::default)
            .milestones
            .get_or_init(find)
    }

    /// Releases everything.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.0.get().is_some() {
            self.release();
        }
    }

    #[cold]
    #[inline(never)]
    fn release(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_bytes_stay_where_they_are() {
        let mut arena = Arena::default();
        let kept: Vec<_> = (0..1000_u32)
            .map(|number| arena.keep(number.to_le_bytes().to_vec()).unwrap())
            .collect();
        for (number, bytes) in (0..1000_u32).zip(kept) {
            assert_eq!(bytes, number.to_le_bytes());
        }
        arena.clear();
        assert_eq!(arena.keep(vec![7]).unwrap(), [7]);
    }
}
