//! Addresses of servers.

use std::convert::Infallible;
use std::net::SocketAddr;

use thiserror::Error;

/// The address of a server, and the name that its certificate must have.
///
/// It is parsed from `host:port` or `quic://host:port`, or converted from a [`SocketAddr`].
///
/// ```
/// use rpc_runtime::Address;
///
/// let address: Address = "quic://example.org:4433".parse()?;
/// assert_eq!((address.host(), address.port()), ("example.org", 4433));
///
/// let address: Address = "[::1]:4433".parse()?;
/// assert_eq!(address.host(), "::1");
/// # Ok::<(), rpc_runtime::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
    /// `None` if the name is the host.
    server_name: Option<String>,
}

impl Address {
    /// Returns the host: a DNS name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the name that the server's certificate must have. Defaults to the host.
    pub fn server_name(&self) -> &str {
        self.server_name.as_deref().unwrap_or(&self.host)
    }

    /// Sets the name that the server's certificate must have, for an address that was resolved from a name.
    ///
    /// [`ClientBuilder::server_name`](crate::ClientBuilder::server_name) takes precedence.
    ///
    /// ```
    /// use rpc_runtime::Address;
    ///
    /// let found = std::net::SocketAddr::from(([10, 0, 0, 7], 4433));
    /// let address = Address::from(found).with_server_name("rpc.example.org");
    /// assert_eq!((address.host(), address.server_name()), ("10.0.0.7", "rpc.example.org"));
    /// ```
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            server_name: None,
        }
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.escape_debug().to_string());
        let authority = text.strip_prefix("quic://").unwrap_or(text);
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let is_odd = |c: char| matches!(c, '/' | '@' | '[' | ']') || c.is_whitespace();
        if host.is_empty() || host.contains(is_odd) || (bracketed.is_none() && host.contains(':')) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong())?,
            server_name: None,
        })
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(text: &String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// An error for a text that is not an address: it has no port, has a path, a user or blanks, or is an IPv6 address without
/// brackets.
///
/// ```
/// use rpc_runtime::Address;
///
/// let error = "example.org".parse::<Address>().unwrap_err();
/// assert_eq!(error.to_string(), "`example.org` is no address; write `host:port` or `quic://host:port`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no address; write `host:port` or `quic://host:port`")]
pub struct AddressError(String);

impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
