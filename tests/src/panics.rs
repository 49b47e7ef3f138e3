//! Counts panics.

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Handle, RuntimeFlavor};

static IN_PROCESS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ON_THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Counts panics from the first call of this function, or of [`Panics::watch`], in the whole process.
pub fn so_far() -> usize {
    install_hook();
    IN_PROCESS.load(Ordering::Relaxed)
}

fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            IN_PROCESS.fetch_add(1, Ordering::Relaxed);
            ON_THREAD.set(ON_THREAD.get() + 1);
            report(panic);
        }));
    });
}

/// The panics of one scenario.
///
/// A scenario on a current-thread runtime counts the panics of its own thread, because other tests of the process panic
/// on purpose on other threads. A scenario on several threads counts all panics of the process, and must run alone in it.
#[derive(Debug)]
pub struct Panics {
    on_thread: bool,
    before: usize,
}

impl Panics {
    /// Starts to count.
    ///
    /// # Panics
    /// When it is called outside a runtime.
    pub fn watch() -> Self {
        install_hook();
        let on_thread = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        let before = Self::count(on_thread);
        Self { on_thread, before }
    }

    /// Returns the number of panics since [`watch`](Self::watch).
    pub fn since(&self) -> usize {
        Self::count(self.on_thread) - self.before
    }

    fn count(on_thread: bool) -> usize {
        match on_thread {
            true => ON_THREAD.get(),
            false => IN_PROCESS.load(Ordering::Relaxed),
        }
    }
}
