//! The state that all connections of a server share.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::limits::Limits;
use crate::memory::{ConnectionMemory, ServerMemory};
use crate::permit::call_limits::CallLimits;
use crate::phase::PhaseWatch;
use crate::server::discover::DiscoverReply;
use crate::server::health::HealthStates;
use crate::server::observe::LimitReports;
use crate::service::router::{MethodNames, Router};

/// An effectively unlimited number of calls, which a semaphore can count.
const MAX_CALLS: usize = 1 << 28;

/// What the state that all connections of a server share is made of, besides its services.
pub(super) struct SharedSettings {
    pub(super) limits: Limits,
    pub(super) memory: Arc<ServerMemory>,
    pub(super) discover: DiscoverOptions,
    pub(super) phase: PhaseWatch,
    pub(super) events: EventHook,
    pub(super) health: Arc<HealthStates>,
}

/// The state that all connections of a server share.
pub(super) struct ServerShared<R> {
    pub(super) router: R,
    names: MethodNames,
    /// `true` for each method, by number, that takes items; empty if no method does.
    takes_upload: Box<[bool]>,
    pub(super) limits: Limits,
    pub(super) calls: Arc<CallLimits>,
    memory: Arc<ServerMemory>,
    pub(super) phase: PhaseWatch,
    pub(super) discover_reply: DiscoverReply,
    limit_reports: LimitReports,
    pub(super) health: Arc<HealthStates>,
}

impl<R: Router> ServerShared<R> {
    pub(super) fn new(router: R, settings: SharedSettings) -> Self {
        let SharedSettings {
            mut limits,
            memory,
            discover,
            phase,
            events,
            health,
        } = settings;
        limits.max_concurrent_calls = limits.max_concurrent_calls.clamp(1, MAX_CALLS);
        limits.max_concurrent_calls_per_connection = limits
            .max_concurrent_calls_per_connection
            .clamp(1, MAX_CALLS);
        Self {
            router,
            names: MethodNames::of::<R>(),
            takes_upload: takes_upload::<R>(),
            calls: CallLimits::new(&limits),
            memory,
            limits,
            phase,
            discover_reply: DiscoverReply::new(discover),
            limit_reports: LimitReports::new(events),
            health,
        }
    }

    /// Returns the number of the method with this name.
    pub(super) fn find(&self, method: &str) -> Option<u32> {
        self.names.find::<R>(method)
    }
}

impl<R> ServerShared<R> {
    /// Returns `true` if the caller of this method sends items.
    pub(super) fn takes_upload(&self, method: u32) -> bool {
        let takes_upload = self.takes_upload.get(method as usize);
        takes_upload.copied().unwrap_or(false)
    }

    pub(super) fn limit_reports(&self) -> &LimitReports {
        &self.limit_reports
    }

    /// Returns a new memory budget for a connection with this peer.
    pub(super) fn memory(&self, peer: Option<SocketAddr>) -> Arc<ConnectionMemory> {
        self.memory.connection(peer.map(|peer| peer.ip()))
    }
}

fn takes_upload<R: Router>() -> Box<[bool]> {
    let services = R::descriptions();
    let methods = services.iter().flat_map(|service| service.methods);
    let takes_upload = methods.filter(|method| method.upload.is_some());
    let numbers: Vec<_> = takes_upload
        .filter_map(|method| R::find(method.name))
        .collect();
    let count = numbers.iter().max().map_or(0, |last| last + 1);
    (0..count).map(|number| numbers.contains(&number)).collect()
}
