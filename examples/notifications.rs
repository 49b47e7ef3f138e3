//! Sends notifications, which have no reply. The handler reads metadata of the notification and values of its connection.

use std::sync::atomic::{AtomicU64, Ordering};

use rpc_runtime::{Client, Context, rpc};
use tokio::sync::mpsc;

#[rpc]
trait Sensors {
    /// Reports a reading. The reading is lost if the connection is lost.
    #[rpc(notification)]
    async fn report(&self, cx: &Context, sensor: &str, celsius: f64);
}

struct Station {
    readings: mpsc::Sender<String>,
}

/// The number of reports on a connection, which the server keeps with the connection.
#[derive(Default)]
struct Reports(AtomicU64);

impl Sensors for Station {
    async fn report(&self, cx: &Context, sensor: &str, celsius: f64) {
        let reports = cx
            .connection_extensions()
            .get::<Reports>()
            .unwrap_or_else(|| {
                cx.connection_extensions().insert(Reports::default());
                cx.connection_extensions().get().unwrap_or_default()
            });
        let count = reports.0.fetch_add(1, Ordering::Relaxed) + 1;
        let site = cx.meta("site").unwrap_or("nowhere");
        let line = format!("report {count} of this connection: {sensor} at {site}: {celsius} °C");
        // A full channel makes the sender wait, which is back pressure.
        let _ = self.readings.send(line).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (readings, mut received) = mpsc::channel(8);
    let client = Client::local(SensorsServer::new(Station { readings }));
    let sensors = SensorsClient::new(client.clone());

    for (sensor, celsius) in [("roof", 21.5), ("cellar", 9.0), ("oven", 180.0)] {
        sensors.report(sensor, celsius).meta("site", "home").await?;
    }
    // Sends the same notification with named parameters, as a client without the trait would.
    client
        .notify(
            "report",
            &serde_json::json!({ "celsius": -3.5, "sensor": "garden" }),
        )
        .await?;

    for _ in 0..4 {
        if let Some(line) = received.recv().await {
            println!("{line}");
        }
    }
    Ok(())
}
