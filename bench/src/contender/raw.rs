//! The limits: the bytes of the same calls, pipelined on one TCP connection or one QUIC stream, and not decoded.
//!
//! A header before each message holds the length of the message and that of its answer. The answer is the first bytes of
//! the message.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::iter::repeat_n;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::certificate::Identity;
use super::driven::Driven;
use super::quic;
use super::setting::Setting;
use crate::caller::{Phase, Record};
use crate::process::announce;
use crate::work::{WORK, Workload, check};

const HEADER: usize = 8;

/// The number of bytes that are gathered for one write.
const GATHERED: usize = 64 << 10;

pub(crate) async fn serve_tcp() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?, None)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        tokio::spawn(echo(read, write));
    }
}

pub(crate) async fn serve_quinn(setting: Option<Setting>) -> Result<()> {
    let identity = Identity::new()?;
    let endpoint = quic::listen(&identity, setting)?;
    announce(endpoint.local_addr()?, Some(identity.certificate_pem))?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async {
            let (write, read) = incoming.await?.accept_bi().await?;
            echo(read, write).await
        });
    }
    Ok(())
}

async fn echo(mut read: impl AsyncRead + Unpin, mut write: impl AsyncWrite + Unpin) -> Result<()> {
    let (mut received, mut answers) = (BytesMut::new(), BytesMut::new());
    loop {
        received.reserve(GATHERED);
        if read.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        while let Some((mut header, rest)) = received.split_at_checked(HEADER) {
            let (message, answer) = (header.get_u32() as usize, header.get_u32() as usize);
            if rest.len() < message {
                break;
            }
            answers.put_slice(&rest[..answer]);
            received.advance(HEADER + message);
        }
        write.write_all_buf(&mut answers).await?;
    }
}

pub(crate) async fn call_tcp(driven: &Driven) -> Result<()> {
    let mut connections = Vec::new();
    for _ in 0..driven.load.connections {
        let stream = TcpStream::connect(driven.hello.address).await?;
        stream.set_nodelay(true)?;
        connections.push(stream.into_split());
    }
    pipeline_each(driven, connections).await
}

pub(crate) async fn call_quinn(driven: &Driven) -> Result<()> {
    let mut connections = Vec::new();
    for _ in 0..driven.load.connections {
        let connection = quic::connect(&driven.hello, driven.load.setting).await?;
        let (write, read) = connection.open_bi().await?;
        connections.push((read, write));
    }
    pipeline_each(driven, connections).await
}

async fn pipeline_each<R, W>(driven: &Driven, connections: Vec<(R, W)>) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let load = &driven.load;
    let mut pipelines = JoinSet::new();
    for (read, write) in connections {
        let (phase, record) = (driven.phase.clone(), driven.record.clone());
        let (workload, depth) = (load.workload, load.in_flight / load.connections);
        pipelines.spawn(async move {
            let exchange = Exchange::new(workload)?;
            let (room, sent) = (Semaphore::new(depth), Sent::default());
            tokio::select! {
                received = exchange.receive(read, &room, &sent, &phase, &record) => received,
                failed = exchange.send(write, &room, &sent) => match failed? {},
            }
        });
    }
    while let Some(ended) = pipelines.join_next().await {
        ended??;
    }
    Ok(())
}

/// The times at which the messages without answers were sent.
#[derive(Default)]
struct Sent(Mutex<VecDeque<Instant>>);

impl Sent {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message and the answer to it.
struct Exchange {
    message: Bytes,
    answer: Bytes,
}

impl Exchange {
    fn new(workload: Workload) -> Result<Self> {
        let (method, params, result) = match workload {
            Workload::Add => ("add", json!([1_000_001, 64]), json!(1_000_065)),
            Workload::Record => ("record", json!([WORK.order]), json!(WORK.order)),
            Workload::Batch => ("batch", json!([WORK.orders]), json!(WORK.pieces)),
            Workload::Text => ("text", json!([WORK.text]), json!(WORK.text.len())),
            Workload::Items => bail!("no streams of items"),
        };
        let body = serde_json::to_vec(
            &json!({"jsonrpc": "2.0", "id": 123_456, "method": method, "params": params}),
        )?;
        let answer =
            serde_json::to_vec(&json!({"jsonrpc": "2.0", "id": 123_456, "result": result}))?.len();
        ensure!(answer <= body.len(), "an answer longer than the message");
        let mut message = BytesMut::new();
        message.put_u32(body.len() as u32);
        message.put_u32(answer as u32);
        message.put_slice(&body);
        Ok(Self {
            message: message.freeze(),
            answer: Bytes::from(body).split_to(answer),
        })
    }
}

impl Exchange {
    /// Sends as many messages as there is room for, many with one write. Returns only when it fails.
    async fn send(
        &self,
        mut write: impl AsyncWrite + Unpin,
        room: &Semaphore,
        sent: &Sent,
    ) -> Result<Infallible> {
        let most = (GATHERED / self.message.len()).max(1);
        let mut gathered = BytesMut::new();
        loop {
            room.acquire().await?.forget();
            let messages = 1 + room.forget_permits(most - 1);
            sent.lock().extend(repeat_n(Instant::now(), messages));
            for _ in 0..messages {
                gathered.put_slice(&self.message);
            }
            write.write_all_buf(&mut gathered).await?;
        }
    }

    async fn receive(
        &self,
        mut read: impl AsyncRead + Unpin,
        room: &Semaphore,
        sent: &Sent,
        phase: &Phase,
        record: &Record,
    ) -> Result<()> {
        let mut received = BytesMut::new();
        while !phase.is_over() {
            received.reserve(GATHERED);
            ensure!(
                read.read_buf(&mut received).await? > 0,
                "the server is gone"
            );
            let answers = received.len() / self.answer.len();
            for answer in received
                .split_to(answers * self.answer.len())
                .chunks(self.answer.len())
            {
                check(answer == self.answer)?;
            }
            let now = Instant::now();
            for began in sent
                .lock()
                .drain(..answers)
                .filter(|_| phase.is_measuring())
            {
                record.add(now - began);
            }
            room.add_permits(answers);
        }
        Ok(())
    }
}
