//! Serves one connection: a worker for every stream, until the connection is lost or drained.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::timeout;

use crate::client::callback::Callback;
use crate::context::{ConnectionContext, Extensions};
use crate::escape::Escaped;
use crate::server::GOODBYE;
use crate::server::connection::{Phase, ServerConnection, ServerShared};
use crate::server::recv::Receiver;
use crate::server::worker::Worker;
use crate::service::Router;
use crate::transport::{self, ConnectionLost, Datagrams, RecvStream, close};

/// Serves one connection. `callback` reaches the peer, if this side made the connection.
pub(super) async fn serve<R: Router>(
    shared: Arc<ServerShared<R>>,
    transport: transport::Connection,
    callback: Option<Callback>,
) {
    let transport = Arc::new(transport);
    let peer = transport.remote_address();
    let callback =
        Arc::new(callback.unwrap_or_else(|| Callback::on_accepted(Arc::downgrade(&transport))));
    let context = Arc::new(ConnectionContext {
        peer,
        certificate: transport.peer_certificate(),
        callback: Arc::clone(&callback) as _,
        extensions: Extensions::default(),
    });
    let connection =
        ServerConnection::new(shared, Arc::clone(&context), Arc::downgrade(&transport));
    tokio::select! {
        lost = accept_streams(&connection, &transport) => {
            tracing::debug!(?peer, lost = %Escaped(lost), "connection ended");
        }
        () = connection.conduct().is_enough() => {
            tracing::debug!(?peer, "the other side asks too much");
            transport.close(close::EXCESSIVE_LOAD, "excessive load");
        }
        () = connection.rest_when_quiet() => {}
        () = drain(&connection, &transport, &callback) => tracing::debug!(?peer, "connection drained"),
    }
    connection.kill();
    drop(transport);
    callback.ended().await;
}

async fn accept_streams<R: Router>(
    connection: &Arc<ServerConnection<R>>,
    transport: &transport::Connection,
) -> ConnectionLost {
    // Whoever sends no datagrams pays nothing for them.
    let mut sends_datagrams = false;
    loop {
        let accepted = tokio::select! {
            accepted = transport.accept_bi() => accepted.map(|(send, recv)| (Some(send), recv)),
            accepted = transport.accept_uni() => accepted.map(|recv| (None, recv)),
            first = transport.read_datagram(), if !sends_datagrams => first.map(|first| {
                sends_datagrams = true;
                let datagrams = Datagrams::new(transport.clone(), first);
                (None, RecvStream::Datagrams(datagrams))
            }),
        };
        let (send, recv) = match accepted {
            Ok(stream) => stream,
            Err(lost) => return lost,
        };
        let reader = Box::new(Receiver::new(recv, connection.limits().request));
        Worker::start(Arc::clone(connection), connection.open(send), reader);
    }
}

async fn drain<R: Router>(
    connection: &ServerConnection<R>,
    transport: &transport::Connection,
    callback: &Callback,
) {
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
    callback.close().await;
    transport.close(code, "shutting down");
}
