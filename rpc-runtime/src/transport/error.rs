//! The errors and codes of connections and streams, for all transports.

use std::pin::Pin;
use std::time::Duration;

use thiserror::Error;

/// The codes with which connections and streams are closed; `PROTOCOL.md` lists them.
pub(crate) mod close {
    /// The connection ends without an error.
    pub(crate) const DONE: u32 = 0x00;
    /// The server has shut down: every call that it executed is answered, and the replies are acknowledged.
    pub(crate) const SHUTDOWN: u32 = 0x10;
    /// The server was shut down before its calls ended.
    pub(crate) const ABORTED: u32 = 0x11;
    /// The client has exceeded a limit.
    pub(crate) const EXCESSIVE_LOAD: u32 = 0x13;
    /// The stream timed out.
    pub(crate) const TIMEOUT: u32 = 0x14;
    /// The call, or all calls of the stream, were cancelled.
    pub(crate) const CANCELLED: u32 = 0x20;
}

/// The reason why a connection ended.
///
/// ```
/// # use std::time::Duration;
/// # use rpc_runtime::{Client, Identity, Server, Trust};
/// use rpc_runtime::ConnectionError;
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
///     ConnectionError::ClosedByPeer { code: 0x10, .. } => println!("the server has shut down"),
///     lost => panic!("{lost}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer closed the connection. The codes are listed in `PROTOCOL.md`.
    #[error("closed by the other side (code {code:#x}{})", reason_suffix(.reason))]
    ClosedByPeer {
        /// The application error code.
        code: u64,
        /// The reason, as text.
        reason: String,
    },
    /// This side closed the connection.
    #[error("closed by this side")]
    ClosedHere,
    /// The idle timeout passed without a packet from the peer.
    #[error(
        "the other side fell silent for the idle timeout (`TransportSettings::idle_timeout` of either side)"
    )]
    TimedOut,
    /// The peer has lost the state of the connection, because it was restarted.
    #[error("the other side was restarted")]
    Reset,
    /// The transport failed.
    #[error("{0}")]
    Transport(String),
    /// There was no connection until the time of the call was over. The text says why the last connection ended, and why the
    /// last attempt to connect failed.
    #[error("there was no connection within its time: {0}")]
    NotConnected(String),
}

impl ConnectionError {
    /// Returns the reason for a server that accepts no more calls.
    pub(crate) fn drained(reason: &str) -> Self {
        Self::ClosedByPeer {
            code: close::SHUTDOWN.into(),
            reason: reason.to_owned(),
        }
    }

    /// Returns `true` if the server has answered every call that it executed.
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

/// The reason why a stream ended early.
#[derive(Debug, Clone, Error)]
pub(crate) enum StreamLost {
    #[error("the stream was reset (code {code:#x}{limit})", code = .0, limit = limit_of(*.0))]
    Reset(u64),
    #[error("the stream was stopped (code {code:#x}{limit})", code = .0, limit = limit_of(*.0))]
    Stopped(u64),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Names the limits at which a peer resets a stream with this code.
fn limit_of(code: u64) -> &'static str {
    match code == u64::from(close::TIMEOUT) {
        true => {
            ": one of the server's `Limits` of time was reached, `first_byte_timeout`, `message_timeout` or `write_timeout`, and \
             its log says which"
        }
        false => "",
    }
}

/// Converts the error for a connection that carries only one stream.
impl From<StreamLost> for ConnectionError {
    fn from(lost: StreamLost) -> Self {
        match lost {
            StreamLost::Connection(reason) => reason,
            lost => Self::Transport(lost.to_string()),
        }
    }
}

/// The numbers of datagrams received and sent, and the round-trip time.
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) round_trip: Duration,
}

/// Resolves when the peer stops a stream, or has acknowledged all data of a finished one.
pub(crate) type Stopped = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The capacity of each datagram buffer, for sending and for receiving, in bytes.
pub(super) const DATAGRAMS: usize = 128 << 10;
