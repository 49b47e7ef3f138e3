//! Tests of HTTP requests, with bytes as a client sends them.

mod curl;
mod guard;
mod hostile_connections;
mod hostile_http1;
mod hostile_http2;
mod hostile_websocket;
mod listener;
mod post;
mod sse;
mod stream;
mod stream_client;
mod stream_end;
mod stream_flow;
mod stream_service;
mod subscriptions;
mod support;
mod websocket;
