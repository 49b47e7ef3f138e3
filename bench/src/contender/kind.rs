//! The names and the properties of the contenders.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::work::Workload;

/// A contender. The order is that of the tables.
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
    OursPost,
    JsonrpseePost,
    OursHttp2,
    JsonrpseeHttp2,
    OursWs,
    JsonrpseeWsPlain,
    OursByJsonrpseeHttp,
    OursByJsonrpseeWs,
}

impl Contender {
    /// The servers over HTTP and WebSocket, each with the server of jsonrpsee that it is compared with. The same client drives
    /// both of a pair.
    pub(crate) const OVER_HTTP: [(Self, Self); 5] = [
        (Self::OursPost, Self::JsonrpseePost),
        (Self::OursHttp2, Self::JsonrpseeHttp2),
        (Self::OursWs, Self::JsonrpseeWsPlain),
        (Self::OursByJsonrpseeHttp, Self::JsonrpseeHttp),
        (Self::OursByJsonrpseeWs, Self::JsonrpseeWsBare),
    ];

    /// Returns the contenders of the table of all workloads.
    pub(crate) fn of_table() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|contender| *contender <= Self::RawTcp).collect()
    }

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
            Self::OursPost => "ours-post",
            Self::JsonrpseePost => "jsonrpsee-post",
            Self::OursHttp2 => "ours-http2",
            Self::JsonrpseeHttp2 => "jsonrpsee-http2",
            Self::OursWs => "ours-ws",
            Self::JsonrpseeWsPlain => "jsonrpsee-ws-plain",
            Self::OursByJsonrpseeHttp => "ours-by-jsonrpsee-http",
            Self::OursByJsonrpseeWs => "ours-by-jsonrpsee-ws",
        }
    }

    /// Returns its name in the tables.
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
            Self::OursPost => "ours, POST over HTTP/1.1",
            Self::JsonrpseePost => "jsonrpsee, POST over HTTP/1.1",
            Self::OursHttp2 => "ours, POST over HTTP/2",
            Self::JsonrpseeHttp2 => "jsonrpsee, POST over HTTP/2",
            Self::OursWs => "ours, WebSocket",
            Self::JsonrpseeWsPlain => "jsonrpsee, WebSocket",
            Self::OursByJsonrpseeHttp => "ours, called by jsonrpsee's HTTP client",
            Self::OursByJsonrpseeWs => "ours, called by jsonrpsee's WS client",
        }
    }

    pub(crate) fn is_encrypted(self) -> bool {
        matches!(
            self,
            Self::Ours | Self::OursOwned | Self::Karyon | Self::TonicTls | Self::RawQuinn
        )
    }

    /// Returns `true` for a raw transport, which is no framework and carries the bytes alone.
    pub(crate) fn is_limit(self) -> bool {
        matches!(self, Self::RawQuinn | Self::RawTcp)
    }

    /// Returns `true` if it takes part in this workload.
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
