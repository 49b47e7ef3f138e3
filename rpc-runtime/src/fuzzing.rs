//! The door for fuzz targets and benchmarks, which look from outside at what is not public. Changes without notice.

mod gated;
mod gauge;
pub mod hostile_client;
pub mod hostile_server;
mod script;
mod scripted;
#[cfg(test)]
mod scripts_tests;
pub mod shapes;
pub mod stage;
#[cfg(test)]
mod tests;
mod traffic;

pub use gauge::{Allocated, Measure};

use bytes::Bytes;
use serde::Serialize;

use crate::client::Client;
use crate::client::callback::IntoServePeer;
use crate::codec::de::Value;
use crate::codec::id::Id;
use crate::codec::lines::{Line, LineSplitter};
use crate::codec::parser::Parser;
use crate::codec::reply_id;
use crate::codec::ser;
use crate::codec::stream_frame;
use crate::codec::{MAX_REQUEST_DEPTH, MAX_RESPONSE_DEPTH};
use crate::description::discover::DiscoverOptions;
use crate::limits::Limits;
use crate::service::Service;
use crate::service::router::Single;
use crate::transport::memory::{self, RecvStream, SendStream};
use crate::transport::{Connection, StreamLost};

/// A message as it was split off its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitMessage {
    /// A complete one.
    Complete(Vec<u8>),
    /// The start of one that passed the limit.
    TooLarge(Vec<u8>),
}

/// Splits the messages off a stream that arrives in these chunks.
pub fn split<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, limit: usize) -> Vec<SplitMessage> {
    let found = |line, message: &mut Vec<u8>| match line {
        Line::Message => Some(SplitMessage::Complete(std::mem::take(message))),
        Line::TooLarge | Line::Discarded => Some(SplitMessage::TooLarge(std::mem::take(message))),
        Line::Partial => None,
    };
    let mut splitter = LineSplitter::new(limit);
    let mut message = Vec::new();
    let mut messages = Vec::new();
    for chunk in chunks {
        splitter.feed(Bytes::copy_from_slice(chunk));
        while let Some(split) = found(splitter.split_next(&mut message), &mut message) {
            messages.push(split);
        }
    }
    let last = splitter.finish(&message);
    messages.extend(last.and_then(|line| found(line, &mut message)));
    messages
}

/// Finds the id of a reply as a client does before it parses the reply.
pub fn reply_id(reply: &[u8]) -> Option<u64> {
    reply_id::reply_id(reply)
}

/// Parses JSON that nests no deeper than `depth` and hands it to `read`; `None` if it is none.
pub fn parse<R>(json: &[u8], depth: usize, read: impl FnOnce(Value<'_, '_>) -> R) -> Option<R> {
    let mut message = json.to_vec();
    let mut parser = Parser::new(depth);
    let document = parser.parse(&mut message).ok()?;
    Some(read(document.root()))
}

/// Writes JSON; `None` if serde cannot.
pub fn write<T: Serialize + ?Sized>(value: &T) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    ser::write(value, &mut out).ok()?;
    Some(out)
}

/// What a message is read as, in words, if it is JSON: the way a message of its kind is read, and by simd-json alone.
pub type BothWays = [Option<String>; 2];

/// Reads a message as a server does.
pub fn read_request(message: &[u8]) -> BothWays {
    let mut parser = Parser::new(MAX_REQUEST_DEPTH);
    let [mut one, mut other] = [message.to_vec(), message.to_vec()];
    let (index, tape) = parser.split();
    let told = index.parse_request(tape, &mut one);
    let told = told.map(|document| format!("{:?}", document.message()));
    let alone = parser.parse(&mut other);
    let alone = alone.map(|document| format!("{:?}", document.message()));
    [told.ok(), alone.ok()]
}

/// Reads a message as a client does.
pub fn read_response(message: &[u8]) -> BothWays {
    let mut parser = Parser::new(MAX_RESPONSE_DEPTH);
    let [mut one, mut other] = [message.to_vec(), message.to_vec()];
    let told = parser.parse_response(&mut one);
    let told = told.map(|document| format!("{:?}", document.response()));
    let alone = parser.parse(&mut other);
    let alone = alone.map(|document| format!("{:?}", document.response()));
    [told.ok(), alone.ok()]
}

/// Reads a line of a stream of items, as both ends do.
pub fn read_line(message: &[u8]) -> BothWays {
    let mut parser = Parser::new(MAX_REQUEST_DEPTH);
    let [mut one, mut other] = [message.to_vec(), message.to_vec()];
    let told = parser.parse_line(&mut one);
    let told = told.map(|document| format!("{:?}", document.line()));
    let alone = parser.parse(&mut other);
    let alone = alone.map(|document| format!("{:?}", document.line()));
    [told.ok(), alone.ok()]
}

/// What a line of a stream of items brings, its id and its item as JSON.
#[derive(Debug)]
pub enum Brought {
    /// An item.
    Item(Vec<u8>, Vec<u8>),
    /// No more items.
    End(Vec<u8>),
}

/// Reads an item, or that there are no more; `None` if a line is neither.
pub fn brought(message: &[u8]) -> Option<Brought> {
    let mut message = message.to_vec();
    let mut parser = Parser::new(MAX_REQUEST_DEPTH);
    let document = parser.parse_line(&mut message).ok()?;
    let written = |id: Id<'_>| {
        let mut out = Vec::new();
        id.write(&mut out);
        out
    };
    match document.line()? {
        stream_frame::StreamFrame::Item(id, item) => {
            Some(Brought::Item(written(id), write(&item)?))
        }
        stream_frame::StreamFrame::End(id) => Some(Brought::End(written(id))),
        stream_frame::StreamFrame::Response(_) => None,
    }
}

/// A client whose server answers what comes first on a stream with these chunks, and ends it.
///
/// # Panics
/// Outside a tokio runtime with timers.
pub fn client(answer: Vec<Bytes>) -> Client {
    let (here, there) = memory::pair();
    tokio::spawn(async move {
        while let Ok((send, recv)) = there.accept_bi().await {
            tokio::spawn(tell(answer.clone(), send, recv));
        }
    });
    Client::builder().in_memory(here)
}

async fn tell(
    answer: Vec<Bytes>,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), StreamLost> {
    recv.read_chunk().await?;
    for chunk in answer {
        send.write_chunk(chunk).await?;
    }
    send.finish();
    while recv.read_chunk().await?.is_some() {}
    Ok(())
}

/// A peer of a server in memory that sends what bytes it likes.
#[derive(Debug)]
pub struct RawPeer(memory::Connection);

/// A bidirectional stream of a [`RawPeer`].
#[derive(Debug)]
pub struct RawStream {
    send: SendStream,
    recv: RecvStream,
}

impl RawPeer {
    /// Starts a server of `service`.
    ///
    /// # Panics
    /// Outside a tokio runtime with timers.
    pub fn of<S: Service>(service: S, limits: Limits) -> Self {
        let (here, there) = memory::pair();
        let server = Single(service).into_serve_peer(limits, DiscoverOptions::default());
        tokio::spawn(server.serve(Connection::Memory(there), None));
        Self(here)
    }

    /// Opens a stream; `None` once the connection is lost.
    pub fn open(&self) -> Option<RawStream> {
        let (send, recv) = self.0.open_bi().ok()?;
        Some(RawStream { send, recv })
    }

    /// Sends a unidirectional stream of these bytes, in chunks. Returns whether all were received.
    pub async fn send(&self, bytes: &Bytes, chunk: usize) -> bool {
        let Ok(mut send) = self.0.open_uni() else {
            return false;
        };
        let sent = write_chunks(&mut send, bytes, chunk).await;
        send.finish();
        send.stopped().await;
        sent
    }
}

impl RawStream {
    /// Sends these bytes, in chunks. Returns whether they were taken.
    pub async fn send(&mut self, bytes: &Bytes, chunk: usize) -> bool {
        write_chunks(&mut self.send, bytes, chunk).await
    }

    /// Sends these bytes, in chunks, and receives meanwhile until a chunk ends with `end`. Returns how many bytes came; `None`
    /// if the stream ends before.
    pub async fn exchange(&mut self, bytes: &Bytes, chunk: usize, end: &[u8]) -> Option<usize> {
        let Self { send, recv } = self;
        let mut received = 0;
        let receiving = async {
            while let Some(chunk) = recv.read_chunk().await.ok()? {
                received += chunk.len();
                if chunk.ends_with(end) {
                    return Some(received);
                }
            }
            None
        };
        let (sent, received) = tokio::join!(write_chunks(send, bytes, chunk), receiving);
        received.filter(|_| sent)
    }
}

async fn write_chunks(send: &mut SendStream, bytes: &Bytes, chunk: usize) -> bool {
    for start in (0..bytes.len()).step_by(chunk) {
        let end = bytes.len().min(start + chunk);
        if send.write_chunk(bytes.slice(start..end)).await.is_err() {
            return false;
        }
    }
    true
}
