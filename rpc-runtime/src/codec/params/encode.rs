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
}

impl<'a, T: ?Sized> Sent<'a, T> {
    pub(crate) fn new(name: &'static str, value: &'a T, write: Write<T>) -> Self {
        Self { name, value, write }
    }

    /// Creates an argument without a name.
    pub(crate) fn nameless(value: &'a T) -> Self
    where
        T: Serialize,
    {
        Self::new("", value, ser::write)
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
                $first.write(out)?;
                $(
                    out.push(b',');
                    $P.write(out)?;
                )*
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
