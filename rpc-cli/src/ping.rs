//! `rpc ping`: checks that a server answers, and measures the latency.

use std::time::{Duration, Instant};

use clap::Args;
use rpc_runtime::Client;
use serde_json::json;

use crate::connect::Connection;
use crate::failure::{Failure, Stop};
use crate::output::{Output, Printing};
use crate::target::Target;

/// The default timeout of a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks that a server answers: the exit status is 0 only if every ping was answered
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: `HOST:PORT` over QUIC, or a URL: `https://…`, `http://…`, `wss://…`, `ws://…`
    target: Target,
    /// The number of pings; 0 sends pings until ctrl-c
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    count: u64,
    /// The time between two pings
    #[arg(long, short, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    interval: Duration,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(mut self, output: &mut Output) -> Result<(), Stop> {
        self.connection.default_timeout(PING_TIMEOUT);
        let started = Instant::now();
        let work = async |client: &Client| self.ping(client, started.elapsed(), output).await;
        self.connection.session(&self.target, work).await
    }

    async fn ping(
        &self,
        client: &Client,
        connected: Duration,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let json = json!({"connected": self.target.to_string(), "ms": milliseconds(connected)});
        let text = format_args!("connected to {} in {}", self.target, shown(connected));
        self.printing.line(output, &json.to_string(), text)?;
        let mut times = Times::default();
        while self.count == 0 || times.count < self.count {
            if times.count > 0 {
                tokio::time::sleep(self.interval).await;
            }
            let time = ping(&self.connection, client).await?;
            times.add(time);
            let json = json!({"ping": times.count, "ms": milliseconds(time)});
            let text = format_args!("ping {}: {}", times.count, shown(time));
            self.printing.line(output, &json.to_string(), text)?;
        }
        if let Some(summary) = times.summary() {
            self.printing.text(output, summary)?;
        }
        Ok(())
    }
}

/// The times of the pings, in constant memory, since there may be any number of them.
#[derive(Debug, Default)]
struct Times {
    count: u64,
    sum: Duration,
    least: Duration,
    most: Duration,
}

impl Times {
    fn add(&mut self, time: Duration) {
        self.least = match self.count {
            0 => time,
            _ => self.least.min(time),
        };
        self.most = self.most.max(time);
        self.sum += time;
        self.count += 1;
    }

    /// Returns a summary of several pings.
    fn summary(&self) -> Option<String> {
        let count = self.count;
        (count > 1).then(|| {
            let mean = self.sum.div_f64(count as f64);
            let [least, mean, most] = [self.least, mean, self.most].map(shown);
            format!("{count} answered: min {least}, mean {mean}, max {most}")
        })
    }
}

async fn ping(connection: &Connection, client: &Client) -> Result<Duration, Failure> {
    let started = Instant::now();
    let answered = connection.call(client, "rpc.ping", &()).await;
    answered.map_err(|failed| connection.explain(failed))?;
    Ok(started.elapsed())
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Returns a time with three digits: `0.213 ms`, `21.3 ms`, `2.13 s`.
pub(crate) fn shown(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    match milliseconds {
        ..0.9995 => format!("{:.0} µs", milliseconds * 1e3),
        ..9.995 => format!("{milliseconds:.2} ms"),
        ..99.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_three_digits() {
        let cases = [
            (0, "0 µs"),
            (213, "213 µs"),
            (999, "999 µs"),
            (1_000, "1.00 ms"),
            (2_134, "2.13 ms"),
            (21_340, "21.3 ms"),
            (213_400, "213 ms"),
            (999_499, "999 ms"),
            (2_134_000, "2.13 s"),
            (61_000_000, "61.00 s"),
        ];
        for (microseconds, expected) in cases {
            assert_eq!(shown(Duration::from_micros(microseconds)), expected);
        }
    }
}
