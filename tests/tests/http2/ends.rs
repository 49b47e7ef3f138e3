//! How connections over HTTP/2 are made, and how they end.

use std::time::Duration;

use futures_util::stream;
use rpc_http::HttpServer;
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{
    CallError, Client, ConnectError, ConnectionError, Execution, Identity, TransportSettings, Trust,
};
use tests::support::{ANY_PORT, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::script::{Script, ScriptListener, kind};
use crate::service::{Desk, KindsClient, KindsServer};
use crate::support::{Certified, Doors};

const SHUT_DOWN: u64 = 0x10;

fn is_shut_down(lost: &ConnectionError) -> bool {
    matches!(
        lost,
        ConnectionError::ClosedByPeer {
            code: SHUT_DOWN,
            ..
        }
    )
}

/// Connects a client that does not reconnect to a script. The script has received the offer to accept a stream.
async fn scripted() -> (Client, Script) {
    let listener = ScriptListener::bind().await;
    let connecting = Client::builder().reconnect(false).connect(listener.url());
    let (client, script) = tokio::join!(soon(connecting), async {
        let mut script = listener.accept_client().await;
        script.request().await;
        script
    });
    (client.unwrap(), script)
}

/// Makes a call that `answer` answers with frames on its stream, and returns the execution status and the reason of its
/// failure.
async fn failure(answer: impl AsyncFnOnce(&mut Script, u32)) -> (Execution, ConnectionError) {
    let (client, mut script) = scripted().await;
    let call = tokio::spawn(KindsClient::new(client).add(1, 2).into_future());
    let (stream, _) = script.call().await;
    answer(&mut script, stream).await;
    // The connection ends, so that the call ends however the frames are read.
    let watched = tokio::spawn(async move {
        soon(async { script.closed().await }).await;
    });
    let result = soon(call).await.unwrap();
    watched.abort();
    match result {
        Err(CallError::Connection {
            execution, reason, ..
        }) => (execution, reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn request_that_the_server_refuses_was_not_executed() {
    let refused = failure(async |script, stream| script.reset(stream, 7).await).await;
    assert_eq!(refused.0, Execution::NotExecuted);
    assert!(is_shut_down(&refused.1), "{}", refused.1);
    let expected = "the server did not process the request: REFUSED_STREAM";
    assert!(
        refused.1.to_string().ends_with(&format!("{expected})")),
        "{}",
        refused.1
    );
}

#[tokio::test]
async fn request_above_the_last_one_that_the_server_names_was_not_executed() {
    let above = failure(async |script, stream| script.go_away(stream - 2).await).await;
    assert_eq!(above.0, Execution::NotExecuted);
    assert!(is_shut_down(&above.1), "{}", above.1);
}

#[tokio::test]
async fn request_up_to_the_last_one_that_the_server_names_may_have_been_executed() {
    let listener = ScriptListener::bind().await;
    let connecting = Client::builder().reconnect(false).connect(listener.url());
    let (client, mut script) = tokio::join!(soon(connecting), listener.accept_client());
    let call = tokio::spawn(KindsClient::new(client.unwrap()).add(1, 2).into_future());
    let (stream, _) = script.call().await;
    script.go_away(stream).await;
    drop(script);
    let result = soon(call).await.unwrap();
    let is_uncertain = matches!(
        result,
        Err(CallError::Connection {
            execution: Execution::MayHaveExecuted,
            ..
        })
    );
    assert!(is_uncertain, "{result:?}");
}

#[tokio::test]
async fn client_without_calls_learns_of_goaway() {
    let (client, mut script) = scripted().await;
    script.go_away(3).await;
    script.head(3, 503, None).await;
    script.send(kind::DATA, 1, 3, &[]).await;
    drop(script);
    let lost = soon(client.closed()).await;
    assert!(is_shut_down(&lost), "{lost}");
}

#[tokio::test]
async fn code_of_a_reset_decides_whether_the_call_may_have_been_executed() {
    let cases = [
        (0x10, Execution::NotExecuted),
        (0x11, Execution::MayHaveExecuted),
        (0x14, Execution::MayHaveExecuted),
        (0x20, Execution::MayHaveExecuted),
        // INTERNAL_ERROR and CANCEL of HTTP/2, which proxies send.
        (2, Execution::MayHaveExecuted),
        (8, Execution::MayHaveExecuted),
    ];
    for (code, execution) in cases {
        let reset = failure(async |script, stream| script.reset(stream, code).await).await;
        assert_eq!(reset.0, execution, "{code:#x}: {}", reset.1);
    }
}

#[tokio::test]
async fn status_in_place_of_a_stream_ends_its_call_with_the_status() {
    let answer = async |script: &mut Script, stream| script.head(stream, 502, None).await;
    let (execution, reason) = failure(answer).await;
    assert_eq!(execution, Execution::MayHaveExecuted);
    assert_eq!(
        reason.to_string(),
        "the server answered with HTTP status 502"
    );
}

#[tokio::test]
async fn call_that_was_refused_is_made_again_on_the_next_connection() {
    let listener = ScriptListener::bind().await;
    let (client, mut script) = tokio::join!(
        soon(Client::builder().connect(listener.url())),
        listener.accept_client()
    );
    let call = tokio::spawn(KindsClient::new(client.unwrap()).add(1, 2).into_future());
    let (stream, _) = script.call().await;
    script.reset(stream, 7).await;
    let mut next = listener.accept_client().await;
    let (stream, request) = next.call().await;
    assert!(request.starts_with(br#"{"jsonrpc":"2.0","id":0,"method":"add""#));
    next.head(stream, 200, Some("application/x-ndjson")).await;
    let reply = b"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":3}\n";
    next.send(kind::DATA, 0, stream, reply).await;
    assert_eq!(soon(call).await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn server_that_answers_no_pings_is_detected_within_the_idle_timeout() {
    let listener = ScriptListener::bind().await;
    let settings = TransportSettings::default().idle_timeout(Duration::from_secs(1));
    let connecting = Client::builder()
        .reconnect(false)
        .transport(settings)
        .connect(listener.url());
    let (client, script) = tokio::join!(soon(connecting), listener.accept_client());
    let begin = tokio::time::Instant::now();
    assert_eq!(
        soon(client.unwrap().closed()).await,
        ConnectionError::TimedOut
    );
    assert!(begin.elapsed() < Duration::from_secs(10));
    drop(script);
}

#[tokio::test]
async fn offers_that_the_server_rejects_become_rare() {
    let (client, mut script) = scripted().await;
    let begin = tokio::time::Instant::now();
    script.head(3, 500, None).await;
    for _ in 0..3 {
        let offer = script.request().await;
        script.head(offer, 500, None).await;
        script.reset(offer, 0).await;
    }
    // 100, 200 and 400 ms.
    assert!(
        begin.elapsed() >= Duration::from_millis(690),
        "{:?}",
        begin.elapsed()
    );
    drop(client);
}

#[tokio::test]
async fn client_accepts_as_many_streams_of_the_server_as_its_setting_says() {
    let listener = ScriptListener::bind().await;
    let settings = TransportSettings::default().max_streams(16);
    let connecting = Client::builder()
        .reconnect(false)
        .transport(settings)
        .connect(listener.url());
    let (client, mut script) = tokio::join!(soon(connecting), listener.accept_client());
    let client = client.unwrap();
    let mut offers = Vec::new();
    for _ in 0..16 {
        let offer = script.request().await;
        script.head(offer, 200, Some("application/x-ndjson")).await;
        offers.push(offer);
    }
    // The next request is a call, and no offer.
    let call = tokio::spawn(KindsClient::new(client).add(1, 2).into_future());
    let request = script.request().await;
    assert_eq!(script.call().await.0, request);
    script.reset(offers[3], 8).await;
    script.request().await;
    call.abort();
}

#[tokio::test]
async fn status_in_place_of_the_first_reply_is_named_with_what_to_do() {
    let cases = [
        (
            301,
            "which sends the client elsewhere: use the address that it names",
        ),
        (403, "so it refuses this host or this client"),
        (
            404,
            "so nothing is served at this path: check the path of the URL",
        ),
        (415, "so what is served at this path is no JSON-RPC"),
        (
            503,
            "so it has no room for this client, is shutting down, or a proxy cannot reach it",
        ),
        (504, "so a proxy cannot reach the server"),
        (500, "which is no reply to a call"),
        (
            200,
            "and no JSON: what is served at this path is no JSON-RPC",
        ),
    ];
    for (status, hint) in cases {
        let listener = ScriptListener::bind().await;
        let answering = async {
            let mut script = listener.accept().await;
            let stream = script.request().await;
            script.head(stream, status, Some("text/html")).await;
            script.send(kind::DATA, 1, stream, b"<p>").await;
            script
        };
        let connecting = soon(Client::builder().connect(listener.url()));
        let (connected, _script) = tokio::join!(connecting, answering);
        let error = connected.unwrap_err();
        assert!(
            matches!(error, ConnectError::HttpStatus { .. }),
            "{error:?}"
        );
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("the server {} (", listener.url())),
            "{error}"
        );
        let end = format!(") answered with HTTP status {status}, {hint}");
        assert!(error.ends_with(&end), "{error}");
    }
}

#[tokio::test]
async fn server_that_speaks_only_http1_is_named() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut begin = [0; 24];
        stream.read_exact(&mut begin).await.unwrap();
        let answer = b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let connecting = soon(Client::builder().connect(url));
    let (connected, _stream) = tokio::join!(connecting, answering);
    assert!(
        matches!(connected, Err(ConnectError::NoHttp2 { .. })),
        "{connected:?}"
    );
}

#[tokio::test]
async fn path_that_the_server_does_not_serve_is_an_error_with_status_404() {
    let services = ServiceSet::from(KindsServer::new(Desk::default()));
    let service = rpc_http::HttpService::new(services).path("/rpc");
    let listener = HttpServer::new(service).bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.run());
    let connect = |path| Client::builder().connect(format!("http://{address}{path}"));
    soon(connect("/rpc")).await.unwrap();
    let connected = soon(connect("/")).await;
    assert!(
        matches!(connected, Err(ConnectError::HttpStatus { status: 404, .. })),
        "{connected:?}"
    );
}

#[tokio::test]
async fn server_whose_certificate_is_not_trusted_is_refused() {
    let doors = Doors::open(KindsServer::new(Desk::default())).await;
    let other = Certified::new();
    let connected = soon(Client::builder().trust(other.trust()).connect(doors.url())).await;
    assert!(
        matches!(connected, Err(ConnectError::Untrusted(_))),
        "{connected:?}"
    );
    let named = doors
        .client()
        .server_name("other.example")
        .connect(doors.url());
    let connected = soon(named).await;
    assert!(
        matches!(connected, Err(ConnectError::Untrusted(_))),
        "{connected:?}"
    );
}

#[tokio::test]
async fn certificate_of_the_client_is_required_and_verified_as_over_quic() {
    let (own, other) = (Certified::new(), Certified::new());
    let trust = Trust::certificate(own.identity.certificate());
    let desk = Desk::default();
    let doors = Doors::open_as(KindsServer::new(desk), |server| {
        server.require_client_certificate(trust)
    })
    .await;
    for url in [doors.url(), doors.quic.to_string()] {
        let connect = async |identity: Option<&Identity>| {
            let builder = doors.client();
            let builder = match identity {
                Some(identity) => builder.identity(identity.clone()),
                None => builder,
            };
            soon(builder.connect(url.as_str())).await
        };
        let connected = connect(None).await;
        assert!(
            matches!(connected, Err(ConnectError::CertificateRequired)),
            "{connected:?}"
        );
        let connected = connect(Some(&other.identity)).await;
        assert!(
            matches!(connected, Err(ConnectError::CertificateRefused { .. })),
            "{connected:?}"
        );
        let kinds = KindsClient::new(connect(Some(&own.identity)).await.unwrap());
        let seen = soon(kinds.certificate()).await.unwrap();
        assert_eq!(seen, Some(own.identity.certificate().sha256().to_vec()));
    }
}

#[tokio::test]
async fn idle_client_learns_that_the_server_has_shut_down() {
    let doors = Doors::open(KindsServer::new(Desk::default())).await;
    let clients = [
        doors.connect(&doors.url()).await,
        doors.connect(&doors.plain_url()).await,
    ];
    let handle = doors.handle.clone();
    let shutdown = tokio::spawn(async move { handle.shutdown(Duration::from_secs(20)).await });
    for client in clients {
        let lost = soon(client.closed()).await;
        assert!(is_shut_down(&lost), "{lost}");
    }
    soon(shutdown).await.unwrap();
}

#[tokio::test]
async fn shutdown_answers_calls_in_flight_and_executes_no_new_ones() {
    let desk = Desk::default();
    let doors = Doors::open(KindsServer::new(desk.clone())).await;
    let client = doors.connect(&doors.url()).await;
    let kinds = KindsClient::new(client.clone());
    assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
    let (send, numbers) = mpsc::unbounded_channel();
    let numbers = stream::unfold(numbers, async |mut numbers| {
        Some((numbers.recv().await?, numbers))
    });
    let sum = tokio::spawn(kinds.sum(numbers).into_future());
    send.send(19).unwrap();
    let mut running = desk.running.subscribe();
    soon(running.wait_for(|running| *running == 1))
        .await
        .unwrap();
    let handle = doors.handle.clone();
    let shutdown = tokio::spawn(async move { handle.shutdown(Duration::from_secs(20)).await });
    soon(doors.handle.draining()).await;
    let rejected = soon(kinds.add(1, 2)).await;
    match rejected {
        Err(CallError::Connection {
            execution, reason, ..
        }) => {
            assert_ne!(execution, Execution::MayHaveExecuted);
            assert!(is_shut_down(&reason), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    send.send(23).unwrap();
    drop(send);
    assert_eq!(soon(sum).await.unwrap().unwrap(), 42);
    soon(shutdown).await.unwrap();
    assert!(is_shut_down(&soon(client.closed()).await));
}

#[tokio::test]
async fn client_reconnects_to_a_server_that_was_restarted() {
    let serve = async |address: std::net::SocketAddr| {
        let services = ServiceSet::from(KindsServer::new(Desk::default()));
        let handle = services.handle();
        let listener = HttpServer::new(services).bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, handle, tokio::spawn(listener.run()))
    };
    let (address, handle, running) = serve(ANY_PORT.parse().unwrap()).await;
    let url = format!("http://{address}");
    let kinds = KindsClient::new(soon(Client::builder().connect(url)).await.unwrap());
    for _ in 0..2 {
        assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
    }
    soon(handle.shutdown(Duration::from_secs(20))).await;
    soon(running).await.unwrap();
    let (_, _handle, _running) = serve(address).await;
    assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn notification_arrives_although_the_client_is_closed_at_once() {
    let desk = Desk::default();
    let doors = Doors::open(KindsServer::new(desk.clone())).await;
    let client = doors.connect(&doors.url()).await;
    soon(KindsClient::new(client.clone()).note("last".into()))
        .await
        .unwrap();
    soon(client.close()).await;
    assert_eq!(*desk.notes.borrow(), ["last"]);
}

#[tokio::test]
async fn calls_go_to_each_of_several_urls_and_to_the_others_when_one_shuts_down() {
    let (desks, mut doors) = ([Desk::default(), Desk::default()], Vec::new());
    for desk in &desks {
        doors.push(Doors::open(KindsServer::new(desk.clone())).await);
    }
    let urls: Vec<_> = doors.iter().map(Doors::plain_url).collect();
    let client = soon(Client::builder().connect_many(urls)).await.unwrap();
    let kinds = KindsClient::new(client);
    let has_notes = |desk: &Desk| !desk.notes.borrow().is_empty();
    soon(async {
        while !desks.iter().all(has_notes) {
            kinds.note("one".into()).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(doors[0].handle.shutdown(Duration::from_secs(20))).await;
    for n in 0..20 {
        assert_eq!(soon(kinds.add(n, 1)).await.unwrap(), n + 1);
    }
}

#[tokio::test]
async fn connection_over_http2_cannot_move_to_another_socket() {
    let doors = Doors::open(KindsServer::new(Desk::default())).await;
    let client = doors.connect(&doors.url()).await;
    let moved = client.rebind().unwrap_err();
    assert_eq!(moved.kind(), std::io::ErrorKind::Unsupported);
}
