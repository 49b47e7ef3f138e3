//! Ctrl-c.

use std::io;

use crate::failure::Stop;

/// Works until it is done, or until ctrl-c.
pub(crate) async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    let interrupted = interrupt()?;
    tokio::select! {
        ended = work => ended,
        () = interrupted => Err(Stop::Interrupted),
    }
}

/// Resolves at ctrl-c, or when the process is told to end.
#[cfg(unix)]
pub(crate) fn interrupt() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves at ctrl-c.
#[cfg(windows)]
pub(crate) fn interrupt() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
