//! Limits the number of calls in flight.

use std::sync::Arc;

use rpc_runtime::description::ServiceDescription;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response, ServerLayer};
use rpc_runtime::{ErrorObject, Service, code};
use tokio::sync::Semaphore;
use tower_layer::Layer;

/// Limits the number of calls in flight, over all services that the layer and its clones wrap. A stream of items counts
/// until it ends.
///
/// A call above the limit waits, in order, until its caller cancels it or its deadline passes. With
/// [`reject`](Self::reject) it is rejected with [−32009](code::TOO_MANY_CALLS) instead: its handler does not run, its
/// caller receives `CallError::Remote`, and clients do not retry it by themselves.
///
/// For [`rpc_runtime::Limits`], waiting calls count as calls in flight. Those limits hold for a connection and for a
/// server, whatever it serves; this layer is for a service with less capacity than its server.
///
/// ```
/// use rpc_layers::ConcurrencyLimitLayer;
/// use tower::ServiceBuilder;
/// # #[rpc_runtime::rpc]
/// # trait Reports { async fn make(&self) -> u32; }
/// # struct Printer;
/// # impl Reports for Printer { async fn make(&self) -> u32 { 7 } }
///
/// let service = ServiceBuilder::new()
///     .layer(ConcurrencyLimitLayer::new(4))
///     .service(ReportsServer::new(Printer));
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitLayer(ConcurrencyLimit);

impl ConcurrencyLimitLayer {
    /// Creates a layer that lets `calls` calls run at once. Further calls wait.
    pub fn new(calls: usize) -> Self {
        Self(ConcurrencyLimit {
            permits: Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS))),
            max: calls,
            rejects: false,
        })
    }

    /// Rejects further calls instead of letting them wait.
    pub fn reject(mut self) -> Self {
        self.0.rejects = true;
        self
    }
}

impl<S: Service> Layer<S> for ConcurrencyLimitLayer {
    type Service = Layered<ConcurrencyLimit, S>;

    fn layer(&self, service: S) -> Self::Service {
        Layered::new(self.0.clone(), service)
    }
}

impl ServerLayer for ConcurrencyLimitLayer {
    type Middleware = ConcurrencyLimit;

    fn middleware(self: &Arc<Self>, _: &'static ServiceDescription) -> ConcurrencyLimit {
        self.0.clone()
    }
}

/// The middleware with which [`ConcurrencyLimitLayer`] wraps a service.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    max: usize,
    rejects: bool,
}

impl ConcurrencyLimit {
    /// Returns the error of a call past the limit.
    #[cold]
    fn rejection(&self) -> ErrorObject {
        let data = format!(
            "the service runs {} calls at once: try again later",
            self.max
        );
        ErrorObject::new(code::TOO_MANY_CALLS, "Too many calls").with_data(&data)
    }
}

impl Middleware for ConcurrencyLimit {
    async fn call<S: Service>(&self, _: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let permit = match self.permits.try_acquire() {
            Err(_) if !self.rejects => self.permits.acquire().await.ok(),
            tried => tried.ok(),
        };
        match permit {
            Some(_permit) => next.run().await,
            None => Response::error(self.rejection()),
        }
    }
}
