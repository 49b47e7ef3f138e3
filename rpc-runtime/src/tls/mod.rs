//! Identities and trust anchors.

mod certificate;
mod client_auth;
mod der;
mod diagnosis;
mod error;
mod fault;
mod identity;
mod itself;
mod key_kind;
mod pem;
mod provider;
mod sections;
mod self_check;
mod server_auth;
mod system_roots;
mod trust;
mod untrusted;

pub use crate::tls::certificate::Certificate;
pub(crate) use crate::tls::client_auth::{ClientAuth, ServerTls};
pub use crate::tls::error::TlsError;
pub use crate::tls::identity::Identity;
pub(crate) use crate::tls::server_auth::{HandshakeResult, ServerTrust, Verifier, client_config};
pub use crate::tls::trust::Trust;
pub use crate::tls::untrusted::UntrustedReason;
