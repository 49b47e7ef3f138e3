//! Decides by the host and the origin of a request whether it is answered.
//!
//! A browser sends requests of any page to any address. A page whose name resolves to the address of the server (DNS rebinding)
//! is stopped by the check of the host, and a page of another origin by the check of the origin.

use std::net::Ipv6Addr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri};

use crate::refusal::Refusal;

/// The hosts and origins whose requests are answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    hosts: Hosts,
    origins: Origins,
}

#[derive(Debug, Clone)]
enum Hosts {
    Any,
    /// Addresses, `localhost` and these names, with or without a port.
    Named(Vec<Box<str>>),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

#[derive(Debug, Clone)]
enum Origins {
    Any,
    /// The origin of the host, and these origins.
    Named(Vec<Box<str>>),
}

impl Default for Origins {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Guard {
    pub(crate) fn allow_hosts(&mut self, hosts: impl IntoIterator<Item = String>) {
        if let Hosts::Named(named) = &mut self.hosts {
            named.extend(
                hosts
                    .into_iter()
                    .map(|host| host.to_ascii_lowercase().into()),
            );
        }
    }

    pub(crate) fn allow_any_host(&mut self) {
        self.hosts = Hosts::Any;
    }

    pub(crate) fn allow_origins(&mut self, origins: impl IntoIterator<Item = String>) {
        if let Origins::Named(named) = &mut self.origins {
            named.extend(
                origins
                    .into_iter()
                    .map(|origin| origin.to_ascii_lowercase().into()),
            );
        }
    }

    pub(crate) fn allow_any_origin(&mut self) {
        self.origins = Origins::Any;
    }

    pub(crate) fn check(&self, head: &Parts) -> Result<(), Refusal> {
        let parsed;
        let host = match plain_host_of(&head.uri, &head.headers) {
            Some(host) => host,
            None => {
                parsed = host_of(&head.uri, &head.headers)?;
                Host::of(&parsed)
            }
        };
        if !self.hosts.allow(host) {
            return Err(Refusal::HostNotAllowed);
        }
        match self.origins.allow(host, &head.headers) {
            true => Ok(()),
            false => Err(Refusal::OriginNotAllowed),
        }
    }
}

/// The host of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Host<'a> {
    /// Without the port.
    name: &'a str,
    with_port: &'a str,
}

impl<'a> Host<'a> {
    fn of(authority: &'a Authority) -> Self {
        Self {
            name: authority.host(),
            with_port: authority.as_str(),
        }
    }
}

/// Returns the host of a request whose target names none, if the host is a name of letters, digits, `-` and `.`, with or
/// without a port. Most are, and need not be copied to be parsed.
fn plain_host_of<'a>(uri: &Uri, headers: &'a HeaderMap) -> Option<Host<'a>> {
    let mut named = headers.get_all(HOST).iter();
    let (host, second) = (named.next()?, named.next());
    if second.is_some() || uri.authority().is_some() {
        return None;
    }
    let host = host.to_str().ok()?;
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_plain = !name.is_empty() && name.bytes().all(is_name);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (is_plain && is_port).then_some(Host {
        name,
        with_port: host,
    })
}

/// Returns the host of a request (RFC 9110, section 7.2).
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
    let mut named = headers.get_all(HOST).iter();
    let (host, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(Refusal::InvalidHost);
    }
    let host =
        host.map(|host| Authority::try_from(host.as_bytes()).map_err(|_| Refusal::InvalidHost));
    match (uri.authority(), host.transpose()?) {
        // Intermediaries disagree on which of the two counts.
        (Some(target), Some(host)) if *target != host => Err(Refusal::InvalidHost),
        (Some(host), _) if is_host(host) => Ok(host.clone()),
        (None, Some(host)) if is_host(&host) => Ok(host),
        _ => Err(Refusal::InvalidHost),
    }
}

/// Returns `true` if an authority is a host with or without a port: `[::1].example` and `user@example` are not.
fn is_host(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| match port.strip_prefix(':') {
        Some(number) => authority.port().is_some_and(|port| port.as_str() == number),
        None => port.is_empty(),
    })
}

impl Hosts {
    fn allow(&self, Host { name, with_port }: Host<'_>) -> bool {
        let Self::Named(named) = self else {
            return true;
        };
        // A name that a page has chosen is never an address.
        let is_local = name.eq_ignore_ascii_case("localhost") || is_address(name);
        is_local
            || named.iter().any(|allowed| {
                name.eq_ignore_ascii_case(allowed) || with_port.eq_ignore_ascii_case(allowed)
            })
    }
}

fn is_address(name: &str) -> bool {
    let v6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

impl Origins {
    /// Programs other than browsers send no origin.
    fn allow(&self, host: Host<'_>, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let (Some(origin), second) = (origins.next(), origins.next()) else {
            return true;
        };
        let named = match self {
            Self::Any => return true,
            Self::Named(named) => named,
        };
        let (Ok(origin), None) = (origin.to_str(), second) else {
            return false;
        };
        let own = origin.split_once("://").map(|(_, authority)| authority);
        own.is_some_and(|own| own.eq_ignore_ascii_case(host.with_port))
            || named
                .iter()
                .any(|allowed| origin.eq_ignore_ascii_case(allowed))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(target: &str, hosts: &[&str]) -> Parts {
        let request = hosts.iter().fold(Request::get(target), |request, host| {
            request.header(HOST, *host)
        });
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn plain_host_is_the_host_that_is_parsed() {
        let plain = [
            "localhost",
            "127.0.0.1:8080",
            "API.example-2.org:0080",
            "a:65535",
            "-",
        ];
        for host in plain {
            let head = parts("/rpc", &[host]);
            let parsed = host_of(&head.uri, &head.headers).unwrap();
            assert_eq!(
                plain_host_of(&head.uri, &head.headers),
                Some(Host::of(&parsed))
            );
        }
    }

    #[test]
    fn host_that_is_not_plain_is_parsed() {
        let others: [&[&str]; 11] = [
            &["[::1]:80"],
            &["user@example.org"],
            &["a:"],
            &[":80"],
            &["a:+1"],
            &["a:65536"],
            &["a:1:2"],
            &["a/b"],
            &["a%41"],
            &[],
            &["a", "a"],
        ];
        for hosts in others {
            let head = parts("/rpc", hosts);
            assert_eq!(plain_host_of(&head.uri, &head.headers), None, "{hosts:?}");
        }
        let head = parts("http://a/rpc", &["b"]);
        assert_eq!(plain_host_of(&head.uri, &head.headers), None);
    }
}
