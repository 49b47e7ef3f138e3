//! Writes the reply to one request.

use std::convert::Infallible;
use std::fmt;

use crate::codec::INITIAL_BUFFER_BYTES;
use crate::codec::de::Mismatch;
use crate::codec::envelope::{DATA, HEAD, RESULT, write_error};
use crate::codec::error::{self, ErrorObject, Unwritable};
use crate::codec::error_code::{ProtocolError, Setting, code};
use crate::codec::escape::Escaped;
use crate::codec::id::Id;
use crate::codec::literals::META;
use crate::codec::metadata::Metadata;
use crate::codec::params::decode::InvalidParams;
use crate::codec::result::{Returns, WriteValue};
use crate::codec::ser;

/// The reason why a call has no result.
#[derive(Debug)]
pub struct Fault(pub(crate) FaultKind);

#[derive(Debug)]
pub(crate) enum FaultKind {
    /// The parameters are not those of the method.
    Params(InvalidParams),
    /// The service has no method of this number, because the generated code is inconsistent.
    UnknownMethod,
    /// serde could not write the result.
    Unwritable(String),
    /// An item has the wrong type.
    Item(Mismatch),
    /// A protocol error.
    Protocol(ProtocolError),
    /// The handler's own error with this code, which the reply already contains.
    Written(i64),
    /// An error that replaces the handler's reply. Boxed, because it is larger than all other variants, and rare.
    Error(Box<ErrorObject>),
}

impl Fault {
    /// Returns the code that the caller receives.
    pub(crate) fn code(&self) -> i64 {
        match &self.0 {
            FaultKind::UnknownMethod => code::METHOD_NOT_FOUND,
            FaultKind::Unwritable(_) => code::INTERNAL_ERROR,
            FaultKind::Protocol(error) => error.code(),
            FaultKind::Written(code) => *code,
            FaultKind::Error(error) => error.code(),
            _ => code::INVALID_PARAMS,
        }
    }
}

/// An error whose code reports the execution status of a call is treated as one that cannot be written.
impl From<ErrorObject> for Fault {
    fn from(error: ErrorObject) -> Self {
        Self(match error::check_code(error.code()) {
            Ok(()) => FaultKind::Error(Box::new(error)),
            Err(Unwritable(reason)) => FaultKind::Unwritable(reason),
        })
    }
}

impl From<InvalidParams> for Fault {
    fn from(invalid: InvalidParams) -> Self {
        Self(FaultKind::Params(invalid))
    }
}

impl From<ProtocolError> for Fault {
    fn from(error: ProtocolError) -> Self {
        Self(FaultKind::Protocol(error))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Params(invalid) => write!(f, "{invalid}"),
            Self::UnknownMethod => write!(f, "unknown method"),
            Self::Unwritable(reason) => write!(f, "the result cannot be written: {reason}"),
            Self::Item(mismatch) => write!(f, "item: {mismatch}"),
            Self::Protocol(error) => write!(f, "error {}", error.code()),
            Self::Written(code) => write!(f, "error {code}"),
            Self::Error(error) => write!(f, "{error}"),
        }
    }
}

/// The response to one request, written into a reused buffer.
pub struct Reply {
    out: Vec<u8>,
    /// The position behind the id, where the body of the response starts.
    body: usize,
    /// `false` for a notification.
    expects_response: bool,
    limit: usize,
}

/// Hides the response, which may hold secrets.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("bytes", &self.out.len())
            .finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            out: Vec::with_capacity(INITIAL_BUFFER_BYTES),
            body: 0,
            expects_response: false,
            limit,
        }
    }

    /// Takes the reply for another thread and leaves a reply of the same kind.
    pub(crate) fn take(&mut self) -> Self {
        let limit = self.limit;
        std::mem::replace(self, Self::new(limit))
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn expects_response(&self) -> bool {
        self.expects_response
    }

    /// Starts the response to the request with this id, and discards what was written before.
    #[inline]
    pub(crate) fn begin(&mut self, id: Option<Id<'_>>) {
        self.out.clear();
        self.expects_response = id.is_some();
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

    /// Writes a result or a handler's error. Returns the error as a fault.
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
        if !self.expects_response {
            return Ok(());
        }
        self.out.truncate(self.body);
        let written = body(&mut self.out);
        written.map_err(|Unwritable(reason)| Fault(FaultKind::Unwritable(reason)))?;
        if self.out.len() > self.limit {
            let limit = Setting::new("max_response_bytes", self.limit);
            return Err(ProtocolError::ReplyTooLarge(limit).into());
        }
        Ok(())
    }

    /// Writes null if a handler without a result was called by a request that expects one.
    #[inline]
    pub(crate) fn write_missing_result(&mut self) {
        if self.expects_response && self.out.len() == self.body {
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

    /// Writes a protocol error in place of what was written before.
    pub(crate) fn reject(&mut self, error: ProtocolError) {
        if self.expects_response {
            self.out.truncate(self.body);
            error.write_body(&mut self.out);
        }
    }

    /// Writes the error of a method that does not exist, with its name.
    #[cold]
    pub(crate) fn reject_unknown(&mut self, method: &str) {
        if !self.expects_response {
            return;
        }
        self.out.truncate(self.body);
        write_error(&mut self.out, code::METHOD_NOT_FOUND, |out| {
            ser::write_string("Method not found", out);
        });
        self.out.extend_from_slice(DATA);
        let data = format_args!("there is no method `{}`", Escaped(method));
        // Writing to memory does not fail.
        let _ = ser::write_display(&data, &mut self.out);
        self.out.extend_from_slice(b"}}");
    }

    /// Writes the reason why the call has no result.
    pub(crate) fn fault(&mut self, Fault(fault): &Fault) {
        match fault {
            FaultKind::UnknownMethod => self.reject(ProtocolError::MethodNotFound),
            FaultKind::Unwritable(_) => self.reject(ProtocolError::Internal),
            FaultKind::Protocol(error) => self.reject(*error),
            FaultKind::Written(_) => {}
            FaultKind::Error(error) => {
                if let Err(fault) = self.write(|out| error::write_body(&**error, out)) {
                    self.fault(&fault);
                }
            }
            _ if self.expects_response => {
                self.out.truncate(self.body);
                write_error(&mut self.out, code::INVALID_PARAMS, |out| {
                    ser::write_string("Invalid params", out);
                });
                self.out.extend_from_slice(DATA);
                // A fault's text is the crate's own; no user's `Display` runs here.
                let _ = ser::write_display(fault, &mut self.out);
                self.out.extend_from_slice(b"}}");
            }
            _ => {}
        }
    }

    /// Appends metadata to a response that was written. Returns `false`, and appends nothing, if the response would then
    /// be larger than the limit.
    pub(crate) fn add_metadata(&mut self, metadata: &Metadata) -> bool {
        if !self.expects_response || self.out.pop().is_none() {
            return true;
        }
        let end = self.out.len();
        self.out.extend_from_slice(META);
        metadata.write(&mut self.out);
        let fits = self.out.len() < self.limit;
        if !fits {
            self.out.truncate(end);
        }
        self.out.push(b'}');
        fits
    }

    /// Returns the response without its newline. It is empty for a notification.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Returns the response up to its id.
    pub(crate) fn head(&self) -> &[u8] {
        self.out.get(..self.body).unwrap_or_default()
    }

    /// Returns the capacity of the buffer.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Drops the buffer if it grew past `limit`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_follows_the_result_or_is_left_out() {
        let mut metadata = Metadata::default();
        metadata.set("a", "1").unwrap();
        let result = r#"{"jsonrpc":"2.0","id":7,"result":3}"#;
        let expected = r#"{"jsonrpc":"2.0","id":7,"result":3,"meta":{"a":"1"}}"#;
        for limit in [expected.len(), expected.len() - 1] {
            let mut reply = Reply::new(limit);
            reply.begin(Some(Id::Unsigned(7)));
            reply.json(b"3");
            let fits = reply.add_metadata(&metadata);
            assert_eq!(fits, limit == expected.len());
            let expected = if fits { expected } else { result };
            assert_eq!(reply.bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn notification_has_no_metadata() {
        let mut metadata = Metadata::default();
        metadata.set("a", "1").unwrap();
        let mut reply = Reply::new(100);
        reply.begin(None);
        assert!(reply.add_metadata(&metadata));
        assert_eq!(reply.bytes(), b"");
    }
}
