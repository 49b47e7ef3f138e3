//! Every entry of a batch that requires a reply has one in the response, under any limits.
#![no_main]

use fuzz::{block_on, grammar, replies};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::Limits;

fuzz_target!(|data: &[u8]| {
    let lines: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let lines = [b"[", lines.join(&b',').as_slice(), b"]"].concat();
    let batch = grammar::text(data, |u, out| grammar::array(u, out, grammar::request));
    let tight = Limits {
        max_request_bytes: 1000,
        max_response_bytes: 400,
        max_depth: 12,
        max_batch_entries: 3,
        max_concurrent_calls_per_connection: 2,
        ..Limits::default()
    };
    block_on(async {
        for limits in [Limits::default(), tight] {
            replies::check(&lines, &limits).await;
            replies::check(batch.as_bytes(), &limits).await;
        }
    });
});
