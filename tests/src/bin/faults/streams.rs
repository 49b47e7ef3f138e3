//! Delays by lost packets: with one shared stream, with a few, and with a dedicated stream for each call.

use std::sync::Arc;
use std::time::Duration;

use rpc_runtime::Client;
use tests::call_log::{COLUMNS, CallOptions, CallResult, Streams};
use tests::harness::Harness;
use tests::relay::Faults;
use tokio::time::Instant;

const IN_FLIGHT: usize = 64;

/// A row of the table: the loss, and the streams that calls use.
struct Row {
    loss: f64,
    name: String,
    shared: usize,
    streams: Streams,
}

pub(crate) async fn compare(calls: usize, seed: u64) {
    let columns = COLUMNS.split('|').count() + 2;
    println!("| loss | streams | calls/s | {COLUMNS} |");
    println!("|---:|---{}|", "|---:".repeat(columns - 1));
    for loss in [0.0, 0.01] {
        let shared = [1, 2, 4].map(|shared| Row {
            loss,
            name: format!("{shared} shared"),
            shared,
            streams: Streams::Shared,
        });
        let own = Row {
            loss,
            name: "one each".into(),
            shared: 1,
            streams: Streams::Own,
        };
        for row in shared.into_iter().chain([own]) {
            row.measure(calls, seed).await;
        }
    }
}

impl Row {
    async fn measure(&self, calls: usize, seed: u64) {
        let harness = Harness::start_with(Client::builder().streams(self.shared), seed).await;
        harness.relay.set_faults(Faults {
            loss: self.loss,
            delay: Duration::from_millis(5),
            ..Faults::default()
        });
        let options = CallOptions {
            streams: self.streams,
            ..CallOptions::default()
        };
        let start = Instant::now();
        let load =
            Arc::clone(&harness.call_log).load(harness.ledger.clone(), calls, IN_FLIGHT, options);
        load.await;
        let rate = calls as f64 / start.elapsed().as_secs_f64();
        let figures = harness.finish().await;
        assert_eq!(figures.count(CallResult::Ok), calls, "all are answered");
        let Self { loss, name, .. } = self;
        println!("| {} % | {name} | {rate:.0} | {figures} |", loss * 100.0);
    }
}
