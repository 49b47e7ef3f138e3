//! Answers the request that opens a WebSocket: an upgrade of HTTP/1.1 (RFC 6455, section 4), or a CONNECT of HTTP/2 (RFC 8441).

use std::sync::Arc;

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use rpc_runtime::Limits;
use rpc_runtime::gateway::{CallDefaults, ConnectionTicket, GatewayConnection, ServiceSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::body::ResponseBody;
use crate::refusal::Refusal;
use crate::session::HttpConnection;
use crate::subscriptions::SubscriptionCalls;
use crate::websocket::session::Session;
use crate::websocket::watched_io::WatchedIo;

/// The subprotocol. A client may also request none.
const SUBPROTOCOL: &str = "jsonrpc-1";

/// The version of the protocol (RFC 6455, section 4.1).
const VERSION: &str = "13";

/// The maximum number of bytes of a read. tungstenite fills as many with zeros before each read, which costs more than a small
/// call if they are many.
const READ_BYTES: usize = 4 << 10;

/// Returns `true` if the request opens a WebSocket.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    match *request.method() {
        Method::GET => has_token(request.headers(), UPGRADE, "websocket"),
        Method::CONNECT => request
            .extensions()
            .get::<Protocol>()
            .is_some_and(|protocol| protocol.as_str() == "websocket"),
        _ => false,
    }
}

/// Accepts a WebSocket, and serves it in a task of its own once the response has been sent. `connection` belongs to this
/// socket alone.
pub(crate) fn accept<B>(
    mut request: Request<B>,
    (services, connection): (ServiceSet, GatewayConnection),
    settings: (Option<Arc<CallDefaults>>, Option<Arc<SubscriptionCalls>>),
) -> Result<Response<ResponseBody>, Refusal> {
    let headers = request.headers();
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != VERSION)
    {
        return Err(Refusal::WebSocketVersion);
    }
    let mut response = Response::new(ResponseBody::default());
    if has_token(headers, SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    if request.method() == Method::GET {
        switch_protocols(headers, &mut response)?;
    }
    let ticket = ticket_of(&request, &services)?;
    let http = request.extensions().get::<HttpConnection>().cloned();
    let http = http.filter(|_| request.version() == Version::HTTP_2);
    let upgrade = hyper::upgrade::on(&mut request);
    let Limits {
        max_request_bytes,
        message_timeout,
        write_timeout,
        ..
    } = *services.limits();
    let config = config(max_request_bytes);
    tokio::spawn(async move {
        // A client that opens and resets sockets on its connection causes work, as one that cancels calls does.
        let _cancelled = http.map(|http| http.connection.call(None));
        // Otherwise the client has disconnected.
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let io = WatchedIo::new(io, message_timeout, write_timeout);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Session::new(socket, (services, connection), settings)
            .run()
            .await;
        // The socket counts as a connection until here.
        drop(ticket);
    });
    Ok(response)
}

/// Returns the place of a socket within the limits of connections: that of its connection, or one of its own if it is one of
/// many on a connection of HTTP/2, each of which has the limits of a connection. A router in front of the service counts its
/// connections itself.
fn ticket_of<B>(
    request: &Request<B>,
    services: &ServiceSet,
) -> Result<Option<Arc<ConnectionTicket>>, Refusal> {
    let extensions = request.extensions();
    let Some(ticket) = extensions.get::<Arc<ConnectionTicket>>() else {
        return Ok(None);
    };
    let http = extensions.get::<HttpConnection>();
    match http.and_then(|http| http.peer.known_address()) {
        Some(peer) if request.version() == Version::HTTP_2 => {
            let ticket = services.admit(peer);
            let mut ticket = ticket.map_err(Refusal::from)?;
            ticket.handshake_done();
            Ok(Some(Arc::new(ticket)))
        }
        _ => Ok(Some(Arc::clone(ticket))),
    }
}

/// Makes the response one that switches HTTP/1.1 to WebSocket (RFC 6455, section 4.2.2).
fn switch_protocols(
    headers: &HeaderMap,
    response: &mut Response<ResponseBody>,
) -> Result<(), Refusal> {
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let key = key.filter(|_| has_token(headers, CONNECTION, "upgrade"));
    let accepted = derive_accept_key(key.ok_or(Refusal::WebSocketHandshake)?.as_bytes());
    let accepted = HeaderValue::try_from(accepted).map_err(|_| Refusal::WebSocketHandshake)?;
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    Ok(())
}

/// Returns the settings of a socket whose messages have up to `max_bytes` bytes.
fn config(max_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(max_bytes))
        .max_frame_size(Some(max_bytes))
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(16 << 10)
}

/// Returns `true` if a header is a list that contains a token, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}
