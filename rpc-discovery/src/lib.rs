//! Finds the servers of a client that calls several of them, and informs the client when they change.
//!
//! ```no_run
//! use rpc_discovery::{Dns, follow};
//! use rpc_runtime::{Client, Trust};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, endpoints) = Client::builder().trust(Trust::pem_file("authority.pem")?).balanced()?;
//! follow(endpoints, Dns::new("rpc.example.org:4433")?).await?;
//! client.ready().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Dns`] finds all addresses of a name, `Srv` (feature `srv`) finds those of a service, and you can implement
//! [`Resolve`] for any other source. `apply` (feature `tower`) takes changes from a `tower::discover::Discover`
//! instead.
//!
//! The certificate of a server must be for the name that was looked up, not for the address that was found.
//! [`ClientBuilder::server_name`](rpc_runtime::ClientBuilder::server_name) sets another name.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod dns;
mod follow;
#[cfg(feature = "srv")]
mod srv;
#[cfg(feature = "tower")]
mod tower;

pub use self::dns::Dns;
pub use self::follow::{Found, Resolve, follow};
#[cfg(feature = "srv")]
pub use self::srv::Srv;
#[cfg(feature = "tower")]
pub use self::tower::apply;
