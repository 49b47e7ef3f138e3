//! The permits of a server, one for each call that may run, and the number of permits that each address holds.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::share::{Share, admits};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The permits of a server. The number of taken permits never exceeds the total.
#[derive(Debug)]
pub(super) struct ServerPermits {
    max: usize,
    taken: AtomicUsize,
}

impl ServerPermits {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            taken: AtomicUsize::new(0),
        }
    }

    fn try_take(&self, load: f64) -> bool {
        let take = |taken: usize| {
            let free = self.max.saturating_sub(taken);
            admits(load, free).then_some(taken + 1)
        };
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
    }

    /// Returns `true` if all permits are taken.
    pub(super) fn is_full(&self) -> bool {
        self.taken.load(Ordering::SeqCst) >= self.max
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// The permits that all addresses of a network hold.
#[derive(Debug)]
pub(super) struct NetworkPermits {
    /// `None` for peers without an address.
    pub(super) prefix: Option<IpAddr>,
    share: Share,
    held: AtomicUsize,
}

impl NetworkPermits {
    pub(super) fn new(prefix: Option<IpAddr>, share: Share) -> Arc<Self> {
        Arc::new(Self {
            prefix,
            share,
            held: AtomicUsize::new(0),
        })
    }
}

/// The permits that the calls of an address hold.
#[derive(Debug)]
pub(super) struct AddressPermits {
    pub(super) network: Arc<NetworkPermits>,
    share: Share,
    held: AtomicUsize,
    /// Held by the one call of the address that waits for a permit. Calls obtain it in the order of their arrival.
    pub(super) turn: Semaphore,
    /// `true` if a permit has been granted to the waiting call.
    pub(super) is_granted: AtomicBool,
}

impl AddressPermits {
    pub(super) fn new(network: Arc<NetworkPermits>, share: Share) -> Arc<Self> {
        Arc::new(Self {
            network,
            share,
            held: AtomicUsize::new(0),
            turn: Semaphore::new(1),
            is_granted: AtomicBool::new(false),
        })
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns the load of the address or of its network, whichever is higher. It is not negative.
    pub(super) fn load(&self) -> f64 {
        let (address, network) = self.loads();
        if network > address { network } else { address }
    }

    /// Returns `true` if the load of the network is higher than that of the address.
    pub(super) fn is_network_busier(&self) -> bool {
        let (address, network) = self.loads();
        network > address
    }

    fn loads(&self) -> (f64, f64) {
        let address = self.share.load(self.held());
        let network = &self.network;
        let network = network.share.load(network.held.load(Ordering::Relaxed));
        (address, network)
    }

    /// Takes a permit, if one is free for an address with this load.
    ///
    /// Several simultaneous calls of an address may all see the same load, so the address may exceed its share by that
    /// number. The total number of permits is never exceeded.
    pub(super) fn try_take(&self, permits: &ServerPermits, load: f64) -> bool {
        let is_taken = permits.try_take(load);
        if is_taken {
            self.held.fetch_add(1, Ordering::Relaxed);
            self.network.held.fetch_add(1, Ordering::Relaxed);
        }
        is_taken
    }

    /// Releases a permit.
    pub(super) fn release(&self, permits: &ServerPermits) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.network.held.fetch_sub(1, Ordering::Relaxed);
        // Updated last, so that a thread that sees this update also sees the updates before.
        permits.taken.fetch_sub(1, Ordering::SeqCst);
    }
}
