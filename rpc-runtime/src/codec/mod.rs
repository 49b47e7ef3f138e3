//! Messages without I/O: decodes requests and replies from bytes and encodes them.
//!
//! In the order of a message's path: [`lines`] splits the byte stream into messages. [`parser`] locates every value of
//! a message; `fast_path` does so for compact messages, without simd-json. [`request`] reads the envelope, and
//! [`metadata`] checks the metadata in it. [`params`] decodes the arguments. [`reply`] writes the response with
//! [`result`]. On the client, [`reply_id`] finds the call of a reply, and [`response`] reads it. [`error_code`] holds
//! the protocol errors, [`stream_frame`] the lines of a stream of items. [`de`] is the serde deserializer over the tape
//! and [`ser`] the JSON writer. `values` finds the text of a value, for types that need more than 64 bits of a number.
//!
//! This module uses no socket, clock or task, and no bytes of a peer can make it panic.
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

pub(crate) mod arena;
pub(crate) mod de;
mod digits;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod error_code;
pub(crate) mod escape;
mod fast_path;
pub(crate) mod id;
pub(crate) mod lines;
mod literals;
pub(crate) mod metadata;
mod milestones;
mod number;
pub(crate) mod params;
pub(crate) mod parser;
pub(crate) mod reply;
pub(crate) mod reply_id;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod result;
pub(crate) mod ser;
pub(crate) mod steps;
pub(crate) mod stream_frame;
mod values;
mod verbatim;

/// The initial capacity of a buffer, in bytes: more than a small message needs.
pub(crate) const INITIAL_BUFFER_BYTES: usize = 512;

/// The maximum capacity that a buffer keeps from one message to the next, in bytes.
pub(crate) const RETAINED_BUFFER_BYTES: usize = 64 << 10;

/// The default maximum nesting of arrays and objects in a request.
pub(crate) const MAX_REQUEST_DEPTH: usize = 128;

/// The maximum nesting of a response.
pub(crate) const MAX_RESPONSE_DEPTH: usize = 128;

/// The maximum nesting of an argument, a result, an item or the data of an error. The envelope has at most three levels
/// more: a batch, a message, and its parameters or its error.
pub(crate) const MAX_VALUE_DEPTH: usize = MAX_RESPONSE_DEPTH - 3;
