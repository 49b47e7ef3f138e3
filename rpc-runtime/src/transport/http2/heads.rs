//! The heads of the requests of a connection.

use std::io;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri};

use crate::tls::secret_number;
use crate::transport::header;

/// The authority and the path of the URL that a client dials.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The host and the port, as in a URL.
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
}

/// The heads of the requests of one connection.
#[derive(Debug)]
pub(super) struct RequestHeads {
    uri: Uri,
    session: HeaderValue,
}

impl RequestHeads {
    pub(super) fn new(scheme: Scheme, target: Target<'_>) -> io::Result<Self> {
        let path = PathAndQuery::try_from(target.path).map_err(io::Error::other)?;
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(target.authority)
            .path_and_query(path);
        let session = HeaderValue::try_from(format!("{:032x}", secret_number()?));
        Ok(Self {
            uri: uri.build().map_err(io::Error::other)?,
            session: session.map_err(io::Error::other)?,
        })
    }

    fn request(&self, content_type: &'static str) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
        headers.insert(header::SESSION, self.session.clone());
        request
    }

    /// Returns the head of a request with one message.
    pub(super) fn message(&self) -> Request<()> {
        self.request("application/json")
    }

    /// Returns the head of a request that carries a stream of the client.
    pub(super) fn stream(&self, id: u64, kind: Option<&'static str>) -> Request<()> {
        let mut request = self.request(header::NDJSON);
        let headers = request.headers_mut();
        headers.insert(header::STREAM, id.into());
        if let Some(kind) = kind {
            headers.insert(header::STREAM_KIND, HeaderValue::from_static(kind));
        }
        request
    }

    /// Returns the head of a request that carries the next stream of the server.
    pub(super) fn accept(&self) -> Request<()> {
        let mut request = self.request(header::NDJSON);
        let kind = HeaderValue::from_static(header::ACCEPT);
        request.headers_mut().insert(header::STREAM_KIND, kind);
        request
    }
}

const USER_AGENT_NAME: &str = concat!("rpc-runtime/", env!("CARGO_PKG_VERSION"));
