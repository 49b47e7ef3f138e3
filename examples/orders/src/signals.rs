//! The signals that end a program, or tell it to read its certificate again.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// Receives ctrl-c and SIGTERM.
#[derive(Debug)]
#[cfg(unix)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Stop {
    /// Receives signals from now on, which no longer end the process.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Receives ctrl-c.
#[derive(Debug)]
#[cfg(windows)]
pub struct Stop(CtrlC);

#[cfg(windows)]
impl Stop {
    /// Receives ctrl-c from now on, which no longer ends the process.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn new() -> io::Result<Self> {
        ctrl_c().map(Self)
    }

    /// Waits for the next ctrl-c.
    pub async fn received(&mut self) {
        self.0.recv().await;
    }
}

/// Calls `reload` at each SIGHUP. Never returns.
///
/// # Errors
/// When the system does not allow it.
#[cfg(unix)]
pub async fn on_hangup(mut reload: impl FnMut()) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        hangup.recv().await;
        reload();
    }
}

/// Never returns: there is no SIGHUP.
///
/// # Errors
/// None.
#[cfg(windows)]
pub async fn on_hangup(_: impl FnMut()) -> io::Result<()> {
    std::future::pending().await
}
