//! An honest client, which makes calls at a fixed rate and does not wait for responses.

use std::thread;
use std::time::{Duration, Instant};

use rpc_runtime::{Client, Trust};
use serde::{Deserialize, Serialize};
use tests::process::{answer, orders};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{Place, TownClient};

/// The time between two calls: 500 calls in a second.
const PERIOD: Duration = Duration::from_millis(2);

/// The times of calls from when they were due, sorted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let last = self.0.len() - 1;
        self.0[(last as f64 * percent / 100.0).round() as usize]
    }
}

/// Makes calls for the time of each order.
pub(crate) async fn obey(place: Place) {
    let trust = Trust::pem(place.certificate.as_bytes()).expect("a certificate");
    let client = Client::builder().trust(trust).connect(place.address).await;
    let town = TownClient::new(client.expect("a connection"));
    answer(&());
    let mut orders = orders();
    while let Some(length) = orders.recv().await {
        answer(&measure(&town, length).await);
    }
}

async fn measure(town: &TownClient, length: Duration) -> Waits {
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
        let call = town.add(1, 2);
        calls.spawn(async move {
            assert_eq!(call.await.expect("an answer"), 3);
            at.elapsed()
        });
    }
    clock.join().expect("a clock that ticks");
    let mut waits = calls.join_all().await;
    waits.sort_unstable();
    Waits(waits)
}
