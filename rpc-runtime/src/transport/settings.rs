//! The settings of QUIC and of its sockets.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

/// The default idle timeout.
const IDLE: Duration = Duration::from_secs(15);

/// The default and the longest interval of a client's keep-alive packets.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The settings of QUIC and of its sockets, for a server ([`ServerBuilder::transport`](crate::ServerBuilder::transport)) or
/// a client ([`ClientBuilder::transport`](crate::ClientBuilder::transport)).
///
/// The defaults suit most networks. The settings of the two ends need not be equal.
///
/// ```
/// use std::time::Duration;
/// use rpc_runtime::{Client, CongestionController, TransportSettings};
///
/// let settings = TransportSettings::default()
///     .idle_timeout(Duration::from_secs(60))
///     .congestion_controller(CongestionController::Bbr);
/// let builder = Client::builder().transport(settings);
/// ```
///
/// # Errors
///
/// Each setting has a range. A value outside it is an error when the server is bound or the client is created
/// ([`BindError::Transport`](crate::BindError::Transport), [`ConnectError::Transport`](crate::ConnectError::Transport)).
/// The error names the setting, the value and the range.
///
/// # Connections without calls
///
/// Two settings decide how long a connection lasts while no calls are made: the idle timeout, which is negotiated as the
/// shorter one of both ends ([RFC 9000, section 10.1](https://www.rfc-editor.org/rfc/rfc9000#section-10.1)), and the
/// keep-alive interval. No values of them end a connection between a client and a server of this crate whose network works:
///
/// - A client sends a packet at least every 5 s, and at least three times within its idle timeout.
/// - A server with an idle timeout of less than 15 s sends a packet at least three times within it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportSettings {
    pub(super) idle_timeout: Duration,
    keep_alive_interval: Option<Duration>,
    pub(super) max_mtu: u16,
    pub(super) congestion_controller: CongestionController,
    pub(super) stream_receive_window: u32,
    pub(super) receive_window: u32,
    pub(super) send_window: u32,
    pub(super) socket_buffer_bytes: u32,
    pub(super) max_streams: u32,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            idle_timeout: IDLE,
            keep_alive_interval: None,
            max_mtu: 1452,
            congestion_controller: CongestionController::default(),
            stream_receive_window: 1 << 20,
            receive_window: 8 << 20,
            send_window: 8 << 20,
            socket_buffer_bytes: 4 << 20,
            max_streams: 128,
        }
    }
}

/// The algorithm that decides how many bytes may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CongestionController {
    /// CUBIC ([RFC 9438](https://www.rfc-editor.org/rfc/rfc9438)), as in TCP. The default.
    #[default]
    Cubic,
    /// BBR, which estimates the bandwidth and the round-trip time instead of counting lost packets. It may have a higher
    /// rate where packets are lost at random, as in radio networks. quinn's implementation is experimental: measure before
    /// you use it.
    Bbr,
    /// NewReno, the algorithm of QUIC's own specification
    /// ([RFC 9002, section 7](https://www.rfc-editor.org/rfc/rfc9002#section-7)).
    NewReno,
}

impl TransportSettings {
    /// Sets the time without packets after which a connection is closed. Defaults to 15 s; from 1 s to 1 hour.
    ///
    /// The shorter one of both ends is used. The connection is closed silently, without an error code
    /// ([`ConnectionError::TimedOut`](crate::ConnectionError::TimedOut)). A shorter time detects sooner that a peer has
    /// disappeared, and costs more packets of connections without calls: each end sends at least three within its own idle
    /// timeout if that is less than 15 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets the interval of packets that keep a connection without calls open: from 100 ms to 5 s. Defaults to 5 s for a
    /// client; a server sends none unless its idle timeout is less than 15 s.
    ///
    /// A third of the [`idle_timeout`](Self::idle_timeout) is used if it is shorter. A network address translator that
    /// forgets a mapping after a few seconds needs a shorter interval.
    pub fn keep_alive_interval(mut self, interval: Duration) -> Self {
        self.keep_alive_interval = Some(interval);
        self
    }

    /// Sets the maximum size of the UDP payload of a packet, in bytes. Defaults to 1,452; from 1,200 to 65,527.
    ///
    /// A connection starts with 1,200 bytes and then probes for the largest size, up to this one, that arrives
    /// ([RFC 8899](https://www.rfc-editor.org/rfc/rfc8899)). So a size that the network does not carry costs a few lost
    /// probes. 1,200 disables the probes. Both ends must allow the size: each accepts packets of up to the larger one of its
    /// own setting and 1,472 bytes.
    ///
    /// Larger packets pay off in a data centre with jumbo frames, and over loopback: `ARCHITECTURE.md` has the measured
    /// gain. Above 6,550 bytes the operating system no longer splits a burst into packets (segmentation offload), since it
    /// takes at most 64 KiB at a time. So 6,500 is the best size for large messages even where 9,000 is possible. The buffer
    /// for received packets of each socket has 2,048 times this size on Linux.
    pub fn max_mtu(mut self, bytes: u16) -> Self {
        self.max_mtu = bytes;
        self
    }

    /// Sets the congestion controller. Defaults to [`CongestionController::Cubic`].
    pub fn congestion_controller(mut self, controller: CongestionController) -> Self {
        self.congestion_controller = controller;
        self
    }

    /// Sets how many bytes the peer may send on a stream before they are read. Defaults to 1 MiB; from 64 KiB to 64 MiB.
    ///
    /// A message may be larger. The rate of a stream is at most this window for each round trip.
    pub fn stream_receive_window(mut self, bytes: u32) -> Self {
        self.stream_receive_window = bytes;
        self
    }

    /// Sets how many bytes the peer may send on all streams of a connection before they are read. Defaults to 8 MiB; from
    /// 64 KiB to 1 GiB, and not less than the [`stream_receive_window`](Self::stream_receive_window).
    ///
    /// The window grows by that of a stream for each stream of items that the caller leaves unread, and leaves the other
    /// streams at least an eighth. A peer can make a process hold this many bytes for each connection, besides the
    /// [`Limits`](crate::Limits) of memory.
    pub fn receive_window(mut self, bytes: u32) -> Self {
        self.receive_window = bytes;
        self
    }

    /// Sets how many bytes of a connection may be sent and not acknowledged. Defaults to 8 MiB; from 64 KiB to 1 GiB.
    ///
    /// The rate of a connection is at most this window for each round trip. A peer can make a process hold this many bytes
    /// for each connection, besides the [`Limits`](crate::Limits) of memory.
    pub fn send_window(mut self, bytes: u32) -> Self {
        self.send_window = bytes;
        self
    }

    /// Sets the sizes of the socket's buffers for sending and for receiving, in bytes. Defaults to 4 MiB; from 64 KiB to
    /// 256 MiB.
    ///
    /// A larger buffer is left as it is. A system with a lower limit, such as `net.core.rmem_max` of Linux, reduces the size
    /// without an error. With small buffers a burst of large replies loses packets.
    pub fn socket_buffer_bytes(mut self, bytes: u32) -> Self {
        self.socket_buffer_bytes = bytes;
        self
    }

    /// Sets how many bidirectional streams the peer may have open at a time. Defaults to 128; from 16 to 100,000.
    ///
    /// A client opens a stream for each call with items and for each large call, besides the streams that small calls share.
    /// Further streams wait until others end. A client opens at most
    /// [`max_dedicated_streams`](crate::ClientBuilder::max_dedicated_streams) such streams, which has a default of its own:
    /// raise both, and on the server
    /// [`Limits::max_concurrent_calls_per_connection`](crate::Limits::max_concurrent_calls_per_connection), which also counts
    /// the streams of items.
    ///
    /// On a client, the setting limits the streams of the calls that the server makes.
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.max_streams = streams;
        self
    }

    /// Checks the range of each setting.
    pub(crate) fn check(&self) -> Result<(), TransportSettingsError> {
        let Self {
            idle_timeout,
            keep_alive_interval,
            ..
        } = self;
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        check("idle_timeout", *idle_timeout, second..=hour)?;
        if let Some(interval) = keep_alive_interval {
            let range = Duration::from_millis(100)..=KEEP_ALIVE;
            check("keep_alive_interval", *interval, range)?;
        }
        check("max_mtu", self.max_mtu, 1_200..=65_527)?;
        let window = 64 << 10..=1 << 30;
        let (stream, all) = (self.stream_receive_window, self.receive_window);
        check("stream_receive_window", stream, 64 << 10..=64 << 20)?;
        check("receive_window", all, stream..=1 << 30)?;
        check("send_window", self.send_window, window)?;
        let buffer = 64 << 10..=256 << 20;
        check("socket_buffer_bytes", self.socket_buffer_bytes, buffer)?;
        check("max_streams", self.max_streams, 16..=100_000)
    }
}

/// A role of an endpoint, which decides how it keeps connections open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    #[cfg_attr(not(any(test, feature = "server")), expect(dead_code))] // only a listener has it
    Server,
}

/// The values that the transport uses.
impl TransportSettings {
    /// Returns the interval of keep-alive packets. Three of them fit into the idle timeout.
    ///
    /// The negotiated idle timeout is that of one of the two ends. A server with the default timeout, or a longer one, relies
    /// on the packets of its clients; with a shorter one, it sends packets itself.
    pub(super) fn keep_alive(&self, role: Role) -> Option<Duration> {
        let is_needed = role == Role::Client || self.idle_timeout < IDLE;
        let interval = match self.keep_alive_interval {
            Some(interval) => interval,
            None if is_needed => KEEP_ALIVE,
            None => return None,
        };
        Some(interval.min(self.idle_timeout / 3))
    }
}

fn check<T: PartialOrd + Debug>(
    setting: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), TransportSettingsError> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(TransportSettingsError {
            setting,
            value: format!("{value:?}"),
            range: format!("{:?} to {:?}", range.start(), range.end()),
        }),
    }
}

/// The error for a setting that is outside its range.
///
/// ```
/// use rpc_runtime::{BindError, Identity, Server, TransportSettings};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::tls::TlsError> {
/// let builder = Server::builder(Identity::self_signed(["localhost"])?);
/// let bound = builder.transport(TransportSettings::default().max_mtu(900)).bind("127.0.0.1:0");
/// let error = bound.unwrap_err();
/// assert!(matches!(error, BindError::Transport(_)));
/// assert_eq!(error.to_string(), "`TransportSettings::max_mtu` is 900; set it to a value from 1200 to 65527");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`TransportSettings::{setting}` is {value}; set it to a value from {range}")]
pub struct TransportSettingsError {
    setting: &'static str,
    value: String,
    range: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn settings_at_the_ends_of_their_ranges_are_accepted_and_others_rejected() {
        let defaults = TransportSettings::default;
        assert_eq!(defaults().check(), Ok(()));
        let rejected = |settings: TransportSettings| settings.check().unwrap_err().setting;
        for timeout in [milliseconds(1_000), milliseconds(3_600_000)] {
            assert_eq!(defaults().idle_timeout(timeout).check(), Ok(()));
        }
        for timeout in [Duration::ZERO, milliseconds(999), milliseconds(3_600_001)] {
            assert_eq!(rejected(defaults().idle_timeout(timeout)), "idle_timeout");
        }
        for interval in [Duration::ZERO, milliseconds(99), milliseconds(5_001)] {
            let settings = defaults().keep_alive_interval(interval);
            assert_eq!(rejected(settings), "keep_alive_interval");
        }
        assert_eq!(defaults().max_mtu(1_200).check(), Ok(()));
        assert_eq!(defaults().max_mtu(65_527).check(), Ok(()));
        assert_eq!(rejected(defaults().max_mtu(1_199)), "max_mtu");
        assert_eq!(rejected(defaults().max_mtu(65_528)), "max_mtu");
        let window = defaults().stream_receive_window(8 << 20);
        assert_eq!(window.check(), Ok(()));
        let window = window.stream_receive_window((8 << 20) + 1);
        assert_eq!(rejected(window), "receive_window");
        let window = defaults().stream_receive_window(0);
        assert_eq!(rejected(window), "stream_receive_window");
        assert_eq!(rejected(defaults().send_window(0)), "send_window");
        let buffers = defaults().socket_buffer_bytes(u32::MAX);
        assert_eq!(rejected(buffers), "socket_buffer_bytes");
        assert_eq!(rejected(defaults().max_streams(15)), "max_streams");
    }

    #[test]
    fn error_names_the_setting_the_value_and_the_range() {
        let error = TransportSettings::default().idle_timeout(Duration::ZERO);
        let expected =
            "`TransportSettings::idle_timeout` is 0ns; set it to a value from 1s to 3600s";
        assert_eq!(error.check().unwrap_err().to_string(), expected);
    }

    #[test]
    fn packets_keep_a_connection_open_with_the_shorter_of_any_two_idle_timeouts() {
        let timeouts = [1_000, 1_500, 5_000, 14_999, 15_000, 60_000, 3_600_000].map(milliseconds);
        let intervals = [None, Some(milliseconds(100)), Some(KEEP_ALIVE)];
        let settings = |timeout, interval| TransportSettings {
            idle_timeout: timeout,
            keep_alive_interval: interval,
            ..TransportSettings::default()
        };
        for client_timeout in timeouts {
            for server_timeout in timeouts {
                for interval in intervals {
                    let client = settings(client_timeout, interval);
                    let server = settings(server_timeout, interval);
                    assert_eq!((client.check(), server.check()), (Ok(()), Ok(())));
                    let negotiated = client_timeout.min(server_timeout);
                    let sent = [
                        client.keep_alive(Role::Client),
                        server.keep_alive(Role::Server),
                    ];
                    let interval = sent.into_iter().flatten().min().unwrap();
                    assert!(interval <= negotiated / 3, "{client:?} {server:?}");
                }
            }
        }
    }

    #[test]
    fn server_with_the_default_idle_timeout_sends_no_keep_alive_packets() {
        let settings = TransportSettings::default();
        assert_eq!(settings.keep_alive(Role::Client), Some(KEEP_ALIVE));
        assert_eq!(settings.keep_alive(Role::Server), None);
        let shorter = settings.idle_timeout(milliseconds(6_000));
        assert_eq!(shorter.keep_alive(Role::Server), Some(milliseconds(2_000)));
    }
}
