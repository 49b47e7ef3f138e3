//! Any message is answered as JSON-RPC requires, and so is the next call.
#![no_main]

use fuzz::{block_on, grammar, replies};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::Limits;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    block_on(async {
        replies::check(data, &limits).await;
        let request = grammar::text(data, grammar::request);
        replies::check(request.as_bytes(), &limits).await;
    });
});
