//! A client of several servers.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_runtime::{Client, ClientBuilder, Identity, Server, ServerHandle, Trust, rpc};
use support::soon;
use tokio::task::JoinSet;

#[rpc]
trait Desk {
    /// Which server answers.
    #[rpc(idempotent)]
    async fn who(&self) -> usize;
}

/// One of several servers.
#[derive(Default)]
struct Clerk {
    number: usize,
    /// How long it takes for a call.
    work: Duration,
    calls: AtomicUsize,
}

#[derive(Clone)]
struct Clerks(Arc<Clerk>);

impl Desk for Clerks {
    async fn who(&self) -> usize {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if !self.0.work.is_zero() {
            tokio::time::sleep(self.0.work).await;
        }
        self.0.number
    }
}

/// Servers that all have the same identity.
struct Office {
    identity: Identity,
}

impl Office {
    fn new() -> Self {
        Self {
            identity: Identity::self_signed(["localhost", "127.0.0.1"]).unwrap(),
        }
    }

    fn open(&self, clerk: &Arc<Clerk>, address: SocketAddr) -> (SocketAddr, ServerHandle) {
        let server = Server::builder(self.identity.clone())
            .service(DeskServer::new(Clerks(Arc::clone(clerk))))
            .bind(address)
            .unwrap();
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        tokio::spawn(server.run());
        (address, handle)
    }

    fn builder(&self) -> ClientBuilder {
        let (initial, max) = (Duration::from_millis(1), Duration::from_millis(50));
        Client::builder()
            .trust(Trust::certificate(self.identity.certificate()))
            .reconnect_backoff(initial, max)
    }
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[tokio::test]
async fn most_calls_go_to_the_faster_of_two_servers() {
    let office = Office::new();
    let clerk = |number, work| {
        let work = Duration::from_millis(work);
        Arc::new(Clerk {
            number,
            work,
            ..Clerk::default()
        })
    };
    let (slow, fast) = (clerk(0, 50), clerk(1, 1));
    let (slow_address, _slow) = office.open(&slow, anywhere());
    let (fast_address, _fast) = office.open(&fast, anywhere());
    let client = soon(office.builder().connect_many([slow_address, fast_address]))
        .await
        .unwrap();
    let desk = DeskClient::new(client);
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let desk = desk.clone();
        callers.spawn(async move {
            for _ in 0..50 {
                desk.who().await.unwrap();
            }
        });
    }
    soon(callers.join_all()).await;
    let calls = |clerk: &Clerk| clerk.calls.load(Ordering::SeqCst);
    assert_eq!(calls(&slow) + calls(&fast), 800);
    assert!(calls(&slow) > 0);
    assert!(
        calls(&fast) > 4 * calls(&slow),
        "{} and {}",
        calls(&fast),
        calls(&slow)
    );
}
