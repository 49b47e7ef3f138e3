//! `rpc health`: asks a server whether it serves, for readiness probes.

use std::time::Duration;

use clap::Args;
use rpc_runtime::Client;
use serde::Deserialize;

use crate::connect::Connection;
use crate::escape::{Printable, Short};
use crate::failure::{Failure, Status, Stop};
use crate::output::{Output, Printing};
use crate::target::Target;

/// The default timeout of the question.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks whether a server, or one of its services, is ready for calls: the exit status is 0 only if it is
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: `HOST:PORT` over QUIC, or a URL: `https://…`, `http://…`, `wss://…`, `ws://…`
    target: Target,
    /// The service: the name of its trait. By default the entire server
    service: Option<String>,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    connection: Connection,
}

/// The result of `rpc.health`.
#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
}

impl Options {
    pub(crate) async fn run(mut self, output: &mut Output) -> Result<(), Stop> {
        self.connection.default_timeout(HEALTH_TIMEOUT);
        let work = async |client: &Client| self.ask(client, output).await;
        self.connection.session(&self.target, work).await
    }

    async fn ask(&self, client: &Client, output: &mut Output) -> Result<(), Stop> {
        let params: &[&String] = match &self.service {
            Some(service) => &[service],
            None => &[],
        };
        let answered = self.connection.call(client, "rpc.health", params).await;
        let answer = answered.map_err(|failed| self.connection.explain(failed))?;
        let unusable = |_| Failure::new(Status::Unusable, "the server's state cannot be read");
        let Answer { status } = serde_json::from_str(&answer).map_err(unusable)?;
        self.printing
            .line(output, &answer, Printable(Short(&status)))?;
        let reason = match status.as_str() {
            "SERVING" => return Ok(()),
            "NOT_SERVING" => "it is not ready for calls".to_owned(),
            "SERVICE_UNKNOWN" => "the server has no such service".to_owned(),
            other => format!("its state is {}", Printable(Short(other))),
        };
        let subject = match &self.service {
            Some(service) => format!("{service} on {}", self.target),
            None => self.target.to_string(),
        };
        Err(Failure::new(Status::Answered, reason).of(&subject).into())
    }
}
