//! UDP sockets and their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Opens a socket whose buffers have this number of bytes, or what the system allows. With small buffers, a burst of large
/// replies loses packets before the peer reads them.
pub(super) fn socket(address: SocketAddr, buffer: usize) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // A larger buffer is left as it is. A system with a lower limit reduces the size, or fails.
    if socket.recv_buffer_size().is_ok_and(|bytes| bytes < buffer) {
        (0..6).find(|halved| socket.set_recv_buffer_size(buffer >> halved).is_ok());
    }
    if socket.send_buffer_size().is_ok_and(|bytes| bytes < buffer) {
        (0..6).find(|halved| socket.set_send_buffer_size(buffer >> halved).is_ok());
    }
    if address.is_ipv6() {
        // Some systems do not support dual-stack sockets.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Returns the unspecified address and port of `peer`'s address family.
pub(super) fn any(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Returns the IPv4 address of a peer that a dual-stack socket shows as `::ffff:192.0.2.1`, and other addresses as they are.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, peer.port()).into(),
        // Keeps the scope of a link-local address.
        IpAddr::V6(_) => peer,
    }
}
