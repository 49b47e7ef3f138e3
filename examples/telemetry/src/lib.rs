//! Readings of several devices, kept for good and watched as they come. `README.md` says how to run it.
//!
//! [`api`] is what travels. A [`device`] sends its readings until they are acknowledged; the [`server`] hands them to the
//! [`recorder`], which puts whatever has arrived into one transaction of the [`store`] and tells everybody; [`watch`]
//! shows it in a terminal. [`link`] is how they find and trust each other, [`demo`] all of it at once.

pub mod api;
pub mod demo;
pub mod device;
pub mod link;
pub mod recorder;
pub mod server;
pub mod store;
pub mod watch;
