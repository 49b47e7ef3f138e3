//! The contenders. Each has its own file.

use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::Runtime;

mod certificate;
mod driven;
mod jsonrpsee;
mod karyon;
pub(crate) mod kind;
mod neutral;
mod ours;
mod quic;
mod raw;
pub(crate) mod setting;
mod tarpc;
mod tonic;

pub(crate) use self::driven::Driven;
pub(crate) use self::kind::Contender;
pub(crate) use self::ours::{Large, call_with_large};
pub(crate) use self::setting::Setting;

impl Contender {
    /// Serves on its own port until the process ends.
    pub(crate) async fn serve(
        self,
        runtime: &Arc<Runtime>,
        setting: Option<Setting>,
    ) -> Result<()> {
        match self {
            Self::Ours | Self::OursOwned => ours::serve(setting).await,
            Self::Karyon => karyon::serve(runtime).await,
            Self::JsonrpseeWs
            | Self::JsonrpseeWsBare
            | Self::JsonrpseeHttp
            | Self::JsonrpseePost
            | Self::JsonrpseeHttp2
            | Self::JsonrpseeWsPlain => jsonrpsee::serve().await,
            Self::OursPost
            | Self::OursHttp2
            | Self::OursWs
            | Self::OursByJsonrpseeHttp
            | Self::OursByJsonrpseeWs => ours::serve_http().await,
            Self::TarpcJson => tarpc::serve(tarpc::Json::default).await,
            Self::TarpcBincode => tarpc::serve(tarpc::Bincode::default).await,
            Self::TonicTls => tonic::serve(true).await,
            Self::Tonic => tonic::serve(false).await,
            Self::RawQuinn => raw::serve_quinn(setting).await,
            Self::RawTcp => raw::serve_tcp().await,
        }
    }

    /// Connects, and calls until the run is over.
    pub(crate) async fn call(self, call: &Driven) -> Result<()> {
        let Driven {
            hello,
            runtime,
            load,
            ..
        } = call;
        match self {
            Self::Ours => {
                call.over(async || ours::connect(hello, false, load.setting).await)
                    .await
            }
            Self::OursOwned => {
                call.over(async || ours::connect(hello, true, load.setting).await)
                    .await
            }
            Self::Karyon => {
                call.over(async || karyon::connect(hello, runtime).await)
                    .await
            }
            Self::JsonrpseeWs => call.over(async || jsonrpsee::connect_ws(hello).await).await,
            Self::JsonrpseeWsBare | Self::OursByJsonrpseeWs => {
                call.over(async || jsonrpsee::connect_bare_ws(hello).await)
                    .await
            }
            Self::JsonrpseeHttp | Self::OursByJsonrpseeHttp => {
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
            Self::OursPost | Self::JsonrpseePost => {
                call.over(async || Ok(neutral::Http1::new(hello.address)))
                    .await
            }
            Self::OursHttp2 | Self::JsonrpseeHttp2 => {
                call.over(async || neutral::Http2::connect(hello.address).await)
                    .await
            }
            Self::OursWs | Self::JsonrpseeWsPlain => {
                call.over(async || neutral::WebSocket::connect(hello.address).await)
                    .await
            }
        }
    }
}
