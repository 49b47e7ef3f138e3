//! Errors on the wire: a handler's own errors, and the error object of JSON-RPC 2.0.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::Error;

use crate::codec::MAX_RESPONSE_DEPTH;
use crate::codec::arena::Arena;
use crate::codec::de::Value;
use crate::codec::envelope::{DATA, write_error};
use crate::codec::error_code::code;
use crate::codec::escape::{EscapedMessage, Excerpt};
use crate::codec::params::decode::{Arguments, Parameter, Params};
use crate::codec::params::encode::{Sent, SentParams};
use crate::codec::parser::Parser;
use crate::codec::ser;

/// An error that a method can return. It is sent as code, message and data, and the client reads it as the same enum.
///
/// [Derive](derive@crate::RpcError) it. Each variant has a code of its own outside the range that
/// [JSON-RPC 2.0 reserves](https://www.jsonrpc.org/specification#error_object) (−32768 to −32000). The message is what
/// [`Display`](fmt::Display) writes, and the fields are sent as `error.data`.
///
/// ```
/// use rpc_runtime::RpcError;
///
/// #[derive(Debug, thiserror::Error, RpcError)]
/// pub enum DivideError {
///     #[error("division by zero")]
///     #[rpc(code = 1001)]
///     ByZero,
///     #[error("{value} is not finite")]
///     #[rpc(code = 1002)]
///     NotFinite { value: String },
/// }
/// ```
///
/// On the wire the second variant is `{"code":1002,"message":"inf is not finite","data":{"value":"inf"}}`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a method's error: it does not implement `RpcError`",
    label = "not an `RpcError`",
    note = "add `#[derive(RpcError)]` with a code for each variant, or return `ErrorObject`"
)]
pub trait RpcError: fmt::Display + Sized {
    /// The descriptions of the errors.
    #[doc(hidden)]
    const ERRORS: &'static [ErrorDescription] = &[];

    /// Returns the error's code.
    fn code(&self) -> i64;

    /// Writes the message that is sent. An [`ErrorObject`], which displays its message escaped, writes it as it is.
    #[doc(hidden)]
    fn write_message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt(f)
    }

    /// Writes the error's data.
    #[doc(hidden)]
    fn write_data(&self, data: DataWriter<'_>);

    /// Reads an error with this code and data. Returns `None` if the type has no such error.
    #[doc(hidden)]
    fn read(code: i64, message: &str, data: ErrorData<'_, '_>) -> Option<Self>;
}

/// The description of an error that a method may return.
///
/// ```
/// use rpc_runtime::description::Described;
/// use rpc_runtime::{RpcError, rpc};
///
/// #[rpc]
/// trait Calculator {
///     async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError>;
/// }
///
/// #[derive(Debug, thiserror::Error, RpcError)]
/// enum DivideError {
///     #[error("division by zero")]
///     #[rpc(code = 1001)]
///     ByZero,
/// }
///
/// let error = CalculatorClient::DESCRIPTION.methods[0].errors[0];
/// assert_eq!((error.name, error.code, error.message), ("ByZero", 1001, "division by zero"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ErrorDescription {
    /// The name of the variant, or of the struct.
    pub name: &'static str,
    /// The code on the wire.
    pub code: i64,
    /// The text of `#[error("…")]`, with the names of its fields in braces. Without such a text it is the
    /// documentation, and without documentation the name.
    pub message: &'static str,
    /// The documentation.
    pub docs: &'static str,
}

/// The error type of a method that returns no `Result`. Such an error never exists.
impl RpcError for Infallible {
    fn code(&self) -> i64 {
        match *self {}
    }

    fn write_data(&self, _: DataWriter<'_>) {
        match *self {}
    }

    fn read(_: i64, _: &str, _: ErrorData<'_, '_>) -> Option<Self> {
        None
    }
}

/// A boxed error is sent as the error itself.
impl<E: RpcError> RpcError for Box<E> {
    const ERRORS: &'static [ErrorDescription] = E::ERRORS;

    fn code(&self) -> i64 {
        (**self).code()
    }

    fn write_message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).write_message(f)
    }

    fn write_data(&self, data: DataWriter<'_>) {
        (**self).write_data(data);
    }

    fn read(code: i64, message: &str, data: ErrorData<'_, '_>) -> Option<Self> {
        E::read(code, message, data).map(Self::new)
    }
}

/// The codes by which the server reports how a call ended. A handler that sent one would mislead the client.
const STATUS_CODES: [i64; 4] = [
    code::CANCELLED,
    code::DEADLINE_PASSED,
    code::SHUTTING_DOWN,
    code::STREAM_ENDED,
];

/// Checks that a handler may send this code.
pub(super) fn check_code(code: i64) -> Result<(), Unwritable> {
    match STATUS_CODES.contains(&code) {
        true => Err(Unwritable(format!(
            "an error with the protocol's own code {code}"
        ))),
        false => Ok(()),
    }
}

/// Displays the message that is sent for an error.
struct SentMessage<'e, E>(&'e E);

impl<E: RpcError> fmt::Display for SentMessage<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_message(f)
    }
}

/// Appends the error part of a response, including its end.
pub(crate) fn write_body<E: RpcError>(error: &E, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    check_code(error.code())?;
    let mut failure = None;
    write_error(out, error.code(), |out| {
        let message = ser::write_display(&SentMessage(error), out);
        failure = message.err().map(serde_json::Error::custom);
    });
    error.write_data(DataWriter {
        out,
        failure: &mut failure,
    });
    out.extend_from_slice(b"}}");
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// The reason why a value could not be written. It is for the server's log and is not sent.
#[derive(Debug)]
pub(crate) struct Unwritable(pub(crate) String);

impl From<serde_json::Error> for Unwritable {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Writes `error.data`.
#[derive(Debug)]
pub struct DataWriter<'a> {
    out: &'a mut Vec<u8>,
    failure: &'a mut Option<serde_json::Error>,
}

impl<'a> DataWriter<'a> {
    /// Writes no data.
    pub fn none(self) {}

    /// Writes one value.
    pub fn value<T>(mut self, value: Sent<'_, T>) {
        self.out.extend_from_slice(DATA);
        self.put(&value);
    }

    /// Writes several values as an array.
    pub fn array(self, values: impl SentParams) {
        self.out.extend_from_slice(DATA);
        if let Err(error) = values.write(self.out) {
            *self.failure = Some(error);
        }
    }

    /// Starts an object, whose fields follow.
    pub fn object(self) -> ObjectWriter<'a> {
        self.out.extend_from_slice(DATA);
        ObjectWriter {
            data: self,
            next: b'{',
        }
    }

    fn fail(self, reason: &str) {
        *self.failure = Some(serde_json::Error::custom(reason));
    }

    fn raw(self, json: &str) {
        self.out.extend_from_slice(DATA);
        self.out.extend_from_slice(json.as_bytes());
    }

    fn put<T>(&mut self, value: &Sent<'_, T>) {
        if let Err(error) = value.write(self.out) {
            *self.failure = Some(error);
        }
    }
}

/// Writes the fields of an error.
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    data: DataWriter<'a>,
    next: u8,
}

impl ObjectWriter<'_> {
    /// Writes one field.
    pub fn field<T>(mut self, value: Sent<'_, T>) -> Self {
        self.data.out.push(self.next);
        self.next = b',';
        ser::write_string(value.name, self.data.out);
        self.data.out.push(b':');
        self.data.put(&value);
        self
    }

    /// Ends the object.
    pub fn end(self) {
        if self.next == b'{' {
            self.data.out.push(b'{');
        }
        self.data.out.push(b'}');
    }
}

/// The `error.data` of a received error.
#[derive(Debug, Clone, Copy)]
pub struct ErrorData<'t, 'de> {
    pub(crate) value: Option<Value<'t, 'de>>,
}

impl<'de> ErrorData<'_, 'de> {
    /// Reads the members as the fields of a variant. Unknown members are ignored: the server may be newer than the
    /// client.
    pub fn arguments<A: Arguments<'de>>(self, fields: A) -> Option<A::Values> {
        fields.read(Params::new(self.value).lenient()).ok()
    }

    /// Reads the entire data as one value.
    pub fn entire<P: Parameter<'de>>(self, field: P) -> Option<P::Value> {
        Params::new(self.value).entire(field).ok()
    }

    fn to_json(self) -> Option<Box<str>> {
        let mut out = Vec::new();
        self.value?.write_received(&mut out).ok()?;
        String::from_utf8(out).ok().map(Into::into)
    }
}

/// An error object of JSON-RPC 2.0: a code, a message, and data of any shape.
///
/// A client receives it when a code belongs to none of the method's own errors. A handler can return it instead of an
/// enum of its own: `Result<T, ErrorObject>`.
///
/// A handler may send any code except [`CANCELLED`](code::CANCELLED), [`DEADLINE_PASSED`](code::DEADLINE_PASSED),
/// [`SHUTTING_DOWN`](code::SHUTTING_DOWN) and [`STREAM_ENDED`](code::STREAM_ENDED). In place of these the caller
/// receives [`INTERNAL_ERROR`](code::INTERNAL_ERROR). Codes from −32768 to −32000 arrive as
/// [`CallError::Remote`](crate::CallError::Remote), all others as
/// [`CallError::Application`](crate::CallError::Application).
///
/// # Conversions
///
/// `#[derive(RpcError)]` also implements `From` of the enum for `ErrorObject`. So `?` converts the enum in a function that
/// returns an `ErrorObject`, and [`Response::error`](crate::middleware::Response::error) takes either.
///
/// ```
/// use rpc_runtime::{ErrorObject, RpcError};
///
/// #[derive(Debug, thiserror::Error, RpcError)]
/// enum TokenError {
///     #[error("the token has expired")]
///     #[rpc(code = 401)]
///     Expired,
/// }
///
/// let error = ErrorObject::from(TokenError::Expired);
/// assert_eq!((error.code(), error.message()), (401, "the token has expired"));
/// ```
///
/// # Errors of another service
///
/// A handler that calls another service passes its [`CallError`](crate::CallError) on with `?`. An error of the other
/// service's method keeps its code, message and data. Any other error becomes
/// [`UPSTREAM_FAILED`](code::UPSTREAM_FAILED): the caller must not take it for an error of the handler's own call. Its data
/// is a string with the kind of the failure and, if there is one, the code of the protocol. It contains no address and no
/// text of the other service.
///
/// ```
/// use rpc_runtime::{Client, ErrorObject, code, rpc};
///
/// #[rpc]
/// trait Store { async fn get(&self, key: &str) -> String; }
///
/// #[rpc]
/// trait Gateway { async fn show(&self, key: &str) -> Result<String, ErrorObject>; }
///
/// struct OverStore { store: StoreClient }
///
/// impl Gateway for OverStore {
///     async fn show(&self, key: &str) -> Result<String, ErrorObject> {
///         Ok(self.store.get(key).await?)
///     }
/// }
/// ```
///
/// # Examples
///
/// ```
/// use rpc_runtime::ErrorObject;
///
/// let error = ErrorObject::new(4001, "out of stock").with_data(&["pear", "plum"]);
/// assert_eq!(error.code(), 4001);
/// assert_eq!(error.raw_data(), Some(r#"["pear","plum"]"#));
/// assert_eq!(error.data::<Vec<String>>().unwrap(), ["pear", "plum"]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorObject {
    code: i64,
    message: Cow<'static, str>,
    data: Option<Box<str>>,
    /// The reason why the data cannot be sent.
    unwritable: Option<Box<str>>,
}

impl ErrorObject {
    /// Creates an error without data.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
            unwritable: None,
        }
    }

    /// Returns the same error with data.
    ///
    /// An error with data that serde cannot write has none, and the caller of a handler that returns it receives
    /// [`INTERNAL_ERROR`](code::INTERNAL_ERROR), as for a result that cannot be written. The server logs the reason.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        let written = ser::to_text(data);
        self.unwritable = written.as_ref().err().map(|error| error.to_string().into());
        self.data = written.ok();
        self
    }

    /// Returns the code. The constants of [`code`] name the codes with a defined meaning.
    pub fn code(&self) -> i64 {
        self.code
    }

    /// Returns the message, a sentence for people. It is as received: a peer may have put control characters into it, and any
    /// number of bytes. [`Display`](fmt::Display) escapes and truncates it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the data as a `T`. Returns `None` if there is no data or it is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        let mut json = self.data.as_deref()?.as_bytes().to_vec();
        let (mut parser, arena) = (Parser::new(MAX_RESPONSE_DEPTH), Arena::default());
        let mut document = parser.parse(&mut json).ok()?;
        document.lend(&arena);
        T::deserialize(document.root()).ok()
    }

    /// Returns the data as JSON text, if there is any.
    pub fn raw_data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// Returns the error object that a server sends for this error.
    #[doc(hidden)]
    pub fn sent<E: RpcError>(error: &E) -> Self {
        let mut data = Vec::new();
        let mut failure = None;
        error.write_data(DataWriter {
            out: &mut data,
            failure: &mut failure,
        });
        let data = data.strip_prefix(DATA).filter(|_| failure.is_none());
        let data = data.and_then(|data| std::str::from_utf8(data).ok());
        Self {
            code: error.code(),
            message: Cow::Owned(SentMessage(error).to_string()),
            data: data.map(Into::into),
            unwritable: failure.map(|error| error.to_string().into()),
        }
    }

    /// Returns the reason why the data cannot be sent, if it cannot.
    pub(crate) fn unwritable(&self) -> Option<&str> {
        self.unwritable.as_deref()
    }

    pub(crate) fn received(code: i64, message: &str, data: ErrorData<'_, '_>) -> Self {
        Self {
            code,
            message: Cow::Owned(message.to_owned()),
            data: data.to_json(),
            unwritable: None,
        }
    }
}

/// Shows the message, escaped as by [`Escaped`](crate::Escaped) and truncated to 1,024 bytes, so that it can be logged even if
/// it is that of a hostile peer. The alternate form (`{:#}`) adds the code and the start of the data, as
/// [`CallError`](crate::CallError) does.
///
/// ```
/// use rpc_runtime::ErrorObject;
///
/// let error = ErrorObject::new(7, "no\nsuch user").with_data(&"ada");
/// assert_eq!(error.to_string(), r"no\nsuch user");
/// assert_eq!(format!("{error:#}"), r#"no\nsuch user (code 7): "ada""#);
/// assert_eq!(error.message(), "no\nsuch user");
/// ```
impl fmt::Display for ErrorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.message {
            "" => f.write_str("error without a message")?,
            message => EscapedMessage(message).fmt(f)?,
        }
        if !f.alternate() {
            return Ok(());
        }
        write!(f, " (code {})", self.code)?;
        match &self.data {
            Some(data) => write!(f, ": {}", Excerpt(data.as_bytes())),
            None => Ok(()),
        }
    }
}

/// Shows the message and the data, escaped and truncated.
impl fmt::Debug for ErrorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data.as_ref().map(|data| Excerpt(data.as_bytes()));
        f.debug_struct("ErrorObject")
            .field("code", &self.code)
            .field("message", &EscapedMessage(&self.message))
            .field("data", &data.map(|data| data.to_string()))
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ErrorObject {}

impl RpcError for ErrorObject {
    fn code(&self) -> i64 {
        self.code
    }

    fn write_message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }

    fn write_data(&self, data: DataWriter<'_>) {
        match (&self.data, &self.unwritable) {
            (Some(json), _) => data.raw(json),
            (None, Some(reason)) => data.fail(reason),
            (None, None) => data.none(),
        }
    }

    fn read(code: i64, message: &str, data: ErrorData<'_, '_>) -> Option<Self> {
        Some(Self::received(code, message, data))
    }
}
