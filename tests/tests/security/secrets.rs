//! The `Debug` output of public types shows no private key and no value of metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpc_discovery::{Dns, Found, Srv};
use rpc_runtime::broadcast::Lagged;
use rpc_runtime::description::{Described, OpenRpc};
use rpc_runtime::gateway::{CallDefaults, GatewayPeer};
use rpc_runtime::middleware::{
    Attempt, ClientMiddleware, ClientNext, ClientRequest, ClientResponse, Layered, Middleware,
    Next, RequestInfo, Response,
};
use rpc_runtime::testing::Link;
use rpc_runtime::tls::{TlsError, UntrustedReason};
use rpc_runtime::{
    Address, Batch, Broadcast, CallError, Client, ClientSocket, CongestionController, ConnectError,
    Context, ErrorObject, Escaped, Extensions, Health, Identity, Limits, MetadataError, Outcome,
    RawService, Server, Service, Shutdown, TransportSettings, Trust, rpc,
};
use tests::support::{ANY_PORT, soon};

/// A value of metadata, such as a bearer token.
const TOKEN: &str = "hunter2-in-the-metadata";

/// An argument, such as a password.
const PASSWORD: &str = "hunter2-in-the-arguments";

#[rpc]
trait Vault {
    async fn open(&self, cx: &Context, password: &str) -> bool;
    fn count(&self) -> impl futures_util::Stream<Item = u32>;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

/// The `Debug` output of each type, by its name.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Shown {
    fn add(&self, name: &'static str, value: &dyn Debug) {
        let mut shown = self.0.lock().unwrap();
        let text = shown.entry(name).or_default();
        text.push_str(&format!("{value:?}\n{value:#?}\n"));
    }
}

/// Handlers and a middleware that record the `Debug` output of their arguments.
#[derive(Clone)]
struct Guard(Shown);

impl Vault for Guard {
    async fn open(&self, cx: &Context, password: &str) -> bool {
        assert_eq!(cx.meta("authorization"), Some(TOKEN));
        assert_eq!(password, PASSWORD);
        cx.extensions().insert(TOKEN.to_owned());
        cx.connection_extensions().insert(TOKEN.to_owned());
        cx.set_response_meta("session", TOKEN).unwrap();
        self.0.add("Context", cx);
        self.0.add("Context", &cx.clone());
        self.0.add("Extensions", cx.extensions());
        self.0.add("Extensions", cx.connection_extensions());
        self.0.add("Cancellation", &cx.cancellation());
        true
    }

    fn count(&self) -> impl futures_util::Stream<Item = u32> {
        stream::iter(0..3)
    }

    async fn note(&self, _: &str) {}
}

impl Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Middleware for Guard {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        self.0.add("RequestInfo", &call);
        self.0.add("Next", &next);
        let answer = next.run().await;
        self.0.add("Response", &answer);
        answer
    }
}

impl ClientMiddleware for Guard {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        self.0.add("ClientRequest", request);
        self.0.add("ClientNext", &next);
        let response = next.run(request).await;
        self.0.add("ClientResponse", &response);
        self.0.add("ClientOutcome", &response.outcome());
        response
    }

    fn attempt_ended(&self, _: &ClientRequest, attempt: &Attempt) {
        self.0.add("Attempt", attempt);
    }
}

/// A certificate and its key in PEM, and how parts of the key could be shown.
fn identity() -> (Identity, Vec<String>) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = signed.signing_key.serialize_der();
    let pem = signed.signing_key.serialize_pem();
    // In the DER, the tag of an octet string of 32 bytes stands before the private key.
    let start = der.windows(2).position(|tag| tag == [4, 32]).unwrap() + 2;
    let part = &der[start..start + 12];
    let decimal: Vec<_> = part.iter().map(u8::to_string).collect();
    let hexadecimal: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let secrets = vec![
        decimal.join(", "),
        decimal.join(",\n"),
        hexadecimal.to_uppercase(),
        hexadecimal,
        pem.lines().nth(1).unwrap().to_owned(),
    ];
    let identity = Identity::from_pem(signed.cert.pem().as_bytes(), pem.as_bytes());
    (identity.unwrap(), secrets)
}

/// Shows a server and its handle, settings, and both ends of calls with secrets.
async fn show_calls(shown: &Shown, identity: Identity) {
    let trust = Trust::certificate(identity.certificate()).or(Trust::sha256([7; 32]));
    let service = Layered::new(Guard(shown.clone()), VaultServer::new(Guard(shown.clone())));
    shown.add("Layered", &service);
    let builder = Server::builder(identity.clone()).request_client_certificate(trust.clone());
    shown.add("ServerBuilder", &builder);
    let server = builder.service(service).bind(ANY_PORT).unwrap();
    let (port, handle) = (server.local_addr().unwrap().port(), server.handle());
    shown.add("Server", &server);
    tokio::spawn(server.run());

    shown.add("Trust", &trust);
    shown.add("Certificate", &identity.certificate());
    let builder = Client::builder()
        .trust(trust)
        .identity(identity.clone())
        .reconnect(false)
        .metadata(|add| add("authorization", TOKEN))
        .middleware(Guard(shown.clone()));
    shown.add("ClientBuilder", &builder);
    let client = soon(builder.connect(format!("localhost:{port}"))).await;
    let client = client.unwrap();
    shown.add("Client", &client);
    shown.add("ConnectionState", &client.state());
    shown.add("StateWatch", &client.watch_state());

    let vault = VaultClient::new(client.clone());
    let call = vault.open(PASSWORD).meta("user", TOKEN);
    shown.add("Call", &call);
    let call = call.with_response_metadata();
    shown.add("CallWithMetadata", &call);
    let (opened, metadata) = soon(call).await;
    assert!(opened.unwrap());
    assert_eq!(metadata.get("session"), Some(TOKEN));
    shown.add("ResponseMetadata", &metadata);
    let note = vault.note(PASSWORD).meta("user", TOKEN);
    shown.add("Notification", &note);
    soon(note).await.unwrap();
    let mut items = vault.count().meta("user", TOKEN);
    shown.add("Streaming", &items);
    assert!(soon(items.next()).await.is_some());
    shown.add("Streaming", &items);

    let mut batch: Batch = client.batch();
    let entry = batch.call(vault.open(PASSWORD).meta("user", TOKEN));
    shown.add("Batch", &batch);
    shown.add("BatchEntry", &entry);
    let mut replies = soon(batch.send()).await.unwrap();
    shown.add("BatchResponse", &replies);
    assert!(replies.take(entry).unwrap());

    handle.set_identity(identity);
    shown.add("ServerHandle", &handle);
    handle.shutdown(Duration::ZERO).await;
    let lost = soon(client.call::<u32, _>("open", &()).no_retry()).await;
    let Err(CallError::Connection {
        execution, reason, ..
    }) = lost
    else {
        panic!("{lost:?}");
    };
    shown.add("Execution", &execution);
    shown.add("ConnectionError", &reason);
    shown.add("CallError", &CallError::<ErrorObject>::Timeout);
}

/// Shows the errors for keys that cannot be read.
fn show_errors(shown: &Shown, secrets: &[String]) {
    // The longest line of a PEM file contains a part of the key.
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}*\n-----END", secrets[4]);
    let (identity, _) = identity();
    let certificate = identity.certificate().to_pem();
    let unreadable = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err();
    shown.add("TlsError", &unreadable);
    let absent = Identity::from_pem(certificate.as_bytes(), b"").unwrap_err();
    assert!(matches!(absent, TlsError::PrivateKey { .. }), "{absent:?}");
    shown.add("TlsError", &absent);
    let no_certificate =
        Trust::pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let server = Server::builder(identity).require_client_certificate(no_certificate.unwrap());
    let unusable = server.bind(ANY_PORT).unwrap_err();
    shown.add("BindError", &unusable);
    let rpc_runtime::BindError::Trust(unusable) = unusable else {
        panic!("{unusable:?}");
    };
    shown.add("TlsError", &unusable);
    shown.add("UntrustedReason", &UntrustedReason::UnknownIssuer);
    shown.add(
        "ConnectError",
        &ConnectError::Untrusted(UntrustedReason::UnknownIssuer),
    );
    let no_port = Address::try_from("localhost").unwrap_err();
    shown.add("AddressError", &no_port);
    shown.add("ErrorObject", &ErrorObject::new(7, "no"));
    shown.add("MetadataError", &MetadataError::TooLarge);
}

/// Shows the types that hold no secrets.
async fn show_others(shown: &Shown) {
    let feed = Broadcast::<u32>::new();
    shown.add("Subscription", &feed.subscribe_waiting(1));
    let mut lagging = feed.subscribe_or_end::<Lagged>(1);
    feed.send(1).await;
    feed.send(2).await;
    assert!(lagging.next().await.unwrap().is_ok());
    shown.add("Lagged", &lagging.next().await.unwrap().unwrap_err());
    shown.add("Broadcast", &feed);
    let (_client, endpoints) = Client::builder()
        .metadata(|add| add("authorization", TOKEN))
        .balanced()
        .unwrap();
    let address = Address::try_from("localhost:1").unwrap();
    endpoints.insert(address.clone());
    shown.add("Endpoint", &endpoints.list()[0]);
    shown.add("Endpoints", &endpoints);
    shown.add("Address", &address);
    shown.add(
        "RawService",
        &RawService::new(VaultServer::new(Guard(shown.clone()))),
    );
    shown.add("Extensions", &Extensions::default());
    shown.add("Limits", &Limits::default());
    shown.add("Outcome", &Outcome::Panicked);
    shown.add("Health", &Health::NotServing);
    shown.add("Link", &Link::new());
    let settings = TransportSettings::default();
    shown.add("CongestionController", &CongestionController::Bbr);
    let socket = ClientSocket::bind(ANY_PORT, &settings).unwrap();
    shown.add("ClientSocket", &socket);
    let wrong = settings.clone().idle_timeout(Duration::ZERO);
    let wrong = Server::builder(identity().0)
        .transport(wrong)
        .bind(ANY_PORT);
    let Err(rpc_runtime::BindError::Transport(wrong)) = wrong else {
        panic!("{wrong:?}");
    };
    shown.add("TransportSettingsError", &wrong);
    shown.add("TransportSettings", &settings);
    shown.add("Escaped", &Escaped("text"));
    shown.add("OpenRpc", &OpenRpc::of::<VaultClient>());
    let description = VaultClient::DESCRIPTION;
    let method = description.methods[0];
    shown.add("ServiceDescription", description);
    shown.add("MethodDescription", &method);
    shown.add("MethodKind", &method.kind);
    shown.add("ParameterDescription", &method.parameters[0]);
    shown.add("ErrorDescription", &method.errors);
    shown.add("Dns", &Dns::new("localhost:1").unwrap());
    shown.add("Found", &Found::all(vec![address]));
    shown.add("Srv", &Srv::new("_rpc._udp.example.org").unwrap());
}

/// Shows the types for transports of other crates.
async fn show_gateway(shown: &Shown) {
    let (identity, _) = identity();
    let certificate = identity.certificate();
    let services = Server::builder(identity).service(VaultServer::new(Guard(shown.clone())));
    let services = services.build().unwrap();
    shown.add("ServiceSet", &services);
    shown.add("TlsOverTcp", &services.tls().unwrap());
    let address = ANY_PORT.parse().unwrap();
    shown.add("ConnectionTicket", &services.admit(address).unwrap());
    let peer = GatewayPeer::default().address(address);
    let peer = peer.certificate(certificate.der());
    shown.add("GatewayPeer", &peer);
    let mut defaults = CallDefaults::default();
    defaults.set_meta("authorization", TOKEN).unwrap();
    shown.add("CallDefaults", &defaults);
    let connection = services.connect(peer);
    shown.add("GatewayConnection", &connection);
    let defaults = Some(Arc::new(defaults));
    let mut call = connection.call(defaults.clone());
    call.push(PASSWORD.as_bytes());
    shown.add("GatewayCall", &call);
    let (mut send, mut recv) = connection.open_stream(defaults).unwrap();
    send.send(PASSWORD.to_owned().into());
    shown.add("GatewaySend", &send);
    shown.add("GatewayRecv", &recv);
    drop(send);
    let ended = std::future::poll_fn(|cx| recv.poll_recv(cx)).await;
    shown.add("StreamError", &ended.unwrap().unwrap_err());
    services.handle().shutdown(Duration::ZERO).await;
    shown.add("ConnectionRefused", &services.admit(address).unwrap_err());
    shown.add("Shutdown", &Shutdown::within(Duration::ZERO));
    let builder = Client::builder().metadata(|add| add("authorization", TOKEN));
    let (client, carried) = builder.carried();
    shown.add("TransportKind", &client.transport());
    shown.add("CarriedConnection", &carried);
    let builder = Client::builder().trust(Trust::certificate(certificate));
    let carried = builder.carried_tls(&[]).await.unwrap();
    shown.add("CarriedTls", &carried);
}

/// The exported traits, which have no values to show.
const TRAITS: [&str; 8] = [
    "ClientMiddleware",
    "Described",
    "Middleware",
    "Resolve",
    "RpcError",
    "Service",
    "Stream",
    "Authorize",
];

/// The names of the types that a file exports.
fn exported(root: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(root);
    let text = fs::read_to_string(path).unwrap();
    let used = text.split("pub use ").skip(1);
    let used = used.map(|export| export.split(';').next().unwrap());
    let defined = ["\npub struct ", "\npub enum "].into_iter();
    let defined = defined.flat_map(|kind| text.split(kind).skip(1));
    let defined = defined.map(|definition| definition.split(['<', '(', ' ', ';']).next().unwrap());
    let exports = used.chain(defined);
    let words = exports.flat_map(|export| export.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let types = words.filter(|word| word.starts_with(|c: char| c.is_uppercase()));
    let types = types.filter(|word| !TRAITS.contains(word));
    types.map(str::to_owned).collect()
}

#[tokio::test]
async fn debug_of_every_public_type_hides_secrets() {
    let (identity, mut secrets) = identity();
    let shown = Shown::default();
    shown.add("Identity", &identity);
    show_errors(&shown, &secrets);
    show_calls(&shown, identity).await;
    show_others(&shown).await;
    show_gateway(&shown).await;

    secrets.extend([TOKEN.to_owned(), PASSWORD.to_owned()]);
    let shown = std::mem::take(&mut *shown.0.lock().unwrap());
    for (name, text) in &shown {
        for secret in &secrets {
            assert!(!text.contains(secret), "{name} shows {secret}: {text}");
        }
    }
    // The names of hidden values are shown.
    assert!(shown["Context"].contains("authorization"));
    assert!(shown["ResponseMetadata"].contains("session"));

    let mut types = exported("rpc-runtime/src/lib.rs");
    for module in [
        "broadcast.rs",
        "description/mod.rs",
        "middleware.rs",
        "tls/mod.rs",
    ] {
        types.extend(exported(&format!("rpc-runtime/src/{module}")));
    }
    types.extend(exported("rpc-discovery/src/lib.rs"));
    // Holds what its user puts into it, and is shown as that.
    types.remove("Base64");
    let names: BTreeSet<_> = shown.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(names, types);
}
