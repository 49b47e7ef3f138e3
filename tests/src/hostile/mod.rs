//! The attacks of a raw client on a server of [`target::Target`].

mod flood;
mod holding;
pub mod target;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{Connection, Endpoint};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::interval;
use tokio::try_join;

use crate::message::{call_line, cancel, line};
use crate::peer::{CANCELLED, RawClient, receive_window};

use self::flood::{ADDRESSES, FLOODING_CONNECTIONS, HALF_SENDING_CONNECTIONS};

macro_rules! attacks {
    ($($attack:ident: $text:literal,)*) => {
        /// An attack, which `Display` describes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Attack {
            $(#[doc = $text] $attack,)*
        }

        impl Attack {
            /// Every attack.
            pub const ALL: &[Self] = &[$(Self::$attack),*];
        }

        impl fmt::Display for Attack {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$attack => $text,)*
                })
            }
        }
    };
}

attacks! {
    Idle: "none",
    Honest: "none, but honest calls at full speed",
    HalfSent: "6,000 half-sent requests that grow by a byte",
    Brackets: "100,000 `[`",
    NeverReturning: "10,000 calls that never return",
    Reset: "streams opened and reset",
    StoppedReader: "80 replies of 1 MB that are not read",
    Panics: "calls that panic",
    Cancellations: "calls and their cancellations",
    UnreadReplies: "32 streams with an open stream of items and 40 unread replies of 200 KB",
    IgnoredZeros: "128 waiting calls of 1 MiB of zeros in an ignored member",
    ZeroParameters: "128 waiting calls of 1 MiB of zeros as parameters",
    PreparedMessages: "20 messages of 1 MiB of zeros, whose last bytes come at once",
    HalfSentLarge: "half-sent messages of nearly 1 MiB on 100 streams",
    WaitingMessages: "128 calls that never return, and 99 messages of 1 MiB behind them",
    IdleWorkers: "bursts of 128 calls of 41 KiB on stream after stream, and two pings a second",
    Batches: "batches of 100 entries with 4 MB of replies",
    UnreadBatches: "the same on 32 streams, not read",
    Uploads: "items that no handler takes on 90 streams",
    UnreadItems: "items of 100 KB on 60 streams, not read",
    EscapedReplies: "replies full of control characters on 32 streams, not read",
    TinyUnread: "invalid messages of 1 byte on 64 streams, replies not read",
    Oversized: "messages of 8 MiB on 64 streams",
    FloodingAddresses: "calls that never return from eight addresses, 64 connections",
    FloodingMemory: "half-sent messages of nearly 1 MiB from eight addresses, 16 connections",
    StalledHandshakes: "64 stalled handshakes from each of eight addresses",
    MissedCancellations: "cancellations that find nothing",
    CancellationBatches: "batches of 100 cancellations that find nothing",
    BlankLines: "blank lines",
    TinyMessages: "invalid messages of 1 byte",
    DuplicateMembers: "messages of 1 MB with one member again and again",
    UnknownMembers: "messages of 1 MB with members that no message has",
    Datagrams: "notifications in datagrams",
}

impl Attack {
    /// Returns the number of the hostile client's connections.
    #[must_use]
    pub fn connections(self) -> usize {
        match self {
            Self::HalfSent => 60,
            Self::FloodingAddresses => ADDRESSES * FLOODING_CONNECTIONS,
            Self::FloodingMemory => ADDRESSES * HALF_SENDING_CONNECTIONS,
            // The stalled handshakes never become connections, and the idle one is not counted.
            Self::Idle | Self::StalledHandshakes => 0,
            _ => 1,
        }
    }
}

/// The addresses of hostile peers, none of which is the neighbour's.
///
/// # Panics
/// When `number` is 254 or more.
#[must_use]
pub fn address(number: usize) -> Ipv4Addr {
    let number = u8::try_from(number).expect("an address");
    Ipv4Addr::new(127, 0, 0, number + 2)
}

type Closed = Box<dyn Error + Send + Sync>;

/// The error that ended the connection: an attack continues until then.
type Ended = Result<Infallible, Closed>;

/// A client that attacks until this value is dropped.
#[derive(Debug)]
pub struct Attacker {
    hostile: Arc<Hostile>,
    attacking: AbortHandle,
}

impl Attacker {
    /// Begins to attack a server. Returns once the attack has begun.
    pub async fn begin(attack: Attack, client: RawClient, server: SocketAddr) -> Self {
        let hostile = Arc::new(Hostile::new(client, server));
        let attacking = tokio::spawn(Arc::clone(&hostile).attack(attack)).abort_handle();
        hostile.begun.notified().await;
        Self { hostile, attacking }
    }

    /// Returns the number of calls, messages or bytes of the attack so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.hostile.done.load(Ordering::Relaxed)
    }

    /// Returns the number of connections that the server has closed.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.hostile.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.attacking.abort();
    }
}

#[derive(Debug)]
struct Hostile {
    client: RawClient,
    server: SocketAddr,
    endpoint: Endpoint,
    begun: Notify,
    done: AtomicU64,
    closed: AtomicU64,
}

impl Hostile {
    fn new(client: RawClient, server: SocketAddr) -> Self {
        Self {
            endpoint: client.endpoint(),
            client,
            server,
            begun: Notify::new(),
            done: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }

    fn has_done(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Attacks, and connects again when the server closes the connection.
    async fn attack(self: Arc<Self>, attack: Attack) {
        loop {
            let ended = match attack {
                Attack::Idle => self.idle().await,
                Attack::Honest => self.honest().await,
                Attack::HalfSent => self.half_sent().await,
                Attack::Brackets => self.brackets().await,
                Attack::NeverReturning => self.never_returning().await,
                Attack::Reset => self.reset().await,
                Attack::StoppedReader => self.stopped_reader().await,
                Attack::Panics => self.panics().await,
                Attack::Cancellations => self.cancellations().await,
                Attack::UnreadReplies => self.unread_replies().await,
                Attack::IgnoredZeros => self.ignored_zeros().await,
                Attack::ZeroParameters => self.zero_parameters().await,
                Attack::PreparedMessages => self.prepared_messages().await,
                Attack::HalfSentLarge => self.half_sent_large().await,
                Attack::WaitingMessages => self.waiting_messages().await,
                Attack::IdleWorkers => self.idle_workers().await,
                Attack::Batches => self.batches().await,
                Attack::UnreadBatches => self.unread_batches().await,
                Attack::Uploads => self.uploads().await,
                Attack::UnreadItems => self.unread_items().await,
                Attack::EscapedReplies => self.escaped_replies().await,
                Attack::TinyUnread => self.tiny_unread().await,
                Attack::Oversized => self.oversized().await,
                Attack::FloodingAddresses => self.flooding_addresses().await,
                Attack::FloodingMemory => self.flooding_memory().await,
                Attack::StalledHandshakes => self.stalled_handshakes().await,
                Attack::MissedCancellations => self.missed_cancellations().await,
                Attack::CancellationBatches => self.cancellation_batches().await,
                Attack::BlankLines => self.blank_lines().await,
                Attack::TinyMessages => self.tiny_messages().await,
                Attack::DuplicateMembers => self.duplicate_members().await,
                Attack::UnknownMembers => self.unknown_members().await,
                Attack::Datagrams => self.datagrams().await,
            };
            let Err(_closed) = ended;
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn connect(&self) -> Result<Connection, Closed> {
        Ok(self.client.connecting(&self.endpoint).await?)
    }

    /// Connects with a window of a thousand bytes for each stream.
    async fn connect_without_reading(&self) -> Result<Connection, Closed> {
        let client = self.client.clone().transport(receive_window(1000));
        Ok(client.connecting(&self.endpoint).await?)
    }

    /// Keeps the connection and its streams open until the server closes the connection.
    async fn wait(&self, connection: &Connection) -> Ended {
        self.begun.notify_one();
        Err(connection.closed().await.into())
    }

    async fn idle(&self) -> Ended {
        self.wait(&self.connect().await?).await
    }

    async fn honest(&self) -> Ended {
        self.exchange(&call("add", "[1,2]").repeat(100), 100).await
    }

    async fn half_sent(&self) -> Ended {
        let mut connections = Vec::new();
        let mut streams = Vec::new();
        for _ in 0..60 {
            let connection = self.connect().await?;
            for _ in 0..100 {
                let (mut send, recv) = connection.open_bi().await?;
                send.write_all(HEAD.as_bytes()).await?;
                streams.push((send, recv));
            }
            connections.push(connection);
        }
        self.begun.notify_one();
        // Sends a byte on each stream every second.
        let mut ticks = interval(Duration::from_millis(1));
        for at in (0..streams.len()).cycle() {
            if at % 6 == 0 {
                ticks.tick().await;
            }
            streams[at].0.write_all(b"x").await?;
            self.has_done(1);
        }
        unreachable!("there are streams")
    }

    async fn brackets(&self) -> Ended {
        self.exchange(&("[".repeat(100_000) + "\n"), 1).await
    }

    async fn never_returning(&self) -> Ended {
        let connection = self.connect().await?;
        let calls = call("hang", "[]").repeat(125);
        let mut streams = Vec::new();
        for _ in 0..80 {
            let (mut send, recv) = connection.open_bi().await?;
            send.write_all(calls.as_bytes()).await?;
            streams.push((send, recv));
        }
        self.wait(&connection).await
    }

    async fn reset(&self) -> Ended {
        let connection = self.connect().await?;
        self.begun.notify_one();
        let call = call("hang", "[]");
        loop {
            let (mut send, _recv) = connection.open_bi().await?;
            send.write_all(call.as_bytes()).await?;
            // Lets the packet leave before the reset.
            yield_now().await;
            send.reset(CANCELLED)?;
            self.has_done(1);
        }
    }

    async fn stopped_reader(&self) -> Ended {
        let connection = self.connect_without_reading().await?;
        let call = call("blob", "[1000000]");
        let mut streams = Vec::new();
        for _ in 0..80 {
            let (mut send, recv) = connection.open_bi().await?;
            send.write_all(call.as_bytes()).await?;
            streams.push((send, recv));
        }
        self.wait(&connection).await
    }

    async fn panics(&self) -> Ended {
        self.exchange(&call("panic", "[]").repeat(100), 100).await
    }

    async fn cancellations(&self) -> Ended {
        let pair = call("hang", "[]") + &line(cancel(1));
        self.exchange(&pair.repeat(100), 100).await
    }

    /// Repeats an exchange on four concurrent streams.
    async fn exchange(&self, text: &str, count: u64) -> Ended {
        let connection = self.connect().await?;
        self.begun.notify_one();
        let exchange = async || -> Ended {
            loop {
                let (mut send, mut recv) = connection.open_bi().await?;
                let write = async {
                    send.write_all(text.as_bytes()).await?;
                    Ok::<_, Closed>(send.finish()?)
                };
                let read = async { Ok(recv.read_to_end(usize::MAX).await?) };
                try_join!(write, read)?;
                self.has_done(count);
            }
        };
        let (ended, ..) = try_join!(exchange(), exchange(), exchange(), exchange())?;
        Ok(ended)
    }
}

/// The beginning of a request.
const HEAD: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":[\"";

fn call(method: &str, params: &str) -> String {
    call_line(1, method, params)
}
