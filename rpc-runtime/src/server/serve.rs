//! Serves the streams of a connection. Each stream gets a worker, until the connection is lost or drained.

use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio::time::timeout;

use crate::client::callback::{Callback, IntoServePeer, ServePeer};
use crate::codec::escape::EscapedMessage;
use crate::context::{ConnectionContext, Extensions, PeerAddress};
use crate::description::discover::DiscoverOptions;
use crate::event::{CloseReason, EventHook, Limit};
use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::phase::{Phase, PhaseWatch};
use crate::server::connection::ServerConnection;
use crate::server::health::HealthStates;
use crate::server::observe::OpenReport;
use crate::server::recv::Receiver;
use crate::server::shared::{ServerShared, SharedSettings};
use crate::server::shutdown::CLOSE_TIMEOUT;
use crate::server::worker;
use crate::service::router::Router;
use crate::transport::{self, ConnectionError, Datagrams, RecvStream, close};

/// The services of one side of its connections.
pub(super) struct Acceptor<R>(pub(super) Arc<ServerShared<R>>);

impl<R: Router> ServePeer for Acceptor<R> {
    fn serve(
        &self,
        connection: transport::Connection,
        callback: Option<Callback>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(OpenConnection::new(Arc::clone(&self.0), connection, callback).serve())
    }
}

/// Serves connections that are never drained: the connections of a client, and connections in memory.
impl<R: Router> IntoServePeer for R {
    fn into_serve_peer(
        self,
        limits: Limits,
        discover: DiscoverOptions,
        events: EventHook,
    ) -> Arc<dyn ServePeer> {
        let memory = ServerMemory::new(&limits);
        let settings = SharedSettings {
            limits,
            memory,
            discover,
            phase: PhaseWatch::never(),
            events,
            health: HealthStates::new(&R::descriptions()),
        };
        let shared = ServerShared::new(self, settings);
        Arc::new(Acceptor(Arc::new(shared)))
    }
}

/// A connection whose streams can be served.
pub(super) struct OpenConnection<R> {
    pub(super) connection: Arc<ServerConnection<R>>,
    transport: Arc<transport::Connection>,
    context: Arc<ConnectionContext>,
    callback: Arc<Callback>,
    /// `true` if the peer opened the connection.
    is_accepted: bool,
}

impl<R: Router> OpenConnection<R> {
    /// `callback` calls the peer, if this side opened the connection.
    pub(super) fn new(
        shared: Arc<ServerShared<R>>,
        transport: transport::Connection,
        callback: Option<Callback>,
    ) -> Self {
        let transport = Arc::new(transport);
        let is_accepted = callback.is_none();
        // Both halves of a connection share one memory budget.
        let memory = callback.as_ref().and_then(Callback::memory);
        let memory = memory.unwrap_or_else(|| shared.memory(transport.remote_address()));
        let callback = Arc::new(callback.unwrap_or_else(|| {
            Callback::on_accepted(Arc::downgrade(&transport), Arc::downgrade(&memory))
        }));
        let context = Arc::new(ConnectionContext {
            peer: PeerAddress::of(&transport),
            certificate: transport.peer_certificate(),
            callback: Arc::clone(&callback) as _,
            extensions: Extensions::default(),
            phase: shared.phase.clone(),
        });
        let connection = ServerConnection::new(
            shared,
            memory,
            Arc::clone(&context),
            Arc::downgrade(&transport),
            worker::start,
        );
        Self {
            connection,
            transport,
            context,
            callback,
            is_accepted,
        }
    }

    /// Serves the streams of the connection until it is lost or drained.
    pub(super) async fn serve(self) {
        let Self {
            connection,
            transport,
            context,
            callback,
            is_accepted,
        } = self;
        let shared = Arc::clone(connection.shared());
        let accepted = is_accepted.then(|| transport.remote_address());
        let mut report = OpenReport::new(shared.limit_reports().events(), accepted.flatten());
        let peer = || context.peer.current();
        let reports = shared.limit_reports();
        let reason = tokio::select! {
            lost = accept_streams(&connection, &transport) => {
                tracing::debug!(target: "rpc_runtime::server", peer = peer().map(tracing::field::display), lost = %EscapedMessage(&lost), "connection ended");
                if lost == ConnectionError::TimedOut {
                    reports.connection_timed_out(peer());
                }
                close_reason(&lost)
            }
            limit = connection.abuse().exceeded() => {
                reports.excessive_load(peer(), limit.into());
                let reason = format!("excessive load: {} is exceeded", Limit::from(limit));
                transport.close(close::EXCESSIVE_LOAD, &reason);
                CloseReason::ExcessiveLoad
            }
            () = connection.release_buffers() => CloseReason::Lost,
            () = drain(&connection, &transport, &callback) => {
                tracing::debug!(target: "rpc_runtime::server", peer = peer().map(tracing::field::display), "connection drained");
                CloseReason::Shutdown
            }
        };
        if let Some(report) = &mut report {
            report.reason = reason;
        }
        connection.abort();
        context.peer.keep();
        drop(transport);
        callback.ended().await;
    }
}

fn close_reason(lost: &ConnectionError) -> CloseReason {
    match lost {
        ConnectionError::ClosedByPeer { .. } => CloseReason::ClosedByPeer,
        ConnectionError::ClosedHere => CloseReason::Shutdown,
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        _ => CloseReason::Lost,
    }
}

async fn accept_streams<R: Router>(
    connection: &Arc<ServerConnection<R>>,
    transport: &transport::Connection,
) -> ConnectionError {
    // Datagrams are read as a stream, which is opened only for a peer that sends datagrams.
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
        let receiver = Receiver::new(recv, connection.limits().max_request_bytes);
        connection.open(send, Box::new(receiver));
    }
}

async fn drain<R: Router>(
    connection: &ServerConnection<R>,
    transport: &transport::Connection,
    callback: &Callback,
) {
    connection.reaches(Phase::Draining).await;
    // Boxed, since only a drain needs the space.
    let drained = Box::pin(async {
        let mut drain = pin!(connection.drain());
        tokio::select! {
            drained = &mut drain => return drained,
            () = connection.reaches(Phase::Ending) => {}
        }
        let has_streams = connection.end_streaming();
        has_streams && timeout(CLOSE_TIMEOUT, drain).await.unwrap_or(false)
    });
    let code = match drained.await {
        true => close::SHUTDOWN,
        false => close::ABORTED,
    };
    callback.close().await;
    transport.close(code, "shutting down");
}
