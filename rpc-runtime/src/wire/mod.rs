//! The wire without I/O: bytes in, values out, and the way back.
//!
//! In the order in which a message passes: [`frame`] cuts it out of the stream, [`tape`] locates every value in it (in
//! `short` ones without simd-json), [`request`] reads the envelope, [`arguments`] the parameters, [`reply`] writes the
//! answer as [`returns`] tells it; [`sent`] are parameters on their way out, [`response`] reads what comes back, and
//! [`refusal`] is what the protocol itself answers. [`value`] is a place on the tape, and [`json`] writes every value.
//! Nothing here knows a socket, a clock or a task, and no byte of a peer's can make it panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

pub(crate) mod arguments;
pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod id;
pub(crate) mod item;
pub(crate) mod json;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod returns;
pub(crate) mod sent;
mod short;
pub(crate) mod tape;
pub(crate) mod value;
