//! Describes services as data: names, parameters, errors and documentation, without an implementation.

pub(crate) mod discover;
pub(crate) mod join;
pub(crate) mod names;
pub(crate) mod openrpc;
pub(crate) mod schema;
pub(crate) mod types;

pub use crate::codec::error::ErrorDescription;
pub use crate::description::openrpc::OpenRpc;
pub use crate::description::types::{
    Described, MethodDescription, MethodKind, ParameterDescription, ServiceDescription,
};
