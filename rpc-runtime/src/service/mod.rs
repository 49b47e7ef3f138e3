//! Defines services, which generated code implements, and dispatches their calls.

pub(crate) mod incoming;
pub(crate) mod methods;
pub(crate) mod router;

use crate::description::ServiceDescription;
use crate::service::methods::Methods;

/// A service of a [`Server`](crate::Server): the `…Server` that [`#[rpc]`](crate::rpc) generates from a trait.
///
/// Only generated code implements it, and [`Layered`](crate::middleware::Layered), which wraps a service in a
/// middleware. Hidden items may change without notice.
///
/// ```
/// use rpc_runtime::{Client, Service, rpc};
///
/// /// A client for a test of any service, and what the service is called.
/// fn try_out<S: Service>(service: S) -> (Client, &'static str) {
///     (Client::local(service), S::DESCRIPTION.name)
/// }
///
/// #[rpc]
/// trait Greeter {
///     async fn greet(&self, name: &str) -> String;
/// }
/// # struct Hello;
/// # impl Greeter for Hello { async fn greet(&self, name: &str) -> String { name.into() } }
///
/// # #[tokio::main]
/// # async fn main() {
/// let (client, name) = try_out(GreeterServer::new(Hello));
/// assert_eq!(name, "Greeter");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    label = "not a service",
    note = "wrap the value in the generated `…Server::new(…)` of its `#[rpc]` trait, an `Arc` of it in `…Server::from_arc(…)`"
)]
pub trait Service: Sized + Send + Sync + 'static {
    /// The description of the service.
    const DESCRIPTION: &'static ServiceDescription;

    /// The number of methods.
    #[doc(hidden)]
    const METHODS: u32;

    /// Returns the number of the method with this name.
    #[doc(hidden)]
    fn find(name: &str) -> Option<u32>;

    /// Returns the functions that decode the arguments, call the handler and encode the reply, one for each method.
    #[doc(hidden)]
    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send>;
}
