//! The resources of a process.

use std::fmt;
use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

/// The resources of a process.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: usize,
    /// Open files and sockets.
    pub descriptors: usize,
    /// Tasks of its runtime.
    pub tasks: usize,
}

impl Resources {
    /// Returns the current resources of this process.
    ///
    /// # Panics
    /// When the system is not Linux.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = memory.and_then(|memory| memory.split_whitespace().next());
        let kibibytes: usize = kibibytes.expect("VmRSS").parse().expect("a number");
        let descriptors = fs::read_dir("/proc/self/fd").expect("Linux");
        Self {
            memory: kibibytes << 10,
            descriptors: descriptors.count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
        }
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory as f64 / f64::from(1 << 20);
        write!(f, "{memory:.1} | {} | {}", self.descriptors, self.tasks)
    }
}

/// Returns the time for which this process has used processors.
///
/// # Panics
/// When the system is not Linux.
pub fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name of the program, in parentheses, may hold spaces. The times are the 14th and 15th value, in ticks.
    let (_, values) = stat.rsplit_once(')').expect("a name");
    let times = values.split_whitespace().skip(11).take(2);
    let ticks: u64 = times
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}
