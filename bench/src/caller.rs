//! The closed loop: so many callers, each of which calls again as soon as it has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::work::{Order, WORK, Workload, check};

/// One connection of a contender. The loop below is the same for all.
///
/// Arguments are in the form that the contender's own API takes with the least copying, made once by the functions
/// without `self`. An echoed order is the argument of the next call, so nobody has to copy it.
pub(crate) trait Calls: Clone + Send + Sync + 'static {
    type Order: Clone + PartialEq + Send + Sync;
    type Orders: Send + Sync;
    type Text: Send + Sync;

    fn make_order(order: &Order) -> Self::Order;
    fn make_orders(orders: &'static [Order]) -> Self::Orders;
    fn make_text(text: &'static str) -> Self::Text;

    fn add(&mut self, a: i64, b: i64) -> impl Future<Output = Result<i64>> + Send;
    fn record(&mut self, order: Self::Order) -> impl Future<Output = Result<Self::Order>> + Send;
    fn batch(&mut self, orders: &Self::Orders) -> impl Future<Output = Result<u64>> + Send;
    fn text(&mut self, text: &Self::Text) -> impl Future<Output = Result<u64>> + Send;
}

/// Warm-up, measurement, end: seen by all callers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<AtomicU8>);

const MEASURE: u8 = 1;
const STOP: u8 = 2;

impl Phase {
    pub(crate) fn measure(&self) {
        self.0.store(MEASURE, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.0.store(STOP, Ordering::Relaxed);
    }

    pub(crate) fn is_measuring(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURE
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STOP
    }
}

/// How long calls took, in nanoseconds, to 1 %.
pub(crate) type Latencies = Histogram<u32>;

pub(crate) fn latencies() -> Result<Latencies> {
    Ok(Histogram::new_with_bounds(1_000, 100_000_000_000, 2)?)
}

/// One caller's clock.
struct Clock {
    phase: Phase,
    began: Option<Instant>,
    latencies: Latencies,
}

impl Clock {
    fn new(phase: Phase) -> Result<Self> {
        Ok(Self {
            phase,
            began: None,
            latencies: latencies()?,
        })
    }

    /// Whether to call once more; ends the measurement of the call before.
    fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        if let Some(began) = self.began.replace(now)
            && self.phase.is_measuring()
        {
            self.latencies
                .saturating_record((now - began).as_nanos() as u64);
        }
        !self.phase.is_over()
    }
}

/// Has `in_flight` callers call over these connections until it is over.
pub(crate) async fn call<C: Calls>(
    connections: Vec<C>,
    workload: Workload,
    in_flight: usize,
    phase: &Phase,
) -> Result<Latencies> {
    let mut callers = JoinSet::new();
    for (number, connection) in (0..in_flight).zip(connections.iter().cycle()) {
        callers.spawn(caller(
            connection.clone(),
            workload,
            number as i64,
            Clock::new(phase.clone())?,
        ));
    }
    let mut all = latencies()?;
    while let Some(one) = callers.join_next().await {
        all.add(one??)?;
    }
    Ok(all)
}

async fn caller<C: Calls>(
    mut client: C,
    workload: Workload,
    number: i64,
    mut clock: Clock,
) -> Result<Latencies> {
    match workload {
        Workload::Add => {
            let mut a = number;
            while clock.goes_on() {
                a += 1_000;
                check(client.add(a, number).await? == a + number)?;
            }
        }
        Workload::Record => {
            let expected = C::make_order(&WORK.order);
            let mut order = expected.clone();
            while clock.goes_on() {
                order = client.record(order).await?;
                check(order == expected)?;
            }
        }
        Workload::Batch => {
            let orders = C::make_orders(&WORK.orders);
            while clock.goes_on() {
                check(client.batch(&orders).await? == WORK.pieces)?;
            }
        }
        Workload::Text => {
            let text = C::make_text(&WORK.text);
            while clock.goes_on() {
                check(client.text(&text).await? == WORK.text.len() as u64)?;
            }
        }
    }
    Ok(clock.latencies)
}
