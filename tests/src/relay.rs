//! A UDP relay that loses, delays, reorders, duplicates and damages what it carries between clients and a server.
//!
//! Every client has a socket of its own towards the server, as behind a NAT. [`Relay::rebind`] takes new ones, so that
//! the server sees another address; [`Relay::set_blackhole`] lets nothing through.

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

/// What happens to datagrams in either direction. Chances go from 0 to 1.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Faults {
    /// The chance to be lost.
    pub loss: f64,
    /// The chance to arrive twice.
    pub duplication: f64,
    /// The chance that one bit arrives changed.
    pub corruption: f64,
    /// The chance to be overtaken by what comes up to another `delay` later.
    pub reordering: f64,
    /// How long everything takes.
    pub delay: Duration,
    /// How much longer it may take, evenly spread. This alone reorders nothing.
    pub jitter: Duration,
}

/// How many datagrams the faults happened to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// All that came.
    pub received: u64,
    /// Those that chance lost.
    pub lost: u64,
    /// Those that met a blackhole.
    pub swallowed: u64,
    /// Those that were sent twice.
    pub duplicated: u64,
    /// Those that were sent with a changed bit.
    pub damaged: u64,
    /// Those that were held back.
    pub reordered: u64,
}

/// A relay in front of a server; dropping it ends it.
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
    /// Bytes that came from the server and were sent on.
    brought: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    blackhole: bool,
    rng: Rng,
    happened: Happened,
    sessions: HashMap<SocketAddr, Session>,
    /// When the last datagram arrives that was not reordered: to the server, and to clients.
    last: [Option<Instant>; 2],
}

/// A client as the server sees it.
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
    /// Starts a faultless relay to `server`. Equal seeds throw equal dice, in the order in which datagrams come.
    ///
    /// # Errors
    /// When there is no socket to be had.
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
                happened: Happened::default(),
                sessions: HashMap::new(),
                last: [None; 2],
            }),
            parcels,
            brought: watch::Sender::new(0),
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

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens to datagrams from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state().faults = faults;
    }

    /// Whether nothing is let through. What was on its way arrives.
    pub fn set_blackhole(&self, blackhole: bool) {
        self.shared.state().blackhole = blackhole;
    }

    /// Gives every client another address in the eyes of the server. What is sent to the old ones is lost.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn rebind(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        for (client, session) in &mut state.sessions {
            *session = self.shared.session(*client)?;
        }
        Ok(())
    }

    /// Waits until the server has sent so many bytes more.
    pub async fn has_brought(&self, bytes: u64) {
        let mut brought = self.shared.brought.subscribe();
        let enough = *brought.borrow() + bytes;
        // The sender lives as long as the relay.
        let _ = brought.wait_for(|brought| *brought >= enough).await;
    }

    /// What has happened so far.
    pub fn happened(&self) -> Happened {
        self.shared.state().happened
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.state().sessions.clear();
    }
}

/// A socket on loopback with room for bursts: what is lost is lost on purpose.
fn socket() -> io::Result<UdpSocket> {
    const ROOM: usize = 4 << 20;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(ROOM)?;
    socket.set_send_buffer_size(ROOM)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    UdpSocket::from_std(socket.into())
}

/// More than a datagram can have.
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
        // A server that is not there any more shows as an error.
        if let Ok(length) = upstream.recv(&mut buffer).await {
            shared.pass(&buffer[..length], Destination::Client(client));
        }
    }
}

/// Sends every datagram when its time has come.
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

    /// Throws the dice for a datagram.
    fn pass(&self, datagram: &[u8], to: Destination) {
        let mut state = self.state();
        let faults = state.faults;
        state.happened.received += 1;
        if state.blackhole {
            state.happened.swallowed += 1;
            return;
        }
        if state.chance(faults.loss) {
            state.happened.lost += 1;
            return;
        }
        let twice = state.chance(faults.duplication);
        state.happened.duplicated += u64::from(twice);
        for _ in 0..1 + usize::from(twice) {
            let mut bytes = datagram.to_vec();
            if !bytes.is_empty() && state.chance(faults.corruption) {
                let bit = state.rng.usize(..bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                state.happened.damaged += 1;
            }
            let parcel = Parcel {
                arrival: state.arrival(&to),
                to: to.clone(),
                bytes,
            };
            // Whoever takes them ends with the relay.
            let _ = self.parcels.send(parcel);
        }
    }

    async fn send(&self, Parcel { to, bytes, .. }: Parcel) {
        // What cannot be sent is lost, as datagrams are.
        let _ = match to {
            Destination::Server(upstream) => upstream.send_to(&bytes, self.server).await,
            Destination::Client(client) => {
                let sent = self.front.send_to(&bytes, client).await;
                self.brought
                    .send_modify(|brought| *brought += bytes.len() as u64);
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
            self.happened.reordered += 1;
            return in_order + self.up_to(delay);
        }
        self.last[way] = Some(in_order);
        in_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram for each number goes through; what arrives is returned in the order in which it does.
    async fn through(faults: Faults, numbers: u32) -> (Vec<Vec<u8>>, Happened) {
        let (here, there) = (socket().unwrap(), socket().unwrap());
        let relay = Relay::start(there.local_addr().unwrap(), 7).unwrap();
        relay.set_faults(faults);
        here.connect(relay.address()).await.unwrap();
        let sending = async {
            for number in 0..numbers {
                here.send(&number.to_le_bytes()).await.unwrap();
                if number % 100 == 99 {
                    // No more at a time than a socket can hold.
                    while relay.happened().received <= u64::from(number) {
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
        (arrived, relay.happened())
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
        let (arrived, happened) = through(faults, 10_000).await;
        assert!((1800..2200).contains(&happened.lost), "{happened:?}");
        assert!((700..900).contains(&happened.duplicated), "{happened:?}");
        let expected = 10_000 - happened.lost + happened.duplicated;
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
