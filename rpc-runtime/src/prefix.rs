//! The prefixes of IP addresses under which peers are counted together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the prefix of the peer's link: an IPv4 address, or an IPv6 network of 64 bits, within which a host chooses its
/// own address.
pub(crate) fn address(peer: IpAddr) -> IpAddr {
    of_lengths(peer, 32, 64)
}

/// Returns the prefix that a provider usually assigns to a customer: an IPv4 address, or an IPv6 network of 56 bits.
pub(crate) fn customer(peer: IpAddr) -> IpAddr {
    of_lengths(peer, 32, 56)
}

/// Returns the smallest prefix that is routed between providers, or assigned to a customer: an IPv4 network of 24 bits, or
/// an IPv6 network of 56 bits.
#[cfg(feature = "server")]
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    of_lengths(peer, 24, 56)
}

fn of_lengths(peer: IpAddr, ipv4: u32, ipv6: u32) -> IpAddr {
    // A dual-stack socket returns an IPv4 address as an IPv6 address.
    match peer.to_canonical() {
        IpAddr::V4(peer) => Ipv4Addr::from_bits(peer.to_bits() & (u32::MAX << (32 - ipv4))).into(),
        IpAddr::V6(peer) => {
            Ipv6Addr::from_bits(peer.to_bits() & (u128::MAX << (128 - ipv6))).into()
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv4_address_is_counted_by_itself_and_in_its_network_of_24_bits() {
        for text in ["192.0.2.77", "::ffff:192.0.2.77"] {
            assert_eq!(address(ip(text)), ip("192.0.2.77"));
            assert_eq!(customer(ip(text)), ip("192.0.2.77"));
            assert_eq!(network(ip(text)), ip("192.0.2.0"));
        }
    }

    #[test]
    fn ipv6_address_is_counted_in_its_networks_of_64_and_56_bits() {
        let peer = ip("2001:db8:1:23ff:4:5:6:7");
        assert_eq!(address(peer), ip("2001:db8:1:23ff::"));
        assert_eq!(customer(peer), ip("2001:db8:1:2300::"));
        assert_eq!(network(peer), ip("2001:db8:1:2300::"));
    }
}
