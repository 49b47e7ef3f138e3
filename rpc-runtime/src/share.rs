//! Limits the part of a number of slots that one peer may take.

/// The part of a number of slots that one peer may take.
///
/// A peer takes one more slot only while it holds fewer than `k · free² / total`, where `k` is chosen so that a single peer
/// stops at its share. The more slots are taken, the fewer slots each peer may hold. If `n` peers never return a slot,
/// they leave about `total / (1 + k · n)` slots free. This number shrinks in proportion to the number of peers, and not by
/// a constant factor for each of them. So a peer without slots finds a free slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// `total / k`.
    weight: f64,
}

impl Share {
    /// The share of an unlimited peer, which is all slots.
    pub(crate) const ALL: Self = Self { weight: 0.0 };

    /// Returns the share of a peer that takes this percentage of `total` slots while it is the only peer.
    pub(crate) fn new(percent: usize, total: usize) -> Self {
        let part = percent.clamp(1, 100) as f64 / 100.0;
        let left = 1.0 - part;
        let weight = total as f64 * left * left / part;
        Self {
            // Positive, so that of two unlimited peers the peer that holds more slots has the higher load.
            weight: weight.max(f64::MIN_POSITIVE),
        }
    }

    /// Returns the load of a peer that holds this number of slots. It is finite and not negative.
    pub(crate) fn load(self, held: usize) -> f64 {
        self.weight * held as f64
    }
}

/// Returns `true` if a peer with this load may take one of the free slots.
pub(crate) fn admits(load: f64, free: usize) -> bool {
    let free = free as f64;
    load < free * free
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the number of free slots that a peer takes until it may take no more.
    fn taken(share: Share, free: usize) -> usize {
        let count = (0..=free).find(|held| !admits(share.load(*held), free - held));
        count.unwrap()
    }

    #[test]
    fn peer_that_is_alone_takes_its_share() {
        for (percent, total, taken_alone) in [
            (50, 4096, 2048),
            (75, 4096, 3072),
            (50, 2, 1),
            (50, 1, 1),
            (50, 7, 4),
            (100, 4096, 4096),
            (1, 4096, 41),
            // Outside the range of percentages.
            (0, 100, 1),
            (200, 100, 100),
        ] {
            assert_eq!(
                taken(Share::new(percent, total), total),
                taken_alone,
                "{percent} % of {total}"
            );
        }
        assert_eq!(taken(Share::ALL, 10), 10);
    }

    #[test]
    fn sixty_four_peers_that_release_nothing_leave_free_slots() {
        let share = Share::new(50, 4096);
        let mut free = 4096;
        for peers in 1..=64 {
            free -= taken(share, free);
            assert!(free >= 4096 / (1 + 2 * peers) - 16, "{peers}: {free}");
        }
        assert!(free >= 16);
    }

    proptest! {
        #[test]
        fn peer_without_a_slot_is_admitted_while_one_is_free(
            percent in 0..=200usize,
            total in 1..=usize::MAX,
            free in 0..=usize::MAX,
        ) {
            let share = Share::new(percent, total);
            prop_assert_eq!(admits(share.load(0), free), free > 0);
        }

        #[test]
        fn load_grows_with_the_slots_held_and_stays_finite(
            percent in 0..=200usize,
            total in 1..=usize::MAX,
            held in 0..usize::MAX,
        ) {
            let share = Share::new(percent, total);
            prop_assert!(share.load(held) >= 0.0 && share.load(held).is_finite());
            prop_assert!(share.load(held) <= share.load(held + 1));
            prop_assert!(share.load(0) < share.load(1));
        }
    }
}
