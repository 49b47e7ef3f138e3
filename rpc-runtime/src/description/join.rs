//! Joins the descriptions of an error with those of the errors that it shares, in constants.

use crate::codec::error::{ErrorDescription, RpcError};
use crate::description::schema::DataSchema;

/// An element of the slices that are joined.
pub trait Element: Copy {
    /// Any value: an array needs one before it is filled.
    const ANY: Self;
}

impl Element for ErrorDescription {
    const ANY: Self = Self {
        name: "",
        code: 0,
        message: "",
        docs: "",
    };
}

impl Element for DataSchema {
    const ANY: Self = Self::Nothing;
}

/// Returns the sum of the lengths of slices.
pub const fn sum(lengths: &[usize]) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < lengths.len() {
        sum += lengths[at];
        at += 1;
    }
    sum
}

/// Returns the elements of all slices. `N` is the sum of their lengths; slices of another sum do not compile.
pub const fn join<T: Element, const N: usize>(slices: &[&[T]]) -> [T; N] {
    let mut joined = [T::ANY; N];
    let (mut slice, mut filled) = (0, 0);
    while slice < slices.len() {
        let mut at = 0;
        while at < slices[slice].len() {
            joined[filled] = slices[slice][at];
            (at, filled) = (at + 1, filled + 1);
        }
        slice += 1;
    }
    assert!(filled == N);
    joined
}

/// Checks that no two errors of `E` have the same code.
pub const fn check_codes<E: RpcError>() {
    let errors = E::ERRORS;
    let mut at = 0;
    while at < errors.len() {
        let mut other = 0;
        while other < at {
            assert!(
                errors[at].code != errors[other].code,
                "an error that this enum shares has a code that the enum has already; give one of them another code"
            );
            other += 1;
        }
        at += 1;
    }
}

/// Returns the length of the text that [`join_docs`] returns.
pub const fn docs_bytes(parts: &[&str]) -> usize {
    let (mut bytes, mut at) = (0, 0);
    while at < parts.len() {
        bytes += parts[at].len() + 1;
        at += 1;
    }
    bytes
}

/// Returns the parts of a documentation, each with a newline behind it.
pub const fn join_docs<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut text = [b'\n'; N];
    let (mut part, mut filled) = (0, 0);
    while part < parts.len() {
        let bytes = parts[part].as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            text[filled] = bytes[at];
            (at, filled) = (at + 1, filled + 1);
        }
        (part, filled) = (part + 1, filled + 1);
    }
    text
}

/// Returns the text of [`join_docs`] without the white space around it.
pub const fn docs(text: &'static [u8]) -> &'static str {
    match std::str::from_utf8(text.trim_ascii()) {
        Ok(text) => text,
        // Parts of text are text.
        Err(_) => "",
    }
}
