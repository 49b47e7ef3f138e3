//! Sessions: the requests that carry the streams of one connection of a client.
//!
//! A client over HTTP/2 sends each of its streams as a request. All of them name the same random number, and belong to one
//! connection of the server, whichever connections of HTTP carry them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Extensions, HeaderMap, Request};
use rpc_runtime::gateway::{ConnectionTicket, GatewayConnection, GatewayPeer, ServiceSet, header};
use tokio::time::sleep;

use crate::refusal::Refusal;

/// The time for which a session without requests is kept.
const GRACE: Duration = Duration::from_secs(5);

/// The number of digits of a session.
const DIGITS: usize = 32;

/// Stream IDs have 62 bits (RFC 9000, section 2.1).
const MAX_STREAM: u64 = (1 << 62) - 1;

/// The sessions of a service.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<SessionKey, Arc<Session>>>>);

/// The name of a session. The sessions of clients with different certificates are never the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SessionKey {
    number: u128,
    /// The SHA-256 of the client's certificate.
    certificate: Option<[u8; 32]>,
}

struct Session {
    connection: Arc<GatewayConnection>,
    state: Mutex<SessionState>,
    /// Counts the session as a connection. `None` if the client's address is not known.
    _place: Option<Place>,
}

#[derive(Default)]
struct SessionState {
    /// The number of its requests.
    requests: usize,
    /// The IDs of the streams that they carry.
    streams: HashSet<u64>,
    /// `true` while a task waits for the end of the grace.
    is_ending: bool,
}

/// The place of a session within the limits of connections.
enum Place {
    Own { _ticket: ConnectionTicket },
    Lent(Arc<TcpTicket>),
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Lent(ticket) = self {
            ticket.is_lent.store(false, Ordering::Relaxed);
        }
    }
}

/// The place of a connection of HTTP. Its first session shares it, so that a client that connects directly counts once.
pub(crate) struct TcpTicket {
    _ticket: Arc<ConnectionTicket>,
    is_lent: AtomicBool,
}

impl TcpTicket {
    pub(crate) fn new(ticket: Arc<ConnectionTicket>) -> Arc<Self> {
        Arc::new(Self {
            _ticket: ticket,
            is_lent: AtomicBool::new(false),
        })
    }
}

/// The connection of HTTP that a request arrived on.
#[derive(Clone)]
pub(crate) struct HttpConnection {
    /// Requests without a session belong to it.
    pub(crate) connection: Arc<GatewayConnection>,
    pub(crate) peer: GatewayPeer,
    pub(crate) ticket: Arc<TcpTicket>,
}

impl fmt::Debug for HttpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnection").finish_non_exhaustive()
    }
}

/// What the requests on a connection of the listener share.
pub(crate) struct Arrival {
    pub(crate) http: HttpConnection,
    /// Also held by what the connection is upgraded to.
    pub(crate) ticket: Arc<ConnectionTicket>,
}

impl Arrival {
    /// Inserts it into the extensions of a request. Most requests need none of it there, and an insertion has allocations.
    pub(crate) fn insert_into(&self, extensions: &mut Extensions) {
        extensions.insert(self.http.clone());
        extensions.insert(Arc::clone(&self.ticket));
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection of a request: that of its session, or `other`.
    pub(crate) fn connection_of<B>(
        &self,
        services: &ServiceSet,
        request: &Request<B>,
        peer: GatewayPeer,
        other: impl FnOnce() -> Arc<GatewayConnection>,
    ) -> Result<RequestConnection, Refusal> {
        let Some(number) = number_of(request.headers())? else {
            return Ok(RequestConnection {
                connection: other(),
                session: None,
            });
        };
        let stream = stream_of(request.headers())?;
        let http = request.extensions().get::<HttpConnection>();
        let key = SessionKey {
            number,
            certificate: peer
                .known_certificate()
                .map(|certificate| certificate.sha256()),
        };
        let mut sessions = self.lock();
        let session = match sessions.get(&key) {
            Some(session) => Arc::clone(session),
            None => {
                if sessions.len() >= services.limits().max_connections {
                    return Err(Refusal::Unavailable { code: None });
                }
                let place = place(services, &peer, http)?;
                let session = Arc::new(Session {
                    connection: Arc::new(services.connect(peer)),
                    state: Mutex::default(),
                    _place: place,
                });
                sessions.insert(key, Arc::clone(&session));
                session
            }
        };
        session.begin(stream)?;
        drop(sessions);
        Ok(RequestConnection {
            connection: Arc::clone(&session.connection),
            session: Some(SessionRequest {
                sessions: self.clone(),
                key,
                session,
                stream,
            }),
        })
    }

    /// Ends a session without requests after a grace, or as soon as the server has closed its connection.
    async fn end(self, key: SessionKey, session: Arc<Session>) {
        tokio::select! {
            () = sleep(GRACE) => {}
            _ = session.connection.closed() => {}
        }
        let mut sessions = self.lock();
        let mut state = session.state();
        state.is_ending = false;
        let is_over = state.requests == 0;
        drop(state);
        let removed = match is_over {
            true => sessions.remove(&key),
            false => None,
        };
        drop(sessions);
        drop(removed);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// Returns the place of a new session, if the limits of connections admit it.
fn place(
    services: &ServiceSet,
    peer: &GatewayPeer,
    http: Option<&HttpConnection>,
) -> Result<Option<Place>, Refusal> {
    if let Some(HttpConnection { ticket, .. }) = http
        && !ticket.is_lent.swap(true, Ordering::Relaxed)
    {
        return Ok(Some(Place::Lent(Arc::clone(ticket))));
    }
    let Some(address) = peer.known_address() else {
        return Ok(None);
    };
    let mut ticket = services.admit(address).map_err(Refusal::from)?;
    ticket.handshake_done();
    Ok(Some(Place::Own { _ticket: ticket }))
}

impl Session {
    fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request. Returns an error if another request carries a stream with the same ID.
    fn begin(&self, stream: Option<u64>) -> Result<(), Refusal> {
        let mut state = self.state();
        if stream.is_some_and(|stream| !state.streams.insert(stream)) {
            return Err(Refusal::BadSession);
        }
        state.requests += 1;
        Ok(())
    }
}

/// Returns the session that a request names.
fn number_of(headers: &HeaderMap) -> Result<Option<u128>, Refusal> {
    let Some(value) = headers.get(header::SESSION) else {
        return Ok(None);
    };
    let digits = value.as_bytes();
    let is_valid = digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit);
    let number = value.to_str().ok().filter(|_| is_valid);
    let number = number.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    number.map(Some).ok_or(Refusal::BadSession)
}

/// Returns the ID of the stream that a request carries.
fn stream_of(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(header::STREAM) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|digits| digits.parse().ok());
    let number = number.filter(|id| *id <= MAX_STREAM && id % 2 == 0);
    number.map(Some).ok_or(Refusal::BadSession)
}

/// The connection of a request, which keeps its session.
#[derive(Debug)]
pub(crate) struct RequestConnection {
    connection: Arc<GatewayConnection>,
    session: Option<SessionRequest>,
}

impl RequestConnection {
    /// Returns the ID of the stream that the request carries. Streams without a session have none.
    pub(crate) fn stream(&self) -> Option<u64> {
        self.session.as_ref()?.stream
    }
}

impl Deref for RequestConnection {
    type Target = GatewayConnection;

    fn deref(&self) -> &GatewayConnection {
        &self.connection
    }
}

/// A request of a session, until its response has ended.
struct SessionRequest {
    sessions: Sessions,
    key: SessionKey,
    session: Arc<Session>,
    stream: Option<u64>,
}

impl fmt::Debug for SessionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRequest")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Drop for SessionRequest {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.requests -= 1;
        if let Some(stream) = self.stream {
            state.streams.remove(&stream);
        }
        let is_unused = state.requests == 0 && !std::mem::replace(&mut state.is_ending, true);
        drop(state);
        if is_unused {
            let ending = self
                .sessions
                .clone()
                .end(self.key, Arc::clone(&self.session));
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(ending)),
                // The runtime is being dropped, and with it the service.
                Err(_) => drop(ending),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rpc_runtime::{Identity, Limits, rpc};

    use super::*;

    #[rpc]
    trait Nothing {
        async fn nothing(&self);
    }

    struct Here;

    impl Nothing for Here {
        async fn nothing(&self) {}
    }

    fn services(limits: Limits) -> ServiceSet {
        let services = ServiceSet::builder().service(NothingServer::new(Here));
        services.limits(limits).build().unwrap()
    }

    fn address(host: u8) -> GatewayPeer {
        GatewayPeer::default().address(SocketAddr::from(([127, 0, 0, host], 1)))
    }

    /// Returns the connection of a request with these headers.
    fn connect(
        (services, sessions): (&ServiceSet, &Sessions),
        peer: &GatewayPeer,
        headers: &[(&str, &str)],
    ) -> Result<RequestConnection, Refusal> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let alone = || Arc::new(services.connect(GatewayPeer::default()));
        sessions.connection_of(services, &request, peer.clone(), alone)
    }

    fn is_same(one: &RequestConnection, other: &RequestConnection) -> bool {
        Arc::ptr_eq(&one.connection, &other.connection)
    }

    const ONE: (&str, &str) = (header::SESSION, "00000000000000000000000000000001");
    const OTHER: (&str, &str) = (header::SESSION, "00000000000000000000000000000002");

    #[tokio::test]
    async fn requests_of_one_session_share_a_connection_and_others_do_not() {
        let (services, sessions) = (services(Limits::default()), Sessions::default());
        let of = |headers: &[_]| connect((&services, &sessions), &address(1), headers).unwrap();
        let (first, second) = (of(&[ONE]), of(&[ONE, (header::STREAM, "4")]));
        assert!(is_same(&first, &second));
        assert_eq!((first.stream(), second.stream()), (None, Some(4)));
        assert!(!is_same(&first, &of(&[OTHER])));
        assert!(!is_same(&of(&[]), &of(&[])));
    }

    #[tokio::test]
    async fn clients_with_different_certificates_do_not_share_a_session() {
        let (services, sessions) = (services(Limits::default()), Sessions::default());
        let certificate = || Identity::self_signed(["localhost"]).unwrap().certificate();
        let certified = |certificate: &rpc_runtime::tls::Certificate| {
            GatewayPeer::default().certificate(certificate.der())
        };
        let (one, other) = (certificate(), certificate());
        let of = |peer: &GatewayPeer| connect((&services, &sessions), peer, &[ONE]).unwrap();
        let mine = of(&certified(&one));
        assert!(is_same(&mine, &of(&certified(&one))));
        assert!(!is_same(&mine, &of(&certified(&other))));
        assert!(!is_same(&mine, &of(&GatewayPeer::default())));
    }

    #[tokio::test]
    async fn session_or_stream_that_is_no_number_is_refused() {
        let (services, sessions) = (services(Limits::default()), Sessions::default());
        let of = |headers: &[_]| connect((&services, &sessions), &address(1), headers);
        for number in [
            "",
            "1",
            "+0000000000000000000000000000001",
            "0000000000000000000000000000001g",
            "000000000000000000000000000000001",
        ] {
            let refused = of(&[(header::SESSION, number)]).unwrap_err();
            assert_eq!(refused, Refusal::BadSession, "{number}");
        }
        // Odd numbers are those of the server.
        for id in [
            "",
            "-2",
            "1",
            "x",
            "4611686018427387904",
            "18446744073709551616",
        ] {
            let refused = of(&[ONE, (header::STREAM, id)]).unwrap_err();
            assert_eq!(refused, Refusal::BadSession, "{id}");
        }
        assert!(sessions.lock().is_empty());
    }

    #[tokio::test]
    async fn stream_with_the_id_of_another_one_is_refused_until_that_one_has_ended() {
        let (services, sessions) = (services(Limits::default()), Sessions::default());
        let of = |id| {
            connect(
                (&services, &sessions),
                &address(1),
                &[ONE, (header::STREAM, id)],
            )
        };
        let (first, other) = (of("4").unwrap(), of("6").unwrap());
        assert_eq!(of("4").unwrap_err(), Refusal::BadSession);
        drop(first);
        of("4").unwrap();
        drop(other);
    }

    #[tokio::test(start_paused = true)]
    async fn session_without_requests_lasts_for_a_grace_and_then_ends() {
        let (services, sessions) = (services(Limits::default()), Sessions::default());
        let of = || connect((&services, &sessions), &address(1), &[ONE]).unwrap();
        let first = of();
        let connection = Arc::downgrade(&first.connection);
        drop(first);
        sleep(GRACE / 2).await;
        let second = of();
        assert!(std::ptr::eq(&*second.connection, connection.as_ptr()));
        sleep(GRACE * 4).await;
        assert!(is_same(&second, &of()));
        drop(second);
        sleep(GRACE * 2).await;
        assert!(sessions.lock().is_empty());
        assert_eq!(connection.strong_count(), 0);
    }

    #[tokio::test]
    async fn sessions_count_as_connections_of_their_address() {
        let limits = Limits {
            max_connections_per_address: 2,
            ..Limits::default()
        };
        let (services, sessions) = (services(limits), Sessions::default());
        let of = |host, number: u128| {
            let number = format!("{number:032x}");
            let headers = [(header::SESSION, &*number)];
            connect((&services, &sessions), &address(host), &headers)
        };
        let (_one, _two) = (of(1, 1).unwrap(), of(1, 2).unwrap());
        assert_eq!(of(1, 3).unwrap_err(), Refusal::Unavailable { code: None });
        of(1, 1).unwrap();
        of(2, 3).unwrap();
    }

    #[tokio::test]
    async fn sessions_of_unknown_addresses_are_bounded_by_the_connections_of_the_server() {
        let limits = Limits {
            max_connections: 3,
            ..Limits::default()
        };
        let (services, sessions) = (services(limits), Sessions::default());
        let of = |number: u128| {
            let number = format!("{number:032x}");
            let headers = [(header::SESSION, &*number)];
            connect((&services, &sessions), &GatewayPeer::default(), &headers)
        };
        let open: Vec<_> = (0..3).map(|number| of(number).unwrap()).collect();
        assert_eq!(of(3).unwrap_err(), Refusal::Unavailable { code: None });
        assert_eq!(open.len(), 3);
    }

    #[tokio::test]
    async fn session_ends_at_once_when_the_server_shuts_down() {
        let (services, sessions) = (services(Limits::default()), Sessions::default());
        let open = connect((&services, &sessions), &address(1), &[ONE]).unwrap();
        drop(open);
        let handle = services.handle();
        let stopped = handle.shutdown(Duration::from_secs(20));
        tokio::time::timeout(GRACE / 2, stopped).await.unwrap();
        assert!(sessions.lock().is_empty());
        let late = connect((&services, &sessions), &address(1), &[OTHER]);
        assert_eq!(late.unwrap_err(), Refusal::Unavailable { code: Some(0x10) });
    }
}
