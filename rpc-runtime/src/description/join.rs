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
