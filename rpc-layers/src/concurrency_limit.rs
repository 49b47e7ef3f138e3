//! Bounds how many calls run at once.

use std::sync::Arc;

use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
use rpc_runtime::{ErrorObject, Service, code};
use tokio::sync::Semaphore;
use tower_layer::Layer;

/// Bounds how many calls run at once, over all services that the layer and its clones are put around. A stream of items
/// counts until it ends.
///
/// A call past that waits for its turn, in order, for as long as its caller does. Or it is
/// [refused](Self::refuse) with [−32009](code::TOO_MANY_CALLS): its handler does not run, its caller gets
/// `CallError::Remote`, and nobody calls again by itself.
///
/// While they wait, calls count as running where [`rpc_runtime::Limits`] bounds them. Those bound a connection and a
/// server whatever it serves; this layer is for a service that bears less than its server does.
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
    /// Lets this many calls run at once, and others wait.
    pub fn new(calls: usize) -> Self {
        Self(ConcurrencyLimit {
            places: Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS))),
            refuses: false,
        })
    }

    /// Refuses calls rather than let them wait.
    pub fn refuse(mut self) -> Self {
        self.0.refuses = true;
        self
    }
}

impl<S: Service> Layer<S> for ConcurrencyLimitLayer {
    type Service = Layered<ConcurrencyLimit, S>;

    fn layer(&self, service: S) -> Self::Service {
        Layered::new(self.0.clone(), service)
    }
}

/// What [`ConcurrencyLimitLayer`] puts around a service.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    places: Arc<Semaphore>,
    refuses: bool,
}

impl Middleware for ConcurrencyLimit {
    async fn call<S: Service>(&self, _: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let place = match self.places.try_acquire() {
            Err(_) if !self.refuses => self.places.acquire().await.ok(),
            tried => tried.ok(),
        };
        match place {
            Some(_place) => next.run().await,
            None => Response::error(ErrorObject::new(code::TOO_MANY_CALLS, "Too many calls")),
        }
    }
}
