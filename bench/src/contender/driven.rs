//! Runs callers over the connections of one contender.

use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::caller::{self, Calls, Phase, Record};
use crate::load::Load;
use crate::process::Hello;

/// The client's side of a run.
pub(crate) struct Driven {
    pub(crate) load: Load,
    pub(crate) hello: Hello,
    pub(crate) phase: Phase,
    pub(crate) record: Record,
    pub(crate) runtime: Arc<Runtime>,
}

impl Driven {
    pub(crate) async fn over<C: Calls>(&self, connect: impl AsyncFn() -> Result<C>) -> Result<()> {
        let mut connections = Vec::new();
        for _ in 0..self.load.connections {
            connections.push(connect().await?);
        }
        caller::call(
            connections,
            self.load.workload,
            self.load.in_flight,
            &self.phase,
            &self.record,
        )
        .await
    }
}
