//! The service and the settings that the server and its client in Kubernetes share.

use std::time::Duration;

use rpc_runtime::rpc;

/// Greets callers, with the name of the pod.
#[rpc]
pub trait Greeter {
    /// Greets `name`. The call changes nothing, so that two pods may run it.
    #[rpc(idempotent)]
    async fn greet(&self, name: &str) -> String;
}

/// The port of the server, for QUIC.
pub const PORT: u16 = 4433;

/// The port of the server for HTTP and WebSocket, without TLS: the ingress has the certificate of the public name.
pub const HTTP_PORT: u16 = 8080;

/// The time in which a pod that is told to stop still serves calls, and the readiness probe reads that it is not serving. It
/// is as long as the probe takes to notice, and then the clients to resolve the name again.
pub const ANNOUNCEMENT: Duration = Duration::from_secs(15);

/// The time that a server then has to finish the calls that it has begun. With [`ANNOUNCEMENT`], and with the three seconds
/// in which the server closes its connections, it is less than the pod's `terminationGracePeriodSeconds`.
pub const DRAIN: Duration = Duration::from_secs(20);

/// Returns the value of an environment variable, or `default` if it has none.
pub fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
