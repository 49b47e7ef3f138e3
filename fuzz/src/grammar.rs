//! Generates JSON from the bytes of the fuzzer. Most of it is valid, and most of it is unusual.

use std::fmt::Write;

use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::service::METHODS;

/// The maximum depth of generated values.
const DEPTH: usize = 6;

/// Names of members and variants of the targets' types, and strings that look like other JSON values.
const WORDS: &[&str] = &[
    "a", "b", "c", "x", "t", "Unit", "New", "Tuple", "Struct", "1", "-1", "0", "255", "256",
    "true", "false", "", "-0", "01", "1e3", "id", "early", "value", "2.0",
];

/// Fragments that are inserted to damage JSON.
const DAMAGE: &[&str] = &[
    " ", ",", ":", "\"", "[", "]", "{", "}", "0", "-", "+", ".", "e", "E", "\\", "\\u", "\t", "\n",
    "\0", "n", "x",
];

/// Generates text from the bytes. Returns the text so far when the bytes are used up.
pub fn text(
    data: &[u8],
    write: impl FnOnce(&mut Unstructured<'_>, &mut String) -> Result<()>,
) -> String {
    let mut out = String::new();
    let _ = write(&mut Unstructured::new(data), &mut out);
    out
}

/// Returns `true` once in `times` calls on average, and `false` when the bytes are used up.
pub fn one_in(u: &mut Unstructured<'_>, times: u8) -> Result<bool> {
    Ok(u.int_in_range(1..=times)? == times)
}

/// Writes any value.
pub fn value(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    nested(u, out, DEPTH)
}

fn nested(u: &mut Unstructured<'_>, out: &mut String, depth: usize) -> Result<()> {
    if one_in(u, 64)? {
        out.push_str(u.choose(DAMAGE)?);
    }
    match u.int_in_range(0..=if depth > 0 { 11 } else { 8 })? {
        0 => out.push_str("null"),
        1 => out.push_str("true"),
        2 => out.push_str("false"),
        3 => push(out, u.arbitrary::<i8>()?),
        4 => push(out, u.arbitrary::<i64>()?),
        5 => push(out, u.arbitrary::<u64>()?),
        6 => number(u, out)?,
        7 | 8 => string(u, out)?,
        9 => array(u, out, |u, out| nested(u, out, depth - 1))?,
        _ => object(u, out, depth - 1)?,
    }
    Ok(())
}

/// Writes an array of elements that `element` writes.
pub fn array(
    u: &mut Unstructured<'_>,
    out: &mut String,
    mut element: impl FnMut(&mut Unstructured<'_>, &mut String) -> Result<()>,
) -> Result<()> {
    out.push('[');
    for position in 0..u.int_in_range(0..=4)? {
        separate(u, out, position)?;
        element(u, out)?;
    }
    out.push(']');
    Ok(())
}

fn object(u: &mut Unstructured<'_>, out: &mut String, depth: usize) -> Result<()> {
    out.push('{');
    for position in 0..u.int_in_range(0..=4)? {
        separate(u, out, position)?;
        string(u, out)?;
        out.push(':');
        nested(u, out, depth)?;
    }
    out.push('}');
    Ok(())
}

/// Writes a comma, except before the first element, and sometimes whitespace.
pub fn separate(u: &mut Unstructured<'_>, out: &mut String, position: usize) -> Result<()> {
    if position > 0 {
        out.push(',');
    }
    if one_in(u, 8)? {
        out.push_str(u.choose(&[" ", "\t", "\r", "  "])?);
    }
    Ok(())
}

/// Writes a request, or an object that resembles one.
pub fn request(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    let mut members = vec!["jsonrpc", "id", "method", "params"];
    if one_in(u, 4)? {
        members.remove(u.choose_index(4)?);
    }
    for _ in 0..u.int_in_range(0..=2)? {
        let known = [
            "timeout", "meta", "extra", "id", "jsonrpc", "method", "params",
        ];
        let member = *u.choose(&known)?;
        members.insert(u.choose_index(members.len() + 1)?, member);
    }
    out.push('{');
    for (position, name) in members.into_iter().enumerate() {
        separate(u, out, position)?;
        quoted(u, out, name)?;
        out.push(':');
        member(u, out, name)?;
    }
    out.push('}');
    Ok(())
}

fn member(u: &mut Unstructured<'_>, out: &mut String, name: &str) -> Result<()> {
    if one_in(u, 32)? {
        return value(u, out);
    }
    match name {
        "jsonrpc" => quoted(u, out, "2.0"),
        "id" if u.arbitrary()? => string(u, out),
        "id" => {
            push(out, u.int_in_range(-1..=3)?);
            Ok(())
        }
        "method" => {
            let method = *u.choose(METHODS)?;
            quoted(u, out, method)
        }
        "params" if u.arbitrary()? => object(u, out, DEPTH),
        "params" => array(u, out, value),
        "meta" => object(u, out, 0),
        "timeout" => number(u, out),
        _ => value(u, out),
    }
}

/// Writes a line of a stream of items, or a line that resembles one.
pub fn line(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    if one_in(u, 4)? {
        return request(u, out);
    }
    let method = *u.choose(&["rpc.item", "rpc.end", "rpc.it", "RPC.ITEM"])?;
    out.push_str(r#"{"jsonrpc":"2.0","method":"#);
    quoted(u, out, method)?;
    out.push_str(r#","params":"#);
    if u.arbitrary()? {
        array(u, out, |u, out| match u.arbitrary()? {
            true => member(u, out, "id"),
            false => value(u, out),
        })?;
    } else {
        out.push('{');
        for position in 0..u.int_in_range(0..=3)? {
            separate(u, out, position)?;
            let name = *u.choose(&["id", "item", "ID", "x"])?;
            quoted(u, out, name)?;
            out.push(':');
            member(u, out, name)?;
        }
        out.push('}');
    }
    out.push('}');
    Ok(())
}

/// Writes lines of responses, and lines that resemble them.
pub fn responses(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    while !u.is_empty() {
        if one_in(u, 4)? {
            array(u, out, response)?;
        } else {
            response(u, out)?;
        }
        out.push('\n');
    }
    Ok(())
}

fn response(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    let mut members = vec!["jsonrpc", "id", *u.choose(&["result", "error"])?];
    if one_in(u, 4)? {
        members.swap_remove(u.choose_index(members.len())?);
    }
    for _ in 0..u.int_in_range(0..=2)? {
        let member = *u.choose(&["extra", "id", "result", "error", "meta", "meta"])?;
        members.insert(u.choose_index(members.len() + 1)?, member);
    }
    out.push('{');
    for (position, name) in members.into_iter().enumerate() {
        separate(u, out, position)?;
        quoted(u, out, name)?;
        out.push(':');
        match name {
            "jsonrpc" => quoted(u, out, "2.0")?,
            "id" => push(out, u.choose(IDS)?),
            "error" if !one_in(u, 8)? => error(u, out)?,
            "meta" if !one_in(u, 8)? => metadata(u, out)?,
            _ => value(u, out)?,
        }
    }
    out.push('}');
    Ok(())
}

/// Writes an object of strings.
fn metadata(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    out.push('{');
    for position in 0..u.int_in_range(0..=3)? {
        separate(u, out, position)?;
        string(u, out)?;
        out.push(':');
        string(u, out)?;
    }
    out.push('}');
    Ok(())
}

/// The ids of a client's first calls on a shared stream, on a dedicated stream and in a batch, and some ids that it does not
/// use.
const IDS: &[&str] = &[
    "0", "64", "128", "63", "127", "191", "255", "1", "-1", "null", "\"0\"", "0.0", "64e0", "00",
];

fn error(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    const CODES: &[&str] = &[
        "1", "2", "3", "-32001", "-32002", "-32003", "-32600", "-32769", "1.0", "-0",
    ];
    out.push('{');
    for position in 0..u.int_in_range(0..=4)? {
        separate(u, out, position)?;
        match u.int_in_range(0..=5)? {
            0..=2 => {
                out.push_str("\"code\":");
                out.push_str(u.choose(CODES)?);
            }
            3 => {
                out.push_str("\"message\":");
                string(u, out)?;
            }
            4 => {
                out.push_str("\"data\":{\"reason\":");
                string(u, out)?;
                out.push('}');
            }
            _ => {
                out.push_str("\"data\":");
                value(u, out)?;
            }
        }
    }
    out.push('}');
    Ok(())
}

/// Writes a number in any notation of JSON.
fn number(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    out.push_str(u.choose(&["", "-"])?);
    push(out, u.arbitrary::<u64>()? >> u.int_in_range(0..=63)?);
    for _ in 0..u.int_in_range(0..=3)? {
        push(out, u.arbitrary::<u32>()?);
    }
    if u.arbitrary()? {
        out.push('.');
        push(out, u.arbitrary::<u64>()?);
    }
    if u.arbitrary()? {
        out.push_str(u.choose(&["e", "E", "e+", "e-", "E-0"])?);
        push(out, u.arbitrary::<u16>()? >> u.int_in_range(0..=15)?);
    }
    Ok(())
}

/// Writes a string, usually one of `WORDS`.
fn string(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    let text = if one_in(u, 4)? {
        u.arbitrary()?
    } else {
        *u.choose(WORDS)?
    };
    quoted(u, out, text)
}

/// Writes this text as a string, with some of its characters escaped.
pub fn quoted(u: &mut Unstructured<'_>, out: &mut String, text: &str) -> Result<()> {
    let escaping = one_in(u, 4)?;
    out.push('"');
    for character in text.chars() {
        let must = matches!(character, '"' | '\\' | '\0'..='\x1f');
        if must || (escaping && u.arbitrary()?) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
    Ok(())
}

fn push(out: &mut String, number: impl std::fmt::Display) {
    let _ = write!(out, "{number}");
}
