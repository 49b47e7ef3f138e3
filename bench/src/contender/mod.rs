//! Who takes part. Each has a file of its own.

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::caller::{self, Calls, Latencies, Phase};
use crate::drive::Plan;
use crate::process::Hello;
use crate::work::Workload;

mod ours;
mod quic;
mod raw;
mod tarpc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    Ours,
    TarpcBincode,
    TarpcJson,
    RawQuinn,
    RawTcp,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::TarpcBincode => "tarpc-bincode",
            Self::TarpcJson => "tarpc-json",
            Self::RawQuinn => "raw-quinn",
            Self::RawTcp => "raw-tcp",
        }
    }

    /// What the tables call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ours => "**ours** (QUIC)",
            Self::TarpcBincode => "tarpc, bincode (TCP)",
            Self::TarpcJson => "tarpc, JSON (TCP)",
            Self::RawQuinn => "limit: raw quinn",
            Self::RawTcp => "limit: raw TCP",
        }
    }

    pub(crate) fn is_encrypted(self) -> bool {
        matches!(self, Self::Ours | Self::RawQuinn)
    }

    /// Whether it takes part in this.
    pub(crate) fn offers(self, _: Workload) -> bool {
        true
    }

    /// Serves on a port of its own until the process ends.
    pub(crate) async fn serve(self) -> Result<()> {
        match self {
            Self::Ours => ours::serve().await,
            Self::TarpcBincode => tarpc::serve(tarpc::Bincode::default).await,
            Self::TarpcJson => tarpc::serve(tarpc::Json::default).await,
            Self::RawQuinn => raw::serve_quinn().await,
            Self::RawTcp => raw::serve_tcp().await,
        }
    }

    /// Connects and calls until it is over.
    pub(crate) async fn call(self, plan: &Plan, hello: &Hello, phase: &Phase) -> Result<Latencies> {
        match self {
            Self::Ours => connected(plan, phase, async || ours::connect(hello).await).await,
            Self::TarpcBincode => {
                connected(plan, phase, async || {
                    tarpc::connect(hello, tarpc::Bincode::default()).await
                })
                .await
            }
            Self::TarpcJson => {
                connected(plan, phase, async || {
                    tarpc::connect(hello, tarpc::Json::default()).await
                })
                .await
            }
            Self::RawQuinn => raw::call_quinn(plan, hello, phase).await,
            Self::RawTcp => raw::call_tcp(plan, hello, phase).await,
        }
    }
}

async fn connected<C: Calls>(
    plan: &Plan,
    phase: &Phase,
    connect: impl AsyncFn() -> Result<C>,
) -> Result<Latencies> {
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(connect().await?);
    }
    caller::call(connections, plan.workload, plan.in_flight, phase).await
}
