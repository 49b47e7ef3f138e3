//! Answers `rpc.health` with the serving states of the server and of its services.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codec::error_code::ProtocolError;
use crate::codec::reply::Reply;
use crate::codec::request::Request;
use crate::description::ServiceDescription;

/// The serving state of a server or of one of its services, which `rpc.health` returns.
///
/// [`ServerHandle::set_health`](crate::ServerHandle::set_health) and
/// [`ServerHandle::set_service_health`](crate::ServerHandle::set_service_health) set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Callers may send calls.
    Serving,
    /// Callers should send their calls elsewhere. Calls that arrive are served nevertheless, unless the server drains.
    NotServing,
}

impl Health {
    /// Returns the state as `rpc.health` returns it: `SERVING` or `NOT_SERVING`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
        }
    }
}

/// The answer for a service that the server does not have.
const UNKNOWN: &str = "SERVICE_UNKNOWN";

/// The serving states that were set.
#[derive(Debug, Default)]
pub(super) struct HealthStates {
    is_not_serving: AtomicBool,
    /// The names of the services, and whether each is not serving.
    services: Box<[(&'static str, AtomicBool)]>,
}

impl HealthStates {
    pub(super) fn new(services: &[&'static ServiceDescription]) -> Arc<Self> {
        let services = services
            .iter()
            .map(|service| (service.name, AtomicBool::new(false)));
        Arc::new(Self {
            is_not_serving: AtomicBool::new(false),
            services: services.collect(),
        })
    }

    /// Returns the state of the server, or of the service of this name. `is_ending` is `true` if the server is shutting down.
    fn status(&self, service: Option<&str>, is_ending: bool) -> &'static str {
        let mut is_not_serving = is_ending || self.is_not_serving.load(Ordering::Relaxed);
        if let Some(name) = service.filter(|name| !name.is_empty()) {
            let mut of_name = self
                .services
                .iter()
                .filter(|(of, _)| *of == name)
                .peekable();
            if of_name.peek().is_none() {
                return UNKNOWN;
            }
            is_not_serving |= of_name.any(|(_, is_not)| is_not.load(Ordering::Relaxed));
        }
        match is_not_serving {
            true => Health::NotServing.as_str(),
            false => Health::Serving.as_str(),
        }
    }

    /// Writes the reply to `rpc.health`.
    pub(super) fn answer(&self, request: &Request<'_, '_>, is_ending: bool, reply: &mut Reply) {
        match request.health_service() {
            Ok(service) => {
                let status = self.status(service, is_ending);
                reply.json(format!(r#"{{"status":"{status}"}}"#).as_bytes());
            }
            Err(reason) => reply.reject(ProtocolError::InvalidParams(reason)),
        }
    }
}

#[cfg(feature = "server")]
impl HealthStates {
    pub(super) fn set(&self, health: Health) {
        self.is_not_serving
            .store(health == Health::NotServing, Ordering::Relaxed);
    }

    /// Sets the state of a service. Returns `false` if there is none of this name.
    pub(super) fn set_service(&self, name: &str, health: Health) -> bool {
        let services = self.services.iter().filter(|(of, _)| *of == name);
        services.fold(false, |_, (_, is_not_serving)| {
            is_not_serving.store(health == Health::NotServing, Ordering::Relaxed);
            true
        })
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    fn states() -> HealthStates {
        let services = ["Shop", "Stock"].map(|name| (name, AtomicBool::new(false)));
        HealthStates {
            services: services.into(),
            ..HealthStates::default()
        }
    }

    #[test]
    fn service_serves_if_it_and_the_server_do() {
        let states = states();
        let of = |name| states.status(Some(name), false);
        assert_eq!(
            [of(""), of("Shop"), of("shop")],
            ["SERVING", "SERVING", UNKNOWN]
        );
        assert!(states.set_service("Shop", Health::NotServing));
        assert_eq!(
            [of("Shop"), of("Stock"), of("")],
            ["NOT_SERVING", "SERVING", "SERVING"]
        );
        assert!(states.set_service("Shop", Health::Serving));
        states.set(Health::NotServing);
        assert_eq!([of("Shop"), of("Stock"), of("")], ["NOT_SERVING"; 3]);
        states.set(Health::Serving);
        assert_eq!(of("Shop"), "SERVING");
        assert!(!states.set_service("shop", Health::NotServing));
    }

    #[test]
    fn server_that_drains_does_not_serve() {
        let states = states();
        assert_eq!(states.status(None, true), "NOT_SERVING");
        assert_eq!(states.status(Some("Shop"), true), "NOT_SERVING");
        assert_eq!(states.status(Some("Other"), true), UNKNOWN);
    }
}
