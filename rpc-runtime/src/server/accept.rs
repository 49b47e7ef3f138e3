//! Serves one connection: a worker for every stream, until the connection is lost or drained.

use std::sync::Arc;

use super::connection::{Connection, Shared};
use super::reading::Reader;
use super::worker::Worker;
use crate::log::Escaped;
use crate::service::Router;
use crate::transport::{self, ConnectionLost, close};

pub(super) async fn serve<R: Router>(shared: Arc<Shared<R>>, transport: transport::Connection) {
    let peer = transport.remote_address();
    let connection = Connection::new(shared, Some(transport.clone()));
    tokio::select! {
        lost = accept_streams(&connection, &transport) => {
            tracing::debug!(?peer, lost = %Escaped(lost), "connection ended");
        }
        () = connection.conduct().is_enough() => {
            tracing::debug!(?peer, "the client asks too much");
            transport.close(close::EXCESSIVE_LOAD, "excessive load");
        }
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
        let reader = Reader::new(recv, connection.limits().request);
        Worker::start(Arc::clone(connection), connection.open(send), reader);
    }
}

async fn drain<R: Router>(connection: &Connection<R>, transport: &transport::Connection) {
    connection.shutdown().await;
    connection.drain().await;
    transport.close(close::SHUTDOWN, "shutting down");
}
