//! The interface for fuzz targets and benchmarks, which reach private items through it. It changes without notice.

mod gated;
mod gauge;
pub mod harness;
pub mod hostile_client;
pub mod hostile_server;
mod script;
mod scripted;
#[cfg(test)]
mod scripts_tests;
pub mod shapes;
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
use crate::codec::metadata::Metadata;
use crate::codec::parser::{Document, Parser};
use crate::codec::reply_id;
use crate::codec::ser;
use crate::codec::stream_frame;
use crate::codec::{MAX_REQUEST_DEPTH, MAX_RESPONSE_DEPTH};
use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::limits::Limits;
use crate::service::Service;
use crate::service::router::Single;
use crate::transport::memory::{self, RecvStream, SendStream};
use crate::transport::{Connection, StreamLost};

/// A message that was split off its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitMessage {
    /// A complete message.
    Complete(Vec<u8>),
    /// The start of a message that exceeded the limit.
    TooLarge(Vec<u8>),
}

/// Splits the messages off a stream that arrives in these chunks. `limit` is the maximum size of a message, in bytes.
pub fn split<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, limit: usize) -> Vec<SplitMessage> {
    let found = |line, message: &mut Vec<u8>| match line {
        Line::Message => Some(SplitMessage::Complete(std::mem::take(message))),
        Line::TooLarge | Line::Discarded(_) => {
            Some(SplitMessage::TooLarge(std::mem::take(message)))
        }
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

/// Parses JSON that nests at most `depth` levels deep, and passes it to `read`. Returns `None` if it is not such JSON.
pub fn parse<R>(json: &[u8], depth: usize, read: impl FnOnce(Value<'_, '_>) -> R) -> Option<R> {
    let mut message = json.to_vec();
    let mut parser = Parser::new(depth);
    let document = parser.parse(&mut message).ok()?;
    Some(read(document.root()))
}

/// Writes JSON. Returns `None` if serde cannot write the value.
pub fn write<T: Serialize + ?Sized>(value: &T) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    ser::write(value, &mut out).ok()?;
    Some(out)
}

/// The content of a message as debug text, read in two ways: with the reader for messages of its kind, and with simd-json
/// alone. Each is `None` if the message is not JSON.
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
    let told = parser.parse_response(&mut one).map(response);
    let alone = parser.parse(&mut other).map(response);
    [told.ok(), alone.ok()]
}

fn response(document: Document<'_, '_>) -> String {
    let mut metadata = Metadata::default();
    let read = document.read_metadata(&mut metadata);
    let pairs: Vec<_> = metadata.iter().collect();
    format!("{:?} {read:?} {pairs:?}", document.response())
}

/// Reads a line of a stream of items, as both peers do.
pub fn read_line(message: &[u8]) -> BothWays {
    let mut parser = Parser::new(MAX_REQUEST_DEPTH);
    let [mut one, mut other] = [message.to_vec(), message.to_vec()];
    let told = parser.parse_line(&mut one);
    let told = told.map(|document| format!("{:?}", document.line()));
    let alone = parser.parse(&mut other);
    let alone = alone.map(|document| format!("{:?}", document.line()));
    [told.ok(), alone.ok()]
}

/// The content of a line of a stream of items.
#[derive(Debug)]
pub enum StreamItem {
    /// An item: the id of its call and the item, as JSON.
    Item(Vec<u8>, Vec<u8>),
    /// The end of the items of a call, with the id of the call as JSON.
    End(Vec<u8>),
}

/// Reads an item or the end of the items. Returns `None` if the line is neither.
pub fn stream_item(message: &[u8]) -> Option<StreamItem> {
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
            Some(StreamItem::Item(written(id), write(&item)?))
        }
        stream_frame::StreamFrame::End(id) => Some(StreamItem::End(written(id))),
        stream_frame::StreamFrame::Response(_) => None,
    }
}

/// Returns a client whose server replies with these chunks on the stream that is opened first, and then ends the stream.
///
/// # Panics
/// Panics outside a tokio runtime with timers.
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

/// A peer of a server in memory that sends arbitrary bytes.
#[derive(Debug)]
pub struct RawPeer(memory::Connection);

/// A bidirectional stream of a [`RawPeer`].
#[derive(Debug)]
pub struct RawStream {
    send: SendStream,
    recv: RecvStream,
}

impl RawPeer {
    /// Starts a server of `service` and connects to it.
    ///
    /// # Panics
    /// Panics outside a tokio runtime with timers.
    pub fn of<S: Service>(service: S, limits: Limits) -> Self {
        let (here, there) = memory::pair();
        let server = Single(service).into_serve_peer(
            limits,
            DiscoverOptions::default(),
            EventHook::default(),
        );
        tokio::spawn(server.serve(Connection::Memory(there), None));
        Self(here)
    }

    /// Opens a bidirectional stream. Returns `None` once the connection is lost.
    pub fn open(&self) -> Option<RawStream> {
        let (send, recv) = self.0.open_bi().ok()?;
        Some(RawStream { send, recv })
    }

    /// Sends these bytes on a unidirectional stream, in chunks of `chunk` bytes. Returns `true` if all of them were
    /// received.
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
    /// Sends these bytes, in chunks of `chunk` bytes. Returns `true` if the transport accepted all of them.
    pub async fn send(&mut self, bytes: &Bytes, chunk: usize) -> bool {
        write_chunks(&mut self.send, bytes, chunk).await
    }

    /// Sends these bytes, in chunks of `chunk` bytes, and receives until a received chunk ends with `end`. Returns the
    /// number of bytes received, or `None` if the stream ends first.
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
