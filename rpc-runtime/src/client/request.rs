//! What leaves the caller: a method's name and its parameters as JSON.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::wire::id::{write_string, write_unsigned};

/// A method as its callers know it.
#[derive(Debug)]
pub struct Method {
    name: &'static str,
    /// Whether its last answer was so large that the next call deserves a stream of its own.
    large_reply: AtomicBool,
}

impl Method {
    /// A method with this name on the wire.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            large_reply: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn has_large_reply(&self) -> bool {
        self.large_reply.load(Ordering::Relaxed)
    }

    pub(super) fn note_reply(&self, is_large: bool) {
        if self.has_large_reply() != is_large {
            self.large_reply.store(is_large, Ordering::Relaxed);
        }
    }
}

/// The parameters of a call, on their way out.
pub trait Params {
    /// Appends the value of `params`; nothing, if there are none.
    #[doc(hidden)]
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error>;
}

/// No parameters.
#[derive(Debug)]
pub struct NoParams;

impl Params for NoParams {
    fn write(&self, _: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        Ok(())
    }
}

/// One value that is all of `params`.
#[derive(Debug)]
pub struct Whole<'a, T: ?Sized>(pub(super) &'a T);

impl<T: Serialize + ?Sized> Params for Whole<'_, T> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let start = out.len();
        serde_json::to_writer(&mut *out, self.0)?;
        match out.get(start) {
            Some(b'[' | b'{') => Ok(()),
            _ if out.get(start..) == Some(b"null") => {
                out.truncate(start);
                Ok(())
            }
            _ => Err(serde::ser::Error::custom(
                "`params` is an array or an object",
            )),
        }
    }
}

macro_rules! tuples {
    ($($($P:ident)*;)*) => { $(
        impl<$($P: Serialize),*> Params for ($($P,)*) {
            fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
                serde_json::to_writer(out, self)
            }
        }
    )* };
}

tuples! {
    A; A B; A B C; A B C D; A B C D E; A B C D E F; A B C D E F G; A B C D E F G H; A B C D E F G H I;
    A B C D E F G H I J; A B C D E F G H I J K; A B C D E F G H I J K L; A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N; A B C D E F G H I J K L M N O; A B C D E F G H I J K L M N O P;
}

/// An argument that can be sent.
pub fn send<T: Serialize + ?Sized>(value: &T) -> &T {
    value
}

/// An argument that is all of `params`.
pub fn whole<T: Serialize + ?Sized>(value: &T) -> Whole<'_, T> {
    Whole(value)
}

/// Bytes that travel as a JSON string, which only UTF-8 can.
#[derive(Debug)]
pub struct Text<'a>(pub &'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Err(serde::ser::Error::custom(
                "bytes that are no UTF-8 fit no JSON string",
            )),
        }
    }
}

/// Appends the method and its parameters: what follows the id. `}` ends it.
pub(super) fn write(
    out: &mut Vec<u8>,
    method: &str,
    params: &impl Params,
) -> Result<(), serde_json::Error> {
    out.extend_from_slice(br#","method":"#);
    write_string(out, method);
    let end = out.len();
    out.extend_from_slice(br#","params":"#);
    let start = out.len();
    params.write(out)?;
    if out.len() == start {
        out.truncate(end);
    }
    Ok(())
}

/// Appends how long the caller will wait.
pub(super) fn write_timeout(out: &mut Vec<u8>, timeout: Duration) {
    out.extend_from_slice(br#","timeout":"#);
    // Rounded up: the server should not give up before the caller does.
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    write_unsigned(out, u64::try_from(milliseconds).unwrap_or(u64::MAX));
}
