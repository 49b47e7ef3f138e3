//! The options of an endpoint's description.

use std::fmt;
use std::sync::Arc;

use crate::codec::error::ErrorObject;
use crate::context::Context;
use crate::description::openrpc::OpenRpc;

pub(crate) type Check = dyn Fn(&Context) -> Result<(), ErrorObject> + Send + Sync;

/// The settings of `rpc.discover`: whether an endpoint answers it, and the changes to its description.
#[derive(Clone, Default)]
pub(crate) struct DiscoverOptions {
    pub(crate) is_off: bool,
    /// Decides whether a caller may read the document.
    pub(crate) check: Option<Arc<Check>>,
    /// The user's changes to the document.
    pub(crate) edit: Option<Arc<dyn Fn(OpenRpc) -> OpenRpc + Send + Sync>>,
}

impl fmt::Debug for DiscoverOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverOptions")
            .field("is_off", &self.is_off)
            .finish_non_exhaustive()
    }
}
