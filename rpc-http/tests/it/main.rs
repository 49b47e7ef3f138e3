//! Tests of HTTP requests, with bytes as a client sends them.

mod guard;
mod listener;
mod post;
mod support;
mod websocket;
