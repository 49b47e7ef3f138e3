//! What hostile peers do. They are not of the framework: QUIC by quinn, and text.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tests::process::{answer, orders};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, interval};
use tokio::try_join;

use crate::Place;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Attack {
    /// To see what differs by chance.
    Nobody,
    /// To see what honest work does.
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

/// What a hostile peer did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deeds {
    done: u64,
    /// Connections that the server closed.
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

/// Attacks from the order to begin to the order to end.
pub(crate) async fn obey(place: Place) {
    let config = config(&place);
    answer(&());
    let mut orders = orders();
    while let Some(Order::Begin(attack)) = orders.recv().await {
        let hostile = Arc::new(Hostile::new(place.address, config.clone()));
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

fn config(place: &Place) -> quinn::ClientConfig {
    let root = CertificateDer::from_pem_slice(place.certificate.as_bytes());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec!["jsonrpc/1".into()];
    let crypto = QuicClientConfig::try_from(tls).expect("ciphers for QUIC");
    quinn::ClientConfig::new(Arc::new(crypto))
}

type Closed = Box<dyn Error + Send + Sync>;

/// An attack goes on until the server closes the connection.
type Ended = Result<Infallible, Closed>;

struct Hostile {
    address: SocketAddr,
    endpoint: Endpoint,
    config: quinn::ClientConfig,
    begun: Notify,
    done: AtomicU64,
    closed: AtomicU64,
}

impl Hostile {
    fn new(address: SocketAddr, config: quinn::ClientConfig) -> Self {
        Self {
            address,
            endpoint: Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket"),
            config,
            begun: Notify::new(),
            done: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }

    fn has_done(&self, deeds: u64) {
        self.done.fetch_add(deeds, Ordering::Relaxed);
    }

    /// Whoever is closed comes again.
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
        self.connect_with(TransportConfig::default()).await
    }

    async fn connect_with(&self, transport: TransportConfig) -> Result<Connection, Closed> {
        let mut config = self.config.clone();
        config.transport_config(Arc::new(transport));
        let connecting = self
            .endpoint
            .connect_with(config, self.address, "127.0.0.1")?;
        Ok(connecting.await?)
    }

    /// Keeps what it has.
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
        // A byte for each of them in a second.
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
            // Not before the server can know of it.
            yield_now().await;
            send.reset(GIVEN_UP)?;
            self.has_done(1);
        }
    }

    async fn stopped_reader(&self) -> Ended {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(1000_u32.into());
        let connection = self.connect_with(transport).await?;
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
        let cancel = "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\",\"params\":[1]}\n";
        let pair = call("hang", "[]") + cancel;
        self.exchange(&pair.repeat(100), 100).await
    }

    /// Sends the same again and again, four at a time, and reads what comes back.
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

/// The code of a stream that is given up.
const GIVEN_UP: VarInt = VarInt::from_u32(0x20);

/// Half a request.
const HEAD: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":[\"";

fn call(method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}\n")
}
