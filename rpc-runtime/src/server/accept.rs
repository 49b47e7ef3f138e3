//! Serves one connection: a worker for every stream, until the connection is lost or drained.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::timeout;

use super::GOODBYE;
use super::connection::{Connection, Phase, Shared};
use super::reading::Reader;
use super::worker::Worker;
use crate::log::Escaped;
use crate::service::Router;
use crate::transport::{self, ConnectionLost, close};

pub(super) async fn serve<R: Router>(shared: Arc<Shared<R>>, transport: transport::Connection) {
    let peer = transport.remote_address();
    let connection = Connection::new(shared, peer, transport.peer_certificate());
    tokio::select! {
        lost = accept_streams(&connection, &transport) => {
            tracing::debug!(?peer, lost = %Escaped(lost), "connection ended");
        }
        () = connection.conduct().is_enough() => {
            tracing::debug!(?peer, "the client asks too much");
            transport.close(close::EXCESSIVE_LOAD, "excessive load");
        }
        () = connection.rest_when_quiet() => {}
        () = drain(&connection, &transport) => tracing::debug!(?peer, "connection drained"),
    }
    connection.kill();
}

async fn accept_streams<R: Router>(
    connection: &Arc<Connection<R>>,
    transport: &transport::Connection,
) -> ConnectionLost {
    loop {
        let accepted = tokio::select! {
            accepted = transport.accept_bi() => accepted.map(|(send, recv)| (Some(send), recv)),
            accepted = transport.accept_uni() => accepted.map(|recv| (None, recv)),
        };
        let (send, recv) = match accepted {
            Ok(stream) => stream,
            Err(lost) => return lost,
        };
        let reader = Box::new(Reader::new(recv, connection.limits().request));
        Worker::start(Arc::clone(connection), connection.open(send), reader);
    }
}

async fn drain<R: Router>(connection: &Connection<R>, transport: &transport::Connection) {
    connection.reaches(Phase::Draining).await;
    // Only now does it need room.
    let drained = Box::pin(async {
        let mut drain = pin!(connection.drain());
        tokio::select! {
            drained = &mut drain => return drained,
            () = connection.reaches(Phase::Ending) => {}
        }
        let has_streams = connection.end_streams();
        has_streams && timeout(GOODBYE, drain).await.unwrap_or(false)
    });
    let code = match drained.await {
        true => close::SHUTDOWN,
        false => close::CUT_OFF,
    };
    transport.close(code, "shutting down");
}
