//! From an envelope to a call that is to be run: all that the protocol itself answers is answered here.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::error_code::ProtocolError;
use crate::codec::reply::Reply;
use crate::codec::request::{Invalid, Request};
use crate::server::connection::ServerConnection;
use crate::server::stream::ServerStream;
use crate::service::Router;

/// A deadline further away than this is none.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A request whose method was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreparedCall<'t, 'de> {
    pub(super) request: Request<'t, 'de>,
    pub(super) method: u32,
    pub(super) deadline: Option<Instant>,
}

impl<'t, 'de> PreparedCall<'t, 'de> {
    fn new(request: Request<'t, 'de>, method: u32) -> Self {
        let timeout = request
            .timeout
            .map(Duration::from_millis)
            .filter(|timeout| *timeout < FAR);
        Self {
            request,
            method,
            deadline: timeout.map(|timeout| Instant::now() + timeout),
        }
    }

    pub(super) fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Reads an envelope. What the protocol itself answers is answered in `reply`; a call comes back.
pub(super) fn admit<'t, 'de, R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    request: Result<Request<'t, 'de>, Invalid<'de>>,
    reply: &mut Reply,
) -> Option<PreparedCall<'t, 'de>> {
    let request = match request {
        Ok(request) => request,
        Err(invalid) => {
            reply.begin(Some(invalid.id));
            reply.refuse(invalid.refusal);
            return None;
        }
    };
    reply.begin(request.id);
    if request.id.is_some() && !lane.has_way_back() {
        // A call that nobody could hear the answer of.
        reply.begin(None);
        return None;
    }
    match request.method {
        "rpc.ping" => reply.settle(),
        "rpc.discover" => connection.discovered().answer::<R>(reply),
        "rpc.cancel" => match request.cancellation() {
            Some(cancellation) => {
                connection.cancel(lane, cancellation);
                reply.settle();
            }
            None => reply.refuse(ProtocolError::InvalidParams(
                "`rpc.cancel` takes the id of a call",
            )),
        },
        name => match R::find(name) {
            None => reply.refuse(ProtocolError::MethodNotFound),
            Some(_) if connection.is_draining() => reply.refuse(ProtocolError::ShuttingDown),
            Some(method) => return Some(PreparedCall::new(request, method)),
        },
    }
    None
}
