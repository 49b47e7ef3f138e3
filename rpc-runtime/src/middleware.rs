//! The interface for middleware, which sees each call of a service and runs or answers it.
//!
//! A [`Middleware`] wraps a service on the server. A [`ClientMiddleware`] wraps the calls of a client.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::thread;

use pin_project_lite::pin_project;

use crate::codec::error::ErrorObject;
use crate::codec::reply::Fault;
use crate::context::Context;
use crate::description::{MethodDescription, ServiceDescription};
use crate::outcome::Outcome;
use crate::service::Service;
use crate::service::methods::{MethodCall, Methods};
use crate::service::router::{Alike, Single};

pub use crate::client::{
    Attempt, ClientMiddleware, ClientNext, ClientOutcome, ClientRequest, ClientResponse,
};

/// A layer around a service. It sees each call before and after its handler, and may answer in place of the handler.
///
/// ```
/// use std::time::Instant;
/// use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
/// use rpc_runtime::{CallError, Client, ErrorObject, Service, rpc};
///
/// /// Prints how long calls take, and rejects those without a user.
/// struct RequireUser;
///
/// impl Middleware for RequireUser {
///     async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
///         let Some(user) = call.context().meta("user") else {
///             return Response::error(ErrorObject::new(401, "no user"));
///         };
///         let start = Instant::now();
///         let response = next.run().await;
///         println!("{user}: {} {:?} in {:?}", call.method().name, response.outcome(), start.elapsed());
///         response
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
///
/// # #[tokio::main]
/// # async fn main() {
/// let service = Layered::new(RequireUser, GreeterServer::new(Hello));
/// let greeter = GreeterClient::new(Client::local(service));
/// assert_eq!(greeter.greet("Ada").meta("user", "bob").await.unwrap(), "Hello, Ada!");
/// match greeter.greet("Ada").await {
///     Err(CallError::Application(refused)) => assert_eq!(refused.code(), 401),
///     other => panic!("{other:?}"),
/// }
/// # }
/// ```
///
/// It runs for every call that reaches the service: calls, notifications, each entry of a batch, and streams of items,
/// whose call lasts until their last item. It does not see calls that the protocol itself answers: calls past their
/// deadline or during shutdown, and `rpc.` methods. It sees calls of unknown methods only as a layer of the entire server
/// ([`ServerBuilder::layer`](crate::ServerBuilder::layer)). Arguments are decoded after it.
///
/// Nothing is boxed: the middleware's future contains that of the handler. [`Next::observe`] reports how a call ended,
/// even if its future is dropped before its end.
///
/// # Panics
/// A panic of a middleware is treated as a panic of the handler: the caller receives
/// [−32603](crate::code::INTERNAL_ERROR).
///
/// # Cancel safety
/// The future is dropped when the call is cancelled or its deadline passes, as is the handler's own.
pub trait Middleware: Send + Sync + 'static {
    /// Runs the call, or answers it in place of the handler.
    fn call<S: Service>(
        &self,
        call: RequestInfo<'_>,
        next: Next<'_, S>,
    ) -> impl Future<Output = Response> + Send;
}

/// A middleware behind a pointer, so that several services share it.
impl<M: Middleware> Middleware for Arc<M> {
    fn call<S: Service>(
        &self,
        call: RequestInfo<'_>,
        next: Next<'_, S>,
    ) -> impl Future<Output = Response> + Send {
        M::call(self, call, next)
    }
}

/// Creates a middleware for each service of a server: see [`ServerBuilder::layer`](crate::ServerBuilder::layer).
///
/// Every [`Middleware`] is a `ServerLayer`, with which all services share it. A layer that keeps data for each service, or for
/// each of its methods, implements this trait.
pub trait ServerLayer: Send + Sync + 'static {
    /// The middleware of one service.
    type Middleware: Middleware;

    /// Creates the middleware of the service with this description. It is called once for each service, and once for the
    /// calls of unknown methods ([`RequestInfo::unknown_method`]).
    fn middleware(self: &Arc<Self>, service: &'static ServiceDescription) -> Self::Middleware;
}

impl<M: Middleware> ServerLayer for M {
    type Middleware = Arc<M>;

    fn middleware(self: &Arc<Self>, _: &'static ServiceDescription) -> Self::Middleware {
        Arc::clone(self)
    }
}

/// A service wrapped in a [`Middleware`]; it implements [`Service`].
#[derive(Debug)]
pub struct Layered<M, S> {
    middleware: M,
    service: S,
    /// The index of each method number in the service's description.
    described: Box<[Option<usize>]>,
}

impl<M: Middleware, S: Service> Layered<M, S> {
    /// Wraps `service` in `middleware`.
    pub fn new(middleware: M, service: S) -> Self {
        let mut described = vec![None; S::METHODS as usize];
        for (at, method) in S::DESCRIPTION.methods.iter().enumerate() {
            let number = S::find(method.name).map(|number| number as usize);
            if let Some(index) = number.and_then(|number| described.get_mut(number)) {
                *index = Some(at);
            }
        }
        Self {
            middleware,
            service,
            described: described.into(),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<M: Middleware, S: Service> Service for Layered<M, S> {
    const DESCRIPTION: &'static ServiceDescription = S::DESCRIPTION;

    const METHODS: u32 = S::METHODS;

    fn find(name: &str) -> Option<u32> {
        S::find(name)
    }

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
        Alike::<Single<S>, _>::new(|call: MethodCall<'c, Self>| {
            let MethodCall {
                service: layered,
                method,
                incoming,
                reply,
            } = call;
            let index = layered.described.get(method as usize).copied().flatten();
            let about = RequestInfo {
                unknown_method: incoming.unknown_method(),
                service: S::DESCRIPTION,
                index: index.expect("a method that is found is described"),
                context: incoming.context(),
                has_reply: reply.expects_response(),
            };
            let next = Next(MethodCall {
                service: &layered.service,
                method,
                incoming,
                reply,
            });
            Mapped {
                future: layered.middleware.call(about, next),
                map: |Response(ran)| ran,
            }
        })
    }
}

/// The description and the context of a call, passed to a [`Middleware`].
#[derive(Debug, Clone, Copy)]
pub struct RequestInfo<'c> {
    service: &'static ServiceDescription,
    index: usize,
    context: &'c Context,
    has_reply: bool,
    unknown_method: Option<&'c str>,
}

impl<'c> RequestInfo<'c> {
    /// Returns the description of the called service.
    pub fn service(&self) -> &'static ServiceDescription {
        self.service
    }

    /// Returns the description of the called method.
    pub fn method(&self) -> &'static MethodDescription {
        &self.service.methods[self.index]
    }

    /// Returns the name that the caller sent, if no service of the server has a method of this name. Returns `None` for all
    /// other calls.
    ///
    /// Only a [layer of a server](crate::ServerBuilder::layer) sees such calls. Their [`service`](Self::service) and
    /// [`method`](Self::method) have the name `_OTHER`, and the next layer answers with
    /// [−32601](crate::code::METHOD_NOT_FOUND). The name is a text of the peer: [escape](crate::Escaped) it in logs, and
    /// use it in no label of a metric.
    pub fn unknown_method(&self) -> Option<&'c str> {
        self.unknown_method
    }

    /// Returns the index of [`method`](Self::method) among the [methods](ServiceDescription::methods) of its service,
    /// for data that a middleware keeps for each method.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the context of the call: the caller, the deadline, and the metadata.
    pub fn context(&self) -> &'c Context {
        self.context
    }

    /// Returns `true` if the caller receives a reply. A notification has none, whatever the
    /// [kind](MethodDescription::kind) of its method.
    pub fn has_reply(&self) -> bool {
        self.has_reply
    }
}

/// The layer inside a [`Middleware`]: another middleware, or the handler.
pub struct Next<'n, S>(MethodCall<'n, S>);

impl<S> fmt::Debug for Next<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Next").field(&self.0).finish()
    }
}

impl<S: Service> Next<'_, S> {
    /// Runs the next layer.
    pub fn run(self) -> impl Future<Output = Response> + Send {
        Mapped {
            future: self.0.run(S::methods()),
            map: Response,
        }
    }

    /// Runs the next layer and passes the outcome of the call to `report`, exactly once, even if the future is dropped.
    pub fn observe(
        self,
        report: impl FnOnce(Outcome) + Send,
    ) -> impl Future<Output = Response> + Send {
        let observer = Observer {
            context: self.0.incoming.context(),
            report: Some(report),
        };
        Observed {
            future: self.run(),
            observer,
        }
    }
}

// Named types instead of `async` blocks, which would use five times as much of the compiler's recursion limit. The
// default limit is thus enough for ten layers.
pin_project! {
    /// A future whose output is mapped.
    struct Mapped<F, M> {
        #[pin]
        future: F,
        map: M,
    }
}

impl<F: Future, T, M: Fn(F::Output) -> T> Future for Mapped<F, M> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<T> {
        let this = self.project();
        this.future.poll(cx).map(this.map)
    }
}

pin_project! {
    /// The future of a call that reports its outcome.
    struct Observed<'c, F, T: FnOnce(Outcome)> {
        #[pin]
        future: F,
        // Dropped after the future.
        observer: Observer<'c, T>,
    }
}

impl<F: Future<Output = Response>, T: FnOnce(Outcome)> Future for Observed<'_, F, T> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Response> {
        let this = self.project();
        let response = ready!(this.future.poll(cx));
        this.observer.report(response.outcome());
        Poll::Ready(response)
    }
}

/// Reports the outcome of a call.
struct Observer<'c, T: FnOnce(Outcome)> {
    context: &'c Context,
    report: Option<T>,
}

impl<T: FnOnce(Outcome)> Observer<'_, T> {
    fn report(&mut self, outcome: Outcome) {
        if let Some(report) = self.report.take() {
            report(outcome);
        }
    }
}

impl<T: FnOnce(Outcome)> Drop for Observer<'_, T> {
    fn drop(&mut self) {
        self.report(match thread::panicking() {
            true => Outcome::Panicked,
            false => self.context.aborted_with().unwrap_or(Outcome::Cancelled),
        });
    }
}

/// The response to a call.
#[derive(Debug)]
#[must_use = "a middleware returns it"]
pub struct Response(Result<(), Fault>);

impl Response {
    /// Creates an error response, which replaces that of the handler. The error is an [`ErrorObject`], an enum with
    /// `#[derive(RpcError)]`, or the [`CallError`](crate::CallError) of a call to another service.
    ///
    /// The caller of a method that has this error receives the error itself. Other callers receive its code, message and data
    /// as an [`ErrorObject`].
    ///
    /// ```
    /// use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
    /// use rpc_runtime::{CallError, Client, RpcError, Service, rpc};
    ///
    /// #[derive(Debug, thiserror::Error, RpcError)]
    /// enum ShopError {
    ///     #[error("closed until {opens}")]
    ///     #[rpc(code = 1)]
    ///     Closed { opens: String },
    ///     #[error("sold out")]
    ///     #[rpc(code = 2)]
    ///     SoldOut,
    /// }
    ///
    /// #[rpc]
    /// trait Shop {
    ///     async fn buy(&self, item: &str) -> Result<u32, ShopError>;
    /// }
    /// # struct Fruit;
    /// # impl Shop for Fruit {
    /// #     async fn buy(&self, _: &str) -> Result<u32, ShopError> { Err(ShopError::SoldOut) }
    /// # }
    ///
    /// struct Closed;
    ///
    /// impl Middleware for Closed {
    ///     async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
    ///         match call.context().meta("employee") {
    ///             Some(_) => next.run().await,
    ///             None => Response::error(ShopError::Closed { opens: "8:00".into() }),
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let shop = ShopClient::new(Client::local(Layered::new(Closed, ShopServer::new(Fruit))));
    /// match shop.buy("pear").await {
    ///     Err(CallError::Application(ShopError::Closed { opens })) => assert_eq!(opens, "8:00"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # }
    /// ```
    ///
    /// As for a handler's own errors, codes that report the execution status of a call are not allowed: [`ErrorObject`]
    /// lists them.
    pub fn error(error: impl Into<ErrorObject>) -> Self {
        Self(Err(error.into().into()))
    }

    /// Returns the outcome of the call.
    pub fn outcome(&self) -> Outcome {
        Outcome::of(&self.0)
    }
}
