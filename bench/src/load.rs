//! What a run calls, and what comes of it.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::contender::kind::Contender;
use crate::contender::setting::Setting;
use crate::work::Workload;

/// Which of tokio's runtimes, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuntimeKind {
    Current,
    Multi,
}

impl RuntimeKind {
    pub(crate) const ALL: [Self; 2] = [Self::Current, Self::Multi];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Multi => "multi",
        }
    }

    pub(crate) fn build(self) -> std::io::Result<tokio::runtime::Runtime> {
        let mut builder = match self {
            Self::Current => tokio::runtime::Builder::new_current_thread(),
            Self::Multi => tokio::runtime::Builder::new_multi_thread(),
        };
        builder.enable_all().build()
    }
}

/// What is called, how much of it at a time, and how.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Load {
    pub(crate) contender: Contender,
    pub(crate) workload: Workload,
    /// Calls in flight, over all connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    #[arg(long, default_value = "current")]
    pub(crate) runtime: RuntimeKind,
    /// What is set otherwise, on both sides; only for raw quinn.
    #[arg(long)]
    pub(crate) setting: Option<Setting>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    /// Latencies in microseconds.
    pub p50: f64,
    pub p99: f64,
    /// CPU time per call in microseconds.
    pub(crate) client_cpu: f64,
    pub(crate) server_cpu: f64,
    /// Allocations and reallocations per call; 0 if they were not counted.
    pub(crate) client_allocations: f64,
    pub(crate) server_allocations: f64,
    /// The part of the machine that others took meanwhile.
    pub(crate) others: f64,
}

impl Outcome {
    /// CPU time per call of both sides, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.client_cpu + self.server_cpu
    }
}
