//! Limits handshakes in progress, and chooses which handshake makes room for another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Limits;
use crate::prefix;

/// The age from which a handshake makes room for a client of any address. A handshake takes two round trips. A client waits
/// for a second before it repeats its first packet (RFC 9002, section 6.2.2).
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// The handshakes in progress.
///
/// An address that is not validated may be forged. A handshake from such an address ends no other handshake and is counted
/// for no network, and the number of such handshakes is small.
#[derive(Debug)]
pub(super) struct Handshakes {
    max: usize,
    max_unvalidated: usize,
    validated: HashMap<IpAddr, NetworkHandshakes>,
    validated_len: usize,
    unvalidated: ByAge,
    next_id: u64,
}

/// Handshakes by ID, the oldest first.
type ByAge = BTreeMap<u64, Handshake>;

/// The handshakes of a network, by address.
#[derive(Debug, Default)]
struct NetworkHandshakes {
    len: usize,
    addresses: HashMap<IpAddr, ByAge>,
}

#[derive(Debug)]
struct Handshake {
    since: Instant,
    evicted: Arc<Notify>,
}

/// Identifies a handshake in progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandshakeKey {
    id: u64,
    /// `None` if the address is not validated.
    validated: Option<Origin>,
}

/// The address and the network of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) network: IpAddr,
    pub(super) address: IpAddr,
}

impl Origin {
    pub(super) fn of(peer: IpAddr) -> Self {
        Self {
            network: prefix::network(peer),
            address: prefix::address(peer),
        }
    }
}

/// The handshake that makes room.
struct EvictionCandidate {
    id: u64,
    since: Instant,
    origin: Option<Origin>,
    /// Number of handshakes of its network, and of its address.
    counts: (usize, usize),
}

impl Handshakes {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            max: limits.max_handshakes,
            max_unvalidated: limits.max_unvalidated_handshakes,
            validated: HashMap::new(),
            validated_len: 0,
            unvalidated: ByAge::new(),
            next_id: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.validated_len + self.unvalidated.len() >= self.max
    }

    /// Returns `true` if a handshake may begin for a client whose address is not validated.
    pub(super) fn accepts_unvalidated(&self) -> bool {
        self.unvalidated.len() < self.max_unvalidated && !self.is_full()
    }

    /// Returns `true` if a handshake may begin for a client whose address is validated. At the limit another handshake is
    /// ended for it.
    pub(super) fn make_room(&mut self, client: Origin) -> bool {
        if !self.is_full() {
            return true;
        }
        let Some(candidate) = self.eviction_candidate() else {
            return false;
        };
        let network = self.validated.get(&client.network);
        let address = network.and_then(|network| network.addresses.get(&client.address));
        let has_fewer = network.map_or(0, |network| network.len) + 1 < candidate.counts.0
            || address.map_or(0, ByAge::len) + 1 < candidate.counts.1;
        let makes_room = has_fewer || candidate.since.elapsed() >= STALLED_AFTER;
        if makes_room {
            let key = HandshakeKey {
                id: candidate.id,
                validated: candidate.origin,
            };
            if let Some(handshake) = self.remove(key) {
                handshake.evicted.notify_one();
            }
        }
        makes_room
    }

    /// Returns the handshake that makes room. It is the oldest handshake of the address with the most handshakes, in the
    /// network with the most handshakes. If no handshake has a validated address, it is the oldest handshake.
    fn eviction_candidate(&self) -> Option<EvictionCandidate> {
        let networks = self.validated.iter();
        let most = networks.max_by_key(|(_, network)| (network.len, Reverse(network.oldest())));
        let Some((network, handshakes)) = most else {
            let (id, handshake) = self.unvalidated.first_key_value()?;
            return Some(EvictionCandidate {
                id: *id,
                since: handshake.since,
                origin: None,
                counts: (0, 0),
            });
        };
        let addresses = handshakes.addresses.iter();
        let (address, of_address) = addresses.max_by_key(|(_, of_address)| {
            let oldest = of_address.first_key_value().map(|(id, _)| *id);
            (of_address.len(), Reverse(oldest))
        })?;
        let (id, handshake) = of_address.first_key_value()?;
        Some(EvictionCandidate {
            id: *id,
            since: handshake.since,
            origin: Some(Origin {
                network: *network,
                address: *address,
            }),
            counts: (handshakes.len, of_address.len()),
        })
    }

    /// Adds a handshake. Returns its key, and the notification that it must make room for another handshake.
    pub(super) fn begin(&mut self, validated: Option<Origin>) -> (HandshakeKey, Arc<Notify>) {
        let id = self.next_id;
        self.next_id += 1;
        let evicted = Arc::new(Notify::new());
        let handshake = Handshake {
            since: Instant::now(),
            evicted: Arc::clone(&evicted),
        };
        match validated {
            Some(Origin { network, address }) => {
                let network = self.validated.entry(network).or_default();
                network.len += 1;
                self.validated_len += 1;
                let of_address = network.addresses.entry(address).or_default();
                of_address.insert(id, handshake);
            }
            None => {
                self.unvalidated.insert(id, handshake);
            }
        }
        (HandshakeKey { id, validated }, evicted)
    }

    /// Removes a handshake that has ended, unless it has made room for another handshake.
    pub(super) fn end(&mut self, key: HandshakeKey) {
        self.remove(key);
    }

    fn remove(&mut self, key: HandshakeKey) -> Option<Handshake> {
        let Some(Origin { network, address }) = key.validated else {
            return self.unvalidated.remove(&key.id);
        };
        let of_network = self.validated.get_mut(&network)?;
        let of_address = of_network.addresses.get_mut(&address)?;
        let handshake = of_address.remove(&key.id)?;
        of_network.len -= 1;
        self.validated_len -= 1;
        if of_address.is_empty() {
            of_network.addresses.remove(&address);
        }
        if of_network.len == 0 {
            self.validated.remove(&network);
        }
        Some(handshake)
    }
}

impl NetworkHandshakes {
    fn oldest(&self) -> Option<u64> {
        let oldest = self.addresses.values().filter_map(ByAge::first_key_value);
        oldest.map(|(id, _)| *id).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handshakes(max: usize) -> Handshakes {
        Handshakes::new(&Limits {
            max_handshakes: max,
            max_unvalidated_handshakes: 2,
            ..Limits::default()
        })
    }

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    /// Begins a handshake, for which another handshake may have to make room.
    fn begin(handshakes: &mut Handshakes, text: &str) -> Option<(HandshakeKey, Arc<Notify>)> {
        let origin = origin(text);
        let is_accepted = handshakes.make_room(origin);
        is_accepted.then(|| handshakes.begin(Some(origin)))
    }

    fn is_evicted(handshakes: &Handshakes, key: HandshakeKey) -> bool {
        let Some(Origin { network, address }) = key.validated else {
            return !handshakes.unvalidated.contains_key(&key.id);
        };
        let network = handshakes.validated.get(&network);
        let address = network.and_then(|network| network.addresses.get(&address));
        !address.is_some_and(|address| address.contains_key(&key.id))
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_handshake_of_the_largest_address_of_the_largest_network_makes_room() {
        let mut handshakes = handshakes(6);
        let mut keys = Vec::new();
        for address in [
            "198.51.100.1",
            "198.51.100.1",
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.2",
            "192.0.2.3",
        ] {
            keys.push(begin(&mut handshakes, address).unwrap().0);
        }
        let evicted = |handshakes: &Handshakes| -> Vec<_> {
            let evicted = keys.iter().map(|key| is_evicted(handshakes, *key));
            evicted.enumerate().filter(|(_, is)| *is).collect()
        };
        begin(&mut handshakes, "203.0.113.1").unwrap();
        assert_eq!(evicted(&handshakes), [(3, true)]);
        // Each of its addresses now has one handshake.
        begin(&mut handshakes, "203.0.113.2").unwrap();
        assert_eq!(evicted(&handshakes), [(2, true), (3, true)]);
        // Three networks have two handshakes each, so the oldest of all handshakes is next.
        begin(&mut handshakes, "2001:db8::1").unwrap();
        assert_eq!(evicted(&handshakes), [(0, true), (2, true), (3, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn ipv6_networks_of_56_bits_are_compared() {
        let mut handshakes = handshakes(3);
        let first = begin(&mut handshakes, "2001:db8:0:1201::1").unwrap().0;
        let other = begin(&mut handshakes, "2001:db8:0:1301::1").unwrap().0;
        begin(&mut handshakes, "2001:db8:0:1202::1").unwrap();
        begin(&mut handshakes, "192.0.2.1").unwrap();
        assert!(is_evicted(&handshakes, first) && !is_evicted(&handshakes, other));
        assert!(begin(&mut handshakes, "2001:db8:0:1202::2").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn recent_handshake_makes_no_room_for_an_address_with_as_many() {
        let mut handshakes = handshakes(2);
        let first = begin(&mut handshakes, "192.0.2.1").unwrap().0;
        let second = begin(&mut handshakes, "198.51.100.1").unwrap().0;
        for address in ["192.0.2.1", "198.51.100.1", "203.0.113.1"] {
            assert!(begin(&mut handshakes, address).is_none(), "{address}");
        }
        tokio::time::advance(STALLED_AFTER).await;
        begin(&mut handshakes, "203.0.113.1").unwrap();
        assert!(is_evicted(&handshakes, first) && !is_evicted(&handshakes, second));
    }

    #[tokio::test(start_paused = true)]
    async fn unvalidated_handshake_counts_for_no_network_and_makes_room_when_stalled() {
        let mut handshakes = handshakes(3);
        let forged = [(); 2].map(|()| handshakes.begin(None).0);
        assert!(!handshakes.accepts_unvalidated());
        let validated = begin(&mut handshakes, "192.0.2.1").unwrap().0;
        assert!(begin(&mut handshakes, "192.0.2.2").is_none());
        handshakes.end(validated);
        assert!(!handshakes.accepts_unvalidated(), "two are in progress");
        tokio::time::advance(STALLED_AFTER).await;
        let validated = begin(&mut handshakes, "192.0.2.1").unwrap().0;
        // A handshake with a validated address is preferred.
        tokio::time::advance(STALLED_AFTER).await;
        begin(&mut handshakes, "192.0.2.2").unwrap();
        assert!(is_evicted(&handshakes, validated));
        assert!(forged.iter().all(|key| !is_evicted(&handshakes, *key)));
    }

    #[tokio::test(start_paused = true)]
    async fn only_unvalidated_handshakes_make_room_when_stalled() {
        let mut handshakes = handshakes(2);
        let forged = [(); 2].map(|()| handshakes.begin(None).0);
        assert!(begin(&mut handshakes, "192.0.2.1").is_none());
        tokio::time::advance(STALLED_AFTER).await;
        begin(&mut handshakes, "192.0.2.1").unwrap();
        assert_eq!(
            forged.map(|key| is_evicted(&handshakes, key)),
            [true, false]
        );
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin { network: u8, host: u8 },
        BeginUnvalidated,
        End(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4u8, 0..4u8).prop_map(|(network, host)| Step::Begin { network, host }),
            1 => Just(Step::BeginUnvalidated),
            2 => any::<prop::sample::Index>().prop_map(Step::End),
        ]
    }

    proptest! {
        #[test]
        fn table_counts_what_is_in_progress_and_excludes_no_network(
            steps in prop::collection::vec(step(), 1..200),
        ) {
            const MAX: usize = 8;
            let mut handshakes = handshakes(MAX);
            let mut begun: Vec<HandshakeKey> = Vec::new();
            for step in steps {
                match step {
                    Step::Begin { network, host } => {
                        let client = Origin::of(IpAddr::from([192, 0, network, host]));
                        let has_none = !handshakes.validated.contains_key(&client.network);
                        let most = handshakes.validated.values().map(|network| network.len).max();
                        let is_accepted = handshakes.make_room(client);
                        prop_assert!(is_accepted || !has_none || most.unwrap_or(0) < 2);
                        if is_accepted {
                            begun.push(handshakes.begin(Some(client)).0);
                        }
                    }
                    Step::BeginUnvalidated if handshakes.accepts_unvalidated() => {
                        begun.push(handshakes.begin(None).0);
                    }
                    Step::BeginUnvalidated => {}
                    Step::End(index) => {
                        if !begun.is_empty() {
                            handshakes.end(begun.swap_remove(index.index(begun.len())));
                        }
                    }
                }
                begun.retain(|key| !is_evicted(&handshakes, *key));
                let len = handshakes.validated_len + handshakes.unvalidated.len();
                prop_assert_eq!(len, begun.len());
                prop_assert!(len <= MAX && handshakes.unvalidated.len() <= 2);
                let counted: usize = handshakes.validated.values().map(|network| network.len).sum();
                prop_assert_eq!(counted, handshakes.validated_len);
            }
            begun.into_iter().for_each(|key| handshakes.end(key));
            prop_assert!(handshakes.validated.is_empty() && handshakes.unvalidated.is_empty());
        }
    }
}
