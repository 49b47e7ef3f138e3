//! Makes calls: with a constant number in flight, or at a constant rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};
use rpc_runtime::{Call, Client, ErrorObject};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::record::Record;
use crate::output::grouped;

/// The load of a measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) pace: Pace,
    pub(super) length: Length,
    pub(super) warm_up: Duration,
}

/// The rule by which calls start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// A call starts when another one is answered, so that `calls` calls are always in flight.
    Closed { calls: usize },
    /// A call starts when it is due, unless `most` calls are in flight.
    Open { rate: f64, most: usize },
}

/// The length of the measurement, from the end of the warm-up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    Time(Duration),
    Calls(u64),
}

/// The maximum number of calls that are due and not started.
const AHEAD: usize = 1024;

/// A call of the benchmark, whose result is read and discarded.
type Made = Call<IgnoredAny, ErrorObject>;

/// Makes calls over all connections at once until the measurement ends.
pub(super) async fn run<C>(clients: &[Client], load: Load, call: C) -> Record
where
    C: Fn(&Client) -> Made + Clone + Send + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let measured_from = Instant::now() + load.warm_up;
    let progress = tokio::spawn(show(load, measured_from, Arc::clone(&done)));
    let tasks: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(index, client)| {
            let connection = ConnectionLoad {
                client: client.clone(),
                load: load.share(index, clients.len()),
                measured_from,
                record: Record::new(),
                started: 0,
                done: Arc::clone(&done),
                call: call.clone(),
            };
            tokio::spawn(connection.run())
        })
        .collect();
    let mut record = Record::new();
    for task in tasks {
        match task.await {
            Ok(of_one) => record.merge(of_one),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
    progress.abort();
    let _ = progress.await;
    record
}

impl Load {
    /// Returns the share of one of several connections.
    fn share(self, index: usize, of: usize) -> Self {
        let part = |whole: usize| whole / of + usize::from(index < whole % of);
        let pace = match self.pace {
            Pace::Closed { calls } => Pace::Closed { calls: part(calls) },
            Pace::Open { rate, most } => Pace::Open {
                rate: rate / of as f64,
                most: part(most),
            },
        };
        let length = match self.length {
            Length::Calls(calls) => {
                let (of, index) = (of as u64, index as u64);
                Length::Calls(calls / of + u64::from(index < calls % of))
            }
            time => time,
        };
        Self {
            pace,
            length,
            ..self
        }
    }
}

/// The calls of one connection.
struct ConnectionLoad<C> {
    client: Client,
    load: Load,
    measured_from: Instant,
    record: Record,
    /// The number of started calls that are measured.
    started: u64,
    done: Arc<AtomicU64>,
    call: C,
}

impl<C: Fn(&Client) -> Made> ConnectionLoad<C> {
    async fn run(self) -> Record {
        match self.load.pace {
            Pace::Closed { calls } => self.closed(calls).await,
            Pace::Open { rate, most } => self.open(rate, most).await,
        }
    }

    async fn closed(mut self, calls: usize) -> Record {
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < calls {
                let now = Instant::now();
                if !self.may_start(now) {
                    break;
                }
                in_flight.push(timed(now, (self.call)(&self.client)));
            }
            match in_flight.next().await {
                Some((due, result)) => self.record_result(due, result),
                None => return self.record,
            }
        }
    }

    async fn open(mut self, rate: f64, most: usize) -> Record {
        let mut due = pace(rate);
        let mut in_flight = FuturesUnordered::new();
        let mut goes_on = true;
        loop {
            tokio::select! {
                Some(next) = due.recv(), if goes_on && in_flight.len() < most => {
                    goes_on = self.may_start(next);
                    if goes_on {
                        in_flight.push(timed(next, (self.call)(&self.client)));
                    }
                }
                Some((due, result)) = in_flight.next() => self.record_result(due, result),
                else => return self.record,
            }
        }
    }

    /// Returns `true` if a call that is due at this time belongs to the measurement.
    fn may_start(&mut self, due: Instant) -> bool {
        if due < self.measured_from {
            return true;
        }
        self.started += 1;
        match self.load.length {
            Length::Time(time) => due < self.measured_from + time,
            Length::Calls(calls) => self.started <= calls,
        }
    }

    fn record_result(&mut self, due: Instant, result: <Made as Future>::Output) {
        if due >= self.measured_from {
            self.record.add(due, result);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn timed(due: Instant, call: Made) -> (Instant, <Made as Future>::Output) {
    (due, call.await)
}

/// Sends the times at which calls are due. Uses a thread because the runtime's timers are up to a millisecond late,
/// which would count as latency; a thread that sleeps is late by some fifty microseconds. The thread waits while the
/// channel is full, and then catches up.
fn pace(rate: f64) -> mpsc::Receiver<Instant> {
    let (sender, due) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let start = Instant::now();
        for call in 0_u64.. {
            let next = start + Duration::from_secs_f64(call as f64 / rate);
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if sender.blocking_send(next).is_err() {
                break;
            }
        }
    });
    due
}

/// Shows the progress, on a terminal.
async fn show(load: Load, measured_from: Instant, done: Arc<AtomicU64>) {
    let total = match load.length {
        Length::Time(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        Length::Calls(calls) => calls,
    };
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    let bar = Cleared(bar);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let Some(elapsed) = Instant::now().checked_duration_since(measured_from) else {
            bar.0.set_message("warming up");
            continue;
        };
        let calls = done.load(Ordering::Relaxed);
        bar.0.set_position(match load.length {
            Length::Time(_) => u64::try_from(elapsed.as_millis())
                .unwrap_or(u64::MAX)
                .min(total),
            Length::Calls(_) => calls,
        });
        let rate = calls as f64 / elapsed.as_secs_f64().max(0.001);
        bar.0
            .set_message(format!("{} calls/s", grouped(rate as u64)));
    }
}

/// Removes the progress bar when dropped.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_all_of_the_work() {
        let load = Load {
            pace: Pace::Closed { calls: 10 },
            length: Length::Calls(100),
            warm_up: Duration::ZERO,
        };
        let shares: Vec<_> = (0..3).map(|index| load.share(index, 3)).collect();
        let calls = shares.iter().map(|share| match share.pace {
            Pace::Closed { calls } => calls,
            Pace::Open { most, .. } => most,
        });
        assert_eq!(calls.collect::<Vec<_>>(), [4, 3, 3]);
        let lengths = shares.iter().map(|share| match share.length {
            Length::Calls(calls) => calls,
            Length::Time(_) => 0,
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [34, 33, 33]);
    }

    #[test]
    fn calls_are_due_evenly_and_never_early() {
        let mut due = pace(2000.0);
        let times: Vec<_> = (0..10).filter_map(|_| due.blocking_recv()).collect();
        assert_eq!(times.len(), 10);
        assert!(times[9] <= Instant::now());
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(
                gap.abs_diff(Duration::from_micros(500)) < Duration::from_micros(1),
                "{gap:?}"
            );
        }
    }

    #[test]
    fn calls_that_are_not_started_stay_due() {
        let mut due = pace(1e6);
        let number = 3 * AHEAD;
        let times: Vec<_> = (0..number).filter_map(|_| due.blocking_recv()).collect();
        let took = times[number - 1] - times[0];
        assert_eq!(took.as_micros(), number as u128 - 1);
        while due.len() < due.max_capacity() {
            thread::yield_now();
        }
        assert_eq!(due.max_capacity(), AHEAD);
    }
}
