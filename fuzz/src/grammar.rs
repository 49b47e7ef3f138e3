//! JSON made of the fuzzer's bytes: most of it is right, little of it plain.

use std::fmt::Write;

use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// How deeply it nests.
const DEPTH: usize = 6;

/// Names of members and variants that the targets' types know, and what looks like other things.
const WORDS: &[&str] = &[
    "a", "b", "c", "x", "t", "Unit", "New", "Tuple", "Struct", "1", "-1", "0", "255", "256",
    "true", "false", "", "-0", "01", "1e3", "id", "early", "value", "2.0",
];

/// What text may be damaged with.
const DAMAGE: &[&str] = &[
    " ", ",", ":", "\"", "[", "]", "{", "}", "0", "-", "+", ".", "e", "E", "\\", "\\u", "\t", "\n",
    "\0", "n", "x",
];

/// Makes a text of the bytes; what there is of it when they are used up.
pub fn text(
    data: &[u8],
    write: impl FnOnce(&mut Unstructured<'_>, &mut String) -> Result<()>,
) -> String {
    let mut out = String::new();
    let _ = write(&mut Unstructured::new(data), &mut out);
    out
}

/// Any value.
pub fn value(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    nested(u, out, DEPTH)
}

fn nested(u: &mut Unstructured<'_>, out: &mut String, depth: usize) -> Result<()> {
    if u.ratio(1, 64)? {
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

/// An array of whatever `element` writes.
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

/// A comma, except before the first item, and perhaps white space.
pub fn separate(u: &mut Unstructured<'_>, out: &mut String, position: usize) -> Result<()> {
    if position > 0 {
        out.push(',');
    }
    if u.ratio(1, 8)? {
        out.push_str(u.choose(&[" ", "\t", "\r", "  "])?);
    }
    Ok(())
}

/// A number in any of the ways in which JSON writes one.
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

/// A string, most often one of the words.
fn string(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    let text = if u.ratio(1, 4)? {
        u.arbitrary()?
    } else {
        *u.choose(WORDS)?
    };
    quoted(u, out, text)
}

/// This text as a string with some of its characters escaped.
pub fn quoted(u: &mut Unstructured<'_>, out: &mut String, text: &str) -> Result<()> {
    let escaping = u.ratio(1, 4)?;
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
