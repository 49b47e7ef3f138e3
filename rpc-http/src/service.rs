//! `HttpService`: answers HTTP requests.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{Method, Request, Response};
use http_body::Body;
use rpc_runtime::gateway::{GatewayConnection, GatewayPeer, ServiceSet};
use tower_service::Service;

use crate::body::ResponseBody;
use crate::post;
use crate::refusal::Refusal;

/// Answers HTTP requests with services. Clones are cheap.
///
/// It is a [`tower_service::Service`] of requests with any body. It answers at every path, so the router decides the path.
#[derive(Debug, Clone)]
pub struct HttpService {
    services: ServiceSet,
}

impl HttpService {
    /// Creates a service for these services: those of [`Server::services`](rpc_runtime::Server::services), for example.
    pub fn new(services: impl Into<ServiceSet>) -> Self {
        Self {
            services: services.into(),
        }
    }

    pub(crate) fn services(&self) -> &ServiceSet {
        &self.services
    }

    /// Answers a request.
    async fn answer<B>(self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let answered = match *request.method() {
            Method::POST => {
                let connection = self.connection_of(&request);
                post::answer(&self.services, &connection, request).await
            }
            _ => Err(Refusal::MethodNotAllowed),
        };
        answered.unwrap_or_else(Refusal::response)
    }

    /// Returns the connection that the request belongs to. A request without one gets a connection of its own.
    fn connection_of<B>(&self, request: &Request<B>) -> Arc<GatewayConnection> {
        if let Some(HttpConnection(connection)) = request.extensions().get() {
            return Arc::clone(connection);
        }
        let address = request.extensions().get::<PeerAddress>();
        let peer = GatewayPeer::default();
        Arc::new(self.services.connect(match address {
            Some(PeerAddress(address)) => peer.address(*address),
            None => peer,
        }))
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
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

/// The client's address, as an extension of a request. A router in front of [`HttpService`] inserts it, so that handlers and
/// limits see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The connection that a request arrived on, as an extension of the request.
#[derive(Clone)]
pub(crate) struct HttpConnection(pub(crate) Arc<GatewayConnection>);

impl fmt::Debug for HttpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnection").finish_non_exhaustive()
    }
}
