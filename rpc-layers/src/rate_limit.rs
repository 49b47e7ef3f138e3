//! Limits the rate of calls.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use rpc_runtime::description::ServiceDescription;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response, ServerLayer};
use rpc_runtime::{Context, ErrorObject, Service, code};
use tower_layer::Layer;

/// Limits the rate of calls, over all services that the layer and its clones wrap. It is a token bucket, for all
/// callers together or for [each connection](Self::per_connection).
///
/// A call above the limit is rejected with [−32012](code::RATE_LIMITED): its handler does not run, its caller receives
/// `CallError::Remote`, and clients do not retry it by themselves. A stream of items is one call.
///
/// ```
/// use std::time::Duration;
/// use rpc_layers::RateLimitLayer;
/// use tower::ServiceBuilder;
/// # #[rpc_runtime::rpc]
/// # trait Greeter { async fn greet(&self, name: &str) -> String; }
/// # struct Hello;
/// # impl Greeter for Hello { async fn greet(&self, name: &str) -> String { name.into() } }
///
/// let service = ServiceBuilder::new()
///     .layer(RateLimitLayer::new(1_000, Duration::from_secs(1)))
///     .layer(RateLimitLayer::new(50, Duration::from_secs(1)).burst(10).per_connection())
///     .service(GreeterServer::new(Hello));
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    quota: Quota,
    all: Arc<Bucket>,
    per_connection: bool,
}

const LONGEST: Duration = Duration::from_secs(200 * 365 * 24 * 60 * 60);

type Bucket = DefaultDirectRateLimiter;

impl RateLimitLayer {
    /// Creates a layer that lets `calls` calls through in each `time`, and as many in one burst.
    ///
    /// # Panics
    /// Panics if `calls` or `time` is zero, if there are more calls than nanoseconds in `time`, or if `time` is two
    /// centuries or longer.
    pub fn new(calls: u32, time: Duration) -> Self {
        let calls = NonZeroU32::new(calls).expect("a rate lets some calls through");
        let quota = Quota::with_period(time / calls.get());
        let quota = quota.expect("a rate is of at most a call in a nanosecond");
        Self::with(quota.allow_burst(calls), false)
    }

    /// Sets the number of calls that are let through in one burst after a pause. The rate is unchanged.
    ///
    /// # Panics
    /// Panics if `calls` is zero, or so large that the rate takes two centuries or longer to reach it.
    pub fn burst(self, calls: u32) -> Self {
        let calls = NonZeroU32::new(calls).expect("a burst has a call at least");
        Self::with(self.quota.allow_burst(calls), self.per_connection)
    }

    /// Limits the calls of each connection separately.
    pub fn per_connection(self) -> Self {
        Self::with(self.quota, true)
    }

    fn with(quota: Quota, per_connection: bool) -> Self {
        // The bucket counts in nanoseconds, which would overflow.
        let burst = quota
            .replenish_interval()
            .checked_mul(quota.burst_size().get());
        let is_counted = burst.is_some_and(|burst| burst < LONGEST);
        assert!(
            is_counted,
            "`burst` is too large for the rate: it would take two centuries or longer to refill"
        );
        Self {
            quota,
            all: Arc::new(Bucket::direct(quota)),
            per_connection,
        }
    }
}

impl<S: Service> Layer<S> for RateLimitLayer {
    type Service = Layered<RateLimit, S>;

    fn layer(&self, service: S) -> Self::Service {
        Layered::new(RateLimit(self.clone()), service)
    }
}

impl ServerLayer for RateLimitLayer {
    type Middleware = RateLimit;

    fn middleware(self: &Arc<Self>, _: &'static ServiceDescription) -> RateLimit {
        RateLimit(RateLimitLayer::clone(self))
    }
}

/// The middleware with which [`RateLimitLayer`] wraps a service.
#[derive(Debug)]
pub struct RateLimit(RateLimitLayer);

impl RateLimit {
    /// Returns the error of a call past the rate.
    #[cold]
    fn rejection(&self) -> ErrorObject {
        let quota = &self.0.quota;
        let whose = match self.0.per_connection {
            true => "the connection",
            false => "the service",
        };
        let rate = 1.0 / quota.replenish_interval().as_secs_f64();
        let burst = quota.burst_size();
        let data = format!(
            "{whose} may make {rate:.3} calls a second, and {burst} at once: try again later"
        );
        ErrorObject::new(code::RATE_LIMITED, "Rate limited").with_data(&data)
    }

    fn lets_through(&self, context: &Context) -> bool {
        let RateLimitLayer {
            quota,
            all,
            per_connection,
        } = &self.0;
        match per_connection {
            true => context
                .connection_extensions()
                .get_or_default::<Buckets>()
                .of(all, *quota)
                .check()
                .is_ok(),
            false => all.check().is_ok(),
        }
    }
}

impl Middleware for RateLimit {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        match self.lets_through(call.context()) {
            true => next.run().await,
            false => Response::error(self.rejection()),
        }
    }
}

/// The buckets of a connection: for each layer, identified by the layer's own bucket, that of the connection.
#[derive(Default)]
struct Buckets(Mutex<Vec<(Arc<Bucket>, Arc<Bucket>)>>);

impl Buckets {
    fn of(&self, layer: &Arc<Bucket>, quota: Quota) -> Arc<Bucket> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = buckets.iter().find(|(of, _)| Arc::ptr_eq(of, layer));
        match found {
            Some((_, bucket)) => Arc::clone(bucket),
            None => {
                let bucket = Arc::new(Bucket::direct(quota));
                buckets.push((Arc::clone(layer), Arc::clone(&bucket)));
                bucket
            }
        }
    }
}
