//! The attacks of a raw client.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{Connection, Endpoint};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tests::message::{call_line, cancel, line};
use tests::peer::{CANCELLED, RawClient, receive_window};
use tests::process::{answer, orders};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, interval};
use tokio::try_join;

use crate::Place;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Attack {
    /// No attack, which shows the differences by chance.
    Nobody,
    /// Honest calls at full speed.
    Honest,
    HalfSent,
    Brackets,
    NeverReturning,
    Reset,
    StoppedReader,
    Panics,
    Cancellations,
}

impl Attack {
    pub(crate) const ALL: [Self; 9] = [
        Self::Nobody,
        Self::Honest,
        Self::HalfSent,
        Self::Brackets,
        Self::NeverReturning,
        Self::Reset,
        Self::StoppedReader,
        Self::Panics,
        Self::Cancellations,
    ];
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "none",
            Self::Honest => "none, but honest calls at full speed",
            Self::HalfSent => "6,000 half-sent requests that grow by a byte",
            Self::Brackets => "100,000 `[`",
            Self::NeverReturning => "10,000 calls that never return",
            Self::Reset => "streams opened and reset",
            Self::StoppedReader => "80 replies of 1 MB that are not read",
            Self::Panics => "calls that panic",
            Self::Cancellations => "calls and their cancellations",
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Begin(Attack),
    End,
}

/// What a hostile client did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deeds {
    done: u64,
    /// The number of connections that the server closed.
    closed: u64,
    took: Duration,
}

impl AddAssign for Deeds {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.closed += other.closed;
        self.took += other.took;
    }
}

impl fmt::Display for Deeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.done as f64 / self.took.as_secs_f64();
        write!(f, "{rate:.0} | {}", self.closed)
    }
}

/// Attacks between the orders to begin and to end.
pub(crate) async fn obey(place: Place) {
    let client = client(&place);
    answer(&());
    let mut orders = orders();
    while let Some(Order::Begin(attack)) = orders.recv().await {
        let hostile = Arc::new(Hostile::new(client.clone()));
        let attacking = tokio::spawn(Arc::clone(&hostile).attack(attack));
        hostile.begun.notified().await;
        answer(&());
        let start = Instant::now();
        hostile.done.store(0, Ordering::Relaxed);
        orders.recv().await;
        answer(&Deeds {
            done: hostile.done.load(Ordering::Relaxed),
            closed: hostile.closed.load(Ordering::Relaxed),
            took: start.elapsed(),
        });
        attacking.abort();
    }
}

fn client(place: &Place) -> RawClient {
    let certificate = CertificateDer::from_pem_slice(place.certificate.as_bytes());
    RawClient::to(place.address, &certificate.expect("a certificate"))
}

type Closed = Box<dyn Error + Send + Sync>;

/// An attack goes on until the server closes the connection.
type Ended = Result<Infallible, Closed>;

struct Hostile {
    client: RawClient,
    endpoint: Endpoint,
    begun: Notify,
    done: AtomicU64,
    closed: AtomicU64,
}

impl Hostile {
    fn new(client: RawClient) -> Self {
        Self {
            endpoint: client.endpoint(),
            client,
            begun: Notify::new(),
            done: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }

    fn has_done(&self, deeds: u64) {
        self.done.fetch_add(deeds, Ordering::Relaxed);
    }

    /// Attacks, and connects again when the server closes the connection.
    async fn attack(self: Arc<Self>, attack: Attack) {
        loop {
            let ended = match attack {
                Attack::Nobody => self.nobody().await,
                Attack::Honest => self.honest().await,
                Attack::HalfSent => self.half_sent().await,
                Attack::Brackets => self.brackets().await,
                Attack::NeverReturning => self.never_returning().await,
                Attack::Reset => self.reset().await,
                Attack::StoppedReader => self.stopped_reader().await,
                Attack::Panics => self.panics().await,
                Attack::Cancellations => self.cancellations().await,
            };
            let Err(_closed) = ended;
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn connect(&self) -> Result<Connection, Closed> {
        Ok(self.client.connecting(&self.endpoint).await?)
    }

    /// Keeps its streams open.
    async fn wait(&self, connection: &Connection) -> Ended {
        self.begun.notify_one();
        Err(connection.closed().await.into())
    }

    async fn nobody(&self) -> Ended {
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
        let client = self.client.clone().transport(receive_window(1000));
        let connection = client.connecting(&self.endpoint).await?;
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
    async fn exchange(&self, text: &str, deeds: u64) -> Ended {
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
                self.has_done(deeds);
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
