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
mod server_auth;
mod trust;

pub use crate::tls::certificate::Certificate;
pub(crate) use crate::tls::client_auth::{ClientAuth, ServerTls};
pub use crate::tls::error::TlsError;
pub use crate::tls::identity::Identity;
pub use crate::tls::server_auth::UntrustedReason;
pub(crate) use crate::tls::server_auth::{HandshakeResult, client_config};
pub use crate::tls::trust::Trust;
