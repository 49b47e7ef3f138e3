//! Finds all addresses of a name.

use std::io;
use std::time::Duration;

use rpc_runtime::{Address, AddressError};

use crate::{Found, Resolve};

/// Finds all addresses of a name (A and AAAA) with the operating system's resolver: its hosts file, its search domains
/// and its cache.
///
/// ```no_run
/// use std::time::Duration;
/// use rpc_discovery::{Dns, follow};
///
/// # async fn example(endpoints: rpc_runtime::balance::Endpoints) -> Result<(), Box<dyn std::error::Error>> {
/// // A headless service of Kubernetes: each pod that is ready has an address.
/// let name = Dns::new("rpc.default.svc.cluster.local:4433")?.every(Duration::from_secs(5));
/// follow(endpoints, name).await?;
/// # Ok(())
/// # }
/// ```
///
/// The operating system does not report for how long its answer is valid. It is therefore asked every 30 s
/// ([`every`](Self::every)), and once a second while none of the servers can be reached. A server with an IPv4 and an
/// IPv6 address counts as two servers.
#[derive(Debug, Clone)]
pub struct Dns {
    address: Address,
    every: Option<Duration>,
}

impl Dns {
    /// Creates a resolver for `host:port`.
    ///
    /// # Errors
    /// Fails if `address` is not a valid address.
    pub fn new<A>(address: A) -> Result<Self, AddressError>
    where
        A: TryInto<Address>,
        AddressError: From<A::Error>,
    {
        Ok(Self {
            address: address.try_into()?,
            every: None,
        })
    }

    /// Sets the interval of the lookups. Defaults to 30 s. The resolver is never asked more than once a second.
    pub fn every(mut self, time: Duration) -> Self {
        self.every = Some(time);
        self
    }
}

impl Resolve for Dns {
    async fn resolve(&mut self) -> io::Result<Found> {
        let (host, port) = (self.address.host(), self.address.port());
        let mut found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        found.sort_unstable();
        found.dedup();
        let name = self.address.server_name();
        let addresses = found
            .into_iter()
            .map(|address| Address::from(address).with_server_name(name));
        Ok(Found {
            valid_for: self.every,
            ..Found::all(addresses.collect())
        })
    }
}
