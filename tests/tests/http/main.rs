//! Clients of other projects call the server over HTTP and WebSocket.

mod chromium;
mod curl;
mod doors;
#[path = "../../../examples/interop_service.rs"]
#[allow(dead_code)] // some of its methods need a client of this project
mod interop_service;
mod jsonrpsee;
mod programs;
