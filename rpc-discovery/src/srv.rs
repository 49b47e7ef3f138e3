//! Finds the servers of a service.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use rpc_runtime::{Address, Escaped};

use crate::{Found, Resolve};

/// Finds the servers of a service by its SRV records ([RFC 2782](https://www.rfc-editor.org/rfc/rfc2782)).
///
/// ```no_run
/// use rpc_discovery::{Srv, follow};
///
/// # async fn example(endpoints: rpc_runtime::balance::Endpoints) -> std::io::Result<()> {
/// follow(endpoints, Srv::new("_rpc._udp.example.org")?).await?;
/// # Ok(())
/// # }
/// ```
///
/// All addresses of all targets with the lowest priority number are servers. Those with the next number receive calls
/// only while none of the former can be reached. Weights are ignored: calls go to servers with fewer calls in flight.
/// The service is looked up again when the first of its records has expired, but at most once a second. A target whose
/// addresses temporarily cannot be looked up keeps its previous addresses.
///
/// The certificates must be for the domain that was looked up, here `example.org`, because an attacker that forges DNS
/// answers could name any target.
#[derive(Clone)]
pub struct Srv {
    name: String,
    /// The name without the labels of the service.
    domain: String,
    resolver: TokioResolver,
    /// The addresses of each target from its last successful lookup.
    known: HashMap<Name, Vec<IpAddr>>,
}

impl Srv {
    /// Creates a resolver that asks the name servers of the operating system (`/etc/resolv.conf`).
    ///
    /// # Errors
    /// Fails if the configuration of the operating system cannot be read.
    pub fn new(name: impl Into<String>) -> io::Result<Self> {
        Self::by(name.into(), TokioResolver::builder_tokio())
    }

    /// Creates a resolver that asks these name servers.
    ///
    /// # Errors
    /// Fails if the name servers cannot be used.
    pub fn with_name_servers(
        name: impl Into<String>,
        servers: impl IntoIterator<Item = SocketAddr>,
    ) -> io::Result<Self> {
        let servers = servers.into_iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let provider = TokioRuntimeProvider::default();
        Self::by(
            name.into(),
            Ok(TokioResolver::builder_with_config(config, provider)),
        )
    }

    fn by(
        name: String,
        builder: Result<ResolverBuilder<TokioRuntimeProvider>, NetError>,
    ) -> io::Result<Self> {
        let mut builder = builder.map_err(io::Error::other)?;
        // Each lookup must return fresh records; `follow` keeps the result while it is valid.
        builder.options_mut().cache_size = 0;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(io::Error::other)?;
        let labels = name.trim_end_matches('.').split('.');
        let domain: Vec<_> = labels.skip_while(|label| label.starts_with('_')).collect();
        Ok(Self {
            domain: domain.join("."),
            name,
            resolver,
            known: HashMap::new(),
        })
    }

    /// Returns the addresses of a target and when they expire. If the lookup fails, returns the previous addresses.
    async fn addresses(&mut self, target: &SRV) -> Result<(Vec<Address>, Instant), NetError> {
        let name = &target.target;
        let (found, until) = match self.resolver.lookup_ip(name.clone()).await {
            Ok(found) => (found.iter().collect(), found.valid_until()),
            Err(error) => match self.known.remove(name) {
                Some(known) if !error.is_no_records_found() => (known, Instant::now()),
                _ => return Err(error),
            },
        };
        self.known.insert(name.clone(), found.clone());
        let address =
            |ip| Address::from(SocketAddr::new(ip, target.port)).with_server_name(&self.domain);
        Ok((found.into_iter().map(address).collect(), until))
    }
}

impl Resolve for Srv {
    async fn resolve(&mut self) -> io::Result<Found> {
        let looked_up = self.resolver.lookup(&self.name, RecordType::SRV).await;
        let found = looked_up.map_err(io::Error::other)?;
        let targets = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                // A root target means that the service is not available (RFC 2782).
                RData::SRV(target) if !target.target.is_root() => Some(target),
                _ => None,
            });
        let targets: Vec<_> = targets.collect();
        let names: HashSet<_> = targets.iter().map(|target| &target.target).collect();
        self.known.retain(|name, _| names.contains(name));
        let mut valid_until = found.valid_until();
        let mut groups = BTreeMap::<u16, Vec<Address>>::new();
        let mut failure = None;
        for target in targets {
            match self.addresses(target).await {
                Ok((addresses, until)) => {
                    valid_until = valid_until.min(until);
                    groups.entry(target.priority).or_default().extend(addresses);
                }
                Err(error) => {
                    let name = &target.target;
                    tracing::warn!(target: "rpc_discovery", host = %Escaped(name), error = %Escaped(&error), "cannot look up a server");
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if groups.is_empty() => Err(io::Error::other(error)),
            _ => {
                let valid_for = valid_until.saturating_duration_since(Instant::now());
                Ok(Found::in_order(groups.into_values().collect()).valid_for(valid_for))
            }
        }
    }
}

impl fmt::Debug for Srv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Srv").field(&self.name).finish()
    }
}
