//! `rpc bench`: measures the rate and the latency of calls.

mod load;
mod record;
mod report;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rpc_runtime::{Client, code};

use self::load::{Length, Load, Pace};
use self::report::Report;
use crate::call::{explain, known};
use crate::connect::Connection;
use crate::failure::{Failure, Status, Stop};
use crate::output::Output;
use crate::params::{Given, Params};
use crate::reply::CallFailed;
use crate::source::describe;
use crate::target::Target;

/// The default timeout of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The default maximum size of a reply, in bytes. It is small because many replies may be received at once.
const MAX_REPLY: usize = 1 << 20;

/// The default maximum number of calls in flight of an open loop.
const OPEN: usize = 4096;

/// Calls a method repeatedly, and prints the rate and the latency of the calls
///
/// Without `--rate`, the calls form a closed loop: their number in flight is constant, and a call starts when another one
/// is answered. With `--rate`, they form an open loop: calls start at a fixed rate, even if earlier calls have not been
/// answered, and the latency of a call counts from the time at which it was due. An open loop therefore shows when a
/// server stalls, which a closed loop hides.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: `HOST:PORT` over QUIC, or a URL: `https://…`, `http://…`, `wss://…`, `ws://…`
    target: Target,
    /// The name of the method
    method: String,
    #[command(flatten)]
    params: Params,
    /// The number of calls in flight; with `--rate`, the maximum [default: 1, with `--rate` 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    in_flight: Option<u64>,
    /// Starts this number of calls per second, in an open loop
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// The duration of the measurement
    #[arg(long, short, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Measures this number of calls instead of a duration
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// The duration of the calls before the measurement
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    warm_up: Duration,
    /// The number of connections that share the calls
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    connections: u64,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0.001 to 10000000".into()),
    }
}

/// Reads a duration that is within the range of clocks.
fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) => Err("expected at most one year".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Options {
    /// Returns `true` if one thread is not enough.
    pub(crate) fn is_parallel(&self) -> bool {
        self.connections > 1
    }

    pub(crate) async fn run(mut self, output: &mut Output) -> Result<(), Stop> {
        self.connection.default_timeout(CALL_TIMEOUT);
        self.connection.default_max_reply(MAX_REPLY);
        let load = self.load()?;
        let given = self.params.clone().read()?;
        let bench = async |clients: &[Client]| self.bench(clients, &given, load).await;
        let connections = usize::try_from(self.connections).unwrap_or(usize::MAX);
        let report = self
            .connection
            .sessions(&self.target, connections, bench)
            .await?;
        match self.json {
            true => output.json(&report.to_json().to_string())?,
            false => report.write(output)?,
        }
        match report.failures() {
            0 => Ok(()),
            failed => {
                let status = match report.has_only_invalid_params() {
                    true => Status::Usage,
                    false => Status::Answered,
                };
                let failure = Failure::new(status, format!("{failed} calls failed"));
                Err(match report.has_unusable() {
                    true => failure.tip(self.connection.limit_tip()).into(),
                    false => failure.into(),
                })
            }
        }
    }

    fn load(&self) -> Result<Load, Failure> {
        let in_flight = self.in_flight.and_then(|calls| usize::try_from(calls).ok());
        let pace = match self.rate {
            Some(rate) => Pace::Open {
                rate,
                most: in_flight.unwrap_or(OPEN),
            },
            None => Pace::Closed {
                calls: in_flight.unwrap_or(1),
            },
        };
        if let Pace::Closed { calls: most } | Pace::Open { most, .. } = pace
            && (most as u64) < self.connections
        {
            let failure = Failure::usage("there are more connections than calls in flight");
            return Err(failure.tip(format!(
                "use all connections with `--in-flight {}`",
                self.connections
            )));
        }
        let length = self
            .calls
            .map_or(Length::Time(self.duration), Length::Calls);
        Ok(Load {
            pace,
            length,
            warm_up: self.warm_up,
        })
    }

    async fn bench(&self, clients: &[Client], given: &Given, load: Load) -> Result<Report, Stop> {
        let document = match clients.first() {
            Some(client) => {
                describe(
                    &self.connection,
                    client,
                    "the server must return a valid description",
                )
                .await?
            }
            None => None,
        };
        let known = known(document.as_ref(), &self.method);
        if let Some((_, method)) = known
            && (method.items().is_some() || method.upload().is_some() || method.is_notification())
        {
            let why = format!(
                "`{}` is not a call with one result, and cannot be measured",
                self.method
            );
            return Err(Failure::usage(why).into());
        }
        let params = Arc::new(given.to_json(known)?);
        if let (Some(client), None) = (clients.first(), known) {
            // The method may be one that the server does not describe. If it does not exist, all calls would fail.
            let once = self.connection.call(client, &self.method, &*params).await;
            if let Err(failed) = once
                && matches!(&failed, CallFailed::Answered(error_reply) if error_reply.code == code::METHOD_NOT_FOUND)
            {
                let document = document.as_ref();
                let server = (&self.connection, &self.target);
                return Err(explain(server, failed, &self.method, document).into());
            }
        }
        let call = {
            let (method, connection) = (self.method.clone(), self.connection.clone());
            move |client: &Client| connection.with_meta(client.call(&method, &*params).no_retry())
        };
        let measured = load::run(clients, load, call).await;
        Ok(Report {
            target: self.target.to_string(),
            method: self.method.clone(),
            connections: clients.len(),
            load,
            measured,
        })
    }
}
