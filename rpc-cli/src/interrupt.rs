//! Handles ctrl-c.

use std::io;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::failure::Stop;

/// The exit status after ctrl-c.
pub(crate) const STATUS: u8 = 130;

/// The time that open sessions have to close their connections after ctrl-c.
const CLOSE: Duration = Duration::from_millis(200);

/// The number of open sessions.
static SESSIONS: AtomicUsize = AtomicUsize::new(0);

/// A session with a server. While one is open, ctrl-c gives it time to close its connection.
pub(crate) struct Session(());

impl Session {
    pub(crate) fn open() -> Self {
        SESSIONS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        SESSIONS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends the process at ctrl-c, even if other threads are computing, or block on a pipe that is full.
pub(crate) fn exit_when_interrupted() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut interrupts = {
        let _entered = runtime.enter();
        Interrupts::new()?
    };
    let watch = async move {
        interrupts.next().await;
        if SESSIONS.load(Ordering::SeqCst) > 0 {
            // A second ctrl-c ends the process at once.
            let _ = timeout(CLOSE, interrupts.next()).await;
        }
        process::exit(STATUS.into())
    };
    thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || runtime.block_on(watch))?;
    Ok(())
}

/// Runs the work until it is done, or until ctrl-c.
pub(crate) async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        ended = work => ended,
        () = interrupts.next() => Err(Stop::Interrupted),
    }
}

/// Receives ctrl-c, and the signals that request termination.
#[cfg(unix)]
pub(crate) struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Interrupts {
    /// Takes over the signals: they no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Receives ctrl-c.
#[cfg(windows)]
pub(crate) struct Interrupts(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Interrupts {
    /// Takes over ctrl-c: it no longer ends the process by itself.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}
