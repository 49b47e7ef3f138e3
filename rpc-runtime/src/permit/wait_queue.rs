//! The calls that wait for a permit, and their order.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::permit::server_permits::{AddressPermits, ServerPermits};
use crate::sync::atomic::Ordering;

/// The calls that wait for a permit, at most one of each address. The address with the lowest load is served first, so that
/// no address waits behind the calls of an address that holds more permits.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    networks: HashMap<Option<IpAddr>, WaitingNetwork>,
    /// The networks, in the order in which they are served.
    order: BTreeSet<(Rank, Option<IpAddr>)>,
    /// Number of calls.
    len: usize,
    next_turn: u64,
}

/// The rank of a network. The network with the lowest rank is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The bits of the load. For numbers that are not negative, the bits have the same order as the numbers.
    load: u64,
    turn: u64,
}

#[derive(Debug)]
struct WaitingNetwork {
    rank: Rank,
    /// One call of each address. The list is short: an IPv6 network of 56 bits has 256 addresses, which are prefixes of 64
    /// bits.
    calls: Vec<WaitingCall>,
}

impl WaitingNetwork {
    /// Returns the index of the call that is served next, and its rank.
    fn next(&self) -> Option<(usize, Rank)> {
        let calls = self.calls.iter().enumerate();
        let (position, call) = calls.min_by_key(|(_, call)| (call.address.held(), call.turn))?;
        let rank = Rank {
            load: call.address.load().to_bits(),
            turn: call.turn,
        };
        Some((position, rank))
    }
}

#[derive(Debug)]
struct WaitingCall {
    address: Arc<AddressPermits>,
    turn: u64,
    waker: Waker,
}

impl WaitQueue {
    /// Returns the number of waiting calls.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds the call of an address that has no call in the queue.
    pub(super) fn push(&mut self, address: &Arc<AddressPermits>, cx: &Context<'_>) {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.len += 1;
        let prefix = address.network.prefix;
        let network = self.networks.entry(prefix).or_insert(WaitingNetwork {
            rank: Rank { load: 0, turn },
            calls: Vec::new(),
        });
        network.calls.push(WaitingCall {
            address: Arc::clone(address),
            turn,
            waker: cx.waker().clone(),
        });
        self.reorder(prefix);
    }

    /// Registers the task of `cx` for the call of an address. Returns the waker that it replaces.
    pub(super) fn register(
        &mut self,
        address: &Arc<AddressPermits>,
        cx: &Context<'_>,
    ) -> Option<Waker> {
        let network = self.networks.get_mut(&address.network.prefix)?;
        let mut calls = network.calls.iter_mut();
        let call = calls.find(|call| Arc::ptr_eq(&call.address, address))?;
        match call.waker.will_wake(cx.waker()) {
            true => None,
            false => Some(std::mem::replace(&mut call.waker, cx.waker().clone())),
        }
    }

    /// Removes the call of an address. Returns its waker, or `None` if there is no such call.
    pub(super) fn remove(&mut self, address: &Arc<AddressPermits>) -> Option<Waker> {
        let prefix = address.network.prefix;
        let network = self.networks.get_mut(&prefix)?;
        let mut calls = network.calls.iter();
        let position = calls.position(|call| Arc::ptr_eq(&call.address, address))?;
        let call = network.calls.swap_remove(position);
        self.len -= 1;
        self.reorder(prefix);
        Some(call.waker)
    }

    /// Grants permits to calls, while there are permits for them. Returns the tasks to wake.
    pub(super) fn grant(&mut self, permits: &ServerPermits) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some((rank, prefix)) = self.order.first().copied() {
            // The load also changes with calls that do not wait, so the rank may be outdated.
            let next = self.reorder(prefix).filter(|next| next.1 == rank);
            let network = self.networks.get_mut(&prefix);
            let (Some((position, _)), Some(network)) = (next, network) else {
                continue;
            };
            let address = &network.calls[position].address;
            if !address.try_take(permits, f64::from_bits(rank.load)) {
                // No other address has a lower load.
                break;
            }
            address.is_granted.store(true, Ordering::SeqCst);
            let call = network.calls.swap_remove(position);
            self.len -= 1;
            self.reorder(prefix);
            wakers.push(call.waker);
        }
        wakers
    }

    /// Updates the position of a network after its load has changed.
    pub(super) fn update(&mut self, prefix: Option<IpAddr>) {
        self.reorder(prefix);
    }

    /// Updates the position of a network after its load or its calls have changed. Returns the index of its next call, and
    /// the rank of that call.
    fn reorder(&mut self, prefix: Option<IpAddr>) -> Option<(usize, Rank)> {
        let network = self.networks.get_mut(&prefix)?;
        let next = network.next();
        match next {
            Some((_, rank)) if rank == network.rank => {
                self.order.insert((rank, prefix));
            }
            Some((_, rank)) => {
                self.order.remove(&(network.rank, prefix));
                self.order.insert((rank, prefix));
                network.rank = rank;
            }
            None => {
                self.order.remove(&(network.rank, prefix));
                self.networks.remove(&prefix);
            }
        }
        next
    }
}
