//! A table of reused values. A freed slot keeps its value, including buffers, for the next owner.

/// Slots by number.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<T>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Default> Slots<T> {
    /// Returns the number of a free slot, which is in use until [`free`](Self::free).
    pub(crate) fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(T::default());
            self.slots.len() - 1
        })
    }

    /// Frees a slot. The caller must own the slot, and must free it only once.
    pub(crate) fn free(&mut self, slot: usize) {
        debug_assert!(slot < self.slots.len());
        self.free.push(slot);
    }

    /// Returns the value of a slot.
    ///
    /// # Panics
    /// Panics if no such slot was ever taken.
    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut T {
        &mut self.slots[slot]
    }

    /// Returns the value of a slot whose number a peer has sent. Returns `None` if no such slot was ever taken.
    pub(crate) fn try_get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)
    }

    /// Returns the number of slots in use.
    pub(crate) fn used(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Returns all values, including those of free slots.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut()
    }

    /// Releases all memory if no slot is in use. Returns `true` if it did.
    pub(crate) fn release_if_unused(&mut self) -> bool {
        let is_unused = self.used() == 0;
        if is_unused {
            *self = Self::default();
        }
        is_unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_slot_is_taken_next_with_its_value() {
        let mut slots = Slots::<String>::default();
        let (first, second) = (slots.take(), slots.take());
        assert_ne!(first, second);
        slots.get_mut(first).push_str("kept");
        slots.free(first);
        assert_eq!(slots.take(), first);
        assert_eq!(slots.get_mut(first), "kept");
    }

    #[test]
    fn memory_is_released_only_while_no_slot_is_in_use() {
        let mut slots = Slots::<String>::default();
        let slot = slots.take();
        slots.release_if_unused();
        assert_eq!(slots.iter_mut().count(), 1);
        slots.free(slot);
        slots.release_if_unused();
        assert_eq!(slots.iter_mut().count(), 0);
    }
}
