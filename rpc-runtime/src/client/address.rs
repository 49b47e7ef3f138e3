//! Addresses of servers.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use thiserror::Error;

/// The address of a server, and the name that its certificate must have.
///
/// It is parsed from `host:port` or `quic://host:port`, or converted from a [`SocketAddr`], or from a pair of a host and a
/// port. The case of the scheme and of the host, and a `/` at the end of a URL, have no meaning.
///
/// ```
/// use rpc_runtime::Address;
///
/// let address: Address = "quic://example.org:4433/".parse()?;
/// assert_eq!((address.host(), address.port()), ("example.org", 4433));
/// assert_eq!(address, Address::try_from(("Example.org", 4433))?);
///
/// let address: Address = "[::1]:4433".parse()?;
/// assert_eq!(address.host(), "::1");
/// assert_eq!(address, Address::try_from(("::1", 4433))?);
/// # Ok::<(), rpc_runtime::AddressError>(())
/// ```
///
/// # HTTP/2
///
/// With the feature `http2`, an address may also be `https://host/path` or `https://host:port/path`, over which the client connects
/// with HTTP/2. `http://` is the same without TLS: calls and credentials can be read and changed on the way, so use it within
/// a machine or behind a proxy only. A URL has no user, query or fragment.
///
/// # IP addresses
///
/// An IP address is kept in the form in which it is dialled:
///
/// - The unspecified addresses `0.0.0.0` and `[::]`, which [`Server::local_addr`](crate::Server::local_addr) returns for a
///   server on all interfaces, become the loopback addresses `127.0.0.1` and `[::1]`.
/// - An IPv4 address that is mapped to IPv6, such as `[::ffff:192.0.2.1]`, becomes the IPv4 address.
/// - A link-local address keeps its zone, the number or the name of an interface: `[fe80::1%eth0]:4433`, or
///   `quic://[fe80::1%25eth0]:4433` ([RFC 6874](https://www.rfc-editor.org/rfc/rfc6874)). The zone is no part of the name
///   that the certificate must have. Other addresses have no zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
    /// `None` if the name is the host.
    server_name: Option<String>,
    /// `None` for an address of QUIC.
    http: Option<HttpPath>,
}

/// The part of an `https://` or `http://` URL that a QUIC address does not have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HttpPath {
    is_tls: bool,
    path: String,
}

impl Address {
    /// Returns the host: a DNS name in lower case, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, of UDP or for a URL of HTTP of TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the name that the server's certificate must have. Defaults to the host, without the zone of a link-local
    /// address.
    pub fn server_name(&self) -> &str {
        let host = self.host.split('%').next();
        let host = host.unwrap_or(&self.host);
        self.server_name.as_deref().unwrap_or(host)
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

    /// Returns an address of this host, which is a DNS name or an IP address with or without brackets; `None` if it is
    /// neither.
    fn new(host: &str, port: u16) -> Option<Self> {
        let is_odd = |c: char| {
            matches!(c, '/' | '@' | '[' | ']' | '?' | '#') || c.is_whitespace() || c.is_control()
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let unbracketed = bracketed.unwrap_or(host);
        let (ip, zone) = match unbracketed.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (unbracketed, None),
        };
        if unbracketed.is_empty() || zone == Some("") || unbracketed.contains(is_odd) {
            return None;
        }
        let host = match (ip.parse(), zone) {
            (Ok(IpAddr::V6(ip)), Some(zone)) if ip.is_unicast_link_local() => {
                format!("{ip}%{zone}")
            }
            (Ok(ip @ IpAddr::V6(_)), _) => dialled(ip).to_string(),
            (Ok(ip @ IpAddr::V4(_)), None) if bracketed.is_none() => dialled(ip).to_string(),
            (Err(_), None) if bracketed.is_none() && !ip.contains(':') => ip.to_ascii_lowercase(),
            _ => return None,
        };
        Some(Self {
            host,
            port,
            server_name: None,
            http: None,
        })
    }

    /// Returns the address of a URL of HTTP, without its scheme; `None` if it is none.
    fn of_http(is_tls: bool, rest: &str) -> Option<Self> {
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let is_odd = |c: char| {
            !c.is_ascii_graphic()
                || matches!(
                    c,
                    '?' | '#' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'
                )
        };
        if path.contains(is_odd) || !cfg!(feature = "http2") {
            return None;
        }
        // The address of IPv6 has colons of its own, and ends with a bracket.
        let colon = authority
            .rfind(':')
            .filter(|at| !authority[*at..].contains(']'));
        let (host, port) = match colon {
            Some(at) => (&authority[..at], authority[at + 1..].parse().ok()?),
            None => (authority, default_port(is_tls)),
        };
        let host = host.replacen("%25", "%", 1);
        if host.contains(':') && !host.starts_with('[') {
            return None;
        }
        let path = path.to_owned();
        Some(Self {
            http: Some(HttpPath { is_tls, path }),
            ..Self::new(&host, port)?
        })
    }

    /// Returns the host and the port as they stand in a URL. A port that is the scheme's own is left out.
    fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let is_own = |http: &HttpPath| default_port(http.is_tls) == self.port;
        match self.http.as_ref().is_some_and(is_own) {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// Returns `true` if the address is a URL of HTTP.
    pub(super) fn is_http(&self) -> bool {
        self.http.is_some()
    }

    /// Returns the address if it is a URL of HTTP.
    #[cfg(feature = "http2")]
    pub(super) fn into_http(self) -> Result<Self, AddressError> {
        match self.http {
            Some(_) => Ok(self),
            None => Err(AddressError {
                text: self.to_string(),
                advice: HTTP_ADVICE.into(),
            }),
        }
    }

    /// Returns whether the address is dialled with TLS, the `:authority` and the path, if it is a URL of HTTP.
    #[cfg(feature = "http2")]
    pub(super) fn http(&self) -> Option<(bool, String, &str)> {
        let HttpPath { is_tls, path } = self.http.as_ref()?;
        let mut authority = self.authority();
        // The zone of a link-local address means nothing to the server (RFC 6874, section 1).
        if let (Some(begin), Some(end)) = (authority.find('%'), authority.find(']')) {
            authority.replace_range(begin..end, "");
        }
        Some((*is_tls, authority, path))
    }

    /// Returns the addresses to dial, in the order of the system's preference, without duplicates.
    pub(super) async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = match self.numeric() {
            Some(address) => vec![address],
            None => tokio::net::lookup_host((self.host(), self.port))
                .await?
                .collect(),
        };
        let mut found = Vec::with_capacity(addresses.len());
        for address in addresses.into_iter().map(dialled_socket) {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        Ok(found)
    }

    /// Returns the address if the host needs no look-up.
    fn numeric(&self) -> Option<SocketAddr> {
        let Some((ip, zone)) = self.host.split_once('%') else {
            return Some((self.host.parse::<IpAddr>().ok()?, self.port).into());
        };
        // The system resolves the name of an interface.
        let (ip, zone) = (ip.parse().ok()?, zone.parse().ok()?);
        Some(SocketAddrV6::new(ip, self.port, 0, zone).into())
    }
}

/// Returns the address that is meant by an IP address.
fn dialled(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Returns the address that is meant by an address of a socket.
///
/// A client drops packets from addresses other than the one that it dialled. The system sets no flow label on received
/// packets, and a scope only on those of link-local addresses, so the address that is dialled must have no others.
fn dialled_socket(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        address => (dialled(address.ip()), address.port()).into(),
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match dialled_socket(address) {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            address => address.ip().to_string(),
        };
        Self {
            host,
            port: address.port(),
            server_name: None,
            http: None,
        }
    }
}

macro_rules! from_socket_addresses {
    ($($type:ty),+) => {
        $(impl From<$type> for Address {
            fn from(address: $type) -> Self {
                SocketAddr::from(address).into()
            }
        })+
    };
}

from_socket_addresses!(
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl TryFrom<(&str, u16)> for Address {
    type Error = AddressError;

    fn try_from((host, port): (&str, u16)) -> Result<Self, AddressError> {
        Self::new(host, port).ok_or_else(|| AddressError {
            text: host.escape_debug().to_string(),
            advice: "pass a DNS name, or an IP address, and the port".into(),
        })
    }
}

impl TryFrom<(String, u16)> for Address {
    type Error = AddressError;

    fn try_from((host, port): (String, u16)) -> Result<Self, AddressError> {
        (host.as_str(), port).try_into()
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some((is_tls, rest)) = http_scheme(text) {
            return Self::of_http(is_tls, rest).ok_or_else(|| AddressError {
                text: text.escape_debug().to_string(),
                advice: HTTP_ADVICE.into(),
            });
        }
        let scheme = text.get(..SCHEME.len());
        let is_url = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let authority = match is_url {
            true => {
                let authority = &text[SCHEME.len()..];
                authority.strip_suffix('/').unwrap_or(authority)
            }
            false => text,
        };
        let parsed = authority.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse().ok()?;
            match (is_url, host.split_once("%25")) {
                (true, Some((ip, zone))) => Self::new(&format!("{ip}%{zone}"), port),
                _ if host.contains(':') && !host.starts_with('[') => None,
                _ => Self::new(host, port),
            }
        });
        parsed.ok_or_else(|| AddressError {
            text: text.escape_debug().to_string(),
            advice: advice(authority),
        })
    }
}

const SCHEME: &str = "quic://";

/// The schemes of HTTP, and whether they stand for TLS.
const HTTP_SCHEMES: [(&str, bool); 2] = [("https://", true), ("http://", false)];

/// The correction for a text that is no URL of HTTP.
const HTTP_ADVICE: &str = match cfg!(feature = "http2") {
    true => {
        "write `https://host/path` or `https://host:port/path`, without a user, a query or a fragment"
    }
    false => {
        "turn on the feature `http2` of `rpc-runtime`, or write `host:port` or `quic://host:port`"
    }
};

/// Returns the rest of a URL of HTTP, and whether it stands for TLS.
fn http_scheme(text: &str) -> Option<(bool, &str)> {
    HTTP_SCHEMES.iter().find_map(|(scheme, is_tls)| {
        let (begin, rest) = text.split_at_checked(scheme.len())?;
        begin
            .eq_ignore_ascii_case(scheme)
            .then_some((*is_tls, rest))
    })
}

fn default_port(is_tls: bool) -> u16 {
    match is_tls {
        true => 443,
        false => 80,
    }
}

/// Returns what to write instead of a text that is no address.
fn advice(authority: &str) -> Cow<'static, str> {
    match authority.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok() => {
            format!("write `[{host}]:{port}`, with the IPv6 address in brackets").into()
        }
        _ if authority.parse::<Ipv6Addr>().is_ok() => {
            format!("write `[{authority}]:port`, with the IPv6 address in brackets").into()
        }
        _ => "write `host:port` or `quic://host:port`".into(),
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
        let authority = self.authority();
        match &self.http {
            Some(HttpPath { is_tls, path }) => {
                let scheme = if *is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{path}", authority.replacen('%', "%25", 1))
            }
            None => f.write_str(&authority),
        }
    }
}

/// An error for a text that is not an address: it has no port, has a path, a user or blanks, or is an IPv6 address without
/// brackets. Its message says what to write instead.
///
/// ```
/// use rpc_runtime::Address;
///
/// let error = "example.org".parse::<Address>().unwrap_err();
/// assert_eq!(error.to_string(), "`example.org` is no address; write `host:port` or `quic://host:port`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no address; {advice}")]
pub struct AddressError {
    text: String,
    advice: Cow<'static, str>,
}

impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn message(text: &str) -> String {
        text.parse::<Address>().unwrap_err().to_string()
    }

    #[test]
    fn url_in_any_case_and_with_a_slash_at_its_end_is_the_same_address() {
        let address = parsed("example.org:4433");
        for text in [
            "quic://example.org:4433",
            "QUIC://example.org:4433",
            "Quic://EXAMPLE.org:4433/",
        ] {
            assert_eq!(parsed(text), address, "{text}");
        }
        assert_eq!(
            Address::try_from(("Example.Org", 4433)),
            Ok(address.clone())
        );
        assert_eq!(
            Address::try_from(("example.org".to_owned(), 4433)),
            Ok(address)
        );
    }

    #[test]
    fn unspecified_address_becomes_the_loopback_address() {
        for (text, host) in [
            ("0.0.0.0:1", "127.0.0.1"),
            ("[::]:1", "::1"),
            ("[::ffff:0.0.0.0]:1", "127.0.0.1"),
        ] {
            let address = parsed(text);
            assert_eq!(
                (address.host(), address.server_name()),
                (host, host),
                "{text}"
            );
            let socket: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::from(socket), address);
            assert_eq!(Address::from((socket.ip(), 1)), address);
        }
    }

    #[test]
    fn mapped_address_becomes_the_ipv4_address() {
        let address = parsed("[::ffff:192.0.2.1]:4433");
        assert_eq!(address, parsed("192.0.2.1:4433"));
        assert_eq!(address.server_name(), "192.0.2.1");
    }

    #[test]
    fn ipv6_address_in_any_notation_is_the_same_address() {
        assert_eq!(parsed("[0:0:0:0:0:0:0:1]:4433"), parsed("[::1]:4433"));
        assert_eq!(Address::try_from(("[::1]", 4433)), Ok(parsed("[::1]:4433")));
        assert_eq!(
            parsed("[2001:DB8::1]:4433").to_string(),
            "[2001:db8::1]:4433"
        );
    }

    #[tokio::test]
    async fn link_local_address_keeps_its_zone_which_is_no_part_of_the_server_name() {
        let socket = SocketAddrV6::new("fe80::1".parse().unwrap(), 4433, 9, 3);
        let address = Address::from(socket);
        assert_eq!(
            (address.host(), address.server_name()),
            ("fe80::1%3", "fe80::1")
        );
        assert_eq!(parsed(&address.to_string()), address);
        assert_eq!(parsed("quic://[fe80::1%253]:4433"), address);
        // The flow label is not dialled.
        let dialled = SocketAddrV6::new(*socket.ip(), 4433, 0, 3);
        assert_eq!(address.resolve().await.unwrap(), [dialled.into()]);
        assert_eq!(parsed("[fe80::1%eth0]:1").host(), "fe80::1%eth0");
    }

    #[test]
    fn address_that_is_not_link_local_has_no_zone() {
        assert_eq!(parsed("[::1%1]:4433"), parsed("[::1]:4433"));
        let socket = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 4433, 0, 3);
        assert_eq!(Address::from(socket), parsed("[2001:db8::1]:4433"));
    }

    #[test]
    fn ipv6_address_without_brackets_is_an_error_that_shows_the_brackets() {
        let error =
            "`::1:4433` is no address; write `[::1]:4433`, with the IPv6 address in brackets";
        assert_eq!(message("::1:4433"), error);
        let error = "`2001:db8::1:a` is no address; write `[2001:db8::1:a]:port`, with the IPv6 address in brackets";
        assert_eq!(message("2001:db8::1:a"), error);
    }

    #[test]
    fn text_that_is_no_address_is_an_error_that_shows_the_form() {
        for text in [
            "",
            ":1",
            "example.org",
            "example.org:",
            "example.org:65536",
            "example.org:1/",
            "quic://example.org:1/path",
            "quic://example.org:1//",
            "ftp://example.org:1",
            "quic://quic://a:1",
            "user@example.org:1",
            "exa mple:1",
            "[example.org]:1",
            "[127.0.0.1]:1",
            "[fe80::1%]:1",
            "quic://[fe80::1%25]:1",
            "example%1:1",
            "[::1:1",
            "\n:1",
        ] {
            let error = format!(
                "`{}` is no address; write `host:port` or `quic://host:port`",
                text.escape_debug()
            );
            assert_eq!(message(text), error);
        }
        let error = Address::try_from(("example.org:1", 1)).unwrap_err();
        let shown =
            "`example.org:1` is no address; pass a DNS name, or an IP address, and the port";
        assert_eq!(error.to_string(), shown);
    }

    #[cfg(feature = "http2")]
    #[test]
    fn url_of_http_has_a_path_and_the_port_of_its_scheme() {
        for (text, expected) in [
            ("https://Example.org", "https://example.org/"),
            ("HTTPS://example.org:443/rpc", "https://example.org/rpc"),
            (
                "https://example.org:8443/a/b%20c",
                "https://example.org:8443/a/b%20c",
            ),
            ("http://[::1]/rpc", "http://[::1]/rpc"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://0.0.0.0:80/", "http://127.0.0.1/"),
            (
                "http://[fe80::1%25eth0]:8080/",
                "http://[fe80::1%25eth0]:8080/",
            ),
        ] {
            let address = parsed(text);
            assert_eq!(address.to_string(), expected);
            assert_eq!(parsed(expected), address);
        }
        assert_eq!(parsed("https://example.org/rpc").port(), 443);
        assert_eq!(parsed("http://example.org/rpc").port(), 80);
        let zoned = parsed("http://[fe80::1%25eth0]:8080/rpc");
        assert_eq!(zoned.http(), Some((false, "[fe80::1]:8080".into(), "/rpc")));
        assert_eq!(zoned.server_name(), "fe80::1");
    }

    #[cfg(feature = "http2")]
    #[test]
    fn text_that_is_no_url_of_http_is_an_error_that_shows_the_form() {
        for text in [
            "https://",
            "https:///rpc",
            "https://example.org:/rpc",
            "https://example.org:65536/rpc",
            "https://user@example.org/rpc",
            "https://example.org/rpc?a=1",
            "https://example.org/rpc#a",
            "https://example.org/a b",
            "https://example.org/\u{e9}",
            "http://::1/rpc",
        ] {
            let expected = format!("`{}` is no address; {HTTP_ADVICE}", text.escape_debug());
            assert_eq!(message(text), expected);
        }
    }

    #[cfg(not(feature = "http2"))]
    #[test]
    fn url_of_http_without_the_feature_is_an_error_that_names_it() {
        let error = message("https://example.org/rpc");
        assert!(error.contains("turn on the feature `http2`"), "{error}");
    }
}
