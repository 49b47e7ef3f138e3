//! Makes calls over a connection in memory. Both ends run on one thread.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use rpc_runtime::{Client, rpc};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::load::RuntimeKind;
use crate::work::check;

/// The number of calls, and the number of calls in flight at once.
#[derive(Debug, Args)]
pub(crate) struct Repetition {
    in_flight: usize,
    calls: u64,
    /// The number of calls that are cancelled before.
    #[arg(default_value_t = 0)]
    cancelled: u64,
}

#[rpc]
trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn wait(&self);
}

/// The service. Each call of `wait` adds a permit to `started`, and waits for one of `released`.
#[derive(Clone)]
struct Desk {
    started: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Calculator for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn wait(&self) {
        self.started.add_permits(1);
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
    }
}

pub(crate) fn repeat(repetition: &Repetition) -> Result<()> {
    let runtime = RuntimeKind::Current.build()?;
    runtime.block_on(async {
        let desk = Desk {
            started: Arc::new(Semaphore::new(0)),
            released: Arc::new(Semaphore::new(0)),
        };
        let client = CalculatorClient::new(Client::local(CalculatorServer::new(desk.clone())));
        let mut left = repetition.cancelled;
        while left > 0 {
            let calls = left.min(CANCELLED_AT_ONCE);
            cancel(&client, calls, &desk).await?;
            left -= calls;
        }
        call(&client, repetition.in_flight, repetition.calls).await
    })
}

/// The number of calls that are cancelled together, the same as the number of calls in flight later.
const CANCELLED_AT_ONCE: u64 = 64;

/// Drops calls whose handlers have started. Half of the handlers end at the same moment, so that the cancellation finds no
/// call. The same number of calls that end by themselves offsets the cancellations.
async fn cancel(client: &CalculatorClient, calls: u64, desk: &Desk) -> Result<()> {
    let mut waiting = JoinSet::new();
    for _ in 0..calls {
        waiting.spawn(client.wait());
    }
    desk.started.acquire_many(calls as u32).await?.forget();
    desk.released.add_permits(calls as usize / 2);
    waiting.shutdown().await;
    call(client, 1, calls).await
}

async fn call(client: &CalculatorClient, in_flight: usize, calls: u64) -> Result<()> {
    let mut callers = JoinSet::new();
    for number in 0..in_flight as u64 {
        let share = calls / in_flight as u64 + u64::from(number < calls % in_flight as u64);
        callers.spawn(caller(client.clone(), number as i64, share));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn caller(client: CalculatorClient, number: i64, calls: u64) -> Result<()> {
    let mut a = number;
    for _ in 0..calls {
        a += 1_000;
        check(client.add(a, number).await? == a + number)?;
    }
    Ok(())
}
