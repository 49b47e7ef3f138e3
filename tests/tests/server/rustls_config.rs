//! Servers and clients with configurations of rustls.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rpc_runtime::tls::TlsError;
use rpc_runtime::{BindError, Client, ConnectError, Identity, Server, Trust, rpc};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tests::support::{ANY_PORT, TestServer, soon};

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
}

struct Clerk;

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

fn key_pair() -> CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

fn server_config(pair: &CertifiedKey<rcgen::KeyPair>, provider: CryptoProvider) -> ServerConfig {
    let key = pair.signing_key.serialize_der().try_into().unwrap();
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap()
}

fn client_config(pair: &CertifiedKey<rcgen::KeyPair>, provider: CryptoProvider) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A provider whose only cipher suite cannot protect the first packets of QUIC.
fn without_aes_128() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..default_provider()
    }
}

fn serve(config: ServerConfig) -> TestServer {
    TestServer::bind(|builder| {
        let builder = builder.service(DeskServer::new(Clerk));
        builder.rustls_config(config).bind(ANY_PORT)
    })
}

#[tokio::test]
async fn server_and_client_with_configurations_of_rustls_connect_again_and_again() {
    let pair = key_pair();
    let server = serve(server_config(&pair, default_provider()));
    let builder = Client::builder().rustls_config(client_config(&pair, default_provider()));
    // The second connection resumes the session of the first.
    for _ in 0..2 {
        let client = soon(builder.clone().connect(server.address)).await.unwrap();
        assert_eq!(soon(DeskClient::new(client).add(1, 2)).await.unwrap(), 3);
    }
    // The configuration's certificate is presented, and not that of the identity.
    let trusted = Trust::pem(pair.cert.pem().as_bytes()).unwrap();
    let builder = Client::builder().trust(trusted);
    soon(builder.clone().connect(server.address)).await.unwrap();
    let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
    server.handle.set_identity(identity);
    soon(builder.connect(server.address)).await.unwrap();
}

#[tokio::test]
async fn certificate_that_the_configuration_of_a_client_rejects_is_an_error() {
    let server = serve(server_config(&key_pair(), default_provider()));
    let builder = Client::builder().rustls_config(client_config(&key_pair(), default_provider()));
    let failed = soon(builder.connect(server.address)).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Refused { .. }), "{failed:?}");
}

#[tokio::test]
async fn configuration_without_the_cipher_suite_of_quic_is_an_error() {
    let pair = key_pair();
    let builder = Server::builder(Identity::self_signed(["127.0.0.1"]).unwrap());
    let config = server_config(&pair, without_aes_128());
    let failed = builder.rustls_config(config).bind(ANY_PORT).unwrap_err();
    let is_named = matches!(failed, BindError::Trust(TlsError::CipherSuites));
    assert!(is_named, "{failed:?}");
    let builder = Client::builder().rustls_config(client_config(&pair, without_aes_128()));
    let failed = soon(builder.connect("127.0.0.1:4433")).await.unwrap_err();
    let is_named = matches!(failed, ConnectError::Trust(TlsError::CipherSuites));
    assert!(is_named, "{failed:?}");
}
