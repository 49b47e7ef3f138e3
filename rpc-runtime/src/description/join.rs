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
            if errors[at].code == errors[other].code {
                let clash = Clash::new(&errors[other], &errors[at]);
                panic!("{}", clash.text());
            }
            other += 1;
        }
        at += 1;
    }
}

/// The message about two errors with the same code. It is put together in a constant, which cannot format.
struct Clash {
    text: [u8; 512],
    filled: usize,
}

impl Clash {
    const fn new(one: &ErrorDescription, other: &ErrorDescription) -> Self {
        let empty = Self {
            text: [0; 512],
            filled: 0,
        };
        empty
            .with("`")
            .with(one.name)
            .with("` and `")
            .with(other.name)
            .with("` have the same code ")
            .with_number(one.code)
            .with(", and this enum shares them; give one of them another code")
    }

    /// Appends a text, or nothing if there is no room: names may have any length.
    const fn with(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        if bytes.len() > self.text.len() - self.filled {
            return self;
        }
        let mut at = 0;
        while at < bytes.len() {
            self.text[self.filled] = bytes[at];
            (at, self.filled) = (at + 1, self.filled + 1);
        }
        self
    }

    const fn with_number(mut self, number: i64) -> Self {
        if number < 0 {
            self = self.with("-");
        }
        let amount = number.unsigned_abs();
        let mut power = 1;
        while amount / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
            self = self.with(DIGITS[(amount / power % 10) as usize]);
            power /= 10;
        }
        self
    }

    const fn text(&self) -> &str {
        let (text, _) = self.text.split_at(self.filled);
        match std::str::from_utf8(text) {
            Ok(text) => text,
            // Parts of text are text.
            Err(_) => "",
        }
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
