//! The wire without I/O: bytes in, values out, and the way back.
//!
//! In the order of a message's path: [`lines`] splits the byte stream into messages, [`parser`] locates every value of a
//! message (`fast_path` does so for compact ones, without simd-json), [`request`] reads the envelope
//! (`metadata` checks the metadata in it), [`params`] decodes the arguments, [`reply`] writes the response with [`result`];
//! [`reply_id`] finds its call on the client, and [`response`] reads it. [`error_code`] holds the protocol's own errors, [`stream_frame`] the lines of a stream
//! of items. [`de`] is serde over the tape and [`ser`] the JSON writer.
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

pub(crate) mod de;
mod digits;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod error_code;
mod fast_path;
pub(crate) mod id;
pub(crate) mod lines;
mod metadata;
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

/// The capacity that a buffer starts with, in bytes: more than a small message has.
pub(crate) const INITIAL_BUFFER_BYTES: usize = 512;

/// The capacity that a buffer may keep from one message to the next, in bytes.
pub(crate) const RETAINED_BUFFER_BYTES: usize = 64 << 10;

/// How many levels of arrays and objects a request may nest, unless the user says otherwise.
pub(crate) const MAX_REQUEST_DEPTH: usize = 64;

/// How many levels a response may nest: twice as many, for what the server adds around its data.
pub(crate) const MAX_RESPONSE_DEPTH: usize = 128;
