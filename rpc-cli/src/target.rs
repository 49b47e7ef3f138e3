//! The server that a command talks to: an address for QUIC, or a URL for HTTP or WebSocket.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use rpc_runtime::Address;

/// The server that a command talks to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Quic(Address),
    Url(Url),
}

/// The URL of a server that answers over HTTP or WebSocket.
#[derive(Debug, Clone)]
pub(crate) struct Url {
    pub(crate) protocol: Protocol,
    pub(crate) is_tls: bool,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) uri: Uri,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    WebSocket,
}

const SCHEMES: [(&str, Protocol, bool); 4] = [
    ("http", Protocol::Http, false),
    ("https", Protocol::Http, true),
    ("ws", Protocol::WebSocket, false),
    ("wss", Protocol::WebSocket, true),
];

impl Url {
    /// Returns `None` if the text is no URL of these protocols.
    fn new(text: &str, protocol: Protocol, is_tls: bool) -> Option<Self> {
        if text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host();
        let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let has_port = authority.as_str().len() > host.len();
        let port = match (authority.port_u16(), has_port) {
            (Some(port), _) => port,
            (None, true) => return None,
            (None, false) if is_tls => 443,
            (None, false) => 80,
        };
        Some(Self {
            protocol,
            is_tls,
            host: bracketed.unwrap_or(host).to_owned(),
            port,
            uri,
        })
        .filter(|url| !url.host.is_empty())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let known = scheme.and_then(|scheme| {
            let mut schemes = SCHEMES.into_iter();
            schemes.find(|(name, ..)| scheme.eq_ignore_ascii_case(name))
        });
        match known {
            Some((name, protocol, is_tls)) => Url::new(text, protocol, is_tls)
                .map(Self::Url)
                .ok_or_else(|| {
                    let text = text.escape_debug();
                    format!("`{text}` is no URL of a server; write `{name}://host:port/path`, without a user")
                }),
            None => text
                .parse()
                .map(Self::Quic)
                .map_err(|error: rpc_runtime::AddressError| error.to_string()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quic(address) => address.fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_each_scheme_has_its_host_and_port() {
        let cases = [
            ("http://a", "a", 80, "http://a/"),
            ("HTTPS://a/rpc?x=1", "a", 443, "https://a/rpc?x=1"),
            ("ws://[::1]:8080/", "::1", 8080, "ws://[::1]:8080/"),
            ("wss://a:1/rpc", "a", 1, "wss://a:1/rpc"),
        ];
        for (text, host, port, shown) in cases {
            let Ok(Target::Url(url)) = text.parse() else {
                panic!("{text}");
            };
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.to_string(), shown);
        }
        assert!(matches!("a:1".parse(), Ok(Target::Quic(_))));
        assert!(matches!("quic://a:1".parse(), Ok(Target::Quic(_))));
    }

    #[test]
    fn url_that_cannot_be_called_is_an_error() {
        for text in [
            "http://",
            "http:///rpc",
            "https://user@a/",
            "https://a:x/",
            "https://a:65536/",
            "http://a/#b",
            "ws://a b/",
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains("is no URL of a server"), "{text}: {error}");
        }
    }
}
