//! Counts calls and measures their durations.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use rpc_runtime::description::ServiceDescription;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response, ServerLayer};
use rpc_runtime::{Outcome, Service};
use tower_layer::Layer;

/// The failures that any method can have.
const COMMON: [Outcome; 3] = [Outcome::Cancelled, Outcome::TimedOut, Outcome::Panicked];

/// The maximum number of failures of a method with a label of their own, including the common ones. All further codes
/// have the label `other`.
const FAILURES: usize = COMMON.len() + 32;

/// Counts calls and measures their durations with the [`metrics`] facade, whose recorder exports them.
///
/// | name | kind | labels | meaning |
/// |---|---|---|---|
/// | `rpc_server_calls_total` | counter | `service`, `method`, `outcome`, `code` | the number of calls that have ended |
/// | `rpc_server_calls_in_flight` | gauge | `service`, `method` | the number of calls in flight |
/// | `rpc_server_call_duration_seconds` | histogram | `service`, `method` | the durations of calls; for a stream of items, until its end |
///
/// | label | value |
/// |---|---|
/// | `service` | the trait |
/// | `method` | the method's name on the wire |
/// | `outcome` | `success`, `error`, `cancelled`, `timed_out` or `panicked` |
/// | `code` | the code of the error; empty for a success; `other` for any code after 32 different ones of a method |
///
/// Each call, notification, entry of a batch and stream counts once, when it ends. Messages that the protocol itself
/// answers are not calls of the service: calls past their deadline, and messages that are not JSON. Calls of unknown methods
/// count only if the layer wraps [all services](rpc_runtime::ServerBuilder::layer), with the service and the method `_OTHER`.
///
/// Install the recorder before the layer wraps its service, because the handles of a method are requested then. The
/// handle of an error is requested when its code first occurs, and that of `other` once. All other calls request no
/// handle and allocate nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsLayer(());

impl MetricsLayer {
    /// Creates the layer, which has no options.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S: Service> Layer<S> for MetricsLayer {
    type Service = Layered<Metrics, S>;

    fn layer(&self, service: S) -> Self::Service {
        Layered::new(Metrics::new(S::DESCRIPTION), service)
    }
}

impl ServerLayer for MetricsLayer {
    type Middleware = Metrics;

    fn middleware(self: &Arc<Self>, service: &'static ServiceDescription) -> Metrics {
        Metrics::new(service)
    }
}

/// The middleware with which [`MetricsLayer`] wraps a service.
#[derive(Debug)]
pub struct Metrics(Box<[Method]>);

impl Metrics {
    fn new(service: &'static ServiceDescription) -> Self {
        describe_counter!("rpc_server_calls_total", "Calls that have ended");
        describe_gauge!("rpc_server_calls_in_flight", "Calls that run");
        describe_histogram!(
            "rpc_server_call_duration_seconds",
            Unit::Seconds,
            "How long calls took"
        );
        let methods = service.methods.iter();
        let methods = methods.map(|method| Method::new(service.name, method.name));
        Self(methods.collect())
    }
}

impl Middleware for Metrics {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let method = &self.0[call.index()];
        let start = Instant::now();
        method.in_flight.increment(1);
        let observed = next.observe(|outcome| {
            method.in_flight.decrement(1);
            method.duration.record(start.elapsed());
            method.count(outcome);
        });
        observed.await
    }
}

/// The handles of one method.
#[derive(Debug)]
struct Method {
    service: &'static str,
    name: &'static str,
    in_flight: Gauge,
    duration: Histogram,
    successes: Counter,
    /// The counters of the common failures, and of the errors that have occurred.
    failures: RwLock<Vec<(Outcome, Counter)>>,
    /// The counter of all further errors.
    others: OnceLock<Counter>,
}

impl Method {
    fn new(service: &'static str, name: &'static str) -> Self {
        let labels = [("service", service), ("method", name)];
        let common = COMMON.into_iter().map(|outcome| {
            let code = outcome.code().map(|code| code.to_string());
            (
                outcome,
                ended(service, name, outcome, code.unwrap_or_default()),
            )
        });
        Self {
            service,
            name,
            in_flight: gauge!("rpc_server_calls_in_flight", &labels),
            duration: histogram!("rpc_server_call_duration_seconds", &labels),
            successes: ended(service, name, Outcome::Success, String::new()),
            failures: RwLock::new(common.collect()),
            others: OnceLock::new(),
        }
    }

    fn count(&self, outcome: Outcome) {
        let Some(code) = outcome.code() else {
            return self.successes.increment(1);
        };
        let seen = self.failures.read().unwrap_or_else(PoisonError::into_inner);
        let counter = of(&seen, outcome).or_else(|| self.other(&seen, outcome));
        drop(seen);
        counter
            .unwrap_or_else(|| self.failure(outcome, code))
            .increment(1);
    }

    /// Returns the counter of all further errors, if no more of them may have a label of their own.
    fn other(&self, seen: &[(Outcome, Counter)], outcome: Outcome) -> Option<Counter> {
        let make = || ended(self.service, self.name, outcome, "other".into());
        (seen.len() == FAILURES).then(|| self.others.get_or_init(make).clone())
    }

    /// Returns the counter of a failure that has not occurred before.
    fn failure(&self, outcome: Outcome, code: i64) -> Counter {
        let mut seen = self
            .failures
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = of(&seen, outcome).or_else(|| self.other(&seen, outcome)) {
            return counter;
        }
        let counter = ended(self.service, self.name, outcome, code.to_string());
        seen.push((outcome, counter.clone()));
        counter
    }
}

fn of(seen: &[(Outcome, Counter)], outcome: Outcome) -> Option<Counter> {
    let found = seen.iter().find(|(of, _)| *of == outcome);
    found.map(|(_, counter)| counter.clone())
}

/// Returns the counter of calls with this outcome and code.
fn ended(service: &'static str, method: &'static str, outcome: Outcome, code: String) -> Counter {
    counter!(
        "rpc_server_calls_total",
        "service" => service,
        "method" => method,
        "outcome" => outcome.as_str(),
        "code" => code,
    )
}
