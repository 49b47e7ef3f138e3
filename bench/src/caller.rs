//! The closed loop: a fixed number of callers, each of which calls again as soon as it has its response.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::work::{Order, Reading, WORK, Workload, check};

/// One connection of a contender. The loop below is the same for all contenders.
///
/// Arguments have the form that the contender's own API takes with the least copying. The functions without `self` make
/// them once. An echoed order is the argument of the next call, so that no caller has to copy it.
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

    /// Starts a stream of readings. The default fails, for contenders without streams.
    fn items(
        &mut self,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<Reading>>>> + Send {
        async { bail!("no streams of items") }
    }
}

/// The phase of a run, shared by all callers: warm-up, measurement or end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<AtomicU8>);

const UNMEASURED: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

impl Phase {
    /// Continues the calls without measuring them.
    pub(crate) fn stop_measuring(&self) {
        self.0.store(UNMEASURED, Ordering::Relaxed);
    }

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

/// The latencies of calls, in nanoseconds, with a precision of 1 %.
pub(crate) type Latencies = Histogram<u32>;

/// The latencies of a run. Each thread has its own histogram, so that recording costs little, and the same for any number
/// of callers.
#[derive(Clone)]
pub(crate) struct Record(Arc<Vec<Mutex<Latencies>>>);

impl Record {
    pub(crate) fn new() -> Result<Self> {
        let latencies = || {
            Ok(Mutex::new(Histogram::new_with_bounds(
                1_000,
                100_000_000_000,
                2,
            )?))
        };
        let threads: Result<_> = (0..THREADS).map(|_| latencies()).collect();
        Ok(Self(Arc::new(threads?)))
    }

    pub(crate) fn add(&self, latency: Duration) {
        thread_local!(static THREAD: usize = NEXT.fetch_add(1, Ordering::Relaxed));
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let latencies = THREAD.with(|thread| &self.0[thread % THREADS]);
        lock(latencies).saturating_record(latency.as_nanos() as u64);
    }

    /// Returns the number of recorded calls.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|one| lock(one).len()).sum()
    }

    /// Returns what was recorded so far, and clears the record.
    pub(crate) fn take(&self) -> Latencies {
        let mut all = lock(&self.0[0]).clone();
        all.reset();
        for one in self.0.iter() {
            let mut one = lock(one);
            all += &*one;
            one.reset();
        }
        all
    }
}

const THREADS: usize = 16;

fn lock(latencies: &Mutex<Latencies>) -> MutexGuard<'_, Latencies> {
    latencies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures the calls of one caller.
pub(crate) struct Clock {
    phase: Phase,
    record: Record,
    began: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(phase: &Phase, record: &Record) -> Self {
        Self {
            phase: phase.clone(),
            record: record.clone(),
            began: None,
        }
    }

    fn is_over(&self) -> bool {
        self.phase.is_over()
    }

    /// Records the latency of the previous call. Returns `true` if the caller is to call again.
    pub(crate) fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        if let Some(began) = self.began.replace(now)
            && self.phase.is_measuring()
        {
            self.record.add(now - began);
        }
        !self.phase.is_over()
    }
}

/// Runs `in_flight` callers over these connections until the run is over.
pub(crate) async fn call<C: Calls>(
    connections: Vec<C>,
    workload: Workload,
    in_flight: usize,
    phase: &Phase,
    record: &Record,
) -> Result<()> {
    let mut callers = JoinSet::new();
    for (number, connection) in (0..in_flight).zip(connections.iter().cycle()) {
        let clock = Clock::new(phase, record);
        callers.spawn(caller(connection.clone(), workload, number as i64, clock));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn caller<C: Calls>(
    mut client: C,
    workload: Workload,
    number: i64,
    mut clock: Clock,
) -> Result<()> {
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
        Workload::Items => {
            while !clock.is_over() {
                let mut items = client.items().await?;
                let mut at = 0;
                // Some contenders end a stream whose reader falls behind.
                while let Some(reading) = items.try_next().await? {
                    check(reading == Reading::new(at))?;
                    at += 1;
                    if !clock.goes_on() {
                        break;
                    }
                }
            }
        }
        Workload::Text => {
            let text = C::make_text(&WORK.text);
            while clock.goes_on() {
                check(client.text(&text).await? == WORK.text.len() as u64)?;
            }
        }
    }
    Ok(())
}
