//! Identities and trust anchors.

mod certificate;
mod client_config;
mod der;
mod diagnosis;
mod error;
mod exact;
mod fault;
mod identity;
mod key_kind;
#[cfg(feature = "server")]
mod over_tcp;
mod pem;
mod provider;
#[cfg(feature = "server")]
mod secret;
mod sections;
#[cfg(feature = "server")]
mod self_check;
#[cfg(feature = "server")]
mod self_signed;
#[cfg(feature = "server")]
mod server_config;
mod system_roots;
mod trust;
mod untrusted;

pub use crate::tls::certificate::Certificate;
pub(crate) use crate::tls::client_config::{HandshakeResult, ServerTrust, Verifier, client_config};
pub use crate::tls::error::TlsError;
pub use crate::tls::identity::Identity;
#[cfg(feature = "server")]
pub use crate::tls::over_tcp::TlsOverTcp;
#[cfg(feature = "server")]
pub(crate) use crate::tls::over_tcp::handshake_failure;
#[cfg(feature = "server")]
pub(crate) use crate::tls::provider::library;
#[cfg(feature = "http2")]
pub(crate) use crate::tls::provider::secret_number;
#[cfg(feature = "server")]
pub(crate) use crate::tls::secret::DerivedSecret;
#[cfg(feature = "server")]
pub(crate) use crate::tls::server_config::{ClientAuth, ServerTls};
pub use crate::tls::trust::Trust;
pub use crate::tls::untrusted::UntrustedReason;
