//! The interface for middleware of a client, which sees each of its calls and sends or answers it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

#[cfg(doc)]
use crate::client::error::CallError;
use crate::client::middleware::gate::{RunGate, RunRequest};
use crate::client::middleware::request::ClientRequest;
use crate::client::middleware::response::{Attempt, ClientOutcome, ClientResponse};

/// A layer around the calls of a client. It sees each call before and after it is sent, and may answer in place of the
/// server. It is the counterpart of a server's [`Middleware`](crate::middleware::Middleware).
///
/// ```
/// use std::sync::Mutex;
/// use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
/// # use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
/// use rpc_runtime::{Client, ErrorObject, rpc};
/// # use rpc_runtime::Service;
///
/// /// Adds a token to each call. After a call that was rejected with 401, it gets a new token and sends the call again,
/// /// once.
/// struct Bearer(Mutex<String>);
///
/// impl Bearer {
///     async fn refresh(&self) {
///         // A real one calls the service that issues tokens.
///         *self.0.lock().unwrap() = "new".into();
///     }
///
///     fn authorize(&self, request: &mut ClientRequest) {
///         let token = self.0.lock().unwrap();
///         request.set_meta("authorization", &format!("Bearer {token}"));
///     }
/// }
///
/// impl ClientMiddleware for Bearer {
///     async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
///         self.authorize(request);
///         let response = next.run(request).await;
///         if response.code() != Some(401) {
///             return response;
///         }
///         self.refresh().await;
///         self.authorize(request);
///         next.run(request).await
///     }
/// }
///
/// #[rpc]
/// trait Greeter {
///     async fn greet(&self, name: &str) -> Result<String, ErrorObject>;
/// }
/// # struct Hello;
/// # impl Greeter for Hello {
/// #     async fn greet(&self, name: &str) -> Result<String, ErrorObject> { Ok(format!("Hello, {name}!")) }
/// # }
/// # struct RequireNew;
/// # impl Middleware for RequireNew {
/// #     async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
/// #         match call.context().meta("authorization") {
/// #             Some("Bearer new") => next.run().await,
/// #             _ => Response::error(ErrorObject::new(401, "unknown token")),
/// #         }
/// #     }
/// # }
///
/// # #[tokio::main]
/// # async fn main() {
/// # let service = Layered::new(RequireNew, GreeterServer::new(Hello));
/// let client = Client::builder()
///     .middleware(Bearer(Mutex::new("old".into())))
///     .local(service); // or `.connect(address).await?`
/// assert_eq!(GreeterClient::new(client).greet("Ada").await.unwrap(), "Hello, Ada!");
/// # }
/// ```
///
/// # What passes through it
/// Calls, notifications, streams of items, calls that send items, and each entry of a batch. It runs once for a call,
/// around all attempts of the client's own [retries](crate::Call#retries): [`ClientRequest::attempts`] counts them, and
/// [`attempt_ended`](Self::attempt_ended) reports each of them with its duration.
///
/// - The call of a stream ends with its last item. Its items do not pass through the middleware.
/// - A notification ends when it has been sent.
/// - An entry of a batch ends with its reply. The batch is sent when the middleware of all its entries has run, and entries
///   that are run again are sent in another batch. If the batch fails as a whole, each entry ends with that failure.
/// - The calls of [`Context::client`](crate::Context::client) pass through it only if the handler adds it with
///   [`Client::with_middleware`](crate::Client::with_middleware).
/// - Cancellations, and the `rpc.ping` of a client of several servers, do not pass through it.
///
/// With several middlewares, the one that was [added](crate::ClientBuilder::middleware) first is the outermost: it sees a
/// call first, and its response last.
///
/// # Time
/// The time limit of a call includes the time that the middleware takes. When the time is over, the call ends with
/// [`CallError::Timeout`], and the middleware's future is dropped if it does not end at once. It is also dropped when the
/// caller drops the call. [`ClientNext::observe`] reports how a call ended even then.
///
/// # Cost
/// A client without middleware pays nothing. Otherwise each call allocates a future for each middleware, and a few times for
/// all of them together.
///
/// # Panics
/// A panic of a middleware is a panic of the task that awaits the call.
pub trait ClientMiddleware: Send + Sync + 'static {
    /// Sends the call, or answers it in place of the server.
    ///
    /// A middleware that makes a call of its own, for a token for example, needs a client without this middleware for it.
    /// [`Client::with_middleware`](crate::Client::with_middleware) adds a middleware to the calls of a client that has one.
    fn call(
        &self,
        request: &mut ClientRequest,
        next: ClientNext<'_>,
    ) -> impl Future<Output = ClientResponse> + Send;

    /// Reports that an attempt of a call has ended. Does nothing by default.
    fn attempt_ended(&self, request: &ClientRequest, attempt: &Attempt) {
        let _ = (request, attempt);
    }
}

/// A middleware whose future is boxed.
pub(in crate::client) trait BoxedMiddleware: Send + Sync {
    fn call<'a>(
        &'a self,
        request: &'a mut ClientRequest,
        next: ClientNext<'a>,
    ) -> Pin<Box<dyn Future<Output = ClientResponse> + Send + 'a>>;

    fn attempt_ended(&self, request: &ClientRequest, attempt: &Attempt);
}

impl<M: ClientMiddleware> BoxedMiddleware for M {
    fn call<'a>(
        &'a self,
        request: &'a mut ClientRequest,
        next: ClientNext<'a>,
    ) -> Pin<Box<dyn Future<Output = ClientResponse> + Send + 'a>> {
        Box::pin(ClientMiddleware::call(self, request, next))
    }

    fn attempt_ended(&self, request: &ClientRequest, attempt: &Attempt) {
        ClientMiddleware::attempt_ended(self, request, attempt);
    }
}

/// The middleware of a client, the outermost first.
pub(in crate::client) type Chain = [Arc<dyn BoxedMiddleware>];

/// The middleware of a client.
#[derive(Clone)]
pub(in crate::client) struct Middlewares(pub(in crate::client) Arc<Chain>);

impl Middlewares {
    /// Adds a middleware inside of those before.
    pub(in crate::client) fn add(middlewares: &mut Option<Self>, added: Arc<dyn BoxedMiddleware>) {
        let outer = middlewares.iter().flat_map(|Self(chain)| chain.iter());
        *middlewares = Some(Self(outer.cloned().chain([added]).collect()));
    }
}

impl fmt::Debug for Middlewares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Middlewares({})", self.0.len())
    }
}

/// The layer inside a [`ClientMiddleware`]: another middleware, or the connection to the server.
#[derive(Clone, Copy)]
pub struct ClientNext<'n> {
    pub(in crate::client) gate: &'n RunGate,
    pub(in crate::client) chain: &'n Chain,
    /// The middleware further in.
    pub(in crate::client) rest: &'n Chain,
}

impl ClientNext<'_> {
    /// Sends the call, with the client's own [retries](crate::Call#retries), and waits until it has ended.
    ///
    /// A middleware may run the call again, and limits its runs itself: each sends the call at least once. The client's own
    /// retries in all runs together are limited as those of one run are. A call that is marked [`no_retry`](crate::Call::no_retry), a call that sends items, and a stream whose first item has arrived
    /// are not sent twice. For them a second run ends at once, with the error of the first.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call on the server, as dropping a [`Call`](crate::Call) does. The middleware may then
    /// answer it or run it again.
    pub async fn run(self, request: &mut ClientRequest) -> ClientResponse {
        match self.rest.split_first() {
            Some((middleware, rest)) => middleware.call(request, Self { rest, ..self }).await,
            None => {
                let report = |request: &ClientRequest, attempt: &Attempt| {
                    for middleware in self.chain.iter().rev() {
                        middleware.attempt_ended(request, attempt);
                    }
                };
                RunRequest::new(self.gate, request, report).await
            }
        }
    }

    /// Sends the call as [`run`](Self::run) does and passes its outcome to `report`, exactly once, even if the future is
    /// dropped.
    pub async fn observe(
        self,
        request: &mut ClientRequest,
        report: impl FnOnce(ClientOutcome) + Send,
    ) -> ClientResponse {
        let mut observer = OutcomeObserver {
            gate: self.gate,
            report: Some(report),
        };
        let response = self.run(request).await;
        observer.report(response.outcome());
        response
    }
}

impl fmt::Debug for ClientNext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientNext").finish_non_exhaustive()
    }
}

/// Reports the outcome of a call.
struct OutcomeObserver<'n, R: FnOnce(ClientOutcome)> {
    gate: &'n RunGate,
    report: Option<R>,
}

impl<R: FnOnce(ClientOutcome)> OutcomeObserver<'_, R> {
    fn report(&mut self, outcome: ClientOutcome) {
        if let Some(report) = self.report.take() {
            report(outcome);
        }
    }
}

impl<R: FnOnce(ClientOutcome)> Drop for OutcomeObserver<'_, R> {
    fn drop(&mut self) {
        self.report(self.gate.aborted_with());
    }
}
