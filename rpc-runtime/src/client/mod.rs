//! The calling half: a client, its connections, and the calls on them.
//!
//! A call passes through these modules: [`call`] is the future that a generated method returns. [`dispatch`] sends its
//! request ([`method`]) and retries it if it was lost. [`picker`] picks one of the client's connections, and [`connection`]
//! holds its streams. The request is sent on a [`mux_stream`], which many calls share, or on a [`dedicated_stream`]. The
//! stream matches the reply to its call, and [`decode`] reads it in the caller's task.
//!
//! If the client has [`middleware`], the call passes through it first.
//!
//! [`batch`] and [`notification`] send other messages. [`streaming`] receives and sends items. [`handle`] is the client
//! itself, [`builder`] creates it, [`dial`] connects to one of the addresses of
//! a name ([`happy_eyeballs`]), [`connector`] chooses among QUIC and HTTP/2, and [`reconnect`] reconnects. [`observe`]
//! reports calls that wait. [`balance`] chooses among several
//! servers. In [`callback`] the calling half of a connection meets its serving half.

mod address;
mod balance;
mod batch;
mod batch_entry;

mod builder;
mod call;
mod call_with_metadata;
pub(crate) mod callback;
#[cfg(feature = "server")]
pub(crate) mod carried;
mod connection;
mod connector;
pub(crate) mod decode;
mod dedicated_stream;
mod dial;
mod dispatch;
mod error;
#[cfg(feature = "http2")]
mod fallback;
mod handle;
mod happy_eyeballs;
mod layered_entry;
#[cfg(feature = "testing")]
mod linked;
mod metadata;
mod method;
mod middleware;
mod mux_stream;
mod notification;
mod observe;
mod options;
mod outgoing;
mod picker;
mod reconnect;
mod reply_budget;
mod response_metadata;
mod retry;
#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
mod state;
mod streaming;
#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;
mod timer_pool;
mod unparsed;
mod waiters;

pub use address::{Address, AddressError};
pub use balance::endpoint_list::Endpoint;
pub use balance::endpoints::Endpoints;
pub use batch::{Batch, BatchEntry, BatchResponse};
pub use builder::ClientBuilder;
pub use call::Call;
pub use call_with_metadata::CallWithMetadata;
pub use dial::ConnectError;
pub use error::{CallError, Execution};
pub use handle::Client;
pub use method::{DeclaredMethod, Method};
pub use middleware::chain::{ClientMiddleware, ClientNext};
pub use middleware::request::ClientRequest;
pub use middleware::response::{Attempt, ClientOutcome, ClientResponse};
pub use notification::Notification;
pub use response_metadata::ResponseMetadata;
pub use state::{ConnectionState, StateWatch};
pub use streaming::response::Streaming;
