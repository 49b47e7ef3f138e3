//! A server holds no more than its budgets for a client that does anything on its connections. It holds nothing of calls and
//! connections that have ended.
#![no_main]

use fuzz::{measure, paused_runtime};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::fuzzing::hostile_client;

fuzz_target!(|script: &[u8]| hostile_client::drive(script, paused_runtime(), measure));
