//! Looks up servers again and again.

use std::io;
use std::pin::pin;
use std::time::Duration;

use rpc_runtime::balance::Endpoints;
use rpc_runtime::{Address, ConnectionState, Escaped, StateWatch};
use tokio::time::{Instant, sleep_until};

/// How long to wait between two look-ups, at least, and after one that has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How long what was found is believed, if nobody says so.
const BELIEVED: Duration = Duration::from_secs(30);

/// As good as for ever, and within the reach of clocks.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Finds out where servers are. [`follow`] asks it.
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
    /// Looks.
    ///
    /// # Errors
    /// When it cannot be found out. Those that were known stay.
    fn resolve(&mut self) -> impl Future<Output = io::Result<Found>> + Send;
}

/// Where servers are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The preferred ones first: those of a group get calls only while none of those before it can be reached.
    pub groups: Vec<Vec<Address>>,
    /// When to look again. Default: after 30 s. It is never done more than once a second.
    pub valid_for: Option<Duration>,
}

impl Found {
    /// All alike.
    pub fn all(addresses: Vec<Address>) -> Self {
        Self::in_order(vec![addresses])
    }

    /// The preferred ones first.
    pub fn in_order(groups: Vec<Vec<Address>>) -> Self {
        Self {
            groups,
            valid_for: None,
        }
    }

    /// Says when to look again.
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    fn first(&self, groups: usize) -> impl Iterator<Item = Address> {
        self.groups.iter().take(groups).flatten().cloned()
    }
}

/// Finds servers, gives them to a client, and goes on doing so in the background until the client is closed: when what was
/// found is not valid any more, and when none of them can be reached. Those that are not found again get no more calls;
/// what runs there ends.
///
/// # Errors
/// When the first look-up fails. Then nothing goes on. Whether those that were found can be reached,
/// [`Client::ready`](rpc_runtime::Client::ready) tells.
///
/// # Panics
/// Outside a tokio runtime with timers.
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
    /// How many groups get calls.
    in_use: usize,
    /// None of the servers can be reached.
    is_unreachable: bool,
    /// When the last look-up began.
    looked: Instant,
    /// When what was found is not valid any more.
    expires: Instant,
}

impl Follower {
    async fn follow(mut self, mut resolver: impl Resolve, mut states: StateWatch) {
        loop {
            while let Some(time) = self.next() {
                tokio::select! {
                    () = sleep_until(time) => self.narrow(),
                    changed = states.changed() => if !self.heed(changed) { return },
                }
            }
            self.looked = Instant::now();
            let mut looking = pin!(resolver.resolve());
            let found = loop {
                tokio::select! {
                    found = &mut looking => break found,
                    changed = states.changed() => if !self.heed(changed) { return },
                }
            };
            match found {
                Ok(found) => self.take(found),
                Err(error) => {
                    tracing::warn!(error = %Escaped(error), "cannot look up the servers");
                    self.expires = Instant::now() + PAUSE;
                }
            }
        }
    }

    /// When there is something to do; `None` if it is time to look again.
    fn next(&self) -> Option<Instant> {
        let due = match self.is_unreachable {
            true => self.expires.min(self.looked + PAUSE),
            false => self.expires,
        };
        let now = Instant::now();
        let next = match self.in_use {
            ..=1 => due,
            // The better ones may have come back.
            _ => due.min(now + PAUSE),
        };
        (due > now).then_some(next)
    }

    /// Acts on a change of the client's state. Says whether the client is still there.
    fn heed(&mut self, changed: Option<ConnectionState>) -> bool {
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
        let valid_for = found.valid_for.unwrap_or(BELIEVED);
        self.expires = Instant::now() + valid_for.clamp(PAUSE, FOR_EVER);
        self.found = found;
        self.narrow();
    }

    /// As few groups as will do.
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

    /// Nobody can be reached: those that come next are called, too.
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
