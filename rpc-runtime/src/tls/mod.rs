//! Who a server or a client is, and whom the other trusts.

mod certificate;
mod client_auth;
mod identity;
mod pem;
mod server_auth;
mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::certificate::Certificate;
pub(crate) use self::client_auth::{ClientAuth, CurrentIdentity, server_config};
pub use self::identity::{Identity, IdentityError};
pub use self::pem::PemError;
pub use self::server_auth::UntrustedReason;
pub(crate) use self::server_auth::{Verdict, client_config};
pub use self::trust::{Trust, TrustError};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
