//! A setting of quinn with another value than `quic.rs` gives it, or a setting of this framework.

use std::fmt;
use std::net::UdpSocket;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use quinn::congestion::CubicConfig;
use quinn::{AckFrequencyConfig, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::crypto::CryptoProvider;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::kind::Contender;

/// A changed setting of quinn, or of this framework. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setting {
    SendFairness,
    StreamWindow(u32),
    /// The window of all streams together.
    ReceiveWindow(u32),
    SendWindow(u32),
    /// The number of packets that may arrive before they are acknowledged.
    AckThreshold(u32),
    NoSegmentationOffload,
    SocketBuffers(u32),
    /// The MTU from the beginning, without discovery of a larger MTU.
    Mtu(u16),
    /// The largest MTU that is searched for.
    DiscoverMtu(u16),
    /// A receive buffer for datagrams, although none are sent.
    Datagrams,
    /// aws-lc-rs as the cryptographic library, in place of ring.
    AwsLcRs,
    /// The `max_mtu` of this framework's `TransportSettings`.
    MaxMtu(u16),
}

/// The number of packets in one of quinn's packet trains. The kernel takes no more than 64 KiB at once.
const SEGMENTS: u32 = 10;

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

/// quinn's default for the receive buffer of datagrams, in bytes.
const DATAGRAMS: usize = 1_250_000;

impl Setting {
    /// Returns all settings that are compared.
    pub(crate) fn all() -> Vec<Self> {
        use Setting::*;
        vec![
            SendFairness,
            StreamWindow(64 * KIB),
            StreamWindow(256 * KIB),
            StreamWindow(8 * MIB),
            ReceiveWindow(MIB),
            ReceiveWindow(64 * MIB),
            SendWindow(256 * KIB),
            SendWindow(MIB),
            SendWindow(64 * MIB),
            AckThreshold(10),
            AckThreshold(25),
            NoSegmentationOffload,
            SocketBuffers(4 * MIB),
            Mtu(1200),
            Mtu(1452),
            Mtu(1472),
            Mtu(6500),
            Mtu(9000),
            Mtu(16 << 10),
            DiscoverMtu(6500),
            Datagrams,
            AwsLcRs,
            MaxMtu(1200),
            MaxMtu(1472),
            MaxMtu(6500),
            MaxMtu(9000),
        ]
    }

    /// Returns the contender whose setting it is.
    pub(crate) fn contender(self) -> Contender {
        match self {
            Self::MaxMtu(_) => Contender::Ours,
            _ => Contender::RawQuinn,
        }
    }

    /// Returns the cryptographic library of raw quinn.
    pub(super) fn provider(setting: Option<Self>) -> CryptoProvider {
        match setting {
            Some(Self::AwsLcRs) => rustls::crypto::aws_lc_rs::default_provider(),
            _ => rustls::crypto::ring::default_provider(),
        }
    }

    /// Returns its name in the table.
    pub(crate) fn label(self) -> String {
        match self {
            Self::SendFairness => "`send_fairness` on".to_owned(),
            Self::StreamWindow(bytes) => format!("`stream_receive_window` {}", size(bytes)),
            Self::ReceiveWindow(bytes) => format!("`receive_window` {}", size(bytes)),
            Self::SendWindow(bytes) => format!("`send_window` {}", size(bytes)),
            Self::AckThreshold(packets) => format!("`ack_eliciting_threshold` {packets}"),
            Self::NoSegmentationOffload => "`enable_segmentation_offload` off".to_owned(),
            Self::SocketBuffers(bytes) => format!("socket buffers {}", size(bytes)),
            Self::Mtu(bytes) => format!("`initial_mtu` {bytes}, no discovery{}", train(bytes)),
            Self::DiscoverMtu(most) => {
                format!("MTU discovery to `upper_bound` {most}{}", train(most))
            }
            Self::Datagrams => "`datagram_receive_buffer_size` at its default".to_owned(),
            Self::AwsLcRs => "aws-lc-rs in place of ring".to_owned(),
            Self::MaxMtu(bytes) => {
                format!("this framework, `max_mtu` {bytes}{}", train(bytes))
            }
        }
    }

    pub(super) fn apply(self, config: &mut TransportConfig) {
        match self {
            Self::SendFairness => config.send_fairness(true),
            Self::StreamWindow(bytes) => config.stream_receive_window(VarInt::from_u32(bytes)),
            Self::ReceiveWindow(bytes) => config.receive_window(VarInt::from_u32(bytes)),
            Self::SendWindow(bytes) => config.send_window(bytes.into()),
            Self::AckThreshold(packets) => {
                let mut acks = AckFrequencyConfig::default();
                acks.ack_eliciting_threshold(VarInt::from_u32(packets));
                config.ack_frequency_config(Some(acks))
            }
            Self::NoSegmentationOffload => config.enable_segmentation_offload(false),
            Self::SocketBuffers(_) | Self::AwsLcRs | Self::MaxMtu(_) => config,
            Self::Mtu(bytes) => {
                // The initial congestion window of 14,720 bytes must hold a packet, or nothing is ever sent.
                let mut congestion = CubicConfig::default();
                congestion.initial_window(u64::from(bytes).saturating_mul(2).max(14_720));
                config
                    .initial_mtu(bytes)
                    .mtu_discovery_config(None)
                    .enable_segmentation_offload(fits_in_a_train(bytes))
                    .congestion_controller_factory(Arc::new(congestion))
            }
            Self::DiscoverMtu(most) => {
                let mut discovery = MtuDiscoveryConfig::default();
                discovery.upper_bound(most);
                config
                    .mtu_discovery_config(Some(discovery))
                    .enable_segmentation_offload(fits_in_a_train(most))
            }
            Self::Datagrams => config.datagram_receive_buffer_size(Some(DATAGRAMS)),
        };
    }

    /// Sets the maximum size of received UDP payloads.
    pub(super) fn endpoint(self, config: &mut EndpointConfig) -> Result<()> {
        if let Self::Mtu(bytes) | Self::DiscoverMtu(bytes) = self {
            config.max_udp_payload_size(bytes)?;
        }
        Ok(())
    }

    pub(super) fn socket(self, socket: &UdpSocket) -> Result<()> {
        if let Self::SocketBuffers(bytes) = self {
            let (socket, bytes) = (SockRef::from(socket), bytes as usize);
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
            let given = socket.recv_buffer_size()?.min(socket.send_buffer_size()?);
            ensure!(
                given >= bytes,
                "the system allows no more than {given} bytes"
            );
        }
        Ok(())
    }
}

/// Returns `true` if a train of such packets fits into what the kernel takes at once.
///
/// Larger packets must not be sent in trains: the kernel rejects the trains, which quinn takes for a loss.
fn fits_in_a_train(packet: u16) -> bool {
    u32::from(packet) * SEGMENTS < 64 * KIB
}

fn train(packet: u16) -> &'static str {
    if fits_in_a_train(packet) {
        ""
    } else {
        ", no segmentation offload"
    }
}

fn size(bytes: u32) -> String {
    if bytes >= MIB {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes / KIB)
    }
}

/// Writes the setting as the hidden commands take it.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}

impl FromStr for Setting {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }
}

#[cfg(test)]
mod tests {
    use super::{Setting, fits_in_a_train};

    #[test]
    fn a_setting_is_read_as_it_is_written() {
        for setting in Setting::all() {
            assert_eq!(setting.to_string().parse::<Setting>().ok(), Some(setting));
        }
    }

    #[test]
    fn trains_are_shorter_than_what_the_kernel_takes() {
        assert!(fits_in_a_train(6500));
        assert!(!fits_in_a_train(9000));
    }
}
