//! Authorizes calls before their handlers run.

use std::fmt;
use std::sync::Arc;

use rpc_runtime::description::ServiceDescription;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response, ServerLayer};
use rpc_runtime::{ErrorObject, Service};
use tower_layer::Layer;

/// A check that decides whether a caller may make a call, before its handler runs.
///
/// A function that returns `Ok` or the error for the caller implements it. A check that must wait is a type of its own:
///
/// ```
/// use rpc_layers::{AuthorizationLayer, Authorize};
/// use rpc_runtime::middleware::RequestInfo;
/// use rpc_runtime::ErrorObject;
/// # struct Users;
/// # impl Users { async fn may(&self, user: &str, method: &str) -> bool { true } }
///
/// struct Permissions(Users);
///
/// impl Authorize for Permissions {
///     async fn authorize(&self, call: RequestInfo<'_>) -> Result<(), ErrorObject> {
///         let user = call.context().meta("user").unwrap_or_default();
///         match self.0.may(user, call.method().name).await {
///             true => Ok(()),
///             false => Err(ErrorObject::new(403, "not for you")),
///         }
///     }
/// }
///
/// let layer = AuthorizationLayer::new(Permissions(Users));
/// ```
pub trait Authorize: Send + Sync + 'static {
    /// Returns `Ok` to allow the call, or the error with which the call is answered in place of its handler.
    fn authorize(
        &self,
        call: RequestInfo<'_>,
    ) -> impl Future<Output = Result<(), ErrorObject>> + Send;
}

impl<F> Authorize for F
where
    F: Fn(RequestInfo<'_>) -> Result<(), ErrorObject> + Send + Sync + 'static,
{
    async fn authorize(&self, call: RequestInfo<'_>) -> Result<(), ErrorObject> {
        self(call)
    }
}

/// Rejects calls that a check of yours does not allow. The arguments of a rejected call are not decoded and its handler
/// does not run.
///
/// ```
/// use rpc_layers::AuthorizationLayer;
/// use rpc_runtime::middleware::RequestInfo;
/// use rpc_runtime::{Client, ErrorObject, rpc};
/// use tower::ServiceBuilder;
///
/// #[rpc]
/// trait Stock {
///     async fn count(&self, item: &str) -> Result<u32, ErrorObject>;
///     async fn order(&self, item: &str) -> Result<u32, ErrorObject>;
/// }
/// # struct Warehouse;
/// # impl Stock for Warehouse {
/// #     async fn count(&self, _: &str) -> Result<u32, ErrorObject> { Ok(7) }
/// #     async fn order(&self, _: &str) -> Result<u32, ErrorObject> { Ok(7) }
/// # }
///
/// /// A caller without a certificate may only count.
/// fn check(call: RequestInfo<'_>) -> Result<(), ErrorObject> {
///     match (call.context().peer_certificate(), call.method().name) {
///         (Some(_), _) | (None, "count") => Ok(()),
///         _ => Err(ErrorObject::new(403, "only with a certificate")),
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(AuthorizationLayer::new(check))
///     .service(StockServer::new(Warehouse));
/// let stock = StockClient::new(Client::local(service));
/// assert_eq!(stock.count("pear").await.unwrap(), 7);
/// assert_eq!(stock.order("pear").await.unwrap_err().code(), Some(403));
/// # }
/// ```
///
/// The caller receives the error as if the handler had returned it: as `CallError::Application` if the method's error
/// type has the code, otherwise as `CallError::Remote`. Clients do not retry such a call by themselves.
///
/// The check runs only for calls of its service. Any client that can connect may call `rpc.ping` and `rpc.discover`.
/// `rpc.discover` describes all methods except those that
/// [`ServerBuilder::openrpc`](rpc_runtime::ServerBuilder::openrpc) leaves out, or none with
/// [`discover(false)`](rpc_runtime::ServerBuilder::discover).
pub struct AuthorizationLayer<A>(Arc<A>);

impl<A: Authorize> AuthorizationLayer<A> {
    /// Creates a layer that calls `check` before each call.
    pub fn new(check: A) -> Self {
        Self(Arc::new(check))
    }
}

impl<A> Clone for AuthorizationLayer<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A> fmt::Debug for AuthorizationLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizationLayer")
    }
}

impl<A: Authorize, S: Service> Layer<S> for AuthorizationLayer<A> {
    type Service = Layered<Authorization<A>, S>;

    fn layer(&self, service: S) -> Self::Service {
        Layered::new(Authorization(Arc::clone(&self.0)), service)
    }
}

impl<A: Authorize> ServerLayer for AuthorizationLayer<A> {
    type Middleware = Authorization<A>;

    fn middleware(self: &Arc<Self>, _: &'static ServiceDescription) -> Authorization<A> {
        Authorization(Arc::clone(&self.0))
    }
}

/// The middleware with which [`AuthorizationLayer`] wraps a service.
pub struct Authorization<A>(Arc<A>);

impl<A> fmt::Debug for Authorization<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization")
    }
}

impl<A: Authorize> Middleware for Authorization<A> {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        match self.0.authorize(call).await {
            Ok(()) => next.run().await,
            Err(error) => Response::error(error),
        }
    }
}
