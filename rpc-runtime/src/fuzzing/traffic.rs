//! Messages that a script chooses: requests, items, cancellations, replies and invalid messages.

use std::fmt::Write;

use crate::fuzzing::script::Script;

/// Lengths of text, in bytes, near three boundaries: small messages, messages that wait for their permit before they are
/// parsed, and the limits.
const LENGTHS: [usize; 10] = [0, 5, 200, 900, 1_100, 5_000, 15_000, 17_000, 19_000, 30_000];

/// An upper bound of the length of a message, in bytes.
pub(super) const MOST_BYTES: usize = 8 * 31_000;

/// Ids that several requests share.
const IDS: [&str; 8] = ["0", "1", "2", "3", "\"a\"", "\"b\"", "null", "64"];

/// Writes a message, without its line feed.
pub(super) fn message(script: &mut Script<'_>, out: &mut String) {
    match script.below(12) {
        0..=6 => request(script, out),
        7 => batch(script, out),
        8 => item(script, out),
        9 => cancellation(script, out, 0),
        10 => none(script, out),
        _ => reply(script, out, "0"),
    }
}

fn batch(script: &mut Script<'_>, out: &mut String) {
    out.push('[');
    for position in 0..script.below(8) {
        if position > 0 {
            out.push(',');
        }
        match script.below(8) {
            0 => cancellation(script, out, 0),
            1 => none(script, out),
            _ => request(script, out),
        }
    }
    out.push(']');
}

fn request(script: &mut Script<'_>, out: &mut String) {
    let methods: [fn(&mut Script<'_>, &mut String); 14] = [
        |script, out| method_of_text(script, out, "echo"),
        |script, out| method_of_text(script, out, "wait"),
        |script, out| method_of_text(script, out, "stay"),
        |script, out| method_of_text(script, out, "note"),
        |script, out| method_of_text(script, out, "ask"),
        |script, out| method_of_text(script, out, "unknown"),
        hold,
        |script, out| {
            let _ = write!(out, r#""method":"large","params":[{}]"#, length(script));
        },
        |_, out| out.push_str(r#""method":"take","params":[]"#),
        |_, out| out.push_str(r#""method":"take_slowly","params":[]"#),
        |script, out| {
            let (count, bytes) = (script.byte(), length(script));
            let _ = write!(out, r#""method":"give","params":[{count},{bytes}]"#);
        },
        |_, out| out.push_str(r#""method":"mirror","params":[]"#),
        |_, out| out.push_str(r#""method":"rpc.ping""#),
        |_, out| out.push_str(r#""method":"rpc.discover""#),
    ];
    let method = script.below(methods.len());
    out.push_str(r#"{"jsonrpc":"2.0","#);
    // The long wait of a notification ends only with its connection.
    if method == 2 || script.below(8) > 0 {
        let _ = write!(out, r#""id":{},"#, id(script));
    }
    methods[method](script, out);
    match script.below(16) {
        0 => out.push_str(r#","timeout":50"#),
        1 => out.push_str(r#","timeout":0"#),
        2 => {
            out.push_str(r#","meta":{"trace":"#);
            text(script, out);
            out.push('}');
        }
        3 => {
            out.push_str(r#","other":"#);
            numbers(script, out);
        }
        _ => {}
    }
    out.push('}');
}

fn method_of_text(script: &mut Script<'_>, out: &mut String, method: &str) {
    let _ = write!(out, r#""method":"{method}","params":["#);
    text(script, out);
    out.push(']');
}

fn hold(script: &mut Script<'_>, out: &mut String) {
    out.push_str(r#""method":"hold","params":["#);
    numbers(script, out);
    out.push(']');
}

/// Writes a line that takes much memory: a call that holds its values, or a call with a long reply.
pub(super) fn much(script: &mut Script<'_>, out: &mut String) {
    let id = id(script);
    let _ = match script.below(4) {
        0 => write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"large","params":[30000]}}"#
        ),
        1 => write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"give","params":[99,9000]}}"#
        ),
        _ => {
            let length = script.pick(&[7_000, 15_000, 19_000]);
            let numbers = "0,".repeat(length / 2);
            write!(
                out,
                r#"{{"jsonrpc":"2.0","id":{id},"method":"hold","params":[[{numbers}0]]}}"#
            )
        }
    };
    out.push('\n');
}

/// Returns an id that other requests may have, too.
pub(super) fn id(script: &mut Script<'_>) -> &'static str {
    script.pick(&IDS)
}

fn length(script: &mut Script<'_>) -> usize {
    script.pick(&LENGTHS)
}

fn text(script: &mut Script<'_>, out: &mut String) {
    let length = length(script);
    let unit = script.pick(&["x", "x", "\\n", "\u{e9}"]);
    out.push('"');
    out.extend(std::iter::repeat_n(unit, length / unit.len()));
    out.push('"');
}

/// Writes an array of many values.
fn numbers(script: &mut Script<'_>, out: &mut String) {
    let length = length(script);
    let unit = script.pick(&["0,", "0,", "10000000,", "[],"]);
    out.push('[');
    out.extend(std::iter::repeat_n(unit, length / unit.len()));
    out.push_str("0]");
}

/// Writes an item of a call, or the end of its items.
fn item(script: &mut Script<'_>, out: &mut String) {
    let id = id(script);
    match script.below(4) {
        0 => {
            let _ = write!(
                out,
                r#"{{"jsonrpc":"2.0","method":"rpc.end","params":[{id}]}}"#
            );
        }
        _ => {
            let _ = write!(
                out,
                r#"{{"jsonrpc":"2.0","method":"rpc.item","params":[{id},"#
            );
            text(script, out);
            out.push_str("]}");
        }
    }
}

/// Writes a cancellation. `offset` is the end of a request of the stream.
pub(super) fn cancellation(script: &mut Script<'_>, out: &mut String, offset: u64) {
    out.push_str(r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":"#);
    let id = id(script);
    let _ = match script.below(3) {
        0 => write!(out, "[{id}]"),
        1 => write!(out, r#"{{"id":{id}}}"#),
        _ => {
            let stream = script.below(16);
            let offset = offset + script.pick(&[0, 0, 1, 1 << 40]);
            write!(out, r#"{{"id":{id},"stream":{stream},"offset":{offset}}}"#)
        }
    };
    out.push('}');
}

/// Writes a line that is neither a request nor a reply.
fn none(script: &mut Script<'_>, out: &mut String) {
    match script.below(6) {
        0 => out.push_str("{}"),
        1 => out.push('['),
        2 => numbers(script, out),
        3 => text(script, out),
        4 => out.push_str(&"[".repeat(length(script))),
        _ => out.push_str(&" ".repeat(length(script))),
    }
}

/// Writes a reply to the call with this id, or to another call.
pub(super) fn reply(script: &mut Script<'_>, out: &mut String, id: &str) {
    let kind = script.below(8);
    let id = match kind {
        0 => self::id(script),
        _ => id,
    };
    let _ = write!(out, r#"{{"jsonrpc":"2.0","id":{id},"#);
    match script.below(6) {
        0 => out.push_str(r#""result":7"#),
        1 | 2 => {
            out.push_str(r#""result":"#);
            text(script, out);
        }
        3 => {
            out.push_str(r#""result":"#);
            numbers(script, out);
        }
        4 => {
            let code = script.pick(&[1, -32001, -32003, -32004, -32603]);
            let _ = write!(out, r#""error":{{"code":{code},"message":"#);
            text(script, out);
            out.push('}');
        }
        _ => out.push_str(r#""error":null"#),
    }
    if kind == 1 {
        out.push_str(r#","meta":{"a":"#);
        text(script, out);
        out.push('}');
    }
    out.push('}');
}

/// Writes a line of a stream of items to the call with this id.
pub(super) fn item_of(script: &mut Script<'_>, out: &mut String, id: &str) {
    let is_end = script.below(4) == 0;
    let method = if is_end { "rpc.end" } else { "rpc.item" };
    let _ = write!(
        out,
        r#"{{"jsonrpc":"2.0","method":"{method}","params":[{id}"#
    );
    if !is_end {
        out.push(',');
        text(script, out);
    }
    out.push_str("]}");
}

/// Sometimes truncates the message to its start.
pub(super) fn truncate(script: &mut Script<'_>, message: &mut String) {
    if script.below(8) == 0 {
        let mut end = message.len() * script.below(256) / 256;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
}
