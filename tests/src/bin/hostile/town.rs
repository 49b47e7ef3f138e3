//! The server, which reports its resources.

use std::fs;
use std::net::SocketAddr;

use futures_util::{Stream, stream};
use rpc_runtime::{Identity, Server, rpc};
use serde::{Deserialize, Serialize};
use tests::holdings::Holdings;
use tests::process::{answer, orders};
use tokio::time::{Duration, interval, sleep};

#[rpc]
pub(crate) trait Town {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn blob(&self, size: usize) -> String;
    /// The same after some milliseconds.
    async fn late_blob(&self, millis: u64, size: usize) -> String;
    async fn echo(&self, millis: u64, text: &str) -> String;
    async fn hang(&self);
    /// Never returns, and keeps its argument.
    async fn count(&self, numbers: Vec<u64>);
    async fn panic(&self);
    /// Never sends an item.
    fn news(&self) -> impl Stream<Item = u8>;
    /// Sends items of this size without end.
    fn endless(&self, size: usize) -> impl Stream<Item = String>;
    /// Never takes an item.
    async fn pile(&self, items: impl Stream<Item = String>);
}

struct Walls;

const ON_PURPOSE: &str = "on purpose";

impl Town for Walls {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn late_blob(&self, millis: u64, size: usize) -> String {
        sleep(Duration::from_millis(millis)).await;
        "x".repeat(size)
    }

    async fn echo(&self, millis: u64, text: &str) -> String {
        sleep(Duration::from_millis(millis)).await;
        text.to_owned()
    }

    async fn hang(&self) {
        std::future::pending().await
    }

    async fn count(&self, numbers: Vec<u64>) {
        std::future::pending::<()>().await;
        drop(numbers);
    }

    async fn panic(&self) {
        std::panic::panic_any(ON_PURPOSE)
    }

    fn news(&self) -> impl Stream<Item = u8> {
        stream::pending()
    }

    fn endless(&self, size: usize) -> impl Stream<Item = String> {
        stream::repeat_with(move || "x".repeat(size))
    }

    async fn pile(&self, items: impl Stream<Item = String>) {
        std::future::pending::<()>().await;
        drop(items);
    }
}

/// The address of a server, and its certificate as PEM.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: String,
}

/// The server's resources.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) now: Holdings,
    /// The most bytes of memory since the last report.
    pub(crate) peak: usize,
    /// The most bytes since the last report that the server has counted, as far as they were looked at.
    pub(crate) counted: usize,
}

impl Report {
    fn take(counted: usize) -> Self {
        let now = Holdings::now();
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.split_whitespace().next());
        let kibibytes: usize = kibibytes.expect("VmHWM").parse().expect("a number");
        // Linux starts VmHWM again from the memory that is resident now.
        fs::write("/proc/self/clear_refs", "5").expect("Linux");
        Self {
            now,
            peak: kibibytes << 10,
            counted,
        }
    }
}

/// Serves with the default limits, and reports its resources on each order.
pub(crate) async fn serve() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&ON_PURPOSE) {
            usual(panic);
        }
    }));
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).expect("an identity");
    let certificate = identity.certificate().to_pem();
    let server = Server::builder(identity).service(TownServer::new(Walls));
    let server = server.bind("127.0.0.1:0").expect("a server");
    let address = server.local_addr().expect("its address");
    answer(&Place {
        address,
        certificate,
    });
    let handle = server.handle();
    tokio::spawn(server.run());
    let mut orders = orders::<()>();
    let mut ticks = interval(Duration::from_millis(5));
    let mut counted = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => counted = counted.max(handle.memory_held()),
            order = orders.recv() => match order {
                Some(()) => answer(&Report::take(std::mem::take(&mut counted))),
                None => return,
            },
        }
    }
}
