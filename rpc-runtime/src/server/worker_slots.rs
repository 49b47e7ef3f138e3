//! The workers of a stream: which of them wait for the receiver, and how it is handed over.

use std::task::{Context, Waker};

use crate::codec::steps;
use crate::server::recv::Receiver;
use crate::slots::Slots;
use crate::waker::WakerSlot;

/// A slot for every worker of a stream.
#[derive(Default)]
pub(super) struct WorkerSlots {
    slots: Slots<WorkerSlot>,
    /// Slots of workers that wait for the receiver. The last one has parked last: its buffers are the warmest.
    parked: Vec<usize>,
    /// The fewest that were parked at once since [`dismiss_unused`](Self::dismiss_unused).
    unused: usize,
    /// How many workers are in the middle of a message, the one that holds the receiver included.
    pub(super) busy: usize,
}

#[derive(Default)]
struct WorkerSlot {
    /// The receiver, on its way to this worker.
    receiver: Option<Box<Receiver>>,
    waker: WakerSlot,
    is_dismissed: bool,
}

/// What a parked worker does next.
pub(super) enum Unparked {
    /// It holds the receiver now.
    Receiver(Box<Receiver>),
    /// It ends: it was idle, and other workers are left.
    Dismissed,
}

impl WorkerSlots {
    /// Enters a new worker and returns its slot.
    pub(super) fn enter(&mut self) -> usize {
        self.slots.take()
    }

    /// Parks the worker of this slot.
    pub(super) fn park(&mut self, slot: usize) {
        self.busy -= 1;
        self.parked.push(slot);
    }

    /// Hands the receiver over to a parked worker, and returns what wakes it; the receiver comes back if none is parked.
    pub(super) fn hand_over(
        &mut self,
        receiver: Box<Receiver>,
    ) -> Result<Option<Waker>, Box<Receiver>> {
        self.busy += 1;
        let Some(slot) = self.parked.pop() else {
            return Err(receiver);
        };
        self.unused = self.unused.min(self.parked.len());
        let slot = self.slots.get_mut(slot);
        slot.receiver = Some(receiver);
        Ok(slot.waker.take())
    }

    /// What the parked worker of this slot does next, if anything.
    pub(super) fn unpark(&mut self, number: usize) -> Option<Unparked> {
        let slot = self.slots.get_mut(number);
        if let Some(receiver) = slot.receiver.take() {
            return Some(Unparked::Receiver(receiver));
        }
        if !slot.is_dismissed {
            return None;
        }
        *slot = WorkerSlot::default();
        self.slots.free(number);
        Some(Unparked::Dismissed)
    }

    /// Dismisses parked workers, all but `keep` of them.
    pub(super) fn dismiss_parked(&mut self, keep: usize) {
        let keep = self.parked.len().min(keep);
        for slot in self.parked.drain(keep..) {
            self.slots.get_mut(slot).is_dismissed = true;
        }
    }

    /// Dismisses the workers that have been parked since the last time, all but `keep` of those that are.
    pub(super) fn dismiss_unused(&mut self, keep: usize) {
        // The first have been parked for the longest.
        let unused = self.unused.min(self.parked.len().saturating_sub(keep));
        for slot in self.parked.drain(..unused) {
            self.slots.get_mut(slot).is_dismissed = true;
        }
        self.unused = self.parked.len();
    }

    /// Wakes the worker of this slot with the next [`wake_all`](Self::wake_all).
    pub(super) fn set_waker(&mut self, slot: usize, cx: &Context<'_>) {
        // The task of a worker owns no other stream: its waker may be dropped under the lock.
        drop(self.slots.get_mut(slot).waker.register(cx));
    }

    pub(super) fn wake_all(&mut self) {
        for slot in self.slots.iter_mut() {
            steps::step();
            slot.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}
