//! How much a lost packet holds up, with one stream for all calls, with a few, and with one for each.

use std::sync::Arc;
use std::time::Duration;

use rpc_runtime::Client;
use tests::account::{COLUMNS, Manner, Streams, Told};
use tests::relay::Faults;
use tests::stage::Stage;
use tokio::time::Instant;

const IN_FLIGHT: usize = 64;

pub(crate) async fn compare(calls: usize, seed: u64) {
    let columns = COLUMNS.split('|').count() + 2;
    println!("| loss | streams | calls/s | {COLUMNS} |");
    println!("|---:|---{}|", "|---:".repeat(columns - 1));
    for loss in [0.0, 0.01] {
        for lanes in [1, 2, 4] {
            let streams = format!("{lanes} shared");
            measure(loss, &streams, lanes, Streams::Shared, calls, seed).await;
        }
        measure(loss, "one each", 1, Streams::Own, calls, seed).await;
    }
}

async fn measure(loss: f64, name: &str, lanes: usize, streams: Streams, calls: usize, seed: u64) {
    let stage = Stage::set_for(Client::builder().lanes(lanes), seed).await;
    stage.relay.set_faults(Faults {
        loss,
        delay: Duration::from_millis(5),
        ..Faults::default()
    });
    let manner = Manner {
        streams,
        ..Manner::default()
    };
    let start = Instant::now();
    let load = Arc::clone(&stage.account).load(stage.ledger.clone(), calls, IN_FLIGHT, manner);
    load.await;
    let rate = calls as f64 / start.elapsed().as_secs_f64();
    let figures = stage.settle().await;
    assert_eq!(figures.told(Told::Ok), calls, "all are answered");
    println!("| {} % | {name} | {rate:.0} | {figures} |", loss * 100.0);
}
