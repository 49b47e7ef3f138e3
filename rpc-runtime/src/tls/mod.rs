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
mod pem;
mod provider;
mod sections;
mod self_check;
mod server_config;
mod system_roots;
mod trust;
mod untrusted;

pub use crate::tls::certificate::Certificate;
pub(crate) use crate::tls::client_config::{HandshakeResult, ServerTrust, Verifier, client_config};
pub use crate::tls::error::TlsError;
pub(crate) use crate::tls::identity::DerivedSecret;
pub use crate::tls::identity::Identity;
pub(crate) use crate::tls::provider::library;
pub(crate) use crate::tls::server_config::{ClientAuth, ServerTls};
pub use crate::tls::trust::Trust;
pub use crate::tls::untrusted::UntrustedReason;
