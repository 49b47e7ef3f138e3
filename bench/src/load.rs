//! The load of a run, and its outcome.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::contender::kind::Contender;
use crate::contender::setting::Setting;
use crate::work::Workload;

/// The kind of tokio's runtime, the same on both sides.
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

/// The load of a run: the workload, the number of calls in flight, and the settings.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Load {
    pub(crate) contender: Contender,
    pub(crate) workload: Workload,
    /// The number of calls in flight, over all connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    #[arg(long, default_value = "current")]
    pub(crate) runtime: RuntimeKind,
    /// The setting that is changed on both sides. Only for raw quinn and this framework.
    #[arg(long)]
    pub(crate) setting: Option<Setting>,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    /// The median latency, in microseconds.
    pub p50: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub p99: f64,
    /// The client's CPU time per call, in microseconds.
    pub(crate) client_cpu: f64,
    /// The server's CPU time per call, in microseconds.
    pub(crate) server_cpu: f64,
    /// The client's allocations and reallocations per call; 0 if they were not counted.
    pub(crate) client_allocations: f64,
    /// The server's allocations and reallocations per call; 0 if they were not counted.
    pub(crate) server_allocations: f64,
    /// The share of the machine that other processes took meanwhile.
    pub(crate) others: f64,
}

impl Outcome {
    /// Returns the CPU time per call of both sides, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.client_cpu + self.server_cpu
    }
}
