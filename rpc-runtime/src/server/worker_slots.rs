//! The workers of a stream: which workers wait for the receiver, and how it is handed over.

use std::task::{Context, Waker};

use crate::codec::steps;
use crate::server::recv::Receiver;
use crate::slots::Slots;
use crate::waker::WakerSlot;

/// The slots of the workers of a stream.
#[derive(Default)]
pub(super) struct WorkerSlots {
    slots: Slots<WorkerSlot>,
    /// Slots of the workers that wait for the receiver. The last slot was parked most recently, so its buffers are most
    /// likely cached.
    parked: Vec<usize>,
    /// Minimum number of parked workers since the last [`dismiss_unused`](Self::dismiss_unused).
    unused: usize,
    /// Number of workers that serve a message, including the worker that holds the receiver.
    pub(super) busy: usize,
}

#[derive(Default)]
struct WorkerSlot {
    /// The receiver, while it is handed over to this worker.
    receiver: Option<Box<Receiver>>,
    waker: WakerSlot,
    is_dismissed: bool,
}

/// The next action of a parked worker.
pub(super) enum Unparked {
    /// The worker holds the receiver now.
    Receiver(Box<Receiver>),
    /// The worker ends: it was idle, and there are other workers.
    Dismissed,
}

impl WorkerSlots {
    /// Adds a new worker and returns its slot.
    pub(super) fn enter(&mut self) -> usize {
        self.slots.take()
    }

    /// Parks the worker of this slot.
    pub(super) fn park(&mut self, slot: usize) {
        self.busy -= 1;
        self.parked.push(slot);
    }

    /// Hands the receiver over to a parked worker, and returns its waker. Returns the receiver if no worker is parked.
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

    /// Returns the next action of the parked worker of this slot, if it must stop waiting.
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

    /// Dismisses parked workers except for `keep` of them.
    pub(super) fn dismiss_parked(&mut self, keep: usize) {
        let keep = self.parked.len().min(keep);
        for slot in self.parked.drain(keep..) {
            self.slots.get_mut(slot).is_dismissed = true;
        }
    }

    /// Dismisses the workers that were parked since the last call, but keeps at least `keep` parked workers.
    pub(super) fn dismiss_unused(&mut self, keep: usize) {
        // The first slots were parked for the longest time.
        let unused = self.unused.min(self.parked.len().saturating_sub(keep));
        for slot in self.parked.drain(..unused) {
            self.slots.get_mut(slot).is_dismissed = true;
        }
        self.unused = self.parked.len();
    }

    /// Registers the waker of this slot's worker for the next [`wake_all`](Self::wake_all).
    pub(super) fn set_waker(&mut self, slot: usize, cx: &Context<'_>) {
        // The task of a worker owns no other stream, so its waker may be dropped under the lock.
        drop(self.slots.get_mut(slot).waker.register(cx));
    }

    pub(super) fn wake_all(&mut self) {
        for slot in self.slots.iter_mut() {
            steps::step();
            slot.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}
