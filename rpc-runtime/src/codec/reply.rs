//! Writes the answer to one request.

use std::convert::Infallible;

use crate::codec::INITIAL_BUFFER_BYTES;
use crate::codec::envelope::{DATA, HEAD, RESULT, write_error};
use crate::codec::error::{self, Unwritable};
use crate::codec::error_code::{ProtocolError, code};
use crate::codec::id::Id;
use crate::codec::params::decode::{Fault, FaultKind};
use crate::codec::result::{Returns, WriteValue};
use crate::codec::ser;

/// The response to one request, written into a buffer that is used again.
#[derive(Debug)]
pub struct Reply {
    out: Vec<u8>,
    /// Where the body of the response starts: behind its id.
    body: usize,
    /// A notification has no response.
    wanted: bool,
    limit: usize,
}

impl Reply {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            out: Vec::with_capacity(INITIAL_BUFFER_BYTES),
            body: 0,
            wanted: false,
            limit,
        }
    }

    /// The reply for another thread; one like it stays here.
    pub(crate) fn take(&mut self) -> Self {
        let limit = self.limit;
        std::mem::replace(self, Self::new(limit))
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Starts the response to the request with this id; what was written before is gone.
    pub(crate) fn begin(&mut self, id: Option<Id<'_>>) {
        self.out.clear();
        self.wanted = id.is_some();
        if let Some(id) = id {
            self.out.extend_from_slice(HEAD);
            id.write(&mut self.out);
        }
        self.body = self.out.len();
    }

    /// Writes a result.
    pub fn value<T, O>(
        &mut self,
        value: &T,
        returns: Returns<T, O, Infallible>,
    ) -> Result<(), Fault> {
        self.write(|out| write_value(value, returns.write, out))
    }

    /// Writes a result or a handler's error, which is the fault then.
    pub fn result<T, O, E>(
        &mut self,
        result: Result<T, E>,
        returns: Returns<T, O, E>,
    ) -> Result<(), Fault> {
        match result {
            Ok(value) => self.write(|out| write_value(&value, returns.write, out)),
            Err(error) => {
                self.write(|out| (returns.write_error)(&error, out))?;
                Err(Fault(FaultKind::Written((returns.code)(&error))))
            }
        }
    }

    fn write(
        &mut self,
        body: impl FnOnce(&mut Vec<u8>) -> Result<(), Unwritable>,
    ) -> Result<(), Fault> {
        if !self.wanted {
            return Ok(());
        }
        self.out.truncate(self.body);
        let written = body(&mut self.out);
        written.map_err(|Unwritable(reason)| Fault(FaultKind::Unwritable(reason)))?;
        if self.out.len() > self.limit {
            return Err(ProtocolError::ReplyTooLarge.into());
        }
        Ok(())
    }

    /// Writes null where a handler that has no result was called for one.
    pub(crate) fn settle(&mut self) {
        if self.wanted && self.out.len() == self.body {
            self.out.extend_from_slice(RESULT);
            self.out.extend_from_slice(b"null}");
        }
    }

    /// Writes a result that is JSON already.
    pub(crate) fn json(&mut self, json: &[u8]) {
        let written = self.write(|out| {
            out.extend_from_slice(RESULT);
            out.extend_from_slice(json);
            out.push(b'}');
            Ok(())
        });
        if let Err(fault) = written {
            self.fault(&fault);
        }
    }

    /// Writes an answer of the protocol's own, in place of whatever was begun.
    pub(crate) fn reject(&mut self, refusal: ProtocolError) {
        if self.wanted {
            self.out.truncate(self.body);
            refusal.write_body(&mut self.out);
        }
    }

    /// Writes why the call has no result.
    pub(crate) fn fault(&mut self, Fault(fault): &Fault) {
        match fault {
            FaultKind::UnknownMethod => self.reject(ProtocolError::MethodNotFound),
            FaultKind::Unwritable(_) => self.reject(ProtocolError::Internal),
            FaultKind::Refused(refusal) => self.reject(*refusal),
            FaultKind::Written(_) => {}
            FaultKind::Error(error) => {
                if let Err(fault) = self.write(|out| error::write_body(&**error, out)) {
                    self.fault(&fault);
                }
            }
            _ if self.wanted => {
                self.out.truncate(self.body);
                write_error(&mut self.out, code::INVALID_PARAMS, |out| {
                    ser::write_string("Invalid params", out);
                });
                self.out.extend_from_slice(DATA);
                // What a fault displays is text, and no user's `Display`.
                let _ = ser::write_display(fault, &mut self.out);
                self.out.extend_from_slice(b"}}");
            }
            _ => {}
        }
    }

    /// The response, without its newline; empty for a notification.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// The response up to its id.
    pub(crate) fn head(&self) -> &[u8] {
        self.out.get(..self.body).unwrap_or_default()
    }

    /// Drops a buffer that grew past `limit`.
    pub(crate) fn shrink(&mut self, limit: usize) {
        if self.out.capacity() > limit {
            self.out = Vec::new();
        }
    }
}

fn write_value<T>(value: &T, write: WriteValue<T>, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    out.extend_from_slice(RESULT);
    write(value, out)?;
    out.push(b'}');
    Ok(())
}
