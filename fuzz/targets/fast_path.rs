//! The fast path reads each message that it accepts as simd-json does.
#![no_main]

use fuzz::grammar;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use rpc_runtime::fuzzing::{read_line, read_request, read_response};

fuzz_target!(|data: &[u8]| {
    agree(data);
    for (before, after) in [
        (r#"{"jsonrpc":"2.0","id":7,"result":"#, "}"),
        (r#"{"jsonrpc":"2.0","id":7,"method":"m","params":["#, "]}"),
        (r#"{"jsonrpc":"2.0","id":7,"method":""#, r#""}"#),
        (r#"{"jsonrpc":"2.0","id":7,"method":"m","timeout":"#, "}"),
        (r#"{"jsonrpc":"2.0","id":"#, r#","result":1}"#),
    ] {
        agree(&[before.as_bytes(), data, after.as_bytes()].concat());
    }
    agree(grammar::text(data, canonical).as_bytes());
});

fn agree(message: &[u8]) {
    let [told, alone] = read_request(message);
    assert_eq!(told, alone, "{}", message.escape_ascii());
    let [told, alone] = read_response(message);
    assert_eq!(told, alone, "{}", message.escape_ascii());
    let [told, alone] = read_line(message);
    assert_eq!(told, alone, "{}", message.escape_ascii());
}

/// Writes a message in the form of this project's clients and servers, or nearly so.
fn canonical(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    out.push_str(r#"{"jsonrpc":"2.0","id":"#);
    let id = u.arbitrary::<u64>()? >> u.int_in_range(0..=63)?;
    out.push_str(&id.to_string());
    if u.arbitrary()? {
        out.push_str(r#","result":"#);
        grammar::value(u, out)?;
    } else {
        out.push_str(r#","method":"#);
        grammar::quoted(u, out, "method")?;
        if !grammar::one_in(u, 8)? {
            out.push_str(r#","params":"#);
            grammar::array(u, out, grammar::value)?;
        }
        if grammar::one_in(u, 4)? {
            out.push_str(r#","timeout":"#);
            out.push_str(&u.arbitrary::<u16>()?.to_string());
        }
    }
    out.push('}');
    Ok(())
}
