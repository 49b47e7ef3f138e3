//! A UDP relay between clients and a server that loses, delays, reorders, duplicates and corrupts datagrams.
//!
//! Each client has its own socket towards the server, as behind a NAT. [`Relay::rebind`] replaces these sockets, so
//! that the server sees other addresses. [`Relay::set_blackhole`] drops everything.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until};

/// The faults of datagrams in both directions. Probabilities are between 0 and 1.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Faults {
    /// The probability of loss.
    pub loss: f64,
    /// The probability of duplication.
    pub duplication: f64,
    /// The probability that one bit is flipped.
    pub corruption: f64,
    /// The probability of an additional delay of up to `delay`, in which later datagrams overtake.
    pub reordering: f64,
    /// The delay of each datagram.
    pub delay: Duration,
    /// The largest additional delay, uniformly distributed. It does not reorder datagrams.
    pub jitter: Duration,
}

/// Counts of datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatagramCounts {
    /// All that were received.
    pub received: u64,
    /// Those that were lost at random.
    pub lost: u64,
    /// Those that were dropped by the blackhole.
    pub swallowed: u64,
    /// Those that were sent twice.
    pub duplicated: u64,
    /// Those that were sent with a flipped bit.
    pub damaged: u64,
    /// Those that were delayed to be reordered.
    pub reordered: u64,
}

/// A relay in front of a server, which ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    front: UdpSocket,
    server: SocketAddr,
    state: Mutex<State>,
    parcels: mpsc::UnboundedSender<Parcel>,
    /// The number of bytes that were forwarded from the server.
    delivered: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    blackhole: bool,
    rng: Rng,
    counts: DatagramCounts,
    sessions: HashMap<SocketAddr, Session>,
    /// The arrival of the last datagram that was not reordered: at the server, and at clients.
    last: [Option<Instant>; 2],
}

/// The socket of a client towards the server.
#[derive(Debug)]
struct Session {
    upstream: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Debug)]
struct Parcel {
    arrival: Instant,
    to: Destination,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Destination {
    Server(Arc<UdpSocket>),
    Client(SocketAddr),
}

impl Relay {
    /// Starts a relay to `server` without faults. `seed` determines the faults, in the order of the datagrams.
    ///
    /// # Errors
    /// When the system has no socket.
    pub fn start(server: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = socket()?;
        let address = front.local_addr()?;
        let (parcels, underway) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            front,
            server,
            state: Mutex::new(State {
                faults: Faults::default(),
                blackhole: false,
                rng: Rng::with_seed(seed),
                counts: DatagramCounts::default(),
                sessions: HashMap::new(),
                last: [None; 2],
            }),
            parcels,
            delivered: watch::Sender::new(0),
        });
        let tasks = [
            tokio::spawn(hear_clients(Arc::clone(&shared))),
            tokio::spawn(deliver(Arc::clone(&shared), underway)),
        ];
        Ok(Self {
            address,
            shared,
            tasks,
        })
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the faults of later datagrams.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state().faults = faults;
    }

    /// Sets whether later datagrams are dropped.
    pub fn set_blackhole(&self, blackhole: bool) {
        self.shared.state().blackhole = blackhole;
    }

    /// Replaces the sockets towards the server, so that it sees other addresses of the clients. Datagrams to the old
    /// addresses are lost.
    ///
    /// # Errors
    /// When the system has no socket.
    pub fn rebind(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        for (client, session) in &mut state.sessions {
            *session = self.shared.session(*client)?;
        }
        Ok(())
    }

    /// Waits until `bytes` more bytes were forwarded from the server.
    pub async fn has_delivered(&self, bytes: u64) {
        let mut delivered = self.shared.delivered.subscribe();
        let enough = *delivered.borrow() + bytes;
        // The sender lives as long as the relay.
        let _ = delivered.wait_for(|delivered| *delivered >= enough).await;
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> DatagramCounts {
        self.shared.state().counts
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.state().sessions.clear();
    }
}

/// Returns a socket on loopback with large buffers, so that bursts are not lost.
fn socket() -> io::Result<UdpSocket> {
    const ROOM: usize = 4 << 20;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(ROOM)?;
    socket.set_send_buffer_size(ROOM)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    UdpSocket::from_std(socket.into())
}

/// More than the size of any datagram.
const DATAGRAM: usize = 1 << 16;

async fn hear_clients(shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok((length, client)) = shared.front.recv_from(&mut buffer).await else {
            continue;
        };
        if let Ok(upstream) = shared.upstream(client) {
            shared.pass(&buffer[..length], Destination::Server(upstream));
        }
    }
}

async fn hear_server(shared: Arc<Shared>, upstream: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An absent server is reported as an error.
        if let Ok(length) = upstream.recv(&mut buffer).await {
            shared.pass(&buffer[..length], Destination::Client(client));
        }
    }
}

/// Sends each datagram at its time.
async fn deliver(shared: Arc<Shared>, mut underway: mpsc::UnboundedReceiver<Parcel>) {
    let mut waiting = BTreeMap::new();
    let mut number = 0_u64;
    loop {
        let next = waiting.first_key_value().map(|((arrival, _), _)| *arrival);
        let due = async {
            match next {
                Some(next) if next > Instant::now() => sleep_until(next).await,
                Some(_) => {}
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => {
                if let Some((_, parcel)) = waiting.pop_first() {
                    shared.send(parcel).await;
                }
            }
            parcel = underway.recv() => {
                let Some(parcel) = parcel else { return };
                waiting.insert((parcel.arrival, number), parcel);
                number += 1;
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(self: &Arc<Self>, client: SocketAddr) -> io::Result<Session> {
        let upstream = Arc::new(socket()?);
        let reading = hear_server(Arc::clone(self), Arc::clone(&upstream), client);
        let reader = tokio::spawn(reading).abort_handle();
        Ok(Session { upstream, reader })
    }

    fn upstream(self: &Arc<Self>, client: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let mut state = self.state();
        let session = match state.sessions.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.session(client)?),
        };
        Ok(Arc::clone(&session.upstream))
    }

    /// Applies random faults to a datagram.
    fn pass(&self, datagram: &[u8], to: Destination) {
        let mut state = self.state();
        let faults = state.faults;
        state.counts.received += 1;
        if state.blackhole {
            state.counts.swallowed += 1;
            return;
        }
        if state.chance(faults.loss) {
            state.counts.lost += 1;
            return;
        }
        let twice = state.chance(faults.duplication);
        state.counts.duplicated += u64::from(twice);
        for _ in 0..1 + usize::from(twice) {
            let mut bytes = datagram.to_vec();
            if !bytes.is_empty() && state.chance(faults.corruption) {
                let bit = state.rng.usize(..bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                state.counts.damaged += 1;
            }
            let parcel = Parcel {
                arrival: state.arrival(&to),
                to: to.clone(),
                bytes,
            };
            // The receiver ends with the relay.
            let _ = self.parcels.send(parcel);
        }
    }

    async fn send(&self, Parcel { to, bytes, .. }: Parcel) {
        // A datagram that cannot be sent is lost.
        let _ = match to {
            Destination::Server(upstream) => upstream.send_to(&bytes, self.server).await,
            Destination::Client(client) => {
                let sent = self.front.send_to(&bytes, client).await;
                self.delivered
                    .send_modify(|delivered| *delivered += bytes.len() as u64);
                sent
            }
        };
    }
}

impl State {
    fn chance(&mut self, chance: f64) -> bool {
        self.rng.f64() < chance
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.f64())
    }

    fn arrival(&mut self, to: &Destination) -> Instant {
        let Faults {
            delay,
            jitter,
            reordering,
            ..
        } = self.faults;
        let way = usize::from(matches!(to, Destination::Client(_)));
        let soonest = Instant::now() + delay + self.up_to(jitter);
        let in_order = self.last[way].map_or(soonest, |last| soonest.max(last));
        if self.chance(reordering) {
            self.counts.reordered += 1;
            return in_order + self.up_to(delay);
        }
        self.last[way] = Some(in_order);
        in_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a datagram for each number, and returns those that arrive, in the order of their arrival.
    async fn through(faults: Faults, numbers: u32) -> (Vec<Vec<u8>>, DatagramCounts) {
        let (here, there) = (socket().unwrap(), socket().unwrap());
        let relay = Relay::start(there.local_addr().unwrap(), 7).unwrap();
        relay.set_faults(faults);
        here.connect(relay.address()).await.unwrap();
        let sending = async {
            for number in 0..numbers {
                here.send(&number.to_le_bytes()).await.unwrap();
                if number % 100 == 99 {
                    // At most as many datagrams as the socket buffers.
                    while relay.counts().received <= u64::from(number) {
                        tokio::task::yield_now().await;
                    }
                }
            }
            relay.set_faults(Faults::default());
            here.send(b"end").await.unwrap();
        };
        let receiving = async {
            let mut arrived = Vec::new();
            let mut buffer = [0; 8];
            loop {
                let length = there.recv(&mut buffer).await.unwrap();
                match &buffer[..length] {
                    b"end" => return arrived,
                    datagram => arrived.push(datagram.to_vec()),
                }
            }
        };
        let ((), arrived) = tokio::join!(sending, receiving);
        (arrived, relay.counts())
    }

    fn numbers(arrived: &[Vec<u8>]) -> Vec<u32> {
        let number = |bytes: &Vec<u8>| u32::from_le_bytes(bytes[..].try_into().unwrap());
        arrived.iter().map(number).collect()
    }

    #[tokio::test]
    async fn relay_without_faults_delivers_everything_in_order() {
        let (arrived, _) = through(Faults::default(), 1000).await;
        assert_eq!(numbers(&arrived), (0..1000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn loss_and_duplication_happen_at_the_given_rate() {
        let faults = Faults {
            loss: 0.2,
            duplication: 0.1,
            ..Faults::default()
        };
        let (arrived, counts) = through(faults, 10_000).await;
        assert!((1800..2200).contains(&counts.lost), "{counts:?}");
        assert!((700..900).contains(&counts.duplicated), "{counts:?}");
        let expected = 10_000 - counts.lost + counts.duplicated;
        assert_eq!(arrived.len() as u64, expected);
    }

    #[tokio::test]
    async fn corruption_flips_one_bit() {
        let faults = Faults {
            corruption: 1.0,
            ..Faults::default()
        };
        let (arrived, _) = through(faults, 1000).await;
        for (sent, arrived) in (0..1000).zip(numbers(&arrived)) {
            assert_eq!((sent ^ arrived).count_ones(), 1);
        }
    }

    #[tokio::test]
    async fn datagrams_are_reordered_only_by_reordering() {
        let late = Faults {
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(2),
            ..Faults::default()
        };
        let (arrived, _) = through(late, 1000).await;
        assert!(numbers(&arrived).is_sorted());
        let mixed = Faults {
            reordering: 0.25,
            ..late
        };
        let (arrived, _) = through(mixed, 1000).await;
        assert!(!numbers(&arrived).is_sorted());
    }

    #[tokio::test]
    async fn client_after_rebind_has_another_address_and_is_reached() {
        let (here, there) = (socket().unwrap(), socket().unwrap());
        let relay = Relay::start(there.local_addr().unwrap(), 7).unwrap();
        here.connect(relay.address()).await.unwrap();
        let mut buffer = [0; 8];
        let mut seen = Vec::new();
        for word in [b"one", b"two"] {
            here.send(word).await.unwrap();
            let (_, client) = there.recv_from(&mut buffer).await.unwrap();
            there.send_to(word, client).await.unwrap();
            let length = here.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], word);
            seen.push(client);
            relay.rebind().unwrap();
        }
        assert_ne!(seen[0], seen[1]);
    }
}
