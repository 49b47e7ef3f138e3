//! How an endpoint describes itself.

use std::fmt;
use std::sync::Arc;

use crate::description::openrpc::OpenRpc;

/// Whether and how an endpoint describes itself.
#[derive(Clone, Default)]
pub(crate) struct DiscoverOptions {
    pub(crate) is_off: bool,
    /// What the user makes of the document.
    pub(crate) edit: Option<Arc<dyn Fn(OpenRpc) -> OpenRpc + Send + Sync>>,
}

impl fmt::Debug for DiscoverOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverOptions")
            .field("is_off", &self.is_off)
            .finish_non_exhaustive()
    }
}
