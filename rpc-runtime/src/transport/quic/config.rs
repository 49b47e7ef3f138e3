//! The configuration of quinn for calls.

use std::sync::Arc;
use std::time::Duration;

use quinn::VarInt;

use crate::transport::error::DATAGRAMS;
use crate::transport::settings::{CongestionController, Role, TransportSettings};

/// The protocol that both peers must offer in the handshake.
pub(super) const ALPN: &[u8] = b"jsonrpc/1";

/// The round-trip time that is assumed before the first measurement. A handshake's first packet is repeated after three
/// times as long. With the 333 ms of RFC 9002 a client that connects while a server starts would wait for a second.
const INITIAL_RTT: Duration = Duration::from_millis(50);

/// The size with which every connection begins, in bytes (RFC 9000, section 14).
const INITIAL_MTU: u16 = 1_200;

/// The largest packet of which the system sends ten at once, as quinn does: together they have at most 64 KiB with their
/// headers. The system rejects a larger burst, and quinn takes that for a lost packet.
const LARGEST_SEGMENT: u16 = 6_550;

/// Returns the settings of the connections of one side.
pub(super) fn transport(settings: &TransportSettings, role: Role) -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        // A timeout that the wire format cannot express would disable the limit. The range of the setting prevents it.
        .max_idle_timeout(settings.idle_timeout.try_into().ok())
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(settings.keep_alive(role))
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.max_streams))
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .stream_receive_window(VarInt::from_u32(settings.stream_receive_window))
        .receive_window(VarInt::from_u32(settings.receive_window))
        .send_window(settings.send_window.into())
        .send_fairness(false)
        .congestion_controller_factory(congestion(settings.congestion_controller))
        .mtu_discovery_config(discovery(settings.max_mtu))
        .enable_segmentation_offload(settings.max_mtu <= LARGEST_SEGMENT)
        // Reordering alone does not mark packets as lost.
        .packet_threshold(u32::MAX)
        .time_threshold(1.5);
    Arc::new(config)
}

fn congestion(
    controller: CongestionController,
) -> Arc<dyn quinn::congestion::ControllerFactory + Send + Sync> {
    use quinn::congestion::{BbrConfig, CubicConfig, NewRenoConfig};
    match controller {
        CongestionController::Cubic => Arc::new(CubicConfig::default()),
        CongestionController::Bbr => Arc::new(BbrConfig::default()),
        CongestionController::NewReno => Arc::new(NewRenoConfig::default()),
    }
}

fn discovery(largest_packet: u16) -> Option<quinn::MtuDiscoveryConfig> {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(largest_packet);
    Some(discovery).filter(|_| largest_packet > INITIAL_MTU)
}

/// Lets an endpoint receive the packets that its settings allow.
pub(super) fn accept_packets(config: &mut quinn::EndpointConfig, settings: &TransportSettings) {
    let default = config.get_max_udp_payload_size();
    if u64::from(settings.max_mtu) > default {
        let accepted = config.max_udp_payload_size(settings.max_mtu);
        accepted.expect("the range of the setting is that of QUIC");
    }
}
