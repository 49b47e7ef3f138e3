//! Streams whose peer follows a script.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::fuzzing::gauge::run_until_idle;
use crate::fuzzing::script::Script;
use crate::transport::memory::{Connection, RecvStream, SendStream};

/// Size of a chunk that is sent, in bytes.
const CHUNK: usize = 4 << 10;

/// Maximum number of bytes that wait until the other side has read earlier bytes.
const MOST_PENDING: usize = 64 << 10;

/// Maximum memory of a stream for the bytes that it sends, including the growth of its buffer.
pub(super) const MOST_SENDING: usize = 3 * MOST_PENDING;

/// Maximum number of received bytes without a line feed: more than the largest message has.
const MOST_LINE: usize = 256 << 10;

/// The end of a stream that follows a script.
#[derive(Debug, Default)]
pub(super) struct ScriptedStream {
    send: Option<SendStream>,
    recv: Option<RecvStream>,
    /// Bytes that are still to be sent.
    pending: Vec<u8>,
    is_finishing: bool,
    /// Number of bytes handed over, including pending bytes.
    offset: u64,
    /// The line that is being received.
    line: Vec<u8>,
    /// The ids of the last requests received.
    pub(super) ids: Vec<u64>,
    /// Number of complete lines received.
    pub(super) lines: usize,
}

/// Maximum number of ids that are kept.
const MOST_IDS: usize = 16;

impl ScriptedStream {
    pub(super) fn new(send: Option<SendStream>, recv: Option<RecvStream>) -> Self {
        Self {
            send,
            recv,
            ..Self::default()
        }
    }

    /// Returns the number of bytes that this end holds.
    pub(super) fn held(&self) -> usize {
        self.pending.capacity() + self.line.capacity()
    }

    /// Returns the offset of the next byte to be sent.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns `true` if neither half is open.
    pub(super) fn is_over(&self) -> bool {
        self.send.is_none() && self.recv.is_none()
    }

    /// Sends `bytes`, as far as the other side reads them. If `is_settling` is `true`, lets other tasks run in between.
    pub(super) async fn push(&mut self, bytes: &[u8], is_settling: bool) {
        if self.send.is_none() || self.is_finishing || self.pending.len() > MOST_PENDING {
            return;
        }
        let bytes = &bytes[..bytes.len().min(MOST_PENDING)];
        self.pending.reserve_exact(bytes.len());
        self.pending.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        while self.flush().is_continue() && is_settling {
            run_until_idle().await;
        }
    }

    /// Sends pending bytes until the other side must read first. Breaks if nothing more can be sent.
    pub(super) fn flush(&mut self) -> ControlFlow<()> {
        let Some(send) = &mut self.send else {
            return ControlFlow::Break(());
        };
        let mut sent = 0;
        let mut is_lost = false;
        while sent < self.pending.len() {
            let end = self.pending.len().min(sent + CHUNK);
            let chunk = Bytes::copy_from_slice(&self.pending[sent..end]);
            match send.write_chunk(chunk).now_or_never() {
                Some(Ok(())) => sent = end,
                Some(Err(_)) => is_lost = true,
                None => break,
            }
            if is_lost {
                break;
            }
        }
        self.pending.drain(..sent);
        if is_lost {
            self.pending = Vec::new();
            self.send = None;
        } else if self.pending.is_empty() {
            self.pending = Vec::new();
            if self.is_finishing {
                send.finish();
                self.send = None;
            }
        }
        match self.pending.is_empty() || sent == 0 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Ends the sending half after the pending bytes.
    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
        let _ = self.flush();
    }

    pub(super) fn reset(&mut self, code: u32) {
        self.pending = Vec::new();
        if let Some(mut send) = self.send.take() {
            send.reset(code);
        }
    }

    pub(super) fn stop(&mut self, code: u32) {
        self.line = Vec::new();
        if let Some(mut recv) = self.recv.take() {
            recv.stop(code);
        }
    }

    /// Reads up to `most` received chunks. Returns `true` if there were any.
    ///
    /// # Panics
    /// Panics if a received line is not JSON.
    pub(super) fn read(&mut self, most: usize) -> bool {
        for count in 0..most {
            let Some(recv) = &mut self.recv else {
                return count > 0;
            };
            match recv.read_chunk().now_or_never() {
                None => return count > 0,
                Some(Ok(Some(chunk))) => self.receive(&chunk),
                Some(Ok(None)) => {
                    assert!(self.line.is_empty(), "a line without its end");
                    self.recv = None;
                }
                Some(Err(_)) => {
                    self.line = Vec::new();
                    self.recv = None;
                }
            }
        }
        true
    }

    fn receive(&mut self, chunk: &[u8]) {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            assert!(self.line.len() < MOST_LINE, "a line without an end");
            if part.ends_with(b"\n") {
                self.take_line();
            }
        }
    }

    fn take_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok();
        assert!(is_json, "{}", line.escape_ascii());
        self.lines += 1;
        let ids = line.split(|byte| b",[{}]".contains(byte));
        let ids = ids.filter_map(|member| member.strip_prefix(b"\"id\":"));
        let ids = ids.filter_map(|id| std::str::from_utf8(id).ok()?.parse::<u64>().ok());
        self.ids.extend(ids);
        let surplus = self.ids.len().saturating_sub(MOST_IDS);
        self.ids.drain(..surplus);
    }
}

/// Opens a stream of either kind. Returns `None` once the connection is lost.
pub(super) fn open(connection: &Connection, is_bidirectional: bool) -> Option<ScriptedStream> {
    Some(match is_bidirectional {
        true => {
            let (send, recv) = connection.open_bi().ok()?;
            ScriptedStream::new(Some(send), Some(recv))
        }
        false => ScriptedStream::new(Some(connection.open_uni().ok()?), None),
    })
}

/// Accepts a stream of either kind, if the other side has opened one.
pub(super) fn accept(connection: &Connection) -> Option<ScriptedStream> {
    if let Some(Ok((send, recv))) = connection.accept_bi().now_or_never() {
        return Some(ScriptedStream::new(Some(send), Some(recv)));
    }
    let recv = connection.accept_uni().now_or_never()?.ok()?;
    Some(ScriptedStream::new(None, Some(recv)))
}

/// Returns a code with which a stream is reset or stopped.
pub(super) fn code(script: &mut Script<'_>) -> u32 {
    script.pick(&[0, 0x14, 0x20, 7])
}
