//! Stores the readings of several devices durably, and shows them as they arrive. `README.md` says how to run it.
//!
//! [`api`] is the service. A [`device`] sends its readings until they are acknowledged. The [`server`] passes them to the
//! [`recorder`], which writes all readings that have arrived in one transaction of the [`store`]. Then it notifies the
//! devices and the watchers. [`watch`] shows the readings in a terminal. [`link`] connects clients to the server, and
//! [`demo`] runs everything at once.

pub mod api;
pub mod demo;
pub mod device;
pub mod link;
pub mod recorder;
pub mod server;
pub mod store;
pub mod watch;
