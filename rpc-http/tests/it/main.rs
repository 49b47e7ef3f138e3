//! Tests of HTTP requests, with bytes as a client sends them.

mod post;
mod support;
