//! Places orders one after the other on several tasks, for as long as it is not told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{NewOrder, OrderError, OrdersClient};
use crate::client::Session;
use crate::serve::Failure;
use crate::signals::Stop;
use rpc_runtime::CallError;

/// The number of orders that are placed at the same time.
const TASKS: usize = 8;

/// The time limit of one attempt. It is short, since repeating a call with the same key does no harm: of a replica that was
/// killed the client hears nothing.
const ATTEMPT: Duration = Duration::from_secs(2);

/// The pause before an order that failed is placed again.
const PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of times that an order is placed, besides the retries of the client.
const ATTEMPTS: u32 = 20;

/// Places orders until it is told to stop, or until `count` are placed. Prints each that is acknowledged. The keys start
/// with `prefix`.
///
/// # Errors
/// When an order is not placed.
pub async fn load(session: &Session, prefix: &str, count: u64) -> Result<(), Failure> {
    let mut signals = Stop::new()?;
    let stopping = CancellationToken::new();
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (orders, stopping) = (session.orders.clone(), stopping.clone());
        let (next, prefix) = (Arc::clone(&next), prefix.to_owned());
        tasks.spawn(async move {
            while !stopping.is_cancelled() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                place(&orders, format!("{prefix}-{number}")).await?;
            }
            Ok::<_, CallError<OrderError>>(())
        });
    }
    loop {
        tokio::select! {
            task = tasks.join_next() => match task {
                Some(ended) => ended??,
                None => return Ok(()),
            },
            // Orders that were sent are waited for: their outcome would be unknown otherwise.
            () = signals.received() => stopping.cancel(),
        }
    }
}

/// Places one order. The client itself repeats calls of which it knows that this does no harm; here the key makes that true
/// for every call that failed at a server or on the way.
async fn place(orders: &OrdersClient, key: String) -> Result<(), CallError<OrderError>> {
    for attempt in 1.. {
        let order = NewOrder {
            key: key.clone(),
            item: "pear".to_owned(),
            count: 1,
        };
        match orders.place(order).timeout(ATTEMPT).await {
            Ok(order) => {
                println!("placed {key} {}", order.id);
                return Ok(());
            }
            Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                tracing::warn!(key, %error, "order failed");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}

/// Returns `true` if the same call may succeed later.
fn may_pass(error: &CallError<OrderError>) -> bool {
    match error {
        CallError::Application(error) => *error == OrderError::Unavailable,
        CallError::Timeout
        | CallError::TimeoutAtLimit(_)
        | CallError::TimeoutBehindItems(_)
        | CallError::Connection { .. } => true,
        _ => false,
    }
}
