//! Records the results of calls, and compares them with the executed calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc_runtime::{Call, CallError, Execution};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ledger::{LedgerClient, Receipt};
use crate::panics::Panics;

/// The time limit of a call. A lost connection is noticed much earlier.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallResult {
    /// It succeeded with its own result.
    Ok,
    /// It was not sent.
    NotSent,
    /// It was not executed.
    NotExecuted,
    /// It may have been executed.
    MayHaveExecuted,
    /// It timed out.
    Timeout,
}

impl CallResult {
    /// All results, in the order of tables.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::NotSent,
        Self::NotExecuted,
        Self::MayHaveExecuted,
        Self::Timeout,
    ];

    fn allows(self, executed: usize) -> bool {
        match self {
            Self::Ok => executed == 1,
            Self::NotSent | Self::NotExecuted => executed == 0,
            Self::MayHaveExecuted | Self::Timeout => executed <= 1,
        }
    }
}

/// How calls are made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallOptions {
    /// The duration of the handler.
    pub work: Duration,
    /// The timeout, if any.
    pub timeout: Option<Duration>,
    /// The calls that use dedicated streams.
    pub streams: Streams,
}

/// The calls that use dedicated streams.
#[derive(Debug, Clone, Copy, Default)]
pub enum Streams {
    /// No call.
    #[default]
    Shared,
    /// Every second call.
    Mixed,
    /// All calls.
    Own,
}

/// The calls of one scenario.
#[derive(Debug)]
pub struct CallLog {
    next: AtomicUsize,
    calls: Mutex<Vec<Ended>>,
    ended: watch::Sender<usize>,
    panics: Panics,
}

#[derive(Debug, Clone, Copy)]
struct Ended {
    number: u64,
    result: CallResult,
    took: Duration,
}

impl CallLog {
    /// Starts a log, and counts panics from here on.
    ///
    /// # Panics
    /// When it is called outside a runtime.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            next: AtomicUsize::default(),
            calls: Mutex::default(),
            ended: watch::Sender::default(),
            panics: Panics::watch(),
        })
    }

    /// Makes `calls` calls, of which `in_flight` are concurrent.
    ///
    /// # Panics
    /// When a call does not end, or ends with an unexpected error.
    pub async fn load(
        self: Arc<Self>,
        ledger: LedgerClient,
        calls: usize,
        in_flight: usize,
        options: CallOptions,
    ) {
        let left = Arc::new(AtomicUsize::new(calls));
        let mut callers = JoinSet::new();
        for _ in 0..in_flight {
            let (call_log, ledger, left) = (Arc::clone(&self), ledger.clone(), Arc::clone(&left));
            callers.spawn(async move {
                let take = |left: usize| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    call_log.enter(&ledger, options).await;
                }
            });
        }
        callers.join_all().await;
    }

    /// Makes one call.
    ///
    /// # Panics
    /// As [`load`](Self::load).
    pub async fn enter(&self, ledger: &LedgerClient, options: CallOptions) -> CallResult {
        let number = self.next.fetch_add(1, Ordering::Relaxed) as u64;
        let mut call = ledger.enter(number, options.work.as_millis() as u64);
        if let Some(timeout) = options.timeout {
            call = call.timeout(timeout);
        }
        let own = match options.streams {
            Streams::Shared => false,
            Streams::Mixed => number % 2 == 1,
            Streams::Own => true,
        };
        if own {
            call = call.dedicated_stream();
        }
        self.record(number, 0, call).await
    }

    /// Makes a call with a long response.
    ///
    /// # Panics
    /// As [`load`](Self::load).
    pub async fn fetch(&self, ledger: &LedgerClient, bytes: usize) -> CallResult {
        let number = self.next.fetch_add(1, Ordering::Relaxed) as u64;
        self.record(number, bytes, ledger.fetch(number, bytes))
            .await
    }

    async fn record(&self, number: u64, bytes: usize, call: Call<Receipt>) -> CallResult {
        let start = Instant::now();
        let ended = tokio::time::timeout(HANG_TIMEOUT, call)
            .await
            .unwrap_or_else(|_| panic!("call {number} hangs"));
        let result = match ended {
            Ok(receipt) => {
                let is_its_own = receipt.is_for(number, bytes);
                assert!(is_its_own, "call {number} got another answer");
                CallResult::Ok
            }
            Err(
                CallError::Timeout
                | CallError::TimeoutAtLimit(_)
                | CallError::TimeoutBehindItems(_),
            ) => CallResult::Timeout,
            Err(CallError::Connection { execution, .. }) => match execution {
                Execution::NotSent => CallResult::NotSent,
                Execution::NotExecuted => CallResult::NotExecuted,
                _ => CallResult::MayHaveExecuted,
            },
            Err(other) => panic!("call {number} ended with {other:?}"),
        };
        let took = start.elapsed();
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Ended {
                number,
                result,
                took,
            });
        self.ended.send_modify(|ended| *ended += 1);
        result
    }

    /// Waits until `calls` calls have ended.
    pub async fn has_ended(&self, calls: usize) {
        let mut ended = self.ended.subscribe();
        // This log owns the sender.
        let _ = ended.wait_for(|ended| *ended >= calls).await;
    }

    /// Compares the results with the journal, once no call runs.
    ///
    /// # Errors
    /// When they contradict each other, when calls are missing, or when anything panicked.
    pub fn verify(&self, journal: &HashMap<u64, usize>) -> Result<Figures, String> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        for Ended { number, result, .. } in calls.iter() {
            let executed = journal.get(number).copied().unwrap_or(0);
            if !result.allows(executed) {
                return Err(format!(
                    "call {number} was executed {executed} times, and its caller received {result:?}"
                ));
            }
        }
        let made = self.next.load(Ordering::Relaxed);
        if calls.len() != made {
            return Err(format!("{} of {made} calls have ended", calls.len()));
        }
        if let Some(number) = journal.keys().find(|number| **number >= made as u64) {
            return Err(format!("{number} was executed, and never called"));
        }
        match self.panics.since() {
            0 => Ok(Figures::of(&calls)),
            panics => Err(format!("something panicked {panics} times")),
        }
    }
}

/// The results and times of the calls of a scenario.
#[derive(Debug, Default)]
pub struct Figures {
    counts: BTreeMap<CallResult, usize>,
    /// The times of successful calls, sorted.
    answered: Vec<Duration>,
    /// The longest time of any call.
    longest: Duration,
}

impl Figures {
    fn of(calls: &[Ended]) -> Self {
        let mut figures = Self::default();
        for ended in calls {
            *figures.counts.entry(ended.result).or_default() += 1;
            figures.longest = figures.longest.max(ended.took);
            if ended.result == CallResult::Ok {
                figures.answered.push(ended.took);
            }
        }
        figures.answered.sort_unstable();
        figures
    }

    /// Returns the number of calls with this result.
    pub fn count(&self, result: CallResult) -> usize {
        self.counts.get(&result).copied().unwrap_or(0)
    }

    /// Returns the number of all calls.
    pub fn calls(&self) -> usize {
        self.counts.values().sum()
    }

    /// Returns the longest time of any call.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns a percentile of the times of successful calls.
    pub fn percentile(&self, percent: f64) -> Duration {
        let last = self.answered.len().saturating_sub(1);
        let at = (last as f64 * percent / 100.0).round() as usize;
        self.answered.get(at).copied().unwrap_or_default()
    }
}

/// The columns of displayed [`Figures`].
pub const COLUMNS: &str =
    "calls | Ok | NotSent | NotExecuted | MayHaveExecuted | Timeout | p50 ms | p99 ms | longest ms";

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.calls())?;
        for result in CallResult::ALL {
            write!(f, " | {}", self.count(result))?;
        }
        for took in [self.percentile(50.0), self.percentile(99.0), self.longest] {
            write!(f, " | {:.1}", took.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}
