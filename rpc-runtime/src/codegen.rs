//! The interface for generated code. It is not meant for users, and changes without notice.

pub use core::clone::Clone;
pub use core::convert::{AsRef, From};
pub use core::default::Default;
pub use core::fmt::{Debug, Display, Formatter, Result as FmtResult};
pub use core::future::Future;
pub use core::marker::{PhantomData, Send, Sync, Unpin};
pub use core::option::Option::{self, None, Some};
pub use core::primitive::{i64, str, u32, usize};
pub use core::result::Result::{self, Err, Ok};
pub use std::borrow::{Cow, ToOwned};
pub use std::cfg;
pub use std::option_env;
pub use std::string::String;
pub use std::sync::Arc;
pub use std::vec::Vec;

pub use futures_core::Stream;

pub use crate::client::{Call, Client, DeclaredMethod, Method, Notification, Streaming};

pub use crate::codec::error::{DataWriter, ErrorData, ErrorDescription, ErrorObject, RpcError};
pub use crate::codec::params::decode::{Argument, arg, bytes, cow, optional_bytes, optional_cow};
pub use crate::codec::params::encode::{NoParams, SentParams, entire};
pub use crate::codec::reply::{Fault, Reply};
pub use crate::codec::result::{Fallible, Returned, returns, returns_result};
pub use crate::context::Context;
pub use crate::description::join::{check_codes, docs, docs_bytes, join, join_docs, sum};
pub use crate::description::schema::{
    DataSchema, ErrorSchemas, HasSchema, Known, Knows, error_schemas, schema,
};
pub use crate::description::types::{
    Described, Example, MethodDescription, ParameterDescription, ServiceDescription, written,
};
pub use crate::hints::{arg_context, arg_reference};
pub use crate::service::Service;
pub use crate::service::incoming::{Incoming, context, upload};
pub use crate::service::methods::{Methods, absent};

/// Returns the value of a missing argument.
pub fn default<T: Default>() -> T {
    T::default()
}

/// Implemented for the server of each trait. The compiler counts a trait in such a bound as used, so that a crate that has
/// no handler for it gets no warning about dead code.
pub trait InUse<T> {}
