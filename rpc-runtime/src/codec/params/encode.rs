//! Encodes arguments as JSON.

use serde::Serialize;
use serde::ser::Error;

use crate::codec::ser;

pub(crate) type Write<T> = fn(&T, &mut Vec<u8>) -> Result<(), serde_json::Error>;

/// An argument to be sent.
pub struct Sent<'a, T: ?Sized> {
    pub(crate) name: &'static str,
    value: &'a T,
    write: Write<T>,
    is_optional: fn() -> bool,
}

impl<'a, T: ?Sized> Sent<'a, T> {
    /// `is_optional` returns `true` if a server reads a missing argument as it reads `null`.
    pub(crate) fn new(
        name: &'static str,
        value: &'a T,
        write: Write<T>,
        is_optional: fn() -> bool,
    ) -> Self {
        Self {
            name,
            value,
            write,
            is_optional,
        }
    }

    /// Creates an argument without a name.
    pub(crate) fn nameless(value: &'a T) -> Self
    where
        T: Serialize,
    {
        Self::new("", value, ser::write, || false)
    }

    /// Appends the argument.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        (self.write)(self.value, out).map_err(|error| self.named(error))
    }

    /// Adds the argument's name to an error.
    #[cold]
    fn named(&self, error: serde_json::Error) -> serde_json::Error {
        match self.name {
            "" => error,
            name => serde_json::Error::custom(format_args!("`{name}`: {error}")),
        }
    }

    /// Appends the argument. Returns `true` if it may be left out at the end of the arguments.
    fn write_or_none(&self, out: &mut Vec<u8>) -> Result<bool, serde_json::Error> {
        let start = out.len();
        self.write(out)?;
        Ok(out.get(start..) == Some(b"null") && (self.is_optional)())
    }
}

/// The parameters of a call to be sent.
pub trait SentParams {
    /// Appends the value of `params`, or nothing if there are none.
    #[doc(hidden)]
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error>;
}

/// No parameters.
#[derive(Debug)]
pub struct NoParams;

impl SentParams for NoParams {
    fn write(&self, _: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        Ok(())
    }
}

/// Creates parameters of which one argument is the entire `params`.
pub fn entire<T: ?Sized>(argument: Sent<'_, T>) -> Entire<'_, T> {
    Entire(argument)
}

/// Parameters that [`entire`] has created.
pub struct Entire<'a, T: ?Sized>(Sent<'a, T>);

impl<T: ?Sized> SentParams for Entire<'_, T> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let start = out.len();
        self.0.write(out)?;
        match out.get(start) {
            Some(b'[' | b'{') => Ok(()),
            _ if out.get(start..) == Some(b"null") => {
                out.truncate(start);
                Ok(())
            }
            _ => Err(serde_json::Error::custom(
                "`params` is an array or an object",
            )),
        }
    }
}

macro_rules! tuples {
    ($($first:ident $($P:ident)*;)*) => { $(
        #[allow(non_snake_case)]
        impl<$first, $($P),*> SentParams for (Sent<'_, $first>, $(Sent<'_, $P>,)*) {
            fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
                let ($first, $($P,)*) = self;
                out.push(b'[');
                let mut end = out.len();
                if !$first.write_or_none(out)? {
                    end = out.len();
                }
                $(
                    out.push(b',');
                    if !$P.write_or_none(out)? {
                        end = out.len();
                    }
                )*
                // An older server may not have the last parameters.
                out.truncate(end);
                out.push(b']');
                Ok(())
            }
        }
    )* };
}

tuples! {
    A; A B; A B C; A B C D; A B C D E; A B C D E F; A B C D E F G; A B C D E F G H; A B C D E F G H I;
    A B C D E F G H I J; A B C D E F G H I J K; A B C D E F G H I J K L; A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N; A B C D E F G H I J K L M N O; A B C D E F G H I J K L M N O P;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::params::decode::{arg, optional_bytes, optional_cow};

    fn written(params: impl SentParams) -> String {
        let mut out = Vec::new();
        params.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn trailing_none_is_left_out() {
        let (one, none, some) = (1_u32, None::<u32>, Some(2_u32));
        let first = || arg::<u32>("a").send(&one);
        let none = || arg::<Option<u32>>("b").send(&none);
        let some = || arg::<Option<u32>>("c").send(&some);
        assert_eq!(written((none(),)), "[]");
        assert_eq!(written((first(), none())), "[1]");
        assert_eq!(written((first(), none(), none())), "[1]");
        assert_eq!(written((first(), none(), some())), "[1,null,2]");
        assert_eq!(written((none(), first(), none())), "[null,1]");
        let (bytes, text) = (None, None);
        let texts = (
            first(),
            optional_bytes("b").send(&bytes),
            optional_cow("c").send(&text),
        );
        assert_eq!(written(texts), "[1]");
    }

    #[test]
    fn null_that_a_missing_argument_does_not_mean_is_sent() {
        let (one, none, unit) = (1_u32, None::<u32>, ());
        let first = || arg::<u32>("a").send(&one);
        assert_eq!(written((first(), arg::<()>("b").send(&unit))), "[1,null]");
        let null = serde_json::Value::Null;
        assert_eq!(written((first(), arg("b").send(&null))), "[1,null]");
        // A missing argument would become the default.
        let defaulted = arg::<Option<u32>>("b").send_always(&none);
        assert_eq!(written((first(), defaulted)), "[1,null]");
    }
}
