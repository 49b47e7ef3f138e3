//! The futures by which quinn sends and receives the packets of a client, and their use after the connection is closed.
//!
//! quinn sends the CONNECTION_CLOSE frame when the future of the connection is polled next. A program that ends at once, or
//! drops its runtime, would not get that far, and the server would keep the connection until its idle timeout. So the
//! futures are owned by the client: they can be polled at any time, and outlive their tasks.

use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::{EnterGuard, Handle};
use tokio::time::{Sleep, sleep_until};

use crate::transport::quic::counted_socket::Answers;

/// Maximum time for which a flush waits for a task that polls the same future. Only a task that flushes its own future
/// waits for so long.
const POLL_TIMEOUT: Duration = Duration::from_millis(10);

/// The futures that quinn runs for an endpoint of a client.
#[derive(Debug)]
pub(super) struct Drivers {
    /// The futures that have not ended, in the order in which they were started.
    running: Mutex<Vec<Arc<Driver>>>,
    runtime: Handle,
    /// `true` if the runtime has begun to drop its tasks, so that timers must not be polled.
    is_abandoned: Arc<AtomicBool>,
    answers: Answers,
}

#[derive(Debug)]
struct Driver(Mutex<DriverState>);

struct DriverState {
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Wakes the task that runs the future.
    waker: Waker,
}

impl std::fmt::Debug for DriverState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriverState").finish_non_exhaustive()
    }
}

impl Drivers {
    /// Creates an empty list for endpoints in the current tokio runtime; `None` outside a runtime.
    pub(super) fn new() -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            running: Mutex::default(),
            runtime: Handle::try_current().ok()?,
            is_abandoned: Arc::default(),
            answers: Answers::default(),
        }))
    }

    /// Returns the runtime for an endpoint. It does not keep the list alive, since the futures refer to their runtime.
    pub(super) fn runtime(self: &Arc<Self>) -> Arc<dyn Runtime> {
        Arc::new(DriverRuntime {
            drivers: Arc::downgrade(self),
            is_abandoned: Arc::clone(&self.is_abandoned),
            answers: self.answers.clone(),
        })
    }

    /// Returns the count of packets of handshakes that the endpoints have received.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Enters the runtime of the endpoints.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Sends the packets that are due, also if the runtime no longer runs the tasks.
    pub(super) fn flush(&self) {
        let running = self.running.lock().clone();
        let _context = self.enter();
        for driver in running {
            driver.flush();
        }
    }

    fn start(self: Arc<Self>, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> DriverTask {
        let driver = Arc::new(Driver(Mutex::new(DriverState {
            future: Some(future),
            waker: Waker::noop().clone(),
        })));
        self.running.lock().push(Arc::clone(&driver));
        DriverTask {
            driver,
            drivers: self,
        }
    }
}

impl Driver {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if !state.waker.will_wake(cx.waker()) {
            state.waker = cx.waker().clone();
        }
        state.poll(cx)
    }

    fn flush(&self) {
        if let Some(mut state) = self.0.try_lock_for(POLL_TIMEOUT) {
            let waker = state.waker.clone();
            if state.poll(&mut Context::from_waker(&waker)).is_ready() {
                // The task finds that its future has ended.
                waker.wake();
            }
        }
    }
}

impl DriverState {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Ready(()),
        };
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

/// Polls a future of the list in a task.
struct DriverTask {
    driver: Arc<Driver>,
    drivers: Arc<Drivers>,
}

impl Future for DriverTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.driver.poll(cx)
    }
}

/// Forgets a future that has ended. Keeps other futures, whose runtime is being dropped.
impl Drop for DriverTask {
    fn drop(&mut self) {
        if self.driver.0.lock().future.is_some() {
            self.drivers.is_abandoned.store(true, Ordering::Relaxed);
            return;
        }
        let mut running = self.drivers.running.lock();
        running.retain(|driver| !Arc::ptr_eq(driver, &self.driver));
    }
}

#[derive(Debug)]
struct DriverRuntime {
    drivers: Weak<Drivers>,
    is_abandoned: Arc<AtomicBool>,
    answers: Answers,
}

impl Runtime for DriverRuntime {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(DriverTimer {
            sleep: sleep_until(deadline.into()),
            is_abandoned: Arc::clone(&self.is_abandoned),
        })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match self.drivers.upgrade() {
            Some(drivers) => tokio::spawn(drivers.start(future)),
            None => tokio::spawn(future),
        };
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(self.answers.of(TokioRuntime.wrap_udp_socket(socket)?))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

pin_project! {
    /// A timer that never fires once its runtime is being dropped. A timer of tokio would panic.
    #[derive(Debug)]
    struct DriverTimer {
        #[pin]
        sleep: Sleep,
        is_abandoned: Arc<AtomicBool>,
    }
}

impl AsyncTimer for DriverTimer {
    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.project().sleep.reset(deadline.into());
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.is_abandoned.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => Future::poll(this.sleep, cx),
        }
    }
}
