//! What a method returns: how one end writes it and the other reads it.

use std::convert::Infallible;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::de::{Mismatch, Value};
use crate::codec::error::{self, ErrorData, ErrorDescription, RpcError, Unwritable};
use crate::codec::ser;

/// A type that a method can return. Its caller gets it as an `Owned`: a `String` where it is a `&str`.
///
/// Implemented for all that serde can write and read; deriving both is how a type becomes one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross the wire",
    label = "not `Serialize` and `Deserialize`",
    note = "to send a type of your own, add `#[derive(serde::Serialize, serde::Deserialize)]` to it"
)]
pub trait Returned<Owned>: Serialize {
    /// Reads what arrived.
    #[doc(hidden)]
    fn read(value: Value<'_, '_>) -> Result<Owned, Mismatch>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize, Owned: DeserializeOwned> Returned<Owned> for T {
    fn read(value: Value<'_, '_>) -> Result<Owned, Mismatch> {
        Owned::deserialize(value)
    }
}

/// The two types of a `Result`, also where the user's own alias writes but one.
pub trait Fallible {
    /// What it holds when all is well.
    type Ok;
    /// What it holds when not.
    type Err;
}

impl<T, E> Fallible for Result<T, E> {
    type Ok = T;
    type Err = E;
}

/// What a method returns: a `T`, which its caller gets as an `O`, or an `E`.
///
/// As with an argument, the functions that make one are where the types are asked what they can do.
pub struct Returns<T, O, E> {
    pub(crate) write: WriteValue<T>,
    pub(crate) write_error: WriteError<E>,
    pub(crate) code: fn(&E) -> i64,
    pub(crate) reader: ResultReader<O, E>,
    errors: &'static [ErrorDescription],
}

impl<T, O, E> Returns<T, O, E> {
    /// The errors as data.
    pub const fn errors(self) -> &'static [ErrorDescription] {
        self.errors
    }
}

pub(crate) type WriteValue<T> = fn(&T, &mut Vec<u8>) -> Result<(), Unwritable>;
pub(crate) type WriteError<E> = fn(&E, &mut Vec<u8>) -> Result<(), Unwritable>;

pub(crate) type ReadError<E> = fn(i64, &str, ErrorData<'_, '_>) -> Option<E>;

/// The caller's half.
pub(crate) struct ResultReader<T, E> {
    pub(crate) value: fn(Value<'_, '_>) -> Result<T, Mismatch>,
    pub(crate) error: ReadError<E>,
    /// Takes a line as it came, in place of the other two.
    pub(crate) unparsed: Option<fn(&mut Vec<u8>) -> T>,
}

impl<T, E> Clone for ResultReader<T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, E> Copy for ResultReader<T, E> {}

impl<T: DeserializeOwned, E: RpcError> ResultReader<T, E> {
    pub(crate) fn new() -> Self {
        Self {
            value: |value| T::deserialize(value),
            error: E::read,
            unparsed: None,
        }
    }
}

impl<E: RpcError> ResultReader<Vec<u8>, E> {
    pub(crate) fn unparsed() -> Self {
        Self {
            unparsed: Some(std::mem::take),
            ..Self::new()
        }
    }
}

/// Of a method that always returns.
pub const fn returns<T: Returned<O>, O>() -> Returns<T, O, Infallible> {
    returns_result()
}

/// Of a method that may return an error in place of a result.
pub const fn returns_result<T: Returned<O>, O, E: RpcError>() -> Returns<T, O, E> {
    Returns {
        write: |value, out| Ok(ser::write(value, out)?),
        write_error: error::write_body,
        code: E::code,
        reader: ResultReader {
            value: T::read,
            error: E::read,
            unparsed: None,
        },
        errors: E::ERRORS,
    }
}

/// Of a method whose `Result` stands under another name.
pub const fn returns_alias<R, O>() -> Returns<R::Ok, O::Ok, R::Err>
where
    R: Fallible<Ok: Returned<O::Ok>, Err: RpcError>,
    O: Fallible,
{
    returns_result()
}
