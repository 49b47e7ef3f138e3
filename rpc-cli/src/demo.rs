//! `rpc serve-demo`: serves a demonstration for trying the other commands.

mod service;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use rpc_http::{HttpListener, HttpServer};
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Identity, Server};

use self::service::{Demo, ShopServer, TextServer};
use crate::advice::error_chain;
use crate::connect::hexadecimal;
use crate::failure::{Failure, Status, Stop};
use crate::interrupt::Interrupts;
use crate::output::{FAINT, Output, TITLE};

/// Serves a demonstration of all features, to try the other commands
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The address and the UDP port to listen on; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Listens for HTTP and WebSocket at this address too, without TLS
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Listens for HTTP and WebSocket at this address too, with TLS
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
}

/// The maximum time for which calls go on after ctrl-c.
const DRAIN: Duration = Duration::from_millis(200);

impl Options {
    pub(crate) async fn run(self, output: &mut Output) -> Result<(), Stop> {
        let unserved = |error: &dyn std::error::Error| {
            Failure::new(
                Status::Unreachable,
                format!("{}: {}", self.listen, error_chain(error)),
            )
        };
        let host = self.listen.ip().to_string();
        let names = [
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let names = names
            .into_iter()
            .filter(|name| *name != host)
            .chain([host.clone()]);
        let identity = Identity::self_signed(names).map_err(|error| unserved(&error))?;
        let pin = hexadecimal(&identity.certificate().sha256());
        let demo = Demo::default();
        let server = Server::builder(identity)
            .service(TextServer::new(demo.clone()))
            .service(ShopServer::new(demo))
            .openrpc(|document| document.title("Fruit shop").version("1.2.0"))
            .bind(self.listen)
            .map_err(|error| unserved(&error))?;
        let address = server.local_addr()?;
        let handle = server.handle();
        let mut interrupts = Interrupts::new()?;

        writeln!(output, "{TITLE}listening on {address}{TITLE:#}")?;
        for (scheme, listener) in self.listeners(&server.services()).await? {
            let address = listener.local_addr()?;
            writeln!(output, "{TITLE}listening on {scheme}://{address}/{TITLE:#}")?;
            tokio::spawn(listener.run());
        }
        writeln!(output)?;
        writeln!(output, "{FAINT}In another terminal, try:{FAINT:#}")?;
        for line in service::TRY {
            let line = line.replace("SERVER", &format!("{address} --pin {pin}"));
            writeln!(output, "  {line}")?;
        }
        output.flush()?;

        let serving = tokio::spawn(server.run());
        interrupts.next().await;
        handle.shutdown(DRAIN).await;
        let _ = serving.await;
        Ok(())
    }

    /// Opens the sockets for HTTP.
    async fn listeners(
        &self,
        services: &ServiceSet,
    ) -> Result<Vec<(&'static str, HttpListener)>, Failure> {
        let mut listeners = Vec::new();
        for (scheme, address) in [("http", self.http), ("https", self.https)] {
            let Some(address) = address else {
                continue;
            };
            let http = HttpServer::new(services.clone());
            let http = match scheme {
                "https" => http.tls(),
                _ => http,
            };
            let listener = http.bind(address).await.map_err(|error| {
                let message = format!("{address}: {}", error_chain(&error));
                Failure::new(Status::Unreachable, message)
            })?;
            listeners.push((scheme, listener));
        }
        Ok(listeners)
    }
}
