//! Tests with addresses on loopback, one of which does not answer.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

use super::*;
use crate::server::Server;
use crate::tls::Trust;

/// Starts a server whose certificate is for 127.0.0.1. Returns its address, and its certificate as a trust anchor.
fn serve() -> (SocketAddr, Trust) {
    let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity).bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run());
    (address, trust)
}

/// Opens a socket that answers nothing.
fn silent() -> (SocketAddr, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// Returns a dialer of a server at 127.0.0.1. The tests choose the ports.
fn dialer(trust: Trust) -> Dialer {
    Dialer {
        settings: DialSettings {
            trust: trust.into(),
            ..DialSettings::default()
        },
        address: (Ipv4Addr::LOCALHOST, 1).into(),
    }
}

/// Dials `candidates` until an attempt succeeds, all have failed, or `limit` has passed.
async fn dial(
    dialer: &Dialer,
    candidates: &[SocketAddr],
    limit: Duration,
) -> Result<SocketAddr, ConnectError> {
    let (mut failure, attempt) = (Failure::default(), ConnectAttempt::default());
    let dialed = dialer.connect_to_any(candidates.to_vec(), &mut failure, &attempt);
    match tokio::time::timeout(limit, dialed).await {
        Ok(Ok(Some(connection))) => Ok(connection.remote_address().unwrap()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(None)) => Err(failure.of_all()),
        Err(_) => Err(failure.of_some(&dialer.address)),
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn address_that_does_not_answer_does_not_prevent_a_connection_to_the_next() {
    let ((server, trust), (nothing, _socket)) = (serve(), silent());
    let start = Instant::now();
    let connected = dial(&dialer(trust), &[nothing, server], LONG).await;
    assert_eq!(connected.unwrap(), server);
    // The first attempt alone ends after the idle timeout of 15 s.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(250), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn address_of_another_family_that_cannot_be_reached_does_not_prevent_a_connection() {
    let (server, trust) = serve();
    let discarded: IpAddr = "100::1".parse().unwrap();
    let candidates = [(discarded, server.port()).into(), server];
    let connected = dial(&dialer(trust), &candidates, LONG).await;
    assert_eq!(connected.unwrap(), server);
}

#[tokio::test]
async fn error_of_a_server_that_answered_is_reported_instead_of_a_timeout() {
    let ((server, _), (_, other)) = (serve(), serve());
    let (nothing, _socket) = silent();
    let limit = Duration::from_millis(1_500);
    for candidates in [[server, nothing], [nothing, server]] {
        let failed = dial(&dialer(other.clone()), &candidates, limit).await;
        let error = failed.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted(_)), "{error:?}");
    }
}

#[tokio::test]
async fn addresses_that_do_not_answer_end_with_a_timeout() {
    let ((nothing, _socket), (_, trust)) = (silent(), serve());
    let limit = Duration::from_millis(400);
    let failed = dial(&dialer(trust), &[nothing, nothing], limit).await;
    let error = failed.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Timeout { server } if server.starts_with("127.0.0.1:")),
        "{error:?}"
    );
}

#[tokio::test]
async fn server_name_that_no_certificate_can_have_fails_without_further_attempts() {
    let ((nothing, _socket), (_, trust)) = (silent(), serve());
    let mut dialer = dialer(trust);
    dialer.settings.server_name = Some("no name".into());
    let failed = dial(&dialer, &[nothing, nothing], LONG).await;
    let error = failed.unwrap_err();
    assert!(matches!(error, ConnectError::ServerName), "{error:?}");
}

#[test]
fn most_informative_error_is_kept() {
    let untrusted = || ConnectError::Untrusted(UntrustedReason::UnknownIssuer);
    let refused = || ConnectError::Refused {
        server: "localhost:1".into(),
        reason: ConnectionError::Reset,
    };
    let mut failure = Failure::default();
    for error in [
        ConnectError::timeout(&"localhost:1"),
        refused(),
        untrusted(),
        refused(),
    ] {
        assert!(failure.add(error));
    }
    assert!(matches!(failure.of_all(), ConnectError::Untrusted(_)));
    assert!(matches!(
        Failure::default().of_all(),
        ConnectError::Resolve(_)
    ));
}
