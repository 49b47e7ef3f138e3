//! x
mod client;
mod context;
mod description;
mod limits;
#[doc(hidden)]
pub mod private;
mod server;
mod service;
mod tls;
mod transport;
mod wire;

pub use client::{
    Address, AddressError, Batch, Call, CallError, Client, ClientBuilder, ConnectError, Entry,
    Fate, Notification, Replies,
};
pub use context::{Cancellation, Context, Extensions};
pub use description::{MethodDescription, MethodKind, ParameterDescription, ServiceDescription};
pub use limits::Limits;
pub use rpc_macros::{RpcError, rpc};
pub use server::{BindError, Server, ServerBuilder, ServerHandle};
pub use service::Service;
pub use tls::{Certificate, Identity, IdentityError, PemError, Trust, TrustError, UntrustedReason};
pub use transport::ConnectionLost;
pub use wire::error::{ErrorObject, RpcError};
pub use wire::response::code;
