//! Answers `rpc.discover` with the description of the endpoint's services, which is written once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crate::codec::error_code::ProtocolError;
use crate::codec::reply::{Fault, Reply};
use crate::context::Context;
use crate::description::discover::DiscoverOptions;
use crate::description::openrpc::OpenRpc;
use crate::service::router::Router;

/// The reply to `rpc.discover`, written at the first request.
#[derive(Debug, Default)]
pub(super) struct DiscoverReply {
    discovery: DiscoverOptions,
    /// `None` if the description could not be written.
    json: OnceLock<Option<Box<[u8]>>>,
}

impl DiscoverReply {
    pub(super) fn new(discovery: DiscoverOptions) -> Self {
        Self {
            discovery,
            json: OnceLock::new(),
        }
    }

    /// Writes the reply to `rpc.discover`. `context` creates the context of the call.
    pub(super) fn answer<R: Router>(&self, context: impl FnOnce() -> Context, reply: &mut Reply) {
        if self.discovery.is_off {
            return reply.reject_unknown("rpc.discover");
        }
        if let Err(fault) = self.authorize(context) {
            return reply.fault(&fault);
        }
        match self.json.get_or_init(|| self.write::<R>()) {
            Some(json) => reply.json(json),
            None => reply.reject(ProtocolError::Internal),
        }
    }

    fn authorize(&self, context: impl FnOnce() -> Context) -> Result<(), Fault> {
        let Some(check) = &self.discovery.check else {
            return Ok(());
        };
        match catch_unwind(AssertUnwindSafe(|| check(&context()))) {
            Ok(checked) => Ok(checked?),
            Err(_) => {
                tracing::error!(target: "rpc_runtime::server", "the check of rpc.discover panicked");
                Err(ProtocolError::Internal.into())
            }
        }
    }

    fn write<R: Router>(&self) -> Option<Box<[u8]>> {
        // Default values and schemas run the user's code, which may panic.
        let write = || {
            let mut services = Vec::new();
            R::describe(&mut services);
            let document = OpenRpc::of_services(services);
            let document = match &self.discovery.edit {
                Some(edit) => edit(document),
                None => document,
            };
            serde_json::to_vec(&document)
        };
        match catch_unwind(AssertUnwindSafe(write)) {
            Ok(Ok(json)) => Some(json.into()),
            Ok(Err(_)) | Err(_) => {
                tracing::error!(target: "rpc_runtime::server", "the services cannot be described");
                None
            }
        }
    }
}
