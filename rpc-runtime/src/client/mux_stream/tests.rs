//! Tests of waiting callers and of the ids of replies, without tasks.

use std::task::Wake;

use super::*;
use crate::client::metadata::MetadataWriter;
use crate::client::method::MethodName;
use crate::codec::params::encode::{Sent, entire};
use crate::event::EventHook;

/// A waker that records the number of its caller.
struct Caller {
    number: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        sync::lock(&self.woken).push(self.number);
    }
}

/// Callers that share a stream, and the order in which they were woken.
struct Callers {
    stream: Arc<MuxStream>,
    woken: Arc<Mutex<Vec<usize>>>,
    request: EncodedRequest,
    waiters: Vec<Option<WaiterId>>,
}

impl Callers {
    /// Creates `callers` callers with requests of about `bytes` bytes each.
    fn new(callers: usize, bytes: usize) -> Self {
        let text = ["x".repeat(bytes)];
        let params = entire(Sent::nameless(&text));
        let mut request = EncodedRequest::with_capacity(0);
        request.encode(MethodName::Text("note"), &params).unwrap();
        request.write_options(None, &MetadataWriter::default());
        Self {
            stream: MuxStream::new(0, 1, &EventHook::default()),
            woken: Arc::default(),
            request,
            waiters: vec![None; callers],
        }
    }

    /// Polls a caller. Returns `true` if its request was queued.
    fn poll(&mut self, number: usize) -> bool {
        let woken = Arc::clone(&self.woken);
        let waker = Waker::from(Arc::new(Caller { number, woken }));
        let waiter = &mut self.waiters[number];
        let cx = Context::from_waker(&waker);
        let polled = self.stream.poll_call(&mut self.request, waiter, &cx);
        polled.is_ready()
    }

    fn stop_waiting(&mut self, number: usize) {
        self.stream
            .stop_waiting(self.waiters[number].take().unwrap());
    }

    /// Writes the queued data, as the stream's task does. Returns the callers that were woken.
    fn write(&mut self) -> Vec<usize> {
        let mut state = self.stream.state();
        state.sent = state.queued;
        drop(state.requests.take());
        let waiters = state.take_waiters();
        drop(state);
        wake_all(waiters);
        std::mem::take(&mut sync::lock(&self.woken))
    }
}

#[test]
fn waiting_callers_are_woken_in_order_as_many_as_there_is_room_for() {
    let mut callers = Callers::new(2_000, 1_000);
    let queued = (0..2_000).filter(|number| callers.poll(*number)).count();
    assert!((240..270).contains(&queued), "{queued}");
    let mut next = queued;
    while next < 2_000 {
        let woken = callers.write();
        assert!(woken.len() <= queued, "{}", woken.len());
        assert!(woken.iter().copied().eq(next..next + woken.len()));
        assert!(woken.iter().all(|number| callers.poll(*number)));
        next += woken.len();
    }
    assert!(callers.write().is_empty());
}

#[test]
fn woken_caller_that_finds_no_room_keeps_its_position() {
    let mut callers = Callers::new(6, BACKLOG);
    assert!(callers.poll(0));
    assert!((1..4).all(|number| !callers.poll(number)));
    assert_eq!(callers.write(), [1]);
    // A new caller takes the room.
    assert!(callers.poll(4));
    assert!(!callers.poll(1));
    assert!(!callers.poll(5));
    assert_eq!(callers.write(), [1]);
    assert!(callers.poll(1));
    assert_eq!(callers.write(), [2]);
}

#[test]
fn woken_caller_that_stops_waiting_passes_the_wake_on() {
    let mut callers = Callers::new(4, BACKLOG);
    assert!(callers.poll(0));
    assert!((1..4).all(|number| !callers.poll(number)));
    callers.stop_waiting(2);
    assert_eq!(callers.write(), [1]);
    callers.stop_waiting(1);
    assert_eq!(sync::lock(&callers.woken)[..], [3]);
    assert!(callers.stream.state().waiters.is_empty());
}

#[test]
fn caller_that_stops_waiting_before_it_is_woken_wakes_no_other() {
    let mut callers = Callers::new(3, BACKLOG);
    assert!(callers.poll(0));
    assert!((1..3).all(|number| !callers.poll(number)));
    callers.stop_waiting(1);
    assert!(sync::lock(&callers.woken).is_empty());
    assert_eq!(callers.write(), [2]);
}

#[test]
fn lost_stream_wakes_all_waiting_callers() {
    let mut callers = Callers::new(3, BACKLOG);
    assert!(callers.poll(0));
    assert!((1..3).all(|number| !callers.poll(number)));
    callers.stream.lose(ConnectionError::ClosedHere);
    assert_eq!(sync::lock(&callers.woken)[..], [0, 1, 2]);
    assert!((1..3).all(|number| callers.poll(number)));
}
