//! Looks up servers periodically.

use std::io;
use std::pin::pin;
use std::time::Duration;

use rpc_runtime::balance::Endpoints;
use rpc_runtime::{Address, ConnectionState, Escaped, StateWatch};
use tokio::time::{Instant, sleep_until};

/// The minimum time between two lookups, and the time until the next lookup after a failure.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The default time for which a result is valid.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(30);

/// The maximum time for which a result is valid. It is practically unlimited, and within the range of clocks.
const MAX_VALIDITY: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Looks up the addresses of servers. [`follow`] calls it.
///
/// ```
/// use std::io;
/// use rpc_discovery::{Found, Resolve};
///
/// /// A file with an address in each line.
/// struct File(&'static str);
///
/// impl Resolve for File {
///     async fn resolve(&mut self) -> io::Result<Found> {
///         let text = tokio::fs::read_to_string(self.0).await?;
///         let addresses: Result<_, _> = text.lines().map(str::parse).collect();
///         Ok(Found::all(addresses.map_err(io::Error::other)?))
///     }
/// }
/// ```
pub trait Resolve: Send + 'static {
    /// Looks up the addresses.
    ///
    /// # Errors
    /// Fails if the lookup is not possible. The client then keeps the servers that it has.
    fn resolve(&mut self) -> impl Future<Output = io::Result<Found>> + Send;
}

/// The result of a lookup: the addresses of servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The groups of addresses, in order of preference. The servers of a group receive calls only while no server of
    /// the groups before it can be reached.
    pub groups: Vec<Vec<Address>>,
    /// The time until the next lookup. Defaults to 30 s; the minimum is one second.
    pub valid_for: Option<Duration>,
}

impl Found {
    /// Creates a result with one group of addresses.
    pub fn all(addresses: Vec<Address>) -> Self {
        Self::in_order(vec![addresses])
    }

    /// Creates a result with several groups, in order of preference.
    pub fn in_order(groups: Vec<Vec<Address>>) -> Self {
        Self {
            groups,
            valid_for: None,
        }
    }

    /// Sets the time until the next lookup.
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    fn first(&self, groups: usize) -> impl Iterator<Item = Address> {
        self.groups.iter().take(groups).flatten().cloned()
    }
}

/// Looks up servers and passes them to a client. Continues in the background until the client is closed: a new lookup
/// is made when the last result has expired, or when none of the servers can be reached. A server that is no longer
/// found receives no further calls; its calls in flight run to their end.
///
/// # Errors
/// Fails if the first lookup fails; nothing then runs in the background. Success does not mean that a server can be
/// reached: [`Client::ready`](rpc_runtime::Client::ready) waits for that.
///
/// # Panics
/// Panics outside a tokio runtime with timers.
pub async fn follow(endpoints: Endpoints, mut resolver: impl Resolve) -> io::Result<()> {
    let found = resolver.resolve().await?;
    let states = endpoints.watch_state();
    let now = Instant::now();
    let mut follower = Follower {
        endpoints,
        found: Found::default(),
        in_use: 1,
        is_unreachable: false,
        looked: now,
        expires: now,
    };
    follower.take(found);
    tokio::spawn(follower.follow(resolver, states));
    Ok(())
}

struct Follower {
    endpoints: Endpoints,
    found: Found,
    /// The number of groups that receive calls.
    in_use: usize,
    /// `true` if none of the servers can be reached.
    is_unreachable: bool,
    /// The time when the last lookup began.
    looked: Instant,
    /// The time when the last result expires.
    expires: Instant,
}

impl Follower {
    async fn follow(mut self, mut resolver: impl Resolve, mut states: StateWatch) {
        loop {
            while let Some(time) = self.next() {
                tokio::select! {
                    () = sleep_until(time) => self.narrow(),
                    changed = states.changed() => if !self.handle_state(changed) { return },
                }
            }
            self.looked = Instant::now();
            let mut looking = pin!(resolver.resolve());
            let found = loop {
                tokio::select! {
                    found = &mut looking => break found,
                    changed = states.changed() => if !self.handle_state(changed) { return },
                }
            };
            match found {
                Ok(found) => self.take(found),
                Err(error) => {
                    tracing::warn!(target: "rpc_discovery", error = %Escaped(error), "cannot look up the servers");
                    self.expires = Instant::now() + MIN_INTERVAL;
                }
            }
        }
    }

    /// Returns the time of the next action, or `None` if it is time for a lookup.
    fn next(&self) -> Option<Instant> {
        let due = match self.is_unreachable {
            true => self.expires.min(self.looked + MIN_INTERVAL),
            false => self.expires,
        };
        let now = Instant::now();
        let next = match self.in_use {
            ..=1 => due,
            // Servers of a preferred group may be reachable again.
            _ => due.min(now + MIN_INTERVAL),
        };
        (due > now).then_some(next)
    }

    /// Handles a change of the client's state. Returns `false` if the client is closed.
    fn handle_state(&mut self, changed: Option<ConnectionState>) -> bool {
        match changed {
            None | Some(ConnectionState::Closed(_)) => return false,
            Some(ConnectionState::Connected) => self.is_unreachable = false,
            Some(ConnectionState::Connecting { error: Some(_), .. }) => {
                self.is_unreachable = true;
                self.widen();
            }
            Some(_) => {}
        }
        true
    }

    fn take(&mut self, found: Found) {
        let valid_for = found.valid_for.unwrap_or(DEFAULT_VALIDITY);
        self.expires = Instant::now() + valid_for.clamp(MIN_INTERVAL, MAX_VALIDITY);
        self.found = found;
        self.narrow();
    }

    /// Uses as few groups as are sufficient.
    fn narrow(&mut self) {
        let reached: Vec<_> = self
            .endpoints
            .list()
            .into_iter()
            .filter(is_reached)
            .collect();
        let is_reached = |address: &Address| reached.iter().any(|one| one.address() == address);
        let mut groups = self.found.groups.iter();
        let sufficient = groups.position(|group| group.iter().any(is_reached));
        self.in_use = sufficient.map_or(self.in_use, |last| last + 1);
        self.endpoints.set(self.found.first(self.in_use));
    }

    /// Uses one more group, because no server can be reached.
    fn widen(&mut self) {
        if self.in_use < self.found.groups.len() {
            self.in_use += 1;
            self.endpoints.set(self.found.first(self.in_use));
        }
    }
}

fn is_reached(endpoint: &rpc_runtime::balance::Endpoint) -> bool {
    matches!(endpoint.state(), ConnectionState::Connected) && !endpoint.is_ejected()
}
