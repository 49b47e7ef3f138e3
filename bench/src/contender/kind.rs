//! What the contenders are called, and what each of them is and has.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::work::Workload;

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
}
