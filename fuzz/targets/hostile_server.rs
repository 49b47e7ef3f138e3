//! Each call of a client ends once, and the client holds no more than its calls need, for a server that does anything on its
//! connection.
#![no_main]

use fuzz::{measure, paused_runtime};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::fuzzing::hostile_server;

fuzz_target!(|script: &[u8]| hostile_server::drive(script, paused_runtime(), measure));
