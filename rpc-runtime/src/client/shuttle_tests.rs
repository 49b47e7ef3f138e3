//! The lane's writer and its slots, under many schedules: `cargo test -p rpc-runtime --features __shuttle schedules`.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};

use crate::client::error::{CallFailure, Fate};
use crate::client::mux_stream::MuxStream;
use crate::codec::lines::{Line, LineSplitter};
use crate::transport::memory::{self, Connection};
use crate::transport::{ConnectionLost, RecvStream, SendStream, StreamLost};

/// How many schedules each test tries.
const SCHEDULES: usize = 2_000;

const LIMIT: usize = 1 << 10;

/// A lane whose stream is served by `Echo`.
struct Line {
    stream: Arc<MuxStream>,
    tasks: Vec<JoinHandle<Result<(), StreamLost>>>,
    connections: (Connection, Connection),
}

impl Line {
    fn open() -> Self {
        let (here, there) = memory::pair();
        let stream = MuxStream::new(0);
        let (send, recv) = here.open_bi().unwrap();
        let (writer, reader) = (Arc::clone(&stream), Arc::clone(&stream));
        let served = there.clone();
        let tasks = vec![
            spawn(async move { writer.write(SendStream::Memory(send)).await }),
            spawn(async move { reader.read(RecvStream::Memory(recv), LIMIT).await }),
            spawn(async move { echo(served).await }),
        ];
        Self {
            stream,
            tasks,
            connections: (here, there),
        }
    }
}

/// Answers each request with its own parameters.
async fn echo(connection: Connection) -> Result<(), StreamLost> {
    let (mut send, mut recv) = connection.accept_bi().await?;
    let (mut splitter, mut message) = (LineSplitter::new(LIMIT), Vec::new());
    while let Some(chunk) = recv.read_chunk().await? {
        splitter.feed(chunk);
        while splitter.cut(&mut message) == Line::Message {
            let request = String::from_utf8(std::mem::take(&mut message)).unwrap();
            if !request.contains("rpc.cancel") {
                let reply = request.replace(r#""params""#, r#""result""#) + "\n";
                send.write_chunk(Bytes::from(reply)).await?;
            }
        }
    }
    send.finish();
    Ok(())
}

async fn call(stream: &MuxStream, params: &str) -> Result<String, CallFailure> {
    let request = format!(r#","params":{params}}}"#).into_bytes();
    let mut reply = Vec::new();
    let id = poll_fn(|cx| stream.poll_call(&request, &mut reply, cx)).await?;
    let answer = poll_fn(|cx| stream.poll_answer(id, cx)).await?;
    Ok(String::from_utf8(answer).unwrap())
}

/// Sends a call and gives it up.
async fn cancel(stream: &MuxStream) -> Result<(), CallFailure> {
    let (request, mut reply) = (br#","params":"given up"}"#, Vec::new());
    let id = poll_fn(|cx| stream.poll_call(request, &mut reply, cx)).await?;
    yield_now().await;
    if stream.forget(id) {
        stream.queue_cancel(id);
    }
    Ok(())
}

#[test]
fn schedules_give_every_call_its_own_answer() {
    // Few callers leave few others to wake whom a fault forgets; many meet in more ways.
    let test = |callers| {
        block_on(async {
            let line = Line::open();
            let callers = (0..callers).map(|caller| {
                let stream = Arc::clone(&line.stream);
                spawn(async move {
                    for version in 0..2 {
                        let params = format!(r#""{caller}.{version}""#);
                        let answer = call(&stream, &params).await.unwrap();
                        assert!(
                            answer.ends_with(&format!(r#""result":{params}}}"#)),
                            "{answer}"
                        );
                        cancel(&stream).await.unwrap();
                    }
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                caller.await.unwrap();
            }
            line.stream.close();
            for task in line.tasks {
                task.await.unwrap().unwrap();
            }
        });
    };
    shuttle::check_random(move || test(1), SCHEDULES);
    shuttle::check_random(move || test(3), SCHEDULES / 4);
}

#[test]
fn schedules_leave_no_call_without_an_end_when_the_connection_goes() {
    let test = || {
        block_on(async {
            let line = Line::open();
            let callers = (0..3).map(|caller| {
                let stream = Arc::clone(&line.stream);
                spawn(async move { call(&stream, &caller.to_string()).await })
            });
            let callers = callers.collect::<Vec<_>>();
            let stream = Arc::clone(&line.stream);
            let (here, _there) = line.connections;
            let loser = spawn(async move {
                here.close(0, "");
                stream.lose(ConnectionLost::ClosedHere);
            });
            for caller in callers {
                let ended = caller.await.unwrap();
                let lost = |fate| matches!(fate, Fate::NotSent | Fate::MayHaveExecuted);
                let is_right = match &ended {
                    Ok(_) => true,
                    Err(CallFailure::Lost { fate, .. }) => lost(*fate),
                    Err(_) => false,
                };
                assert!(is_right, "{ended:?}");
            }
            loser.await.unwrap();
            for task in line.tasks {
                let _ = task.await.unwrap();
            }
        });
    };
    shuttle::check_random(test, SCHEDULES / 4);
}
