//! A method as seen by its callers, and the encoding of its requests.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::metadata::MetadataWriter;
use crate::client::middleware::request::RequestKind;
use crate::codec::envelope::{HEAD, VERSION};
use crate::codec::params::encode::SentParams;
use crate::codec::ser::{write_string, write_unsigned};
use crate::description::types::{Described, ServiceDescription};

/// A method as seen by its callers.
#[derive(Debug)]
pub struct Method {
    name: &'static str,
    /// The start of every request, once a request was written.
    start: OnceLock<Box<[u8]>>,
    is_idempotent: bool,
    /// `true` if the last reply was large; the next call then uses a dedicated stream.
    large_reply: AtomicBool,
    /// The index in the description of the service, once it was needed.
    index: OnceLock<Option<usize>>,
}

impl Method {
    /// Creates a method with this name on the wire.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            start: OnceLock::new(),
            is_idempotent: false,
            large_reply: AtomicBool::new(false),
            index: OnceLock::new(),
        }
    }

    /// Marks the method as idempotent: it may run twice.
    pub const fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    /// Returns the method of the service that `D` describes.
    pub fn of<D: Described>(&'static self) -> DeclaredMethod {
        DeclaredMethod {
            method: self,
            service: D::DESCRIPTION,
        }
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }

    pub(super) fn has_large_reply(&self) -> bool {
        self.large_reply.load(Ordering::Relaxed)
    }

    pub(super) fn record_reply(&self, is_large: bool) {
        if self.has_large_reply() != is_large {
            self.large_reply.store(is_large, Ordering::Relaxed);
        }
    }

    fn start(&self) -> &[u8] {
        self.start.get_or_init(|| {
            let mut start = Vec::new();
            write_start(self.name, &mut start);
            start.into_boxed_slice()
        })
    }
}

/// A method and the service that declares it.
#[derive(Debug, Clone, Copy)]
pub struct DeclaredMethod {
    pub(super) method: &'static Method,
    service: &'static ServiceDescription,
}

impl DeclaredMethod {
    /// Returns what a middleware sees of a call.
    pub(super) fn request_kind(self) -> RequestKind {
        let Self { method, service } = self;
        let find = || {
            let mut methods = service.methods.iter();
            methods.position(|described| described.name == method.name)
        };
        RequestKind {
            method: Cow::Borrowed(method.name),
            service: Some(service),
            index: *method.index.get_or_init(find),
            is_notification: false,
            is_stream: false,
            is_batch_entry: false,
        }
    }
}

/// The name of a method to call.
#[derive(Clone, Copy)]
pub(super) enum MethodName<'a> {
    Declared(DeclaredMethod),
    Text(&'a str),
}

impl MethodName<'_> {
    pub(super) fn declared(self) -> Option<&'static Method> {
        match self {
            Self::Declared(declared) => Some(declared.method),
            Self::Text(_) => None,
        }
    }

    /// Returns what a middleware sees of a call.
    pub(super) fn request_kind(self) -> RequestKind {
        match self {
            Self::Declared(declared) => declared.request_kind(),
            Self::Text(name) => RequestKind {
                method: Cow::Owned(name.to_owned()),
                service: None,
                index: None,
                is_notification: false,
                is_stream: false,
                is_batch_entry: false,
            },
        }
    }
}

/// Bytes for the start of a message: `{"jsonrpc":"2.0","id":` and a 64-bit number.
const HEADROOM: usize = HEAD.len() + 20;

/// Written between the method and its parameters.
const PARAMS: &[u8] = br#","params":"#;

/// Written after the options.
const END: &[u8] = b"}\n";

/// Appends the part of a request before the parameters.
fn write_start(method: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b' '; HEADROOM]);
    out.extend_from_slice(br#","method":"#);
    write_string(method, out);
    out.extend_from_slice(PARAMS);
}

/// The start of a message, aligned to the end of the headroom.
#[derive(Debug)]
pub(super) struct MessageHead {
    bytes: [u8; HEADROOM],
    start: usize,
}

impl MessageHead {
    /// Returns the head of a call with this id.
    pub(super) fn of_call(mut id: u64) -> Self {
        let mut bytes = [b' '; HEADROOM];
        let mut start = HEADROOM;
        loop {
            start -= 1;
            bytes[start] = b'0' + (id % 10) as u8;
            id /= 10;
            if id == 0 {
                break;
            }
        }
        Self::prepend(HEAD, bytes, start)
    }

    pub(super) fn of_notification() -> Self {
        Self::prepend(VERSION, [b' '; HEADROOM], HEADROOM)
    }

    fn prepend(text: &[u8], mut bytes: [u8; HEADROOM], end: usize) -> Self {
        let start = end - text.len();
        bytes[start..end].copy_from_slice(text);
        Self { bytes, start }
    }
}

/// A request as JSON. Its head is written in front of it when it is sent.
#[derive(Debug)]
pub(super) struct EncodedRequest {
    /// Headroom, method, parameters, options, `}` and a line feed.
    bytes: Vec<u8>,
    /// Offset of the options.
    options_at: usize,
}

impl EncodedRequest {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            options_at: 0,
        }
    }

    /// Writes method and parameters into an empty buffer. The request is then complete and has no options.
    #[inline]
    pub(super) fn encode(
        &mut self,
        method: MethodName<'_>,
        params: &impl SentParams,
    ) -> Result<(), serde_json::Error> {
        let bytes = &mut self.bytes;
        match method {
            MethodName::Declared(declared) => bytes.extend_from_slice(declared.method.start()),
            MethodName::Text(name) => write_start(name, bytes),
        }
        let start = bytes.len();
        params.write(bytes)?;
        if bytes.len() == start {
            bytes.truncate(start - PARAMS.len());
        }
        self.options_at = bytes.len();
        bytes.extend_from_slice(END);
        Ok(())
    }

    /// Writes the options. Replaces options that were written before.
    #[inline]
    pub(super) fn write_options(&mut self, timeout: Option<Duration>, metadata: &MetadataWriter) {
        let has_options = self.bytes.len() > self.options_at + END.len();
        if has_options || timeout.is_some() || !metadata.is_empty() {
            self.rewrite_options(timeout, metadata);
        }
    }

    fn rewrite_options(&mut self, timeout: Option<Duration>, metadata: &MetadataWriter) {
        let bytes = &mut self.bytes;
        bytes.truncate(self.options_at);
        if let Some(timeout) = timeout {
            bytes.extend_from_slice(br#","timeout":"#);
            // Rounded up, so that the server does not stop the handler before the caller stops waiting.
            let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
            write_unsigned(u64::try_from(milliseconds).unwrap_or(u64::MAX), bytes);
        }
        metadata.write(bytes);
        bytes.extend_from_slice(END);
    }

    /// Returns an upper bound of the message's length, in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the message with this head and its line feed.
    pub(super) fn with_head(&mut self, head: &MessageHead) -> &[u8] {
        // Copies the entire headroom, since its size is known at compile time.
        self.bytes[..HEADROOM].copy_from_slice(&head.bytes);
        &self.bytes[head.start..]
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::params::encode::NoParams;

    fn encode(method: MethodName<'_>) -> EncodedRequest {
        let mut request = EncodedRequest::with_capacity(0);
        request.encode(method, &NoParams).unwrap();
        request.write_options(None, &MetadataWriter::default());
        request
    }

    fn message(method: MethodName<'_>) -> Vec<u8> {
        let mut request = encode(method);
        request.with_head(&MessageHead::of_notification()).to_vec()
    }

    #[test]
    fn request_sent_twice_has_the_id_of_each_message() {
        let mut request = encode(MethodName::Text("add"));
        for id in [u64::MAX, 10, 0, 7] {
            let expected = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"add\"}}\n");
            assert_eq!(
                request.with_head(&MessageHead::of_call(id)),
                expected.as_bytes()
            );
        }
        let expected = b"{\"jsonrpc\":\"2.0\",\"method\":\"add\"}\n";
        assert_eq!(request.with_head(&MessageHead::of_notification()), expected);
    }

    #[test]
    fn options_written_again_replace_those_before() {
        let mut request = encode(MethodName::Text("add"));
        let mut metadata = MetadataWriter::default();
        metadata.push("user", "ada");
        request.write_options(Some(Duration::from_micros(1500)), &metadata);
        let timeout = r#"{"jsonrpc":"2.0","method":"add","timeout":2,"meta":{"user":"ada"}}"#;
        assert_eq!(
            request.with_head(&MessageHead::of_notification()),
            format!("{timeout}\n").as_bytes()
        );
        request.write_options(Some(Duration::from_millis(1)), &MetadataWriter::default());
        let timeout = r#"{"jsonrpc":"2.0","method":"add","timeout":1}"#;
        assert_eq!(
            request.with_head(&MessageHead::of_notification()),
            format!("{timeout}\n").as_bytes()
        );
    }

    #[test]
    fn declared_name_is_escaped_as_any_text() {
        static NAMES: [Method; 5] = [
            Method::new("add"),
            Method::new("größe"),
            Method::new("a\"b"),
            Method::new("a\\b"),
            Method::new("a\nb"),
        ];
        for method in &NAMES {
            let declared = message(MethodName::Declared(DeclaredMethod {
                method,
                service: &ServiceDescription {
                    name: "Calculator",
                    docs: "",
                    version: None,
                    methods: &[],
                },
            }));
            let expected = message(MethodName::Text(method.name));
            assert_eq!(declared, expected);
            let parsed: serde_json::Value = serde_json::from_slice(&declared).unwrap();
            assert_eq!(parsed["method"], method.name);
        }
    }
}
