//! A server and a client over real QUIC on loopback.
#![allow(dead_code)] // no test needs all of it

use std::future::Future;
use std::time::Duration;

use rpc_runtime::{Client, Identity, Limits, Server, ServerHandle, Service, Trust};

/// Serves `service` within `limits` and connects to it, once: what becomes of a lost connection shows.
pub(crate) async fn serve<S: Service>(service: S, limits: Limits) -> (Client, ServerHandle) {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(service)
        .limits(limits)
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    let handle = server.handle();
    tokio::spawn(server.run());
    (
        Client::builder()
            .trust(trust)
            .reconnect(false)
            .connect(address)
            .await
            .unwrap(),
        handle,
    )
}

/// Fails the test if `future` takes longer than anything here should.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("this should not take long")
}
