//! Tests of a shared stream's writer, reader and callers under many schedules:
//! `cargo test -p rpc-runtime --features __shuttle --lib shuttle`.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};

use crate::client::error::{CallFailure, Execution};
use crate::client::metadata::MetadataWriter;
use crate::client::method::{EncodedRequest, MethodName};
use crate::client::mux_stream::MuxStream;
use crate::client::reply_budget::ReplyBudget;
use crate::codec::lines::{Line, LineSplitter};
use crate::codec::params::encode::{Sent, entire};
use crate::event::EventHook;
use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::transport;
use crate::transport::memory::{self, Connection};
use crate::transport::{ConnectionError, RecvStream, SendStream, StreamLost};

/// Number of schedules that each test explores.
const SCHEDULES: usize = 2_000;

const LIMIT: usize = 1 << 20;

/// A shared stream to a server that echoes.
struct EchoStream {
    stream: Arc<MuxStream>,
    tasks: Vec<JoinHandle<Result<(), StreamLost>>>,
    connections: (Connection, Connection),
}

impl EchoStream {
    fn open() -> Self {
        let (here, there) = memory::pair();
        let stream = MuxStream::new(0, 1, &EventHook::default());
        let (send, recv) = here.open_bi().unwrap();
        let memory = ServerMemory::new(&Limits::default()).connection(None);
        let budget = ReplyBudget::new(
            memory,
            (LIMIT, &EventHook::default()),
            transport::Connection::Memory(here.clone()),
        );
        let (writer, reader) = (Arc::clone(&stream), Arc::clone(&stream));
        let served = there.clone();
        let tasks = vec![
            spawn(async move { writer.write(SendStream::Memory(send)).await }),
            spawn(async move { reader.read(RecvStream::Memory(recv), &budget).await }),
            spawn(async move { echo(served).await }),
        ];
        Self {
            stream,
            tasks,
            connections: (here, there),
        }
    }
}

/// Replies to each request with its own parameters.
async fn echo(connection: Connection) -> Result<(), StreamLost> {
    let (mut send, mut recv) = connection.accept_bi().await?;
    let (mut splitter, mut message) = (LineSplitter::new(LIMIT), Vec::new());
    while let Some(chunk) = recv.read_chunk().await? {
        splitter.feed(chunk);
        while splitter.split_next(&mut message) == Line::Message {
            let request = String::from_utf8(std::mem::take(&mut message)).unwrap();
            if !request.contains("rpc.cancel") {
                let reply = request.replace(r#""method":"echo","params""#, r#""result""#) + "\n";
                send.write_chunk(Bytes::from(reply)).await?;
            }
        }
    }
    send.finish();
    Ok(())
}

fn request(params: &[String]) -> EncodedRequest {
    let params = entire(Sent::nameless(params));
    let mut request = EncodedRequest::with_capacity(0);
    request.encode(MethodName::Text("echo"), &params).unwrap();
    request.write_options(None, &MetadataWriter::default());
    request
}

async fn call(stream: &MuxStream, params: &str) -> Result<String, CallFailure> {
    let mut request = request(&[params.to_owned()]);
    let (mut reply, mut waiter) = (Vec::new(), None);
    let queued = poll_fn(|cx| stream.poll_call(&mut request, &mut waiter, cx));
    let id = queued.await?;
    poll_fn(|cx| stream.poll_reply(id, &mut reply, cx)).await?;
    Ok(String::from_utf8(reply).unwrap())
}

/// Sends a call and cancels it.
async fn cancel(stream: &MuxStream) -> Result<(), CallFailure> {
    let mut request = request(&["cancelled".to_owned()]);
    let mut waiter = None;
    let queued = poll_fn(|cx| stream.poll_call(&mut request, &mut waiter, cx));
    let id = queued.await?;
    yield_now().await;
    stream.cancel(id);
    Ok(())
}

#[test]
fn concurrent_calls_and_cancellations_each_call_gets_its_own_reply() {
    // Few callers reveal a lost wake-up. Many callers reach more interleavings.
    let test = |callers| {
        block_on(async {
            let echo = EchoStream::open();
            let callers = (0..callers).map(|caller| {
                let stream = Arc::clone(&echo.stream);
                spawn(async move {
                    for round in 0..2 {
                        let params = format!("{caller}.{round}");
                        let reply = call(&stream, &params).await.unwrap();
                        let expected = format!(r#""result":["{params}"]}}"#);
                        assert!(reply.ends_with(&expected), "{reply}");
                        cancel(&stream).await.unwrap();
                    }
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                caller.await.unwrap();
            }
            echo.stream.close();
            for task in echo.tasks {
                task.await.unwrap().unwrap();
            }
        });
    };
    shuttle::check_random(move || test(1), SCHEDULES);
    shuttle::check_random(move || test(3), SCHEDULES / 4);
}

/// The first request leaves room for no other request, so all callers but one wait. One of them stops waiting.
#[test]
fn callers_that_wait_for_room_are_all_served_though_one_is_dropped() {
    let test = || {
        block_on(async {
            let echo = EchoStream::open();
            let params = "x".repeat(300 << 10);
            let callers = (0..3).map(|caller| {
                let (stream, params) = (Arc::clone(&echo.stream), params.clone());
                spawn(async move {
                    if caller == 1 {
                        stop_waiting(&stream, params.clone()).await;
                    }
                    call(&stream, &params).await
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                caller.await.unwrap().unwrap();
            }
            echo.stream.close();
            for task in echo.tasks {
                task.await.unwrap().unwrap();
            }
        });
    };
    shuttle::check_random(test, SCHEDULES / 20);
}

/// Waits for room, and stops waiting after another task has run.
async fn stop_waiting(stream: &MuxStream, params: String) {
    let mut request = request(&[params]);
    let mut waiter = None;
    let queued = poll_fn(|cx| {
        let polled = stream.poll_call(&mut request, &mut waiter, cx);
        std::task::Poll::Ready(polled)
    });
    match queued.await {
        std::task::Poll::Ready(queued) => {
            stream.cancel(queued.unwrap());
        }
        std::task::Poll::Pending => {
            yield_now().await;
            stream.stop_waiting(waiter.unwrap());
        }
    }
}

#[test]
fn connection_lost_during_calls_ends_every_call() {
    let test = || {
        block_on(async {
            let echo = EchoStream::open();
            let callers = (0..3).map(|caller: u32| {
                let stream = Arc::clone(&echo.stream);
                spawn(async move { call(&stream, &caller.to_string()).await })
            });
            let callers = callers.collect::<Vec<_>>();
            let stream = Arc::clone(&echo.stream);
            let (here, _there) = echo.connections;
            let loser = spawn(async move {
                here.close(0, "");
                stream.lose(ConnectionError::ClosedHere);
            });
            for caller in callers {
                let ended = caller.await.unwrap();
                let lost = |execution| {
                    matches!(execution, Execution::NotSent | Execution::MayHaveExecuted)
                };
                let is_right = match &ended {
                    Ok(_) => true,
                    Err(CallFailure::Lost { execution, .. }) => lost(*execution),
                    Err(_) => false,
                };
                assert!(is_right, "{ended:?}");
            }
            loser.await.unwrap();
            for task in echo.tasks {
                let _ = task.await.unwrap();
            }
        });
    };
    shuttle::check_random(test, SCHEDULES / 4);
}
