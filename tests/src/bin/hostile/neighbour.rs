//! An honest client, which makes calls at a fixed rate and does not wait for responses.

use std::thread;
use std::time::{Duration, Instant};

use rpc_runtime::{Client, Trust};
use serde::{Deserialize, Serialize};
use tests::hostile::target::TargetClient;
use tests::process::{answer, requests};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::serve::ServerAddress;

/// The time between two calls: 500 calls in a second.
const PERIOD: Duration = Duration::from_millis(2);

/// The time after which a call has failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The times from when calls were due until their responses, sorted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waits {
    times: Vec<Duration>,
    /// The number of calls that timed out or failed.
    failed: usize,
}

impl Waits {
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let last = self.times.len() - 1;
        self.times[(last as f64 * percent / 100.0).round() as usize]
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed
    }
}

/// Makes calls for the duration in each request.
pub(crate) async fn run(server: ServerAddress) {
    let trust = Trust::pem(server.certificate.as_bytes()).expect("a certificate");
    let client = Client::builder().trust(trust).connect(server.address).await;
    let target = TargetClient::new(client.expect("a connection"));
    answer(&());
    let mut requests = requests();
    while let Some(length) = requests.recv().await {
        answer(&measure(&target, length).await);
    }
}

async fn measure(target: &TargetClient, length: Duration) -> Waits {
    let (ticks, mut due) = mpsc::unbounded_channel();
    let start = Instant::now();
    // The timers of the runtime have a resolution of a millisecond.
    let clock = thread::spawn(move || {
        let mut at = start;
        while at < start + length && ticks.send(at).is_ok() {
            at += PERIOD;
            thread::sleep(at.saturating_duration_since(Instant::now()));
        }
    });
    let mut calls = JoinSet::new();
    while let Some(at) = due.recv().await {
        let call = target.add(1, 2).timeout(TIMEOUT);
        calls.spawn(async move {
            let answer = call.await;
            if let Ok(sum) = &answer {
                assert_eq!(*sum, 3);
            }
            (at.elapsed(), answer.is_err())
        });
    }
    clock.join().expect("a clock that ticks");
    let calls = calls.join_all().await;
    let failed = calls.iter().filter(|(_, failed)| *failed).count();
    let mut times: Vec<_> = calls.into_iter().map(|(time, _)| time).collect();
    times.sort_unstable();
    Waits { times, failed }
}
