//! Splits the streams of a client into messages.

use std::borrow::Cow;
use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use rpc_runtime::gateway::{GatewayRecv, StreamError};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The messages of a stream.
#[derive(Debug)]
pub(super) struct Lines {
    recv: GatewayRecv,
    received: BytesMut,
}

impl Lines {
    pub(super) fn new(recv: GatewayRecv) -> Self {
        Self {
            recv,
            received: BytesMut::new(),
        }
    }

    /// Returns the next message without its line feed, or `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.received) {
                let mut line = self.received.split_to(end + 1);
                line.truncate(end);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line.freeze()));
            }
            match poll_fn(|cx| self.recv.poll_recv(cx)).await {
                Some(chunk) => self.received.extend_from_slice(&chunk?),
                None => return Ok(None),
            }
        }
    }

    /// Returns what follows the message that was returned last.
    pub(super) fn into_rest(self) -> (Bytes, GatewayRecv) {
        (self.received.freeze(), self.recv)
    }
}

/// The envelope of a message.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope<'m> {
    #[serde(borrow, default)]
    pub(super) method: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    id: Option<&'m RawValue>,
    #[serde(borrow, default)]
    params: Option<&'m RawValue>,
}

#[derive(Deserialize)]
struct NamedId<'m> {
    #[serde(borrow)]
    id: &'m RawValue,
}

impl<'m> Envelope<'m> {
    pub(super) fn of(message: &'m [u8]) -> Self {
        serde_json::from_slice(message).unwrap_or_default()
    }

    /// Returns the id of the request or the reply, as JSON.
    pub(super) fn id(&self) -> Option<&'m str> {
        self.id.map(RawValue::get).filter(|id| *id != "null")
    }

    /// Returns the id of the call that `rpc.item`, `rpc.end` or `rpc.cancel` is about.
    pub(super) fn id_of_params(&self) -> Option<&'m str> {
        let params = self.params?.get();
        let id = match params.starts_with('{') {
            true => serde_json::from_str::<NamedId<'_>>(params).ok()?.id,
            false => *serde_json::from_str::<Vec<&RawValue>>(params)
                .ok()?
                .first()?,
        };
        Some(id.get())
    }
}

/// Returns a message as one line. Line feeds are white space in JSON, as carriage returns are.
pub(super) fn line_of(message: &[u8]) -> Bytes {
    let bytes = message.iter().map(|&byte| match byte {
        b'\n' => b'\r',
        byte => byte,
    });
    bytes.chain([b'\n']).collect()
}
