//! The TLS settings of a server for connections over TCP.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, ServerConfig};

use crate::event::HandshakeFailure;
use crate::sync::{Mutex, lock};
use crate::tls::identity::Identity;
use crate::tls::server_config::ServerTls;

/// The protocols over TCP, in the server's order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The TLS settings of a server for connections over TCP: its certificate, and how it verifies those of clients. They follow
/// [`ServerHandle::set_identity`](crate::ServerHandle::set_identity).
#[derive(Clone)]
pub struct TlsOverTcp {
    tls: ServerTls,
    current: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsOverTcp {
    pub(crate) fn new(tls: ServerTls, identity: &Identity) -> Self {
        let current = Arc::new(config(&tls, identity));
        Self {
            tls,
            current: Arc::new(Mutex::new(current)),
        }
    }

    pub(crate) fn set_identity(&self, identity: &Identity) {
        *lock(&self.current) = Arc::new(config(&self.tls, identity));
    }

    /// Returns the current configuration of rustls 0.23. For `rpc-http` alone.
    #[doc(hidden)]
    pub fn rustls_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&lock(&self.current))
    }
}

fn config(tls: &ServerTls, identity: &Identity) -> ServerConfig {
    let mut config = tls.config(identity);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    config
}

impl fmt::Debug for TlsOverTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOverTcp").finish_non_exhaustive()
    }
}

/// Returns the reason why a handshake failed.
pub(crate) fn handshake_failure(error: &io::Error) -> HandshakeFailure {
    let source = error.get_ref();
    match source.and_then(|source| source.downcast_ref::<rustls::Error>()) {
        None => HandshakeFailure::ClosedByPeer,
        Some(rustls::Error::AlertReceived(alert)) if is_of_certificate(*alert) => {
            HandshakeFailure::ServerCertificate
        }
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            HandshakeFailure::ClientCertificate
        }
        Some(_) => HandshakeFailure::Protocol,
    }
}

/// Returns `true` if the client does not accept the server's certificate.
fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}
