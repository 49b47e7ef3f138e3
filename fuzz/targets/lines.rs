//! The messages of a stream do not depend on the borders of its chunks. They are its lines that are not blank, without
//! leading whitespace, up to the limit.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use rpc_runtime::fuzzing::{SplitMessage, split};

fuzz_target!(|input: (u8, BTreeSet<u8>, &[u8])| {
    let (limit, borders, stream) = input;
    let limit = usize::from(limit);
    let naive: Vec<_> = stream
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let blank = line.iter().take_while(|byte| b" \t\r".contains(byte));
            &line[blank.count()..]
        })
        .filter(|line| !line.is_empty())
        .map(|line| match line.get(..limit) {
            Some(start) if line.len() > limit => SplitMessage::TooLarge(start.to_vec()),
            _ => SplitMessage::Complete(line.to_vec()),
        })
        .collect();
    let mut chunks = Vec::new();
    let mut rest = stream;
    for border in borders.into_iter().rev() {
        if let Some((before, chunk)) = rest.split_at_checked(border.into()) {
            rest = before;
            chunks.push(chunk);
        }
    }
    chunks.push(rest);
    chunks.reverse();
    assert_eq!(split(chunks, limit), naive);
});
