//! The two halves of a stream.

use bytes::Bytes;
use quinn::{ReadError, VarInt, WriteError};

use crate::transport::error::{Stopped, StreamLost, close};
use crate::transport::quic::error::lost;

/// The maximum number of chunks that one read takes.
const CHUNKS: usize = 16;

#[derive(Debug)]
pub(crate) struct SendStream {
    stream: quinn::SendStream,
    finished: bool,
}

impl SendStream {
    pub(super) fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            finished: false,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    pub(crate) async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StreamLost> {
        self.stream
            .write_chunk(chunk)
            .await
            .map_err(|error| match error {
                WriteError::Stopped(code) => StreamLost::Stopped(code.into_inner()),
                WriteError::ConnectionLost(error) => lost(error).into(),
                WriteError::ClosedStream | WriteError::ZeroRttRejected => {
                    StreamLost::Stopped(close::CANCELLED.into())
                }
            })
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
        // Fails if the peer has stopped the stream, which then need not be finished.
        let _ = self.stream.finish();
    }

    pub(crate) fn reset(&mut self, code: u32) {
        // Fails if the stream has ended, which then need not be reset.
        let _ = self.stream.reset(code.into());
    }

    pub(crate) fn stopped(&self) -> Stopped {
        let stopped = self.stream.stopped();
        Box::pin(async {
            let _ = stopped.await;
        })
    }
}

/// Resets an unfinished stream. quinn would finish it, which makes a partial message look complete.
impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.finished {
            self.reset(close::CANCELLED);
        }
    }
}

#[derive(Debug)]
pub(crate) struct RecvStream {
    stream: quinn::RecvStream,
    /// The received chunks; those from `next` to `filled` are not returned yet.
    chunks: [Bytes; CHUNKS],
    next: usize,
    filled: usize,
    /// The end of the stream, if it was reached.
    end: Option<Result<(), StreamLost>>,
}

impl RecvStream {
    pub(super) fn new(stream: quinn::RecvStream) -> Self {
        Self {
            stream,
            chunks: Default::default(),
            next: 0,
            filled: 0,
            end: None,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    pub(crate) async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamLost> {
        if self.next == self.filled {
            self.next = 0;
            self.filled = 0;
            if self.end.is_none() {
                self.fill().await;
            }
        }
        match (self.chunks.get_mut(self.next), &self.end) {
            (Some(chunk), _) if self.next < self.filled => {
                self.next += 1;
                Ok(Some(std::mem::take(chunk)))
            }
            (_, Some(Err(lost))) => Err(lost.clone()),
            _ => Ok(None),
        }
    }

    pub(crate) fn stop(&mut self, code: u32) {
        // Fails if the stream was read to its end, which then need not be stopped.
        let _ = self.stream.stop(code.into());
    }

    /// Reads more chunks once.
    async fn fill(&mut self) {
        let Some(room) = self.chunks.get_mut(self.filled..) else {
            return;
        };
        match self.stream.read_chunks(room).await {
            Ok(Some(read)) => self.filled += read,
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => {
                self.end = Some(Err(match error {
                    ReadError::Reset(code) => StreamLost::Reset(code.into_inner()),
                    ReadError::ConnectionLost(error) => lost(error).into(),
                    _ => StreamLost::Reset(close::CANCELLED.into()),
                }));
            }
        }
    }

    /// Reads ahead into the free chunks to detect a reset after them. quinn's own future for resets is not used: its
    /// debug builds panic if it is dropped and the stream is then read to its end.
    pub(crate) async fn was_reset(&mut self) {
        while self.end.is_none() && self.filled < CHUNKS {
            self.fill().await;
        }
        if !matches!(self.end, Some(Err(_))) {
            std::future::pending().await
        }
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stop(close::CANCELLED);
    }
}
