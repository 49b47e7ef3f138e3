//! The phases that a server goes through from its start to its end.

use tokio::sync::watch;

/// A phase of a server. A server goes through the phases in this order, and may skip some.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Phase {
    Serving,
    /// Calls are served, and `rpc.health` returns that the server is not serving.
    Announced,
    /// Running calls may finish; new calls are rejected.
    Draining,
    /// Streams of items are ended.
    Ending,
}

/// The phase of a server, as its connections and calls see it.
#[derive(Debug, Clone)]
pub(crate) struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseWatch {
    /// Creates a watch for services that are never shut down.
    pub(crate) fn never() -> Self {
        Self(watch::channel(Phase::Serving).1)
    }

    pub(crate) fn has_reached(&self, phase: Phase) -> bool {
        *self.0.borrow() >= phase
    }

    /// Resolves when the server has reached `phase`. Never resolves if the server is dropped before.
    pub(crate) async fn reaches(mut self, phase: Phase) {
        if self.0.wait_for(|reached| *reached >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl From<watch::Receiver<Phase>> for PhaseWatch {
    fn from(phase: watch::Receiver<Phase>) -> Self {
        Self(phase)
    }
}
