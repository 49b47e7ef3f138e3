//! Whatever a client does on its connections, a server holds no more than its budgets, and nothing of what is over.
#![no_main]

use fuzz::{measure, paused_runtime};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::fuzzing::hostile_client;

fuzz_target!(|script: &[u8]| hostile_client::drive(script, paused_runtime(), measure));
