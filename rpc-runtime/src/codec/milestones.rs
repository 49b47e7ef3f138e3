//! The offsets of some values in the text of a message.

/// The offsets of some values in the text of one message.
#[derive(Debug)]
pub(super) struct Milestones {
    /// The address of the tape.
    pub(super) tape: usize,
    pub(super) places: Vec<Milestone>,
}

/// The offset of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Milestone {
    pub(super) index: u32,
    pub(super) offset: u32,
}

impl Milestones {
    /// Returns the last milestone up to the value with this index.
    pub(super) fn before(&self, index: usize) -> Option<Milestone> {
        let is_before = |place: &Milestone| place.index as usize <= index;
        let behind = self.places.partition_point(is_before);
        self.places.get(behind.checked_sub(1)?).copied()
    }
}
