//! The result of a method: the server writes it and the client reads it.

use std::convert::Infallible;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::de::{Mismatch, Value};
use crate::codec::error::{self, ErrorData, ErrorDescription, RpcError, Unwritable};
use crate::codec::ser;

/// A type that a method can return. The caller receives it as an `Owned`: a `String` for a `&str`.
///
/// Implemented for every type that serde can serialize and deserialize; derive both to implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross the wire",
    label = "not `Serialize` and `Deserialize`",
    note = "to send a type of your own, add `#[derive(serde::Serialize, serde::Deserialize)]` to it",
    note = "to send a type of another crate, enable serde in its features; `Arc` and `Rc` need the feature `rc` of serde",
    note = "if the name is an alias of a `Result` or of an array, write `Result` or the array here"
)]
pub trait Returned<Owned>: Serialize {
    /// Reads a received result.
    #[doc(hidden)]
    fn read(value: Value<'_, '_>) -> Result<Owned, Mismatch>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize, Owned: DeserializeOwned> Returned<Owned> for T {
    fn read(value: Value<'_, '_>) -> Result<Owned, Mismatch> {
        Owned::deserialize(value)
    }
}

/// The two types of a `Result`, also for an alias of `Result` that names only one of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` was taken for a `Result` of the standard library, because of its name",
    label = "not a `Result`",
    note = "to return this type, name it otherwise: `use … as …`"
)]
pub trait Fallible {
    /// The type of the result.
    type Ok;
    /// The type of the error.
    type Err;

    /// Returns the `Result` under its own name.
    fn into_result(self) -> Result<Self::Ok, Self::Err>;
}

impl<T, E> Fallible for Result<T, E> {
    type Ok = T;
    type Err = E;

    #[inline]
    fn into_result(self) -> Self {
        self
    }
}

/// The return type of a method: a `T`, which its caller receives as an `O`, or an `E`.
///
/// As for arguments, only the functions that create a `Returns` require traits of these types.
pub struct Returns<T, O, E> {
    pub(crate) write: WriteValue<T>,
    pub(crate) write_error: WriteError<E>,
    pub(crate) code: fn(&E) -> i64,
    pub(crate) reader: ResultReader<O, E>,
    errors: &'static [ErrorDescription],
}

impl<T, O, E> Returns<T, O, E> {
    /// Returns the descriptions of the errors.
    pub const fn errors(self) -> &'static [ErrorDescription] {
        self.errors
    }
}

pub(crate) type WriteValue<T> = fn(&T, &mut Vec<u8>) -> Result<(), Unwritable>;
pub(crate) type WriteError<E> = fn(&E, &mut Vec<u8>) -> Result<(), Unwritable>;

pub(crate) type ReadError<E> = fn(i64, &str, ErrorData<'_, '_>) -> Option<E>;

/// The client's half.
pub(crate) struct ResultReader<T, E> {
    pub(crate) value: fn(Value<'_, '_>) -> Result<T, Mismatch>,
    pub(crate) error: ReadError<E>,
    /// Takes an unparsed line, in place of the other two functions.
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

/// Describes a method that returns no error.
pub const fn returns<T: Returned<O>, O>() -> Returns<T, O, Infallible> {
    returns_result()
}

/// Describes a method that returns a result or an error.
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
