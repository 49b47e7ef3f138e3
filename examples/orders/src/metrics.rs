//! The metrics, on a TCP port that Prometheus reads.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use rpc_runtime::ServerHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// The bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// The maximum number of connections to the port.
const READERS: usize = 8;

/// The maximum size of a request, in bytes.
const REQUEST: usize = 8 << 10;

/// The maximum time of a request and its response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Installs the recorder. Layers and events find their metrics only if they are created after it.
///
/// # Errors
/// When there is a recorder already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let durations = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?;
    builder.install_recorder()
}

/// Serves the metrics. Never returns.
pub async fn serve(listener: TcpListener, metrics: PrometheusHandle, server: ServerHandle) {
    let render = Arc::new(move || {
        gauge!("orders_memory_held_bytes").set(server.memory_held() as f64);
        // Samples of histograms are kept one by one until then.
        metrics.run_upkeep();
        metrics.render()
    });
    let slots = Arc::new(Semaphore::new(READERS));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // For example too many open files: it may pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let render = Arc::clone(&render);
        tokio::spawn(async move {
            // A reader that is slow, or sends something else, is not answered.
            let _ = tokio::time::timeout(TIMEOUT, respond(stream, &*render)).await;
            drop(slot);
        });
    }
}

/// Answers one HTTP request.
async fn respond(
    mut stream: TcpStream,
    render: &(dyn Fn() -> String + Sync),
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read_buf(&mut request).await?;
        if read == 0 || request.len() > REQUEST {
            return Ok(());
        }
    }
    let (status, body) = match request.starts_with(b"GET /metrics ") {
        true => ("200 OK", render()),
        false => ("404 Not Found", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
