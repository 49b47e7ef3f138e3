//! A process with a client of a hostile server and a client of an honest one. It reports its memory, and how calls of the
//! honest server end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use rpc_runtime::{Client, ClientBuilder, Limits, Trust, rpc};
use serde::{Deserialize, Serialize};
use tests::hostile::target::TargetClient;
use tests::process::{answer, requests};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::serve::{Report, ServerAddress};

/// The number of calls of each kind, and of streams of items, that are in flight at the hostile server.
const CALLS: usize = 16;

/// The time after which a call of the honest server has failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration of the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientSetup {
    pub(crate) hostile: ServerAddress,
    pub(crate) honest: ServerAddress,
    pub(crate) serves: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ClientRequest {
    Report,
    /// Stops the calls.
    StopCalls,
}

/// The memory of the process, and the results of its calls of the honest server so far.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientReport {
    pub(crate) report: Report,
    pub(crate) answered: usize,
    pub(crate) failed: usize,
}

/// The service of the client.
#[rpc]
trait Home {
    /// Never returns, and keeps its argument.
    async fn count(&self, numbers: Vec<u64>);
    async fn blob(&self, size: usize) -> String;
}

struct Rooms;

impl Home for Rooms {
    async fn count(&self, numbers: Vec<u64>) {
        if numbers.len() > 1000 {
            std::future::pending::<()>().await;
        }
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }
}

fn builder(server: &ServerAddress) -> ClientBuilder {
    let trust = Trust::pem(server.certificate.as_bytes()).expect("a certificate");
    let builder = Client::builder().trust(trust).server_name("localhost");
    builder.limits(Limits::default())
}

/// Calls both servers, and responds to requests.
pub(crate) async fn run(setup: ClientSetup) {
    let ClientSetup {
        hostile,
        honest,
        serves,
    } = setup;
    let connecting = builder(&honest).connect(honest.address);
    let target = TargetClient::new(connecting.await.expect("a connection"));
    let attacked = builder(&hostile).streams(8);
    let attacked = match serves {
        true => {
            let serving = attacked.service(HomeServer::new(Rooms));
            serving.connect(hostile.address).await
        }
        false => attacked.connect(hostile.address).await,
    };
    let attacked = attacked.expect("a connection");
    answer(&());
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let calling = tokio::spawn(call_honest(target, Arc::clone(&counts)));
    let mut load = Some(load(&attacked));
    let mut requests = requests();
    let mut ticks = interval(Duration::from_millis(5));
    let mut counted = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => counted = counted.max(attacked.memory_held()),
            request = requests.recv() => match request {
                Some(ClientRequest::Report) => {
                    let [answered, failed] = [0, 1].map(|at| counts[at].load(Ordering::Relaxed));
                    let report = Report::take(std::mem::take(&mut counted), attacked.memory_held());
                    answer(&ClientReport { report, answered, failed });
                }
                Some(ClientRequest::StopCalls) => {
                    load = None;
                    calling.abort();
                    answer(&());
                }
                None => return drop(load),
            },
        }
    }
}

/// Makes a call every ten milliseconds, and counts calls that succeed in time and calls that do not.
async fn call_honest(target: TargetClient, counts: Arc<[AtomicUsize; 2]>) {
    let mut ticks = interval(Duration::from_millis(10));
    let mut calls = JoinSet::new();
    loop {
        ticks.tick().await;
        let (call, counts) = (target.add(1, 2).timeout(TIMEOUT), Arc::clone(&counts));
        calls.spawn(async move {
            let failed = usize::from(!matches!(call.await, Ok(3)));
            counts[failed].fetch_add(1, Ordering::Relaxed);
        });
        while calls.try_join_next().is_some() {}
    }
}

/// Keeps calls of the hostile server in flight: on shared streams, on dedicated streams, calls whose replies are taken late,
/// and streams from which one item is taken per second.
fn load(client: &Client) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..CALLS {
        let clients = [(); 4].map(|()| client.clone());
        let [shared, dedicated, late, items] = clients;
        tasks.spawn(async move {
            loop {
                let _ = shared.call::<Vec<u8>, _>("get", &()).await;
                sleep(Duration::from_millis(1)).await;
            }
        });
        tasks.spawn(async move {
            loop {
                let _ = dedicated
                    .call::<Vec<u8>, _>("get", &())
                    .dedicated_stream()
                    .await;
                sleep(Duration::from_millis(1)).await;
            }
        });
        tasks.spawn(async move {
            loop {
                let mut call = late.call::<Vec<u8>, _>("get", &());
                let _ = timeout(Duration::from_millis(1), &mut call).await;
                sleep(Duration::from_secs(1)).await;
                let _ = timeout(Duration::from_secs(1), call).await;
            }
        });
        tasks.spawn(async move {
            loop {
                let mut items = items.items::<String, _>("items", &());
                while let Some(Ok(_)) = items.next().await {
                    sleep(Duration::from_secs(1)).await;
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
    tasks
}
