//! Moves the streams and datagrams of a connection across a link.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::transport::error::{ConnectionError, StreamLost};
use crate::transport::link::Link;
use crate::transport::memory::{Connection, RecvStream, SendStream};

/// The maximum number of packets of a stream that are on the way. The sender waits while it is reached.
const PACKETS: usize = 64;

/// The maximum number of datagrams that are on the way. More of them are lost.
const DATAGRAMS: usize = 1024;

/// The time for which the close of a connection waits for a peer that does not read what was sent before.
const UNREAD: Duration = Duration::from_secs(1);

/// Forwards everything between the two sides of a connection, until one of them closes it or the link disconnects them.
pub(super) async fn forward(link: Link, [client, service]: [Connection; 2]) {
    // Dropped last: dropping the streams resets them, which must not reach a side before the loss of the connection does.
    let mut forwarding = pin!(forward_until_closed(&link, [&client, &service]));
    let lost = tokio::select! {
        biased;
        lost = link.disconnected() => lost,
        () = &mut forwarding => return,
    };
    client.lose(lost.clone());
    service.lose(lost);
}

async fn forward_until_closed(link: &Link, [client, service]: [&Connection; 2]) {
    let mut streams = ForwardedStreams {
        link,
        halves: JoinSet::new(),
        datagrams: JoinSet::new(),
    };
    let (closed, other) = loop {
        tokio::select! {
            biased;
            closed = client.closed() => break (closed, service),
            closed = service.closed() => break (closed, client),
            Some(_) = streams.halves.join_next() => {}
            Some(_) = streams.datagrams.join_next() => {}
            Ok(opened) = client.accept_bi() => streams.pass_bi(opened, service),
            Ok(opened) = service.accept_bi() => streams.pass_bi(opened, client),
            Ok(opened) = client.accept_uni() => streams.pass_uni(opened, service),
            Ok(opened) = service.accept_uni() => streams.pass_uni(opened, client),
            Ok(datagram) = client.read_datagram() => streams.pass_datagram(datagram, service),
            Ok(datagram) = service.read_datagram() => streams.pass_datagram(datagram, client),
        }
    };
    let arrival = link.arrival(Instant::now());
    // The side that closed has been told that this was delivered. The streams are kept until the other side is closed, since
    // dropping them would reset them.
    let _streams = streams.halves.join_all().await;
    link.arrives(arrival).await;
    match closed {
        ConnectionError::ClosedByPeer { code, reason } => {
            other.close(u32::try_from(code).unwrap_or(u32::MAX), &reason);
        }
        lost => other.lose(lost),
    }
}

/// The streams and datagrams of a connection.
struct ForwardedStreams<'a> {
    link: &'a Link,
    halves: JoinSet<Option<Half>>,
    datagrams: JoinSet<()>,
}

impl ForwardedStreams<'_> {
    fn pass_bi(&mut self, (send, recv): (SendStream, RecvStream), to: &Connection) {
        // A connection that has ended drops the stream.
        if let Ok((their_send, their_recv)) = to.open_bi_as(recv.id()) {
            self.pass(recv, their_send);
            self.pass(their_recv, send);
        }
    }

    fn pass_uni(&mut self, recv: RecvStream, to: &Connection) {
        if let Ok(send) = to.open_uni_as(recv.id()) {
            self.pass(recv, send);
        }
    }

    fn pass(&mut self, recv: RecvStream, send: SendStream) {
        let half = Half { recv, send };
        self.halves.spawn(half.forward(self.link.clone()));
    }

    fn pass_datagram(&mut self, datagram: Bytes, to: &Connection) {
        let arrival = self.link.datagram_arrival();
        if let Some(arrival) = arrival.filter(|_| self.datagrams.len() < DATAGRAMS) {
            let to = to.clone();
            self.datagrams.spawn(async move {
                sleep_until(arrival).await;
                to.send_datagram(datagram);
            });
        }
    }
}

/// One direction of a stream.
struct Half {
    recv: RecvStream,
    send: SendStream,
}

/// The event that ends one direction of a stream.
enum HalfEnd {
    /// All bytes were passed on.
    Finished,
    /// The sender has reset the stream.
    Reset(u64),
    /// The sender's connection has ended.
    SenderLost,
    /// The receiver has stopped the stream, or its connection has ended.
    ReceiverGone,
}

impl Half {
    /// Forwards bytes until the stream ends. Returns the half if the connection has ended.
    async fn forward(mut self, link: Link) -> Option<Self> {
        match self.pass_bytes(&link).await {
            HalfEnd::Finished => None,
            HalfEnd::Reset(code) => {
                link.arrives(link.arrival(Instant::now())).await;
                self.send.reset(u32::try_from(code).unwrap_or(u32::MAX));
                None
            }
            HalfEnd::SenderLost => Some(self),
            HalfEnd::ReceiverGone => match self.send.stop_code() {
                Some(code) => {
                    link.arrives(link.arrival(Instant::now())).await;
                    self.recv.stop(code);
                    None
                }
                None => Some(self),
            },
        }
    }

    async fn pass_bytes(&mut self, link: &Link) -> HalfEnd {
        let Self { recv, send } = self;
        let mut gone = pin!(send.stopped());
        let (queue, packets) = mpsc::channel(PACKETS);
        let mut writing = pin!(write_all(send, packets, link));
        let (ended, last) = tokio::select! {
            biased;
            read = read_all(recv, queue, link) => read,
            _ = &mut writing => return HalfEnd::ReceiverGone,
            () = &mut gone => return HalfEnd::ReceiverGone,
        };
        let deliver = async {
            tokio::select! {
                biased;
                written = &mut writing => written.is_ok(),
                () = &mut gone => false,
            }
        };
        match ended {
            Ok(()) => match deliver.await {
                true => HalfEnd::Finished,
                false => HalfEnd::ReceiverGone,
            },
            Err(StreamLost::Reset(code)) => HalfEnd::Reset(code),
            Err(_) => {
                let _ = timeout_at(last + UNREAD, deliver).await;
                HalfEnd::SenderLost
            }
        }
    }
}

/// A packet of a stream: the time when it arrives, and its bytes. `None` is the end of the stream.
type Packet = (Instant, Option<Bytes>);

/// Reads until the end of the stream. Returns how the stream ended, and when the last packet arrives.
async fn read_all(
    recv: &mut RecvStream,
    queue: mpsc::Sender<Packet>,
    link: &Link,
) -> (Result<(), StreamLost>, Instant) {
    let mut last = Instant::now();
    loop {
        let chunk = match recv.read_chunk().await {
            Ok(chunk) => chunk,
            Err(lost) => return (Err(lost), last),
        };
        last = link.arrival(last);
        let is_end = chunk.is_none();
        // The receiver may be gone, which is found elsewhere.
        let _ = queue.send((last, chunk)).await;
        if is_end {
            return (Ok(()), last);
        }
    }
}

/// Writes packets when they arrive.
async fn write_all(
    send: &mut SendStream,
    mut packets: mpsc::Receiver<Packet>,
    link: &Link,
) -> Result<(), StreamLost> {
    while let Some((arrival, chunk)) = packets.recv().await {
        link.arrives(arrival).await;
        match chunk {
            Some(chunk) => send.write_chunk(chunk).await?,
            None => send.finish(),
        }
    }
    Ok(())
}
