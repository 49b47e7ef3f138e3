//! Who a server is, and whom a client trusts.

mod certificate;
mod identity;
mod pem;
mod server_auth;
mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::certificate::Certificate;
pub use self::identity::{Identity, IdentityError};
pub use self::pem::PemError;
pub use self::server_auth::UntrustedReason;
pub(crate) use self::server_auth::Verdict;
pub use self::trust::{Trust, TrustError};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
