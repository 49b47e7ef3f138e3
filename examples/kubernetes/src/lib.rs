//! What the server and its client in Kubernetes agree on.

use std::time::Duration;

use rpc_runtime::rpc;

/// Says hello, and from where.
#[rpc]
pub trait Greeter {
    /// Greets `name`. Two pods may do so: nothing changes by it.
    #[rpc(idempotent)]
    async fn greet(&self, name: &str) -> String;
}

/// Where the server listens.
pub const PORT: u16 = 4433;

/// How long a server that is told to stop may take for the calls that it has begun. Less than the pod's
/// `terminationGracePeriodSeconds`.
pub const DRAIN: Duration = Duration::from_secs(20);

/// What an environment variable says, or else `default`.
pub fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
