//! Tests of the calls that find a permit, of the order of waiting calls, and of the state after all calls have ended.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::permit::Permit;

fn call_limits(calls: usize) -> Arc<CallLimits> {
    CallLimits::new(&Limits {
        max_concurrent_calls: calls,
        max_concurrent_calls_per_connection: 1 << 20,
        ..Limits::default()
    })
}

fn connect(limits: &Arc<CallLimits>, peer: &str) -> Arc<ConnectionCalls> {
    limits.connect(Some(peer.parse().unwrap()))
}

/// Starts calls until no further call starts at once.
fn flood(calls: &Arc<ConnectionCalls>) -> Vec<Permit> {
    std::iter::from_fn(|| Permit::try_obtain(calls)).collect()
}

/// A call that waits for its permit; `None` once it has obtained it.
struct Waiting(Option<Pin<Box<dyn Future<Output = Option<Permit>>>>>);

impl Waiting {
    fn new(calls: &Arc<ConnectionCalls>) -> Self {
        let calls = Arc::clone(calls);
        Self(Some(Box::pin(async move { Permit::obtain(&calls).await })))
    }

    /// Creates a call and checks that it waits.
    fn start(calls: &Arc<ConnectionCalls>) -> Self {
        let mut waiting = Self::new(calls);
        assert!(waiting.permit().is_none(), "the call waits");
        waiting
    }

    /// Returns the permit, if the call obtains it now.
    fn permit(&mut self) -> Option<Permit> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(permit) = self.0.as_mut()?.as_mut().poll(&mut cx) else {
            return None;
        };
        self.0 = None;
        permit
    }
}

fn is_empty(limits: &CallLimits) -> bool {
    let peers = lock(&limits.peers);
    let has_peers = !peers.addresses.0.is_empty() || !peers.networks.0.is_empty();
    !has_peers && limits.permits.taken() == 0 && limits.queue().len() == 0
}

#[test]
fn lone_address_takes_its_share_of_the_permits() {
    let limits = call_limits(4096);
    let connections = [(); 3].map(|()| connect(&limits, "192.0.2.1"));
    let taken = connections.each_ref().map(flood);
    assert_eq!(taken.each_ref().map(Vec::len), [2048, 0, 0]);
    assert_eq!(flood(&connect(&limits, "192.0.2.2")).len(), 783);
    drop(taken);
    assert_eq!(flood(&connections[2]).len(), 2048);
}

#[test]
fn call_of_another_address_obtains_a_permit_while_64_addresses_hold_their_maximum() {
    let limits = call_limits(4096);
    let mut taken = Vec::new();
    for flooding in 1..=64 {
        taken.push(flood(&connect(&limits, &format!("192.0.2.{flooding}"))));
        let neighbour = connect(&limits, "198.51.100.1");
        for _ in 0..1000 {
            assert!(Permit::try_obtain(&neighbour).is_some(), "{flooding}");
        }
    }
}

#[test]
fn ipv6_networks_of_64_and_56_bits_take_their_shares() {
    let limits = call_limits(4096);
    let first = flood(&connect(&limits, "2001:db8:0:1201::1"));
    assert_eq!(first.len(), 2048);
    assert_eq!(flood(&connect(&limits, "2001:db8:0:1201::2")).len(), 0);
    // Further prefixes of 64 bits of the same customer.
    let mut network = first;
    for link in 0x1202..=0x12ff {
        let more = flood(&connect(&limits, &format!("2001:db8:0:{link:x}::1")));
        assert!(more.len() < 1024);
        network.extend(more);
    }
    assert!((3000..3500).contains(&network.len()), "{}", network.len());
    for other in ["2001:db8:0:1301::1", "192.0.2.1"] {
        let calls = flood(&connect(&limits, other));
        assert!(calls.len() > 100, "{}", calls.len());
    }
}

#[test]
fn peer_without_an_address_may_take_every_permit() {
    let limits = call_limits(10);
    assert_eq!(flood(&limits.connect(None)).len(), 10);
}

#[test]
fn calls_of_an_address_count_until_they_end_although_their_connection_is_gone() {
    let limits = call_limits(8);
    let lost = flood(&connect(&limits, "192.0.2.1"));
    assert_eq!(lost.len(), 4);
    let next = connect(&limits, "192.0.2.1");
    assert!(Permit::try_obtain(&next).is_none());
    drop(lost);
    assert_eq!(flood(&next).len(), 4);
    drop(next);
    assert!(is_empty(&limits));
}

#[test]
fn waiting_call_of_another_address_is_before_those_of_a_flooding_one() {
    let limits = CallLimits::new(&Limits {
        max_concurrent_calls: 8,
        max_percent_per_address: 100,
        max_percent_per_network: 100,
        ..Limits::default()
    });
    let [flooding, other, last] =
        ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|peer| connect(&limits, peer));
    let mut held = flood(&flooding);
    assert_eq!(held.len(), 8);
    let mut waiting: Vec<_> = (0..100).map(|_| Waiting::start(&flooding)).collect();
    let mut others = [&other, &other, &last].map(Waiting::start);
    let mut served = Vec::new();
    for ended in 1..=3 {
        held.pop();
        served.extend(others.iter_mut().filter_map(Waiting::permit));
        assert_eq!(served.len(), ended);
        assert!(waiting.iter_mut().all(|call| call.permit().is_none()));
    }
    held.pop();
    let next = waiting.iter_mut().position(|call| call.permit().is_some());
    assert_eq!(next, Some(0));
}

#[test]
fn calls_of_addresses_that_hold_as_many_are_served_in_their_order() {
    let limits = CallLimits::new(&Limits {
        max_concurrent_calls: 8,
        max_percent_per_address: 100,
        max_percent_per_network: 100,
        ..Limits::default()
    });
    let mut held = flood(&connect(&limits, "192.0.2.1"));
    assert_eq!(held.len(), 8);
    // Neither in the order of the addresses nor in the reverse order.
    let peers = ["192.0.2.4", "192.0.2.2", "2001:db8::1", "192.0.2.3"];
    let connections = peers.map(|peer| connect(&limits, peer));
    let mut waiting = connections.each_ref().map(Waiting::start);
    let mut served = Vec::new();
    for expected in 0..peers.len() {
        held.pop();
        let next = waiting
            .iter_mut()
            .enumerate()
            .find_map(|(index, call)| Some((index, call.permit()?)));
        let (index, permit) = next.unwrap();
        assert_eq!(index, expected);
        served.push(permit);
    }
}

#[test]
fn call_at_the_share_of_its_address_waits_until_the_address_holds_fewer() {
    let limits = call_limits(8);
    let calls = connect(&limits, "192.0.2.1");
    let mut held = flood(&calls);
    let mut first = Waiting::start(&calls);
    let mut second = Waiting::start(&calls);
    assert!(Permit::try_obtain(&connect(&limits, "192.0.2.2")).is_some());
    assert!(first.permit().is_none());
    held.pop();
    assert!(second.permit().is_none());
    let first = first.permit().unwrap();
    assert!(second.permit().is_none());
    drop(first);
    assert!(second.permit().is_some());
}

#[test]
fn call_behind_a_dropped_one_is_next() {
    let limits = call_limits(2);
    let calls = connect(&limits, "192.0.2.1");
    let held = Permit::try_obtain(&calls).unwrap();
    let [dropped, mut second, mut third] = [(); 3].map(|()| Waiting::start(&calls));
    drop(dropped);
    drop(held);
    assert!(second.permit().is_some());
    assert!(third.permit().is_some());
    drop((second, third, calls));
    assert!(is_empty(&limits));
}

#[test]
fn call_dropped_after_it_was_granted_a_permit_releases_it() {
    let limits = call_limits(2);
    let [calls, other] = ["192.0.2.1", "192.0.2.2"].map(|peer| connect(&limits, peer));
    let held = [&calls, &other].map(|calls| Permit::try_obtain(calls).unwrap());
    let granted = Waiting::start(&calls);
    let mut waiting = Waiting::start(&connect(&limits, "192.0.2.3"));
    drop(held);
    assert_eq!(limits.permits.taken(), 2);
    drop(granted);
    assert_eq!(limits.permits.taken(), 1);
    assert!(waiting.permit().is_some());
    assert_eq!(limits.permits.taken(), 0);
}

#[test]
fn closed_connection_ends_the_waiting_of_its_calls_and_leaves_no_trace() {
    let limits = CallLimits::new(&Limits {
        max_concurrent_calls_per_connection: 1,
        ..Limits::default()
    });
    let calls = connect(&limits, "192.0.2.1");
    let held = Permit::try_obtain(&calls).unwrap();
    let mut waiting = Waiting::start(&calls);
    calls.close();
    assert!(waiting.permit().is_none() && waiting.0.is_none());
    drop((held, waiting, calls));
    assert!(is_empty(&limits));
}

/// An event of a call, or of the calls of an address.
#[derive(Debug, Clone)]
enum Step {
    Start(usize),
    Wait(usize),
    Cancel(prop::sample::Index),
    End(prop::sample::Index),
    /// A call ends, and another call is cancelled before it learns that it was granted the permit.
    EndAndCancel(prop::sample::Index, prop::sample::Index),
}

/// Two addresses of an IPv6 network, an address of another IPv6 network, and two IPv4 addresses.
const PEERS: [&str; 5] = [
    "2001:db8:0:1201::1",
    "2001:db8:0:1202::1",
    "2001:db8:0:1301::1",
    "192.0.2.1",
    "192.0.2.2",
];

fn step() -> impl Strategy<Value = Step> {
    let any_call = any::<prop::sample::Index>;
    prop_oneof![
        2 => (0..PEERS.len()).prop_map(Step::Start),
        2 => (0..PEERS.len()).prop_map(Step::Wait),
        1 => any_call().prop_map(Step::Cancel),
        2 => any_call().prop_map(Step::End),
        1 => (any_call(), any_call()).prop_map(|(end, cancel)| Step::EndAndCancel(end, cancel)),
    ]
}

/// Removes and returns an element, if there is one.
fn take<T>(from: &mut Vec<T>, index: &prop::sample::Index) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(index.index(from.len())))
}

proptest! {
    #[test]
    fn no_call_waits_for_a_permit_that_is_free_for_it(
        calls in 1..12usize,
        share in prop_oneof![Just(50), Just(100), 1..100usize],
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let limits = CallLimits::new(&Limits {
            max_concurrent_calls: calls,
            max_percent_per_address: share,
            ..Limits::default()
        });
        let connections = PEERS.map(|peer| connect(&limits, peer));
        let (mut permits, mut waiting) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Start(peer) => permits.extend(Permit::try_obtain(&connections[peer])),
                Step::Wait(peer) => waiting.push(Waiting::new(&connections[peer])),
                Step::Cancel(index) => drop(take(&mut waiting, &index)),
                Step::End(index) => drop(take(&mut permits, &index)),
                Step::EndAndCancel(end, cancel) => {
                    drop(take(&mut permits, &end));
                    drop(take(&mut waiting, &cancel));
                }
            }
            // Waiting calls are polled until none obtains a permit.
            loop {
                let obtained: Vec<_> = waiting.iter_mut().filter_map(Waiting::permit).collect();
                if obtained.is_empty() {
                    break;
                }
                permits.extend(obtained);
            }
            waiting.retain(|call| call.0.is_some());
            prop_assert_eq!(limits.permits.taken(), permits.len());
            prop_assert!(permits.len() <= calls);
            prop_assert_eq!(waiting.is_empty(), limits.queue().len() == 0);
            let free = calls - permits.len();
            for calls in &connections {
                let is_waiting = calls.address.turn.available_permits() == 0;
                let may_start = crate::share::admits(calls.address.load(), free);
                prop_assert!(!(is_waiting && may_start), "{:?} waits", calls.peer);
            }
        }
        drop((connections, permits, waiting));
        prop_assert!(is_empty(&limits));
    }
}
