//! What all transports share: why connections and streams end, and with which codes.

use std::pin::Pin;
use std::time::Duration;

use thiserror::Error;

/// Codes that connections and streams are closed with; `PROTOCOL.md` lists them.
pub(crate) mod close {
    /// Nothing is wrong.
    pub(crate) const DONE: u32 = 0x00;
    /// The server has shut down: all that it executed is answered, and the answers have arrived.
    pub(crate) const SHUTDOWN: u32 = 0x10;
    /// The server has gone in the middle of calls.
    pub(crate) const ABORTED: u32 = 0x11;
    /// The client asks for more than it is given.
    pub(crate) const EXCESSIVE_LOAD: u32 = 0x13;
    /// The stream took too long.
    pub(crate) const TIMEOUT: u32 = 0x14;
    /// The call, or all calls of the stream, are no longer wanted.
    pub(crate) const CANCELLED: u32 = 0x20;
}

/// Why a connection is no more.
///
/// ```
/// # use std::time::Duration;
/// # use rpc_runtime::{Client, Identity, Server, Trust};
/// use rpc_runtime::ConnectionLost;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let identity = Identity::self_signed(["127.0.0.1"])?;
/// # let trust = Trust::certificate(identity.certificate());
/// # let server = Server::builder(identity).bind("127.0.0.1:0")?;
/// # let (address, handle) = (server.local_addr()?, server.handle());
/// # tokio::spawn(server.run());
/// let client = Client::builder().trust(trust).reconnect(false).connect(address).await?;
/// handle.shutdown(Duration::from_secs(1)).await;
/// match client.closed().await {
///     ConnectionLost::ClosedByPeer { code: 0x10, .. } => println!("the server has shut down"),
///     lost => panic!("{lost}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectionLost {
    /// The other side closed it. The codes are listed in `PROTOCOL.md`.
    #[error("closed by the other side (code {code:#x}{})", reason_suffix(.reason))]
    ClosedByPeer {
        /// Why, as a number.
        code: u64,
        /// Why, for people.
        reason: String,
    },
    /// This side closed it.
    #[error("closed by this side")]
    ClosedHere,
    /// Nothing was heard from the other side for too long.
    #[error("the other side fell silent")]
    TimedOut,
    /// The other side has lost its memory of the connection: it was restarted.
    #[error("the other side was restarted")]
    Reset,
    /// The transport failed.
    #[error("{0}")]
    Transport(String),
}

impl ConnectionLost {
    /// The server takes no more calls.
    pub(crate) fn drained(reason: &str) -> Self {
        Self::ClosedByPeer {
            code: close::SHUTDOWN.into(),
            reason: reason.to_owned(),
        }
    }

    /// Whether the server says that it has executed nothing that it did not answer.
    pub(crate) fn is_drained(&self) -> bool {
        matches!(self, Self::ClosedByPeer { code, .. } if *code == u64::from(close::SHUTDOWN))
    }
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

/// Why a stream moves no more bytes.
#[derive(Debug, Clone, Error)]
pub(crate) enum StreamLost {
    #[error("the stream was reset (code {0:#x})")]
    Reset(u64),
    #[error("the stream was stopped (code {0:#x})")]
    Stopped(u64),
    #[error(transparent)]
    Connection(#[from] ConnectionLost),
}

/// For whom the stream was all there is of the connection.
impl From<StreamLost> for ConnectionLost {
    fn from(lost: StreamLost) -> Self {
        match lost {
            StreamLost::Connection(reason) => reason,
            lost => Self::Transport(lost.to_string()),
        }
    }
}

/// How many datagrams have come and left, and how long there and back takes.
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) round_trip: Duration,
}

/// Resolves when the other side wants no more of a stream, or has all of a finished one.
pub(crate) type Stopped = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Bytes of datagrams that wait to be sent, and as many that wait to be read.
pub(super) const DATAGRAMS: usize = 128 << 10;
