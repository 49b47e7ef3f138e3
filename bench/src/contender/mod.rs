//! Who takes part. Each has a file of its own.

use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::caller::{self, Calls, Phase, Record};
use crate::drive::Load;
use crate::process::Hello;
use crate::work::Workload;

mod certificate;
mod jsonrpsee;
mod karyon;
mod ours;
mod quic;
mod raw;
mod setting;
mod tarpc;
mod tonic;

pub(crate) use self::ours::{Large, call_with_large};
pub(crate) use self::setting::Setting;

/// In the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    Ours,
    OursOwned,
    Karyon,
    JsonrpseeWs,
    JsonrpseeWsBare,
    JsonrpseeHttp,
    TarpcJson,
    TarpcBincode,
    TonicTls,
    Tonic,
    RawQuinn,
    RawTcp,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursOwned => "ours-owned",
            Self::Karyon => "karyon",
            Self::JsonrpseeWs => "jsonrpsee-ws",
            Self::JsonrpseeWsBare => "jsonrpsee-ws-bare",
            Self::JsonrpseeHttp => "jsonrpsee-http",
            Self::TarpcJson => "tarpc-json",
            Self::TarpcBincode => "tarpc-bincode",
            Self::TonicTls => "tonic-tls",
            Self::Tonic => "tonic",
            Self::RawQuinn => "raw-quinn",
            Self::RawTcp => "raw-tcp",
        }
    }

    /// What the tables call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursOwned => "ours, nothing borrowed",
            Self::Karyon => "karyon_jsonrpc, QUIC",
            Self::JsonrpseeWs => "jsonrpsee, WS",
            Self::JsonrpseeWsBare => "jsonrpsee, WS, no logging",
            Self::JsonrpseeHttp => "jsonrpsee, HTTP",
            Self::TarpcJson => "tarpc, JSON",
            Self::TarpcBincode => "tarpc, bincode",
            Self::TonicTls => "tonic, TLS",
            Self::Tonic => "tonic",
            Self::RawQuinn => "raw quinn",
            Self::RawTcp => "raw TCP",
        }
    }

    pub(crate) fn is_encrypted(self) -> bool {
        matches!(
            self,
            Self::Ours | Self::OursOwned | Self::Karyon | Self::TonicTls | Self::RawQuinn
        )
    }

    /// No framework, but the bytes alone.
    pub(crate) fn is_limit(self) -> bool {
        matches!(self, Self::RawQuinn | Self::RawTcp)
    }

    /// Whether it takes part in this.
    pub(crate) fn offers(self, workload: Workload) -> bool {
        match workload {
            Workload::Batch => true,
            Workload::Items => matches!(
                self,
                Self::Ours
                    | Self::JsonrpseeWs
                    | Self::JsonrpseeWsBare
                    | Self::TonicTls
                    | Self::Tonic
            ),
            _ => self != Self::OursOwned,
        }
    }

    /// Serves on a port of its own until the process ends.
    pub(crate) async fn serve(
        self,
        runtime: &Arc<Runtime>,
        setting: Option<Setting>,
    ) -> Result<()> {
        match self {
            Self::Ours | Self::OursOwned => ours::serve().await,
            Self::Karyon => karyon::serve(runtime).await,
            Self::JsonrpseeWs | Self::JsonrpseeWsBare | Self::JsonrpseeHttp => {
                jsonrpsee::serve().await
            }
            Self::TarpcJson => tarpc::serve(tarpc::Json::default).await,
            Self::TarpcBincode => tarpc::serve(tarpc::Bincode::default).await,
            Self::TonicTls => tonic::serve(true).await,
            Self::Tonic => tonic::serve(false).await,
            Self::RawQuinn => raw::serve_quinn(setting).await,
            Self::RawTcp => raw::serve_tcp().await,
        }
    }

    /// Connects and calls until it is over.
    pub(crate) async fn call(self, call: &Driven) -> Result<()> {
        let Driven { hello, runtime, .. } = call;
        match self {
            Self::Ours => call.over(async || ours::connect(hello, false).await).await,
            Self::OursOwned => call.over(async || ours::connect(hello, true).await).await,
            Self::Karyon => {
                call.over(async || karyon::connect(hello, runtime).await)
                    .await
            }
            Self::JsonrpseeWs => call.over(async || jsonrpsee::connect_ws(hello).await).await,
            Self::JsonrpseeWsBare => {
                call.over(async || jsonrpsee::connect_bare_ws(hello).await)
                    .await
            }
            Self::JsonrpseeHttp => {
                call.over(async || jsonrpsee::connect_http(hello).await)
                    .await
            }
            Self::TarpcJson => {
                call.over(async || tarpc::connect(hello, tarpc::Json::default()).await)
                    .await
            }
            Self::TarpcBincode => {
                call.over(async || tarpc::connect(hello, tarpc::Bincode::default()).await)
                    .await
            }
            Self::TonicTls | Self::Tonic => call.over(async || tonic::connect(hello).await).await,
            Self::RawQuinn => raw::call_quinn(call).await,
            Self::RawTcp => raw::call_tcp(call).await,
        }
    }
}

/// What there is to a run on the client's side.
pub(crate) struct Driven {
    pub(crate) load: Load,
    pub(crate) hello: Hello,
    pub(crate) phase: Phase,
    pub(crate) record: Record,
    pub(crate) runtime: Arc<Runtime>,
}

impl Driven {
    async fn over<C: Calls>(&self, connect: impl AsyncFn() -> Result<C>) -> Result<()> {
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
