//! Events of connections and limits, for metrics: [`Event`], which a server or a client passes to a function of the user.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::codec::error_code::Setting;
use crate::transport_kind::TransportKind;

/// Something that happened to a connection, or to a call at a limit. [`ServerBuilder::on_event`] and
/// [`ClientBuilder::on_event`] pass each event to a function.
///
/// Events cover what no [`Middleware`](crate::middleware::Middleware) sees: connections, handshakes, limits and reconnects.
/// Each event is for a counter, a gauge or a histogram; `rpc-layers` has functions that record all of them as metrics.
///
/// Services of a [client](crate::ClientBuilder::service) report calls as those of a server do, to the function of the client. A
/// [`RawService`](crate::RawService), a service in the same process ([`Client::local`](crate::Client::local)), and the calls
/// that a handler makes to its caller report no events.
///
/// An event has no text of a peer, except for the texts of errors, which are escaped.
///
/// ```
/// use rpc_runtime::event::Event;
/// use rpc_runtime::{Identity, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Identity::self_signed(["localhost"])?)
///     .on_event(|event: &Event<'_>| match event {
///         Event::ConnectionRefused { peer, limit, .. } => eprintln!("{peer} is refused: {limit}"),
///         Event::CallWaitEnded { limit, waited, .. } => eprintln!("a call waited {waited:?}: {limit}"),
///         _ => {}
///     })
///     .bind("127.0.0.1:0")?;
/// # Ok(())
/// # }
/// ```
///
/// [`ServerBuilder::on_event`]: crate::ServerBuilder::on_event
/// [`ClientBuilder::on_event`]: crate::ClientBuilder::on_event
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A server accepted a connection, whose handshake is complete.
    #[non_exhaustive]
    ConnectionOpened {
        /// The client's address.
        peer: SocketAddr,
    },
    /// A connection of a server ended. Follows exactly one [`ConnectionOpened`](Self::ConnectionOpened).
    #[non_exhaustive]
    ConnectionClosed {
        /// The client's address.
        peer: SocketAddr,
        /// The reason.
        reason: CloseReason,
        /// The time since the connection was opened.
        lasted: Duration,
    },
    /// A server refused a connection at a limit.
    #[non_exhaustive]
    ConnectionRefused {
        /// The client's address.
        peer: SocketAddr,
        /// The limit that is reached.
        limit: Limit,
    },
    /// A server asked a client to validate its address, since `max_unvalidated_handshakes` or `max_handshakes` is reached.
    /// The client begins its handshake again at once.
    #[non_exhaustive]
    RetrySent {
        /// The client's address, which may be forged.
        peer: SocketAddr,
    },
    /// A handshake failed, after the server had begun it.
    #[non_exhaustive]
    HandshakeFailed {
        /// The client's address, which may be forged.
        peer: SocketAddr,
        /// The reason.
        reason: HandshakeFailure,
    },
    /// A call, an entry of a batch, or a large message that is being received, waits for a limit. Followed by exactly one
    /// [`CallWaitEnded`](Self::CallWaitEnded).
    #[non_exhaustive]
    CallWaitStarted {
        /// The limit that is reached.
        limit: Limit,
    },
    /// A call, an entry of a batch, or a large message no longer waits for a limit.
    #[non_exhaustive]
    CallWaitEnded {
        /// The limit that was reached when the call began to wait.
        limit: Limit,
        /// The time that it waited.
        waited: Duration,
        /// `true` if the call started or the message is received further, `false` if its deadline passed, it was cancelled,
        /// or its connection ended.
        has_started: bool,
    },
    /// A message was answered with the error of a limit, and no handler has run for it; or the error replaced a reply.
    #[non_exhaustive]
    CallRejected {
        /// The limit that is reached.
        limit: Limit,
        /// The error code.
        code: i64,
    },
    /// A stream was reset, with code 0x14, because its client did not send or read in time. The calls of the stream were
    /// cancelled.
    #[non_exhaustive]
    StreamTimedOut {
        /// The limit that is reached.
        limit: Limit,
    },
    /// A client has connected, for the first time or again, or has moved to another transport.
    #[non_exhaustive]
    Connected {
        /// The address of the server, as it was given to the client.
        server: &'e str,
        /// The transport of the connection.
        transport: TransportKind,
    },
    /// A client has lost a connection, or the server drains it. The client connects again.
    #[non_exhaustive]
    Disconnected {
        /// The address of the server, as it was given to the client.
        server: &'e str,
        /// The reason, a [`ConnectionError`](crate::ConnectionError).
        reason: &'e (dyn Error + 'static),
    },
    /// An attempt of a client to connect again failed. The client makes another attempt after a pause.
    #[non_exhaustive]
    ConnectFailed {
        /// The address of the server, as it was given to the client.
        server: &'e str,
        /// The reason, a [`ConnectError`](crate::ConnectError).
        error: &'e (dyn Error + 'static),
    },
    /// A client makes another attempt of a call whose reply was lost.
    #[non_exhaustive]
    CallRetried {
        /// The number of attempts before this one.
        attempts: u32,
    },
    /// A client did not retry a call although a retry was allowed, because too many retries failed before.
    #[non_exhaustive]
    RetryBudgetExhausted {},
    /// A client discarded a reply, or an item, at one of its limits. The call failed.
    #[non_exhaustive]
    ReplyDiscarded {
        /// The limit that is reached.
        limit: Limit,
    },
    /// Streams of items of a client are not read, and hold the receive window of their connection, so that replies to its other
    /// calls may not arrive. At most one event a second for each connection.
    #[non_exhaustive]
    RepliesHeldBack {
        /// The limit from which on streams of items share the window: it is widened for others.
        limit: Limit,
    },
    /// A call of a client waits for a dedicated stream, or for room in a shared stream. Followed by exactly one [`StreamWaitEnded`](Self::StreamWaitEnded).
    #[non_exhaustive]
    StreamWaitStarted {
        /// The limit that is reached.
        limit: Limit,
    },
    /// A call of a client no longer waits for a dedicated stream, or for room in a shared stream.
    #[non_exhaustive]
    StreamWaitEnded {
        /// The limit that was reached when the call began to wait.
        limit: Limit,
        /// The time that it waited.
        waited: Duration,
        /// `true` if the stream was opened or the request was queued, `false` if the call's time was over, it was cancelled, or its connection was
        /// lost.
        has_opened: bool,
    },
}

/// A limit that is reached. It is displayed as its name and its value, if that is known: `max_connections (10000)` or
/// `message_timeout (10000 ms)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limit {
    /// The name of the setting: a field of [`Limits`](crate::Limits), or a limit of a client that
    /// `docs/limits.md` lists.
    pub name: &'static str,
    /// The value of the setting, in the unit that its name says, and of a time in milliseconds; `None` if it is not known,
    /// since the peer has set it.
    pub value: Option<usize>,
    is_time: bool,
}

impl Limit {
    pub(crate) fn new(name: &'static str, value: usize) -> Self {
        Self {
            name,
            value: Some(value),
            is_time: false,
        }
    }

    /// Creates a limit of time.
    pub(crate) fn time(name: &'static str, value: Duration) -> Self {
        Self {
            name,
            value: Some(usize::try_from(value.as_millis()).unwrap_or(usize::MAX)),
            is_time: true,
        }
    }

    /// Creates a limit whose value is not known.
    pub(crate) fn unknown(name: &'static str) -> Self {
        Self {
            name,
            value: None,
            is_time: false,
        }
    }
}

impl From<Setting> for Limit {
    fn from(Setting { name, value }: Setting) -> Self {
        Self::new(name, value)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) if self.is_time => write!(f, "{} ({value} ms)", self.name),
            Some(value) => write!(f, "{} ({value})", self.name),
            None => f.write_str(self.name),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the reason as one word, for a label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// The reason why a connection of a server ended.
    CloseReason {
        /// The client closed the connection.
        ClosedByPeer = "closed_by_peer",
        /// No packet of the client arrived within [`TransportSettings::idle_timeout`](crate::TransportSettings::idle_timeout).
        IdleTimeout = "idle_timeout",
        /// The client lost the state of the connection, or broke the rules of QUIC.
        Lost = "lost",
        /// The client exceeded a limit of wasted work, and the connection was closed with code 0x13
        /// ([`Limits::max_net_cancellations`](crate::Limits::max_net_cancellations),
        /// [`Limits::max_timed_out_messages`](crate::Limits::max_timed_out_messages)).
        ExcessiveLoad = "excessive_load",
        /// The server was shut down.
        Shutdown = "shutdown",
    }
}

words! {
    /// The reason why a handshake failed.
    HandshakeFailure {
        /// It took longer than [`Limits::handshake_timeout`](crate::Limits::handshake_timeout), or the client fell silent.
        TimedOut = "timed_out",
        /// The client does not trust the server's certificate.
        ServerCertificate = "server_certificate",
        /// The client presented no certificate although the server requires one, or one that the server does not trust.
        ClientCertificate = "client_certificate",
        /// The client and the server have no protocol (ALPN), cipher or version of TLS in common.
        Protocol = "protocol",
        /// The client closed the connection before the handshake was complete.
        ClosedByPeer = "closed_by_peer",
        /// Another reason.
        Other = "other",
    }
}

type OnEvent = dyn Fn(&Event<'_>) + Send + Sync;

/// The functions to which events are passed. Without a function, an event costs one check.
#[derive(Clone, Default)]
pub(crate) struct EventHook(Option<Arc<OnEvent>>);

impl EventHook {
    /// Adds a function. Functions that were added before are called first.
    pub(crate) fn add(&mut self, on_event: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.0 = Some(match self.0.take() {
            None => Arc::new(on_event),
            Some(former) => Arc::new(move |event| {
                former(event);
                on_event(event);
            }),
        });
    }

    /// Returns `true` if events are passed to a function.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Passes an event to the functions. A panic of a function is caught, since it would end unrelated work.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Some(on_event) = &self.0
            && catch_unwind(AssertUnwindSafe(|| on_event(event))).is_err()
        {
            tracing::error!(target: "rpc_runtime::event", "function for events panicked");
        }
    }
}

impl fmt::Debug for EventHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventHook").field(&self.is_set()).finish()
    }
}
