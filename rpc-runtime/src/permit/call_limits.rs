//! Limits the calls in flight, on a connection and on a server, and shares the server's permits between addresses.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;

use crate::codec::error_code::Setting;
use crate::limits::Limits;
use crate::permit::server_permits::{AddressPermits, NetworkPermits, ServerPermits};
use crate::permit::wait_queue::WaitQueue;
use crate::prefix;
use crate::share::Share;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::waker::wake_all;

#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;

/// The calls in flight on all connections of a server.
#[derive(Debug)]
pub(crate) struct CallLimits {
    permits: ServerPermits,
    max_per_connection: usize,
    address_share: Share,
    network_share: Share,
    peers: Mutex<Peers>,
    queue: Mutex<WaitQueue>,
    /// Number of calls in the queue. A call that ends reads it, and locks the queue only if calls are waiting.
    waiting: AtomicUsize,
}

/// The addresses and networks with connections.
#[derive(Debug, Default)]
struct Peers {
    addresses: ByPrefix<AddressPermits>,
    networks: ByPrefix<NetworkPermits>,
}

/// Values that are kept while they have users, with their number of users.
#[derive(Debug)]
struct ByPrefix<T>(HashMap<IpAddr, (Arc<T>, usize)>);

impl<T> Default for ByPrefix<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> ByPrefix<T> {
    /// Returns the value of `key`, with one more user.
    fn enter(&mut self, key: IpAddr, new: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let (value, users) = self.0.entry(key).or_insert_with(|| (new(), 0));
        *users += 1;
        Arc::clone(value)
    }

    /// Removes a user of the value of `key`, and the value after its last user.
    fn leave(&mut self, key: IpAddr) {
        if let Some((_, users)) = self.0.get_mut(&key) {
            *users -= 1;
            if *users == 0 {
                self.0.remove(&key);
            }
        }
    }
}

impl CallLimits {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let share = |percent| Share::new(percent, limits.max_concurrent_calls);
        Arc::new(Self {
            permits: ServerPermits::new(limits.max_concurrent_calls),
            max_per_connection: limits.max_concurrent_calls_per_connection,
            address_share: share(limits.max_percent_per_address),
            network_share: share(limits.max_percent_per_network),
            peers: Mutex::default(),
            queue: Mutex::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Returns the call counter of a connection with this peer. A peer without an address is in this process, and does not
    /// reduce the shares of other peers.
    pub(crate) fn connect(self: &Arc<Self>, peer: Option<IpAddr>) -> Arc<ConnectionCalls> {
        let address = match peer {
            Some(peer) => self.enter(peer),
            None => AddressPermits::new(NetworkPermits::new(None, Share::ALL), Share::ALL),
        };
        Arc::new(ConnectionCalls {
            limits: Arc::clone(self),
            permits: Semaphore::new(self.max_per_connection),
            address,
            peer,
        })
    }

    fn enter(&self, peer: IpAddr) -> Arc<AddressPermits> {
        let customer = prefix::customer(peer);
        let mut peers = lock(&self.peers);
        let Peers {
            addresses,
            networks,
        } = &mut *peers;
        let network = networks.enter(customer, || {
            NetworkPermits::new(Some(customer), self.network_share)
        });
        addresses.enter(prefix::address(peer), || {
            AddressPermits::new(network, self.address_share)
        })
    }

    fn leave(&self, peer: IpAddr) {
        let mut peers = lock(&self.peers);
        peers.addresses.leave(prefix::address(peer));
        peers.networks.leave(prefix::customer(peer));
    }

    fn queue(&self) -> MutexGuard<'_, WaitQueue> {
        lock(&self.queue)
    }

    fn release(&self, address: &AddressPermits) {
        address.release(&self.permits);
        // A call that enters the queue later finds the free permit itself.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let mut queue = self.queue();
            queue.update(address.network.prefix);
            self.grant(queue);
        }
    }

    /// Grants permits to waiting calls, and wakes their tasks.
    fn grant(&self, mut queue: MutexGuard<'_, WaitQueue>) {
        // Stored before free permits are searched, so that a call that ends meanwhile locks the queue.
        self.waiting.store(queue.len(), Ordering::SeqCst);
        let wakers = queue.grant(&self.permits);
        self.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        wake_all(wakers);
    }
}

/// The calls in flight of one connection.
///
/// Permits keep this alive, so calls count for their address until they end, even after the connection has ended.
#[derive(Debug)]
pub(crate) struct ConnectionCalls {
    limits: Arc<CallLimits>,
    permits: Semaphore,
    address: Arc<AddressPermits>,
    peer: Option<IpAddr>,
}

impl ConnectionCalls {
    /// Takes a permit of the connection and a permit of the server, if both are free.
    pub(super) fn try_take(&self) -> bool {
        let Ok(permit) = self.permits.try_acquire() else {
            return false;
        };
        let address = &self.address;
        let is_taken = address.try_take(&self.limits.permits, address.load());
        if is_taken {
            permit.forget();
        }
        is_taken
    }

    /// Waits for a permit of the connection and a permit of the server, and takes both. Returns `false` once the connection
    /// starts no more calls.
    ///
    /// # Cancel safety
    /// If the future is dropped, no permit is taken.
    pub(super) async fn take(&self) -> bool {
        let Ok(permit) = self.permits.acquire().await else {
            return false;
        };
        let Ok(_turn) = self.address.turn.acquire().await else {
            return false;
        };
        let mut wait = WaitForPermit {
            limits: &self.limits,
            address: &self.address,
            is_queued: false,
        };
        poll_fn(|cx| wait.poll(cx)).await;
        permit.forget();
        true
    }

    /// Returns the limit for which a call that gets no permit has to wait.
    pub(crate) fn reached_limit(&self, limits: &Limits) -> Setting {
        let (name, value) = if self.permits.available_permits() == 0 {
            let value = limits.max_concurrent_calls_per_connection;
            ("max_concurrent_calls_per_connection", value)
        } else if self.limits.permits.is_full() {
            ("max_concurrent_calls", limits.max_concurrent_calls)
        } else if self.address.is_network_busier() {
            ("max_percent_per_network", limits.max_percent_per_network)
        } else {
            ("max_percent_per_address", limits.max_percent_per_address)
        };
        Setting::new(name, value)
    }

    /// Releases the permit of the server.
    pub(super) fn release_server(&self) {
        self.limits.release(&self.address);
    }

    /// Releases the permit of the connection.
    pub(super) fn release_connection(&self) {
        self.permits.add_permits(1);
    }

    /// Waits until no call is in flight, and then starts no more calls.
    pub(crate) async fn drain(&self) {
        let all = self.limits.max_per_connection as u32;
        let idle = self.permits.acquire_many(all).await;
        // Calls that wait for a permit are rejected from now on.
        self.permits.close();
        drop(idle);
    }

    /// Stops starting calls.
    pub(crate) fn close(&self) {
        self.permits.close();
    }
}

impl Drop for ConnectionCalls {
    fn drop(&mut self) {
        if let Some(peer) = self.peer {
            self.limits.leave(peer);
        }
    }
}

/// Waits for a permit of the server, as the only waiting call of its address.
struct WaitForPermit<'c> {
    limits: &'c CallLimits,
    address: &'c Arc<AddressPermits>,
    is_queued: bool,
}

impl WaitForPermit<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.limits.queue();
        if self.is_queued {
            let replaced = queue.register(self.address, cx);
            drop(queue);
            drop(replaced);
        } else {
            queue.push(self.address, cx);
            self.is_queued = true;
            self.limits.grant(queue);
        }
        match self.take_granted() {
            true => {
                self.is_queued = false;
                Poll::Ready(())
            }
            false => Poll::Pending,
        }
    }

    /// Returns `true` if a permit has been granted to the call, and takes the permit.
    fn take_granted(&self) -> bool {
        self.address.is_granted.swap(false, Ordering::SeqCst)
    }
}

impl Drop for WaitForPermit<'_> {
    fn drop(&mut self) {
        if !self.is_queued {
            return;
        }
        let mut queue = self.limits.queue();
        let waker = queue.remove(self.address);
        self.limits.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        if waker.is_none() && self.take_granted() {
            self.limits.release(self.address);
        }
    }
}
