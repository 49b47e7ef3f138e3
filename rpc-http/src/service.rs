//! `HttpService`: answers HTTP requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::header::{CONTENT_ENCODING, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Extensions, HeaderName, Method, Request, Response};
use http_body::Body;
use rpc_runtime::gateway::{CallDefaults, GatewayConnection, GatewayPeer, ServiceSet, header};
use tower_service::Service;

use crate::accepted;
use crate::body::ResponseBody;
use crate::discard;
use crate::guard::Guard;
use crate::media::{ContentType, ReplyForm};
use crate::metadata::MetadataHeaders;
use crate::post;
use crate::refusal::Refusal;
use crate::session::{Arrival, HttpConnection, Sessions};
use crate::stream;
#[cfg(feature = "websocket")]
use crate::subscriptions::{SubscriptionCalls, Subscriptions};
#[cfg(feature = "websocket")]
use crate::websocket;

/// Answers HTTP requests with services. Clones are cheap.
///
/// It is a [`tower_service::Service`] of requests with any body. It answers at every path unless [`path`](Self::path) sets one, so
/// a router in front of it may decide.
#[derive(Debug, Clone)]
pub struct HttpService {
    services: ServiceSet,
    sessions: Sessions,
    settings: Arc<Settings>,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    guard: Guard,
    metadata: MetadataHeaders,
    path: Option<Box<str>>,
    #[cfg(feature = "websocket")]
    subscriptions: Option<Arc<SubscriptionCalls>>,
}

impl HttpService {
    /// Creates a service for these services, such as those of [`Server::services`](rpc_runtime::Server::services).
    pub fn new(services: impl Into<ServiceSet>) -> Self {
        Self {
            services: services.into(),
            sessions: Sessions::default(),
            settings: Arc::default(),
        }
    }

    /// Answers only at this path, such as `/rpc`; requests for other paths have status 404. Defaults to every path.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.settings_mut().path = Some(path.into().into());
        self
    }

    /// Adds hosts under which clients reach the server, with or without a port: `api.example.org`. Defaults to addresses and
    /// `localhost` alone.
    ///
    /// A request for another host has status 403. This protects services on a private network from pages of the internet
    /// whose name resolves to a private address (DNS rebinding).
    pub fn allow_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        let hosts = hosts.into_iter().map(H::into);
        self.settings_mut().guard.allow_hosts(hosts);
        self
    }

    /// Answers requests for any host. Use it where a proxy in front of the server checks the host, or where every call needs
    /// a credential that a browser does not add by itself.
    pub fn allow_any_host(mut self) -> Self {
        self.settings_mut().guard.allow_any_host();
        self
    }

    /// Adds origins whose pages may call, such as `https://app.example.org`. Defaults to the origin of the host alone.
    ///
    /// A browser sends the origin of the page; other programs send none and are answered. A request of another origin has
    /// status 403. A browser lets a page of another origin read the answers only with the headers of CORS, which the layer
    /// `CorsLayer` of tower-http adds.
    pub fn allow_origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        let origins = origins.into_iter().map(O::into);
        self.settings_mut().guard.allow_origins(origins);
        self
    }

    /// Answers requests of pages of any origin.
    pub fn allow_any_origin(mut self) -> Self {
        self.settings_mut().guard.allow_any_origin();
        self
    }

    /// Adds headers that handlers and middleware see as metadata ([`Context::meta`](rpc_runtime::Context::meta)), under their
    /// names in lower case. Defaults to `authorization`, `traceparent` and `tracestate`.
    ///
    /// The value of a header takes precedence over the value of the same name in a request's own metadata.
    pub fn metadata_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings_mut().metadata.allow(names);
        self
    }

    /// Offers the methods that return a stream as subscriptions over WebSocket, for clients of other libraries, such as those
    /// of jsonrpsee and viem. Defaults to none. The methods can be called under their own names as well.
    ///
    /// ```
    /// use rpc_http::{HttpService, SubscriptionNames, Subscriptions};
    /// use rpc_runtime::gateway::ServiceSet;
    /// use rpc_runtime::{Stream, rpc};
    ///
    /// #[rpc(namespace = "chain")]
    /// trait Chain {
    ///     fn heads(&self) -> impl Stream<Item = u64>;
    /// }
    ///
    /// struct Node;
    ///
    /// impl Chain for Node {
    ///     fn heads(&self) -> impl Stream<Item = u64> {
    ///         futures_util::stream::iter(1..)
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let services = ServiceSet::builder().service(ChainServer::new(Node)).build()?;
    /// let service = HttpService::new(services).subscriptions(
    ///     // `chain.subscribe_heads`, and `eth_subscribe` with the parameter `"newHeads"`.
    ///     Subscriptions::new().by_parameter(
    ///         SubscriptionNames {
    ///             subscribe: "eth_subscribe".into(),
    ///             notification: "eth_subscription".into(),
    ///             unsubscribe: "eth_unsubscribe".into(),
    ///         },
    ///         [("newHeads", "chain.heads")],
    ///     ),
    /// );
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// Panics if a name of a subscription is a name of a method or of another subscription, or if one is for a method that
    /// returns no stream.
    #[cfg(feature = "websocket")]
    pub fn subscriptions(mut self, subscriptions: Subscriptions) -> Self {
        let calls = subscriptions.calls(self.services.descriptions());
        self.settings_mut().subscriptions = Some(Arc::new(calls));
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    pub(crate) fn services(&self) -> &ServiceSet {
        &self.services
    }

    /// Answers a request, which has arrived on a connection of the listener, or of another server.
    pub(crate) async fn answer<B>(
        &self,
        request: Request<B>,
        arrival: Option<&Arrival>,
    ) -> Response<ResponseBody>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let (head, body) = request.into_parts();
        let answered = match self.admit(&head, body.size_hint().lower()) {
            Ok(Admitted {
                defaults,
                form: Some((_, ReplyForm::Whole)),
            }) if !names_stream(&head.headers) => {
                let connection = self.connection_of(&head.extensions, arrival);
                drop(head);
                post::answer(&self.services, &connection, body, defaults).await
            }
            // Boxed, since other requests are rarer, and their futures larger.
            admitted => {
                let mut request = Request::from_parts(head, body);
                if let Some(arrival) = arrival {
                    arrival.insert_into(request.extensions_mut());
                }
                Box::pin(self.dispatch(request, admitted)).await
            }
        };
        answered.unwrap_or_else(Refusal::response)
    }

    async fn dispatch<B>(
        &self,
        request: Request<B>,
        admitted: Result<Admitted, Refusal>,
    ) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let Admitted { defaults, form } = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                discard::rest_of(request);
                return Err(refusal);
            }
        };
        #[cfg(feature = "websocket")]
        if websocket::is_upgrade(&request) {
            let connection = self.services.connect(peer_of(request.extensions()));
            let subscriptions = self.settings.subscriptions.clone();
            let services = (self.services.clone(), connection);
            return websocket::accept(request, services, (defaults, subscriptions));
        }
        let Some((content_type, form)) = form else {
            discard::rest_of(request);
            return Err(Refusal::MethodNotAllowed);
        };
        let connection = self.sessions.connection_of(
            &self.services,
            &request,
            peer_of(request.extensions()),
            || self.connection_of(request.extensions(), None),
        )?;
        if request.headers().contains_key(header::STREAM_KIND) {
            return accepted::answer(self.services.handle(), connection, request).await;
        }
        match form {
            ReplyForm::Whole => {
                post::answer(&self.services, &connection, request.into_body(), defaults).await
            }
            ReplyForm::Lines | ReplyForm::Events => {
                stream::answer(connection, request, (content_type, form), defaults).await
            }
        }
    }

    /// Checks a request before its body is read. The body has at least `body_bytes` bytes.
    fn admit(&self, head: &Parts, body_bytes: u64) -> Result<Admitted, Refusal> {
        let Settings {
            guard,
            metadata,
            path,
            ..
        } = &*self.settings;
        guard.check(head)?;
        if path.as_deref().is_some_and(|path| path != head.uri.path()) {
            return Err(Refusal::NotFound);
        }
        let defaults = metadata.read(&head.headers)?;
        if head.method != Method::POST {
            return Ok(Admitted {
                defaults,
                form: None,
            });
        }
        let headers = &head.headers;
        let content_type = ContentType::of(headers).ok_or(Refusal::UnsupportedMediaType)?;
        if is_encoded(headers) {
            return Err(Refusal::UnsupportedEncoding);
        }
        let form = ReplyForm::of(headers, content_type);
        let max_bytes = self.services.limits().max_request_bytes;
        if form == ReplyForm::Whole && body_bytes > max_bytes as u64 {
            return Err(Refusal::BodyTooLarge { max_bytes });
        }
        Ok(Admitted {
            defaults,
            form: Some((content_type, form)),
        })
    }

    /// Returns the connection that a request without a session belongs to. A request without one gets a connection of its own.
    fn connection_of(
        &self,
        extensions: &Extensions,
        arrival: Option<&Arrival>,
    ) -> Arc<GatewayConnection> {
        match arrival.map(|arrival| &arrival.http).or(extensions.get()) {
            Some(http) => Arc::clone(&http.connection),
            None => Arc::new(self.services.connect(peer_of(extensions))),
        }
    }
}

/// Returns what is known of the client that has sent a request.
fn peer_of(extensions: &Extensions) -> GatewayPeer {
    if let Some(http) = extensions.get::<HttpConnection>() {
        return http.peer.clone();
    }
    match extensions.get::<PeerAddress>() {
        Some(PeerAddress(address)) => GatewayPeer::default().address(*address),
        None => GatewayPeer::default(),
    }
}

/// A request whose head has been checked.
struct Admitted {
    defaults: Option<Arc<CallDefaults>>,
    /// The type of the body and the form of the reply, of a POST.
    form: Option<(ContentType, ReplyForm)>,
}

/// Returns `true` if a request may name a session or a stream. No name of another header starts as their names do.
fn names_stream(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with("rpc-s"))
}

/// Returns `true` if the body has an encoding. Encodings are not accepted, since a small body could become a large one.
fn is_encoded(headers: &HeaderMap) -> bool {
    let is_other = |name, plain: &[u8]| {
        let mut values = headers.get_all(name).iter();
        values.any(|value| !value.as_bytes().eq_ignore_ascii_case(plain))
    };
    is_other(CONTENT_ENCODING, b"identity") || is_other(TRANSFER_ENCODING, b"chunked")
}

impl From<ServiceSet> for HttpService {
    fn from(services: ServiceSet) -> Self {
        Self::new(services)
    }
}

impl<B> Service<Request<B>> for HttpService
where
    B: Body + Send + 'static,
    B::Data: Buf + Send,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request, None).await) })
    }
}

/// The client's address, as an extension of a request. A router in front of [`HttpService`] inserts it, so that handlers and
/// limits see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn request_of_a_session_or_a_stream_names_one() {
        for name in [header::SESSION, header::STREAM, header::STREAM_KIND] {
            let name = HeaderName::from_static(name);
            let mut headers = HeaderMap::new();
            headers.insert("rpc-timeout-ms", HeaderValue::from_static("1"));
            assert!(!names_stream(&headers));
            headers.insert(name, HeaderValue::from_static("1"));
            assert!(names_stream(&headers));
        }
    }
}
