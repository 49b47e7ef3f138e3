//! Counts the calls of a client and measures their durations.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use rpc_runtime::middleware::{
    Attempt, ClientMiddleware, ClientNext, ClientOutcome, ClientRequest, ClientResponse,
};

/// The maximum number of methods of a service with labels of their own. Calls by name count as one service.
const METHODS: usize = 1024;

/// The maximum number of error codes of a method with a label of their own.
const CODES: usize = 32;

/// The label of all further methods and codes.
const OTHER: &str = "other";

/// Counts the calls of a client and measures their durations with the [`metrics`] facade, whose recorder exports them.
///
/// | name | kind | labels | meaning |
/// |---|---|---|---|
/// | `rpc_client_calls_total` | counter | `service`, `method`, `outcome`, `code` | the number of calls that have ended |
/// | `rpc_client_calls_in_flight` | gauge | `service`, `method` | the number of calls in flight |
/// | `rpc_client_call_duration_seconds` | histogram | `service`, `method` | the durations of calls, with their retries; for a stream of items, until its end |
/// | `rpc_client_attempts_total` | counter | `service`, `method`, `outcome`, `code` | the number of attempts that have ended: how often calls were sent |
/// | `rpc_client_attempt_duration_seconds` | histogram | `service`, `method` | the durations of attempts, without the wait for a connection |
///
/// | label | value |
/// |---|---|
/// | `service` | the trait; empty for a call by name |
/// | `method` | the method's name on the wire; `other` for calls by name after 1,024 different names |
/// | `outcome` | [`ClientOutcome::as_str`] |
/// | `code` | the code of the error, if the call failed with one; `other` for any code after 32 different ones of a method |
///
/// Each call, notification, entry of a batch and stream counts once, when it ends. A call that the caller drops counts as
/// `cancelled`. A call that the client retries is one call with several attempts.
///
/// Copies of a `ClientMetrics` share their handles, so that several clients can use the same one. Install the recorder before
/// the first call, because the handles of a method are requested then.
#[derive(Clone, Default)]
pub struct ClientMetrics(Arc<Handles>);

impl ClientMetrics {
    /// Creates the middleware, and describes the metrics to the recorder.
    pub fn new() -> Self {
        describe_counter!("rpc_client_calls_total", "Calls that have ended");
        describe_gauge!("rpc_client_calls_in_flight", "Calls that run");
        describe_histogram!(
            "rpc_client_call_duration_seconds",
            Unit::Seconds,
            "How long calls took"
        );
        describe_counter!("rpc_client_attempts_total", "Attempts that have ended");
        describe_histogram!(
            "rpc_client_attempt_duration_seconds",
            Unit::Seconds,
            "How long attempts took"
        );
        Self::default()
    }
}

impl fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientMetrics")
    }
}

impl ClientMiddleware for ClientMetrics {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let method = self.0.of(request);
        let start = Instant::now();
        method.in_flight.increment(1);
        let in_flight = InFlight(&method);
        let observed = next.observe(request, |outcome| {
            drop(in_flight);
            method.duration.record(start.elapsed());
            method.calls.count(&method, outcome);
        });
        observed.await
    }

    fn attempt_ended(&self, request: &ClientRequest, attempt: &Attempt) {
        let method = self.0.of(request);
        method.attempt_duration.record(attempt.duration());
        method.attempts.count(&method, attempt.outcome());
    }
}

/// Counts a call as in flight until it is dropped.
struct InFlight<'m>(&'m Method);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.decrement(1);
    }
}

/// The handles of all methods, by service and method.
#[derive(Default)]
struct Handles(RwLock<HashMap<&'static str, HashMap<String, Arc<Method>>>>);

impl Handles {
    fn of(&self, request: &ClientRequest) -> Arc<Method> {
        let service = request.service().map_or("", |service| service.name);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(service).and_then(|methods| {
            let other = || methods.get(OTHER).filter(|_| methods.len() > METHODS);
            methods.get(request.method_name()).or_else(other)
        });
        if let Some(method) = found {
            return Arc::clone(method);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let methods = known.entry(service).or_default();
        let name = match methods.len() < METHODS {
            true => request.method_name(),
            false => OTHER,
        };
        let method = methods.entry(name.to_owned());
        Arc::clone(method.or_insert_with(|| Arc::new(Method::new(service, name))))
    }
}

/// The handles of one method.
struct Method {
    service: &'static str,
    name: String,
    in_flight: Gauge,
    duration: Histogram,
    attempt_duration: Histogram,
    calls: Ended,
    attempts: Ended,
}

impl Method {
    fn new(service: &'static str, name: &str) -> Self {
        let labels = [("service", service.to_owned()), ("method", name.to_owned())];
        Self {
            service,
            name: name.to_owned(),
            in_flight: gauge!("rpc_client_calls_in_flight", &labels),
            duration: histogram!("rpc_client_call_duration_seconds", &labels),
            attempt_duration: histogram!("rpc_client_attempt_duration_seconds", &labels),
            calls: Ended::new("rpc_client_calls_total"),
            attempts: Ended::new("rpc_client_attempts_total"),
        }
    }
}

/// The counters of a method, by outcome and code.
struct Ended {
    metric: &'static str,
    counters: RwLock<Vec<Known>>,
}

/// A counter with its outcome and code. An error without a code stands for all codes past the limit.
type Known = (&'static str, Option<i64>, Counter);

impl Ended {
    fn new(metric: &'static str) -> Self {
        Self {
            metric,
            counters: RwLock::default(),
        }
    }

    fn count(&self, method: &Method, outcome: ClientOutcome) {
        let known = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        let counter = find(&known, outcome).cloned();
        drop(known);
        counter
            .unwrap_or_else(|| self.add(method, outcome))
            .increment(1);
    }

    /// Returns the counter of an outcome that has not occurred before.
    fn add(&self, method: &Method, outcome: ClientOutcome) -> Counter {
        let mut known = self
            .counters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = find(&known, outcome) {
            return counter.clone();
        }
        let (word, code) = (outcome.as_str(), label(&known, outcome));
        let text = match code {
            Some(code) => code.to_string(),
            None if outcome.code().is_some() => OTHER.to_owned(),
            None => String::new(),
        };
        let counter = counter!(
            self.metric,
            "service" => method.service,
            "method" => method.name.clone(),
            "outcome" => word,
            "code" => text,
        );
        known.push((word, code, counter.clone()));
        counter
    }
}

/// Returns the code with which an outcome is counted; `None` for all further codes.
fn label(known: &[Known], outcome: ClientOutcome) -> Option<i64> {
    let code = outcome.code()?;
    let of_errors = known.iter().filter(|(word, ..)| *word == outcome.as_str());
    let codes: Vec<_> = of_errors.filter_map(|(_, code, _)| *code).collect();
    (codes.contains(&code) || codes.len() < CODES).then_some(code)
}

fn find(known: &[Known], outcome: ClientOutcome) -> Option<&Counter> {
    let of = |code| {
        let mut known = known.iter();
        known.find(|(word, with, _)| *word == outcome.as_str() && *with == code)
    };
    let found = match (of(outcome.code()), outcome.code()) {
        (None, Some(_)) => of(None),
        (found, _) => found,
    };
    found.map(|(_, _, counter)| counter)
}
