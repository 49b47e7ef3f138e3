//! Certificates of servers and clients: trusted certificates, and the errors for all others.

use std::sync::Arc;

use rpc_runtime::tls::{Certificate, TlsError, UntrustedReason};
use rpc_runtime::{
    BindError, Client, ConnectError, Context, Identity, Server, ServerBuilder, Trust, rpc,
};
use tests::log::Log;
use tests::message::call_line;
use tests::peer::{RawClient, RawConnection, RawServer};
use tests::support::soon;

#[rpc]
trait Greeter {
    async fn greet(&self, name: &str) -> String;

    /// Returns the fingerprint and the names of the caller's certificate.
    async fn introduce(&self, cx: &Context) -> Vec<String>;
}

struct Hello;

impl Greeter for Hello {
    async fn greet(&self, name: &str) -> String {
        format!("Hello, {name}!")
    }

    async fn introduce(&self, cx: &Context) -> Vec<String> {
        let Some(certificate) = cx.peer_certificate() else {
            return Vec::new();
        };
        let names = certificate.dns_names().chain(certificate.uris());
        std::iter::once(format!("{certificate:?}"))
            .chain(names.map(str::to_owned))
            .collect()
    }
}

/// Starts a server with `identity` and returns its port.
fn serve(identity: Identity) -> u16 {
    run(Server::builder(identity))
}

fn run(builder: ServerBuilder) -> u16 {
    let server = builder
        .service(GreeterServer::new(Hello))
        .bind("127.0.0.1:0")
        .unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.run());
    port
}

async fn connect(trust: Trust, host: &str, port: u16) -> Result<Client, ConnectError> {
    soon(
        Client::builder()
            .trust(trust)
            .connect(format!("{host}:{port}")),
    )
    .await
}

async fn greets(client: Result<Client, ConnectError>) {
    let greeter = GreeterClient::new(client.unwrap());
    assert_eq!(soon(greeter.greet("Ada")).await.unwrap(), "Hello, Ada!");
}

fn refusal(client: Result<Client, ConnectError>) -> UntrustedReason {
    match client {
        Err(ConnectError::Untrusted(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

type Authority = rcgen::CertifiedIssuer<'static, rcgen::KeyPair>;

fn authority() -> Authority {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertifiedIssuer::self_signed(authority, key).unwrap()
}

fn trust(authority: &Authority) -> Trust {
    Trust::pem(authority.as_ref().pem().as_bytes()).unwrap()
}

fn sign(certificate: rcgen::CertificateParams, issuer: &Authority) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = certificate.signed_by(&key, issuer).unwrap();
    Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

fn named(name: &str) -> rcgen::CertificateParams {
    rcgen::CertificateParams::new([name.to_owned()]).unwrap()
}

/// Returns an authority, and an identity for `localhost` that it signed for these years.
fn signed(from: i32, to: i32) -> (Trust, Identity) {
    let authority = authority();
    let mut server = named("localhost");
    server.not_before = rcgen::date_time_ymd(from, 1, 1);
    server.not_after = rcgen::date_time_ymd(to, 1, 1);
    (trust(&authority), sign(server, &authority))
}

#[tokio::test]
async fn self_signed_server_is_trusted_by_certificate_pem_and_hash() {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let certificate = identity.certificate();
    let port = serve(identity);
    let pem = certificate.to_pem();
    for host in ["localhost", "127.0.0.1", "quic://127.0.0.1"] {
        greets(connect(Trust::certificate(certificate.clone()), host, port).await).await;
        greets(connect(Trust::pem(pem.as_bytes()).unwrap(), host, port).await).await;
        greets(connect(Trust::sha256(certificate.sha256()), host, port).await).await;
    }
}

#[tokio::test]
async fn server_signed_by_a_trusted_authority_is_trusted() {
    let (trust, identity) = signed(2020, 2120);
    greets(connect(trust, "localhost", serve(identity)).await).await;
}

#[tokio::test]
async fn certificate_for_another_name_is_rejected() {
    let identity = Identity::self_signed(["example.org"]).unwrap();
    let (by_certificate, by_hash) = (
        Trust::certificate(identity.certificate()),
        Trust::sha256(identity.certificate().sha256()),
    );
    let port = serve(identity);
    for trust in [by_certificate.clone(), by_hash] {
        let reason = refusal(connect(trust, "localhost", port).await);
        let text = reason.to_string();
        assert!(
            text.contains("is for example.org, and not for localhost"),
            "{text}"
        );
    }
    let builder = Client::builder()
        .trust(by_certificate)
        .server_name("example.org");
    greets(
        soon(builder.connect(("127.0.0.1:0".replace(":0", &format!(":{port}"))).as_str())).await,
    )
    .await;
}

#[tokio::test]
async fn expired_certificate_is_rejected() {
    let (trust, identity) = signed(2000, 2001);
    let reason = refusal(connect(trust, "localhost", serve(identity)).await);
    let text = reason.to_string();
    assert!(
        text.contains("expired on 2001-01-01 00:00:00 UTC"),
        "{text}"
    );
}

#[tokio::test]
async fn certificate_not_yet_valid_is_rejected() {
    let (trust, identity) = signed(2100, 2101);
    let reason = refusal(connect(trust, "localhost", serve(identity)).await);
    let text = reason.to_string();
    assert!(
        text.contains("not valid before 2100-01-01 00:00:00 UTC"),
        "{text}"
    );
}

#[tokio::test]
async fn certificate_of_an_untrusted_issuer_is_rejected() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let own = identity.certificate();
    let port = serve(identity);
    let other = Identity::self_signed(["localhost"]).unwrap().certificate();
    let reason = refusal(connect(Trust::certificate(other.clone()), "localhost", port).await);
    assert_eq!(reason, UntrustedReason::UnknownIssuer);
    let reason = refusal(connect(Trust::sha256(other.sha256()), "localhost", port).await);
    let text = reason.to_string();
    assert!(text.contains(&format!("but {own:?}; ")), "{text}");
    let (authority, _) = signed(2020, 2120);
    let reason = refusal(connect(authority, "localhost", port).await);
    assert_eq!(reason, UntrustedReason::UnknownIssuer);
}

#[tokio::test]
async fn trusted_certificate_that_is_no_authority_cannot_sign_others() {
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertifiedIssuer::self_signed(named("localhost"), key).unwrap();
    let forged = sign(named("localhost"), &own);
    let port = serve(forged.clone());
    let reason = refusal(connect(trust(&own), "localhost", port).await);
    assert_eq!(reason, UntrustedReason::UnknownIssuer);
    let either = trust(&own).or(trust(&authority()));
    let reason = refusal(connect(either, "localhost", port).await);
    assert_eq!(reason, UntrustedReason::UnknownIssuer);

    let (port, client) = asking(|builder| builder.require_client_certificate(trust(&own)));
    assert_eq!(alert(client.identity(forged), port).await, 48);
}

/// Returns the settings of an authority that is also the certificate of a server, as OpenSSL makes them.
fn authority_named(name: &str) -> rcgen::CertificateParams {
    let mut authority = named(name);
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority
}

fn self_signed(certificate: &rcgen::CertificateParams) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

/// Returns the ways to trust one certificate.
fn ways(certificate: &Certificate) -> [Trust; 3] {
    [
        Trust::certificate(certificate.clone()),
        Trust::pem(certificate.to_pem().as_bytes()).unwrap(),
        Trust::sha256(certificate.sha256()),
    ]
}

#[tokio::test]
async fn authority_as_the_servers_own_certificate_is_trusted_where_it_is_listed_or_pinned() {
    let identity = self_signed(&authority_named("localhost"));
    let certificate = identity.certificate();
    let port = serve(identity);
    for trust in ways(&certificate) {
        greets(connect(trust.clone(), "localhost", port).await).await;
        let beside_others = trust.or(self::trust(&authority()));
        greets(connect(beside_others, "localhost", port).await).await;
    }
}

#[tokio::test]
async fn authority_as_the_servers_own_certificate_is_rejected_where_it_is_not_trusted_as_itself() {
    let port = serve(self_signed(&authority_named("localhost")));
    let other = self_signed(&authority_named("localhost")).certificate();
    let [listed, _, pinned] = ways(&other);
    let reason = refusal(connect(pinned, "localhost", port).await);
    assert!(
        matches!(reason, UntrustedReason::NotPinned { .. }),
        "{reason:?}"
    );
    let reason = refusal(connect(listed, "localhost", port).await);
    assert_eq!(reason, UntrustedReason::Authority);
    let said = reason.to_string();
    assert!(said.contains("trust exactly this certificate"), "{said}");
}

#[tokio::test]
async fn name_period_and_purpose_of_a_certificate_trusted_as_itself_are_checked() {
    for params in [named("localhost"), authority_named("localhost")] {
        let mut expired = params.clone();
        expired.not_before = rcgen::date_time_ymd(2000, 1, 1);
        expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let mut early = params.clone();
        early.not_before = rcgen::date_time_ymd(2100, 1, 1);
        early.not_after = rcgen::date_time_ymd(2101, 1, 1);
        let mut of_clients = params.clone();
        of_clients.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let mut elsewhere = params.clone();
        elsewhere.subject_alt_names = named("example.org").subject_alt_names;
        let mut nameless = params;
        nameless.subject_alt_names = Vec::new();
        let cases = [
            (expired, "Expired"),
            (early, "NotYetValid"),
            (of_clients, "WrongPurpose"),
            (elsewhere, "WrongName"),
            (nameless, "NoNames"),
        ];
        for (params, expected) in cases {
            let identity = self_signed(&params);
            let certificate = identity.certificate();
            let port = serve(identity);
            for trust in ways(&certificate) {
                let reason = refusal(connect(trust, "localhost", port).await);
                let reason = format!("{reason:?}");
                assert!(reason.starts_with(expected), "{params:?}: {reason}");
            }
        }
    }
}

#[tokio::test]
async fn certificate_of_an_unknown_authority_is_trusted_where_it_is_listed_or_pinned() {
    let (_, identity) = signed(2020, 2120);
    let (certificate, port) = (identity.certificate(), serve(identity));
    for trust in ways(&certificate) {
        greets(connect(trust, "localhost", port).await).await;
    }
}

#[tokio::test]
async fn pinned_authority_cannot_sign_others() {
    let authority = authority();
    let port = serve(sign(named("localhost"), &authority));
    greets(connect(trust(&authority), "localhost", port).await).await;
    let own = Identity::from_pem(
        authority.as_ref().pem().as_bytes(),
        authority.key().serialize_pem().as_bytes(),
    );
    let pinned = Trust::sha256(own.unwrap().certificate().sha256());
    let reason = refusal(connect(pinned, "localhost", port).await);
    assert!(
        matches!(reason, UntrustedReason::NotPinned { .. }),
        "{reason:?}"
    );
}

#[tokio::test]
async fn server_without_the_key_of_a_pinned_certificate_is_rejected() {
    let pinned = self_signed(&authority_named("localhost")).certificate();
    let key = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let key = rustls::sign::CertifiedKey::new(vec![pinned.der().to_vec().into()], key);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    tls.alpn_protocols = vec![b"jsonrpc/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let server = quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            assert!(incoming.await.is_err(), "the client accepted the signature");
        }
    });
    for trust in ways(&pinned) {
        let refused = connect(trust, "localhost", port).await;
        assert!(
            matches!(refused, Err(ConnectError::Refused { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn expired_authority_is_trusted() {
    for (from, to) in [(2000, 2001), (2020, 2120), (2100, 2101)] {
        let mut old = rcgen::CertificateParams::default();
        old.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        old.not_before = rcgen::date_time_ymd(from, 1, 1);
        old.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(old, key).unwrap();
        let port = serve(sign(named("localhost"), &authority));
        greets(connect(trust(&authority), "localhost", port).await).await;
    }
}

#[tokio::test]
async fn server_with_one_of_several_trusted_certificates_is_trusted() {
    let [old, new, other] = std::array::from_fn(|_| Identity::self_signed(["localhost"]).unwrap());
    let both = Trust::certificate(old.certificate()).or(Trust::sha256(new.certificate().sha256()));
    for server in [old, new] {
        greets(connect(both.clone(), "localhost", serve(server)).await).await;
    }
    let reason = refusal(connect(both, "localhost", serve(other)).await);
    assert_eq!(reason, UntrustedReason::UnknownIssuer);
}

#[tokio::test]
async fn self_signed_server_is_rejected_by_the_system_roots() {
    let port = serve(Identity::self_signed(["localhost"]).unwrap());
    match connect(Trust::system(), "localhost", port).await {
        Err(ConnectError::Untrusted(UntrustedReason::UnknownIssuer)) => {}
        // A machine without root certificates reports that.
        Err(ConnectError::Trust(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn server_of_another_protocol_is_rejected() {
    let server = RawServer::with("h3", quinn::TransportConfig::default());
    let accepting = tokio::spawn({
        let server = server.clone();
        async move { server.endpoint.accept().await.unwrap().await }
    });
    let refused = soon(server.client().connect(server.address())).await;
    assert!(soon(accepting).await.unwrap().is_err());
    assert!(
        matches!(refused, Err(ConnectError::Protocol { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn connect_to_a_silent_address_times_out() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let trust = Trust::certificate(Identity::self_signed(["localhost"]).unwrap().certificate());
    let builder = Client::builder()
        .trust(trust)
        .connect_timeout(std::time::Duration::from_millis(50));
    let refused = soon(builder.connect(silent.local_addr().unwrap())).await;
    assert!(
        matches!(refused, Err(ConnectError::Timeout { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn invalid_address_is_an_error() {
    for address in [
        "",
        "localhost",
        "localhost:http",
        ":1",
        "ftp://localhost:1",
        "a b:1",
        "::1:1",
    ] {
        let refused = Client::builder().connect(address).await;
        assert!(
            matches!(refused, Err(ConnectError::Address(_))),
            "{address}: {refused:?}"
        );
    }
}

#[test]
fn invalid_pem_is_an_error() {
    assert!(Trust::pem(b"nothing").is_err());
    assert!(matches!(
        Identity::from_pem(b"", b""),
        Err(TlsError::Certificate { .. })
    ));
    let absent = Identity::from_pem_files("absent.pem", "absent.key").unwrap_err();
    let absent = absent.to_string();
    assert!(absent.starts_with("cannot read absent.pem: "), "{absent}");
    assert!(absent.contains("(os error 2)"), "{absent}");
    assert!(matches!(
        Identity::self_signed(["not a näme"]),
        Err(TlsError::Names(_))
    ));
}

#[test]
fn key_of_another_certificate_is_an_error() {
    let pem = |signed: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        (signed.cert.pem(), signed.signing_key.serialize_pem())
    };
    let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let refused = Identity::from_pem(pem(&one).0.as_bytes(), pem(&other).1.as_bytes());
    assert!(
        matches!(refused, Err(TlsError::KeyPair { .. })),
        "{refused:?}"
    );
}

#[test]
fn bind_outside_a_runtime_is_an_error() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let refused = Server::builder(identity)
        .service(GreeterServer::new(Hello))
        .bind("127.0.0.1:0");
    assert!(matches!(refused, Err(BindError::NoRuntime)), "{refused:?}");
}

#[tokio::test]
async fn debug_output_of_an_identity_hides_its_private_key() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let shown = format!("{identity:?}");
    assert!(
        shown.starts_with("Identity { certificate: sha256:"),
        "{shown}"
    );
    assert!(!shown.contains("key"), "{shown}");
}

/// Returns a raw client of the server at `port`.
fn raw_client(certificate: &Certificate, port: u16) -> RawClient {
    RawClient::to(([127, 0, 0, 1], port).into(), certificate.der())
}

/// Makes a call. The session tickets that the server sent before the response have arrived, too.
async fn ping(connection: &RawConnection) {
    let replies = connection.exchange(call_line(1, "rpc.ping", "[]")).await;
    assert_eq!(replies.len(), 1);
}

#[tokio::test]
async fn resumed_client_cannot_send_early_data() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let certificate = identity.certificate();
    let port = serve(identity);
    // The client sends early data if a ticket of the server allows it.
    let client = raw_client(&certificate, port).tls(|tls| tls.enable_early_data = true);
    for _ in 0..2 {
        let connection = match client.connecting(&client.endpoint()).into_0rtt() {
            Ok(_) => panic!("a ticket allowed early data"),
            Err(connecting) => RawConnection(soon(connecting).await.unwrap()),
        };
        ping(&connection).await;
    }
}

/// Starts a server that requests client certificates, and returns its port and a client that trusts it.
fn asking(ask: impl FnOnce(ServerBuilder) -> ServerBuilder) -> (u16, rpc_runtime::ClientBuilder) {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let client = Client::builder().trust(Trust::certificate(identity.certificate()));
    (run(ask(Server::builder(identity))), client)
}

async fn introduced(client: rpc_runtime::ClientBuilder, port: u16) -> Vec<String> {
    let client = soon(client.connect(format!("localhost:{port}")))
        .await
        .unwrap();
    soon(GreeterClient::new(client).introduce()).await.unwrap()
}

/// Returns the TLS alert that rejects the certificate of the client.
async fn alert(client: rpc_runtime::ClientBuilder, port: u16) -> u8 {
    match soon(client.connect(format!("localhost:{port}"))).await {
        Err(ConnectError::CertificateRefused { alert }) => alert,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn client_certificate_is_passed_to_the_handler() {
    let ada = Identity::self_signed(["ada"]).unwrap();
    let name = [format!("{:?}", ada.certificate()), "ada".to_owned()];
    let trusts = [
        Trust::certificate(ada.certificate()),
        Trust::sha256(ada.certificate().sha256()),
        Trust::pem(ada.certificate().to_pem().as_bytes()).unwrap(),
    ];
    for trust in trusts {
        let (port, client) = asking(|server| server.require_client_certificate(trust.clone()));
        assert_eq!(introduced(client.identity(ada.clone()), port).await, name);
        let (port, client) = asking(|server| server.request_client_certificate(trust));
        assert_eq!(introduced(client.identity(ada.clone()), port).await, name);
    }
}

#[tokio::test]
async fn names_of_a_signed_client_certificate_are_passed_to_the_handler() {
    let authority = authority();
    let mut billing = named("billing.example.org");
    let id = "spiffe://example.org/billing".try_into().unwrap();
    billing.subject_alt_names.push(rcgen::SanType::URI(id));
    let billing = sign(billing, &authority);
    let (port, client) = asking(|server| server.require_client_certificate(trust(&authority)));
    assert_eq!(
        introduced(client.identity(billing), port).await[1..],
        ["billing.example.org", "spiffe://example.org/billing"]
    );
}

#[tokio::test]
async fn client_without_a_required_certificate_gets_an_error_that_says_how_to_set_one() {
    let ada = Identity::self_signed(["ada"]).unwrap().certificate();
    let (port, client) =
        asking(|server| server.require_client_certificate(Trust::certificate(ada)));
    let refused = soon(client.connect(format!("localhost:{port}")))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ConnectError::CertificateRequired),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("give it an `identity`"),
        "{refused}"
    );
}

#[tokio::test]
async fn client_with_a_wrong_certificate_gets_the_reason() {
    let ada = Identity::self_signed(["ada"]).unwrap();
    let eve = Identity::self_signed(["ada"]).unwrap();
    for ask in [
        ServerBuilder::require_client_certificate,
        ServerBuilder::request_client_certificate,
    ] {
        let (port, client) = asking(|server| ask(server, Trust::certificate(ada.certificate())));
        assert_eq!(alert(client.identity(eve.clone()), port).await, 48);
        let (port, client) =
            asking(|server| ask(server, Trust::sha256(ada.certificate().sha256())));
        assert_eq!(alert(client.identity(eve.clone()), port).await, 49);
    }

    let (authority, expired) = signed(2000, 2001);
    let (port, client) = asking(|server| server.require_client_certificate(authority));
    assert_eq!(alert(client.identity(expired), port).await, 45);

    let issuer = self::authority();
    let mut server_only = named("ada");
    server_only.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let (port, client) = asking(|server| server.require_client_certificate(trust(&issuer)));
    let client = client.identity(sign(server_only, &issuer));
    assert_eq!(alert(client.clone(), port).await, 43);
    let refused = soon(client.connect(format!("localhost:{port}")))
        .await
        .unwrap_err();
    let why = "the server does not accept this client's certificate: it is not made for client authentication";
    assert_eq!(refused.to_string(), why);
}

#[tokio::test]
async fn authority_as_the_clients_own_certificate_is_accepted_within_its_period_and_purpose() {
    let valid = authority_named("ada");
    let mut expired = valid.clone();
    expired.not_before = rcgen::date_time_ymd(2000, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut of_servers = valid.clone();
    of_servers.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];

    let ada = self_signed(&valid);
    for trust in ways(&ada.certificate()) {
        let (port, client) = asking(|server| server.require_client_certificate(trust));
        let shown = introduced(client.identity(ada.clone()), port).await;
        assert_eq!(shown[1..], ["ada"]);
    }
    for (params, code) in [(expired, 45), (of_servers, 43)] {
        let ada = self_signed(&params);
        for trust in ways(&ada.certificate()) {
            let (port, client) = asking(|server| server.require_client_certificate(trust));
            assert_eq!(alert(client.identity(ada.clone()), port).await, code);
        }
    }
}

#[tokio::test]
async fn client_without_a_certificate_is_accepted_where_none_is_required() {
    let ada = Identity::self_signed(["ada"]).unwrap();
    let trust = Trust::certificate(ada.certificate());
    let (port, client) = asking(|server| server.request_client_certificate(trust));
    assert!(introduced(client, port).await.is_empty());
    let (port, client) = asking(|server| server);
    assert!(introduced(client.identity(ada), port).await.is_empty());
}

#[tokio::test]
async fn invalid_certificate_as_client_trust_is_an_error() {
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let trust = Trust::pem(garbage.as_bytes()).unwrap();
    let server = Server::builder(Identity::self_signed(["localhost"]).unwrap());
    let refused = server.require_client_certificate(trust).bind("127.0.0.1:0");
    assert!(matches!(refused, Err(BindError::Trust(_))), "{refused:?}");
}

#[tokio::test]
async fn rejected_client_has_no_call_executed() {
    use std::sync::atomic::{AtomicU32, Ordering};

    #[rpc]
    trait Counter {
        async fn count(&self) -> u32;
    }
    struct Calls(AtomicU32);
    impl Counter for Calls {
        async fn count(&self) -> u32 {
            self.0.fetch_add(1, Ordering::SeqCst) + 1
        }
    }

    let server = Identity::self_signed(["localhost"]).unwrap();
    let ada = Identity::self_signed(["ada"]).unwrap();
    let (known, certificate) = (Trust::certificate(ada.certificate()), server.certificate());
    let server = Server::builder(server)
        .service(CounterServer::new(Calls(AtomicU32::new(0))))
        .require_client_certificate(known)
        .bind("127.0.0.1:0")
        .unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.run());

    // This client sends before it knows whether its certificate is accepted.
    let connection = raw_client(&certificate, port).dial().await;
    let mut stream = connection.send(call_line(1, "count", "[]")).await;
    stream.finish();
    assert!(stream.read_line().await.is_err());

    let client = Client::builder()
        .trust(Trust::certificate(certificate))
        .identity(ada);
    let client = soon(client.connect(format!("localhost:{port}")))
        .await
        .unwrap();
    assert_eq!(soon(CounterClient::new(client).count()).await.unwrap(), 1);
}

#[tokio::test]
async fn replaced_server_certificate_is_used_for_new_connections() {
    let [old, new] = std::array::from_fn(|_| Identity::self_signed(["localhost"]).unwrap());
    let (old_only, new_only) = (
        Trust::certificate(old.certificate()),
        Trust::certificate(new.certificate()),
    );
    let server = Server::builder(old)
        .service(GreeterServer::new(Hello))
        .bind("127.0.0.1:0")
        .unwrap();
    let port = server.local_addr().unwrap().port();
    let handle = server.handle();
    tokio::spawn(server.run());

    let before = connect(old_only.clone(), "localhost", port).await.unwrap();
    handle.set_identity(new);
    greets(connect(new_only, "localhost", port).await).await;
    let reason = refusal(connect(old_only, "localhost", port).await);
    assert_eq!(reason, UntrustedReason::UnknownIssuer);
    greets(Ok(before)).await;
}

#[tokio::test]
async fn server_that_requests_certificates_issues_no_session_tickets() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let ada = Trust::certificate(Identity::self_signed(["ada"]).unwrap().certificate());
    let plain = Server::builder(identity.clone());
    let asking = Server::builder(identity.clone()).request_client_certificate(ada);
    for (server, resumes) in [(plain, true), (asking, false)] {
        let tickets = std::sync::Arc::new(rustls::client::ClientSessionMemoryCache::new(8));
        let store = rustls::client::Resumption::store(tickets.clone());
        let client = raw_client(&identity.certificate(), run(server));
        let client = client.tls(|tls| tls.resumption = store);
        ping(&client.dial().await).await;
        let name = "localhost".try_into().unwrap();
        let ticket = rustls::client::ClientSessionStore::take_tls13_ticket(&*tickets, &name);
        assert_eq!(ticket.is_some(), resumes);
    }
}

#[tokio::test]
async fn faults_of_a_servers_own_certificate_are_returned_and_logged() {
    let mut expired = authority_named("localhost");
    expired.not_before = rcgen::date_time_ymd(2000, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut nameless = named("localhost");
    nameless.subject_alt_names = Vec::new();
    nameless.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let cases = [
        (named("127.0.0.1"), vec![]),
        (
            expired,
            vec!["expired on 2001-01-01", "that of an authority"],
        ),
        (
            nameless,
            vec!["not made for servers", "no subject alternative names"],
        ),
    ];
    for (params, expected) in cases {
        let log = Log::default();
        let _recording = log.record();
        let identity = self_signed(&params);
        let faults = identity.server_faults();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, expected) in faults.iter().zip(&expected) {
            assert!(fault.to_string().contains(expected), "{fault}");
        }
        let sound = Identity::self_signed(["localhost"]).unwrap();
        let server = Server::builder(identity.clone())
            .bind("127.0.0.1:0")
            .unwrap();
        let logged = |log: &Log| {
            let certificate = format!("{:?}", identity.certificate());
            let all = expected.iter().all(|reason| log.has(reason));
            log.has("WARN") && log.has("certificate has a fault") && log.has(&certificate) && all
        };
        assert_eq!(logged(&log), !expected.is_empty());

        let server_of_another = Server::builder(sound).bind("127.0.0.1:0").unwrap();
        let log = Log::default();
        let _recording = log.record();
        server_of_another.handle().set_identity(identity.clone());
        assert_eq!(logged(&log), !expected.is_empty());
        drop(server);
    }
}
