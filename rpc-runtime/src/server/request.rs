//! From an envelope to a call that can run: what the protocol itself answers is answered here, and the method is found.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::error_code::ProtocolError;
use crate::codec::id::Id;
use crate::codec::reply::Reply;
use crate::codec::request::{Invalid, Request};
use crate::server::call_task::CallSite;
use crate::server::invoke::PreparedCall;
use crate::service::router::Router;

/// Longer timeouts are ignored.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads an envelope and finds its method. Returns the call to run; `None` if `reply` holds the answer already.
pub(super) fn prepare<'t, 'de, R: Router>(
    site: &CallSite<R>,
    request: Result<Request<'t, 'de>, Invalid<'de>>,
    reply: &mut Reply,
) -> Option<PreparedCall<'t, 'de>> {
    let request = match request {
        Ok(request) => request,
        Err(Invalid { id, error }) => {
            reject(reply, id, error);
            return None;
        }
    };
    reply.begin(request.id);
    if request.id.is_some() && !site.stream.is_bidirectional() {
        // The reply to a call on a unidirectional stream could not be sent.
        reply.begin(None);
        return None;
    }
    if request.method.starts_with("rpc.") {
        answer(site, &request, reply);
        return None;
    }
    let connection = &site.connection;
    match connection.find(request.method) {
        None => reply.reject(ProtocolError::MethodNotFound),
        Some(_) if connection.is_draining() => reply.reject(ProtocolError::ShuttingDown),
        Some(method) => {
            return Some(PreparedCall {
                deadline: deadline(request.timeout),
                request,
                method,
            });
        }
    }
    None
}

/// Answers a method of the protocol's own.
fn answer<R: Router>(site: &CallSite<R>, request: &Request<'_, '_>, reply: &mut Reply) {
    match request.method {
        "rpc.ping" => reply.settle(),
        "rpc.discover" => site.connection.discover_reply().answer::<R>(reply),
        "rpc.cancel" => match request.cancellation() {
            Some(cancel) => {
                site.connection.cancel(&site.stream, cancel);
                reply.settle();
            }
            None => reply.reject(ProtocolError::InvalidParams(
                "`rpc.cancel` takes the id of a call",
            )),
        },
        _ => reply.reject(ProtocolError::MethodNotFound),
    }
}

fn deadline(timeout: Option<u64>) -> Option<Instant> {
    let timeout = Duration::from_millis(timeout?);
    (timeout < MAX_TIMEOUT).then(|| Instant::now() + timeout)
}

/// Answers the request with this id by an error of the protocol.
pub(super) fn reject(reply: &mut Reply, id: Id<'_>, error: ProtocolError) {
    reply.begin(Some(id));
    reply.reject(error);
}
