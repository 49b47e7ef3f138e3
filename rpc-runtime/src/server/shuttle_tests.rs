//! Tests under many schedules that the workers of a stream hand over its receiving half and share its sending half:
//! `cargo test -p rpc-runtime --features __shuttle schedules`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use shuttle::future::{block_on, spawn, yield_now};

use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::server::limits::send_budget::SendBudget;
use crate::server::recv::Receiver;
use crate::server::stream::ServerStream;
use crate::transport::{RecvStream, SendStream, memory};

/// Number of schedules that are tried.
const SCHEDULES: usize = 500;

const MESSAGES: usize = 5;

/// Runs a worker. Its messages are only counted.
fn work(
    stream: Arc<ServerStream>,
    left: Arc<AtomicUsize>,
    receiver: Box<Receiver>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let slot = stream.enter_worker();
        let mut held = Some(receiver);
        while let Some(receiver) = held.take() {
            // The worker polls once for an interruption, as it does before it receives.
            poll_fn(|cx| {
                let _ = pin!(stream.interruption(slot)).poll(cx);
                Poll::Ready(())
            })
            .await;
            let message = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
            match message {
                Ok(message) => {
                    // The handler waits, so another worker receives.
                    if let Some(receiver) = stream.hand_over(receiver) {
                        let next = work(Arc::clone(&stream), Arc::clone(&left), receiver);
                        spawn(next);
                    }
                    yield_now().await;
                    stream.push(message.to_string().as_bytes());
                }
                Err(_) => stream.end(),
            }
            stream.flush().await;
            held = stream.park(slot).await.ok();
        }
    })
}

#[test]
fn schedules_send_every_reply_once_and_end_the_stream() {
    // The runtime is needed only for its clock.
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let _entered = runtime.enter();
    let test = || {
        block_on(async {
            let (here, there) = memory::pair();
            let (_send, mut replies) = here.open_bi().unwrap();
            let (send, recv) = there.accept_bi().await.unwrap();
            let receiver = Box::new(Receiver::new(RecvStream::Memory(recv), 1 << 10));
            let limits = Limits::default();
            let send_budget = Arc::new(SendBudget::new(
                &limits,
                ServerMemory::new(&limits).connection(None),
            ));
            let stream = ServerStream::new(None, Some(SendStream::Memory(send)), send_budget);
            let idle = Arc::clone(&stream);
            spawn(async move {
                for _ in 0..MESSAGES {
                    idle.release_idle_buffers();
                    yield_now().await;
                }
            });
            spawn(work(stream, Arc::new(AtomicUsize::new(MESSAGES)), receiver));
            let mut received = Vec::new();
            while let Some(chunk) = replies.read_chunk().await.unwrap() {
                received.extend_from_slice(&chunk);
            }
            let text = String::from_utf8(received).unwrap();
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["1", "2", "3", "4", "5"]);
        });
    };
    shuttle::check_random(test, SCHEDULES);
}
