//! The server, which reports its resources.

use std::fs;
use std::net::SocketAddr;

use rpc_runtime::{Identity, Server};
use serde::{Deserialize, Serialize};
use tests::hostile::target::{TargetServer, TargetService};
use tests::process::{answer, requests};
use tests::resources::Resources;
use tokio::time::{Duration, interval};

/// The address of a server, and its certificate as PEM.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerAddress {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: String,
}

/// The server's resources.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) now: Resources,
    /// The maximum of resident memory since the last report, in bytes.
    pub(crate) peak: usize,
    /// The maximum since the last report of the bytes that the server counts, as sampled.
    pub(crate) counted: usize,
    /// The bytes that the server counts now.
    pub(crate) held: usize,
}

impl Report {
    pub(crate) fn take(counted: usize, held: usize) -> Self {
        let now = Resources::now();
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.split_whitespace().next());
        let kibibytes: usize = kibibytes.expect("VmHWM").parse().expect("a number");
        // Linux resets VmHWM to the current resident memory.
        fs::write("/proc/self/clear_refs", "5").expect("Linux");
        Self {
            now,
            peak: kibibytes << 10,
            counted,
            held,
        }
    }
}

/// Serves with the default limits, and reports its resources on each request.
pub(crate) async fn serve() {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).expect("an identity");
    let certificate = identity.certificate().to_pem();
    let server = Server::builder(identity).service(TargetServer::new(TargetService));
    let server = server.bind("127.0.0.1:0").expect("a server");
    let address = server.local_addr().expect("its address");
    answer(&ServerAddress {
        address,
        certificate,
    });
    let handle = server.handle();
    tokio::spawn(server.run());
    let mut requests = requests::<()>();
    let mut ticks = interval(Duration::from_millis(5));
    let mut counted = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => counted = counted.max(handle.memory_held()),
            request = requests.recv() => match request {
                Some(()) => answer(&Report::take(std::mem::take(&mut counted), handle.memory_held())),
                None => return,
            },
        }
    }
}
