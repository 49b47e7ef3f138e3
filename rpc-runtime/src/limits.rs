//! The limits that each peer sets on what the other sends.

use std::sync::OnceLock;
use std::time::Duration;

use crate::codec::MAX_REQUEST_DEPTH;

/// The limits that a server sets on its clients, and that a client with a service sets on its server. The documentation
/// of each field states the limit and its unit, the default, what happens at the limit, and the error code.
/// `docs/limits.md` lists all limits, with what a caller sees and when to raise them. [`TransportSettings`](crate::TransportSettings) has those of QUIC: the idle timeout, the
/// windows and the number of streams.
///
/// ```
/// use rpc_runtime::Limits;
///
/// let limits = Limits { max_request_bytes: 64 << 10, ..Limits::default() };
/// assert_eq!(limits.max_response_bytes, 4 << 20);
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    /// The maximum size of a request or batch, and of an item that the client sends, in bytes. Defaults to 1 MiB. A
    /// larger message is skipped while it is received and answered with −32007.
    ///
    /// A message also has to fit into [`max_memory_bytes_per_connection`](Self::max_memory_bytes_per_connection). Set that
    /// limit to at least twice the size of the largest message.
    pub max_request_bytes: usize,
    /// The maximum size of a reply, of all replies of a batch together, and of an item that the handler sends, in
    /// bytes. Defaults to 4 MiB. A larger reply is replaced by −32008. In a batch, replies that do not fit are replaced
    /// by −32011.
    pub max_response_bytes: usize,
    /// The maximum nesting of a request, in levels of arrays and objects. Defaults to 128. A request that is nested
    /// deeper is answered with −32700.
    ///
    /// This crate's clients and servers write no argument, result, item or error data of more than 125 levels: the call
    /// fails with [`CallError::Encode`](crate::CallError::Encode) or `INTERNAL_ERROR` instead.
    pub max_depth: usize,
    /// The maximum number of entries in a batch. Defaults to 100. No entry of a longer batch is executed; the batch is
    /// answered with a single −32010.
    pub max_batch_entries: usize,
    /// The maximum number of calls in flight on one connection. Defaults to 128. At the limit the server stops reading,
    /// which slows the client down. There is no error code, unless [`reject_excess_calls`](Self::reject_excess_calls)
    /// is set. A stream of items counts as a call in flight for as long as it lasts. A value outside of 1 to 2²⁸ is
    /// replaced by the nearest one.
    pub max_concurrent_calls_per_connection: usize,
    /// The maximum number of calls in flight on all connections of a server. Defaults to 4,096. At the limit the server
    /// stops reading. There is no error code, unless [`reject_excess_calls`](Self::reject_excess_calls) is set. A value
    /// outside of 1 to 2²⁸ is replaced by the nearest one.
    ///
    /// A stream of items counts on its connection only. One address may have only a share of these calls
    /// ([`max_percent_per_address`](Self::max_percent_per_address)). When a call ends, the next call to start is a
    /// waiting call of the address with the fewest calls in flight.
    pub max_concurrent_calls: usize,
    /// `true` if a call is rejected when
    /// [`max_concurrent_calls_per_connection`](Self::max_concurrent_calls_per_connection) or
    /// [`max_concurrent_calls`](Self::max_concurrent_calls) is reached, `false` if it waits. Defaults to `false`. A
    /// rejected call is not executed and is answered at once with −32009.
    pub reject_excess_calls: bool,

    /// The maximum share of [`max_concurrent_calls`](Self::max_concurrent_calls) and of
    /// [`max_connections`](Self::max_connections) that one address may use if no other address uses any, in percent. An
    /// address is an IPv4 address or an IPv6 network of 64 bits. Defaults to 50. Above its share the calls of an
    /// address wait, as at the limit itself, and its connections are refused with CONNECTION_REFUSED (0x02).
    ///
    /// The more calls or connections are in use, the fewer each address may have, so that some remain for an address
    /// that has few. With the default, one address may have 2,048 of 4,096 calls. Eight addresses leave 319 free and 64
    /// leave 23, even if their calls never end.
    ///
    /// For a client that serves, the addresses are those of its servers. Set it to 100 to disable the share, for a
    /// server whose clients all connect from the address of a proxy.
    pub max_percent_per_address: usize,
    /// The maximum share of the same calls and connections that one IPv6 network of 56 bits may use, in percent.
    /// Defaults to 75. The consequences and codes are those of
    /// [`max_percent_per_address`](Self::max_percent_per_address). One customer of a provider usually has such a
    /// network. For connections this is also the share of an IPv4 network of 24 bits.
    pub max_percent_per_network: usize,

    /// The maximum number of connections from one IPv4 address, or from one IPv6 network of 64 bits. Defaults to 64.
    /// Further connections are refused with CONNECTION_REFUSED (0x02).
    pub max_connections_per_address: usize,
    /// The maximum number of connections of a server. Defaults to 10,000. Further connections are refused with
    /// CONNECTION_REFUSED (0x02).
    pub max_connections: usize,
    /// The maximum number of handshakes in progress. Defaults to 256. At the limit, clients must first validate their
    /// address (RFC 9000, section 8.1.2). There is no error code.
    ///
    /// For a client with a validated address, the oldest handshake of the network with the most handshakes is dropped,
    /// if the client's network or address has fewer, or if that handshake has been in progress for a second. Networks
    /// have 24 bits (IPv4) or 56 bits (IPv6). If no handshake is dropped, the client's packets are; QUIC retransmits
    /// them.
    pub max_handshakes: usize,
    /// The maximum number of handshakes in progress with clients whose address is not validated and may be forged.
    /// Defaults to 32. Further clients must first validate their address, which takes one more round trip. There is no
    /// error code. Keep it below [`max_connections_per_address`](Self::max_connections_per_address), so that forged
    /// packets cannot use up the connections of an address.
    pub max_unvalidated_handshakes: usize,
    /// The maximum duration of a handshake. Defaults to 5 s. A handshake that takes longer is dropped, without an error
    /// code of this protocol.
    pub handshake_timeout: Duration,

    /// The maximum time from the opening of a stream to its first byte. Defaults to 5 s. After that the stream is reset
    /// with code 0x14. A packet that carries data for a stream also opens all lower-numbered streams of its type, so
    /// one packet of a client can open many.
    pub first_byte_timeout: Duration,
    /// The maximum time from the first byte of a message to its last. Defaults to 10 s. After that the stream is reset
    /// with code 0x14. Between messages a stream may be idle without limit. Over HTTP, a message in a POST is answered with
    /// status 408, and a WebSocket is closed with code 1008.
    pub message_timeout: Duration,
    /// The maximum number of streams of a connection that time out in the middle of a message. Defaults to 8. After one
    /// more the connection is closed with code 0x13. A message that is answered with −32013 counts, too.
    pub max_timed_out_messages: usize,
    /// The maximum size of unsent replies on one stream, in bytes. Defaults to 256 KiB. Above it the server reads no
    /// further requests from the stream until replies have been sent. There is no error code.
    pub max_unsent_bytes_per_stream: usize,
    /// The maximum size of unsent replies on all streams of a connection, in bytes. Defaults to 8 MiB. Above it the
    /// server starts no further calls of the connection until replies have been sent. There is no error code. Up to 8
    /// MiB that are sent and not acknowledged come on top.
    pub max_unsent_bytes_per_connection: usize,
    /// The maximum time for which the client reads none of a stream's replies. Defaults to 20 s. After that the stream
    /// is reset with code 0x14. The time does not count while only items wait on the stream. A connection over HTTP whose
    /// client takes no bytes at all for this time is closed, also while only items wait.
    pub write_timeout: Duration,

    /// The maximum number of bytes that are held for one connection: messages that are received, parsed or wait, the
    /// parameters of calls that run, replies and items that wait to be sent, and the buffers that are kept for reuse. On a
    /// client, and for the calls that a handler makes to its caller, replies and items that are received or wait for their
    /// callers count, too ([`ClientBuilder::limits`](crate::ClientBuilder::limits)). Defaults to 32 MiB. At the limit the
    /// connection is not read further. An unfinished message that then finds no room is answered with −32013 after one to
    /// two seconds, the largest message first. Replies and items of calls that run may take half as much again. A reply or
    /// item of more than 16 KiB that has no room is replaced by −32008, or by −32011 in a batch. The memory of QUIC itself is
    /// not counted: up to 8 MiB that were received and not read, and 8 MiB that were sent and not acknowledged.
    pub max_memory_bytes_per_connection: usize,
    /// The maximum number of bytes that are held for all connections of a server, or of a client. Defaults to a quarter of
    /// `MemTotal` in `/proc/meminfo`, or of `/sys/fs/cgroup/memory.max` if that is less, and to 1 GiB if neither can be read,
    /// as on systems other than Linux. One address (an IPv4 address, or an IPv6 /64 prefix) may hold half of them if it is alone, and
    /// less as other addresses hold more. At that limit the connections of the address are not read further.
    pub max_memory_bytes: usize,

    /// The maximum number of net cancellations and of other wasted work on a connection. Defaults to 1,000. Above the
    /// limit the connection is closed with code 0x13, because nearly all work that the client starts is wasted.
    ///
    /// Each of these adds one to the count:
    ///
    /// - an `rpc.cancel`, even if it finds no call
    /// - a stream without a message, or one that the client resets before its end and before any of its items was sent
    /// - a message, or an entry of a batch, that is not a request
    /// - a batch with too many entries
    /// - a message in a POST that the client cancels before its reply
    ///
    /// Each second subtracts [`cancellations_offset_per_second`](Self::cancellations_offset_per_second) from the count,
    /// each call that ends by itself subtracts ten, and each call that ends at its deadline subtracts one.
    pub max_net_cancellations: usize,
    /// The number of cancellations that each second subtracts from the count of a connection. Defaults to 100. See
    /// [`max_net_cancellations`](Self::max_net_cancellations) for what happens at the limit, and its code.
    pub cancellations_offset_per_second: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 1 << 20,
            max_response_bytes: 4 << 20,
            max_depth: MAX_REQUEST_DEPTH,
            max_batch_entries: 100,
            max_concurrent_calls_per_connection: 128,
            max_concurrent_calls: 4096,
            reject_excess_calls: false,
            max_percent_per_address: 50,
            max_percent_per_network: 75,
            max_connections_per_address: 64,
            max_connections: 10_000,
            max_handshakes: 256,
            max_unvalidated_handshakes: 32,
            handshake_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(10),
            max_timed_out_messages: 8,
            max_unsent_bytes_per_stream: 256 << 10,
            max_unsent_bytes_per_connection: 8 << 20,
            write_timeout: Duration::from_secs(20),
            max_memory_bytes_per_connection: 32 << 20,
            max_memory_bytes: default_memory(),
            max_net_cancellations: 1000,
            cancellations_offset_per_second: 100,
        }
    }
}

/// Returns a quarter of the machine's memory, or of the memory that the process may use if that is less. Returns 1 GiB
/// if neither is known.
fn default_memory() -> usize {
    static MEMORY: OnceLock<usize> = OnceLock::new();
    *MEMORY.get_or_init(|| {
        let installed = read_number("/proc/meminfo", |text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?;
            let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            kibibytes.checked_mul(1024)
        });
        let allowed = read_number("/sys/fs/cgroup/memory.max", |text| text.trim().parse().ok());
        let most = installed.into_iter().chain(allowed).min();
        most.map_or(1 << 30, |bytes| {
            usize::try_from(bytes / 4).unwrap_or(usize::MAX)
        })
    })
}

fn read_number(path: &str, parse: impl FnOnce(&str) -> Option<u64>) -> Option<u64> {
    parse(&std::fs::read_to_string(path).ok()?)
}
