//! What the compiler says about types that look like another type. Each trait here holds for the same types as the trait
//! behind it; only the advice differs.

use crate::codec::params::decode::{Arg, Argument, arg};

/// A reference as a parameter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be borrowed from a request",
    label = "not text or bytes",
    note = "what is borrowed from a request is `&str`, `&[u8]`, `Cow<'_, str>` or a struct of these; take other types by value",
    note = "for the context of a call, write `&Context`, not another name of the type"
)]
pub trait ArgumentReference<'de>: Argument<'de> {}

#[diagnostic::do_not_recommend]
impl<'de, T: Argument<'de>> ArgumentReference<'de> for T {}

/// Returns the parameter of a reference.
pub fn arg_reference<'de, T: ArgumentReference<'de>>(name: &'static str) -> Arg<'de, T> {
    arg(name)
}

/// A type called `Context` as a parameter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross the wire",
    label = "not `Deserialize` and `Serialize`",
    note = "for the context of a call, write `&Context`",
    note = "to send a type of your own, add `#[derive(serde::Deserialize, serde::Serialize)]` to it"
)]
pub trait ArgumentContext<'de>: Argument<'de> {}

#[diagnostic::do_not_recommend]
impl<'de, T: Argument<'de>> ArgumentContext<'de> for T {}

/// Returns the parameter of a type called `Context`.
pub fn arg_context<'de, T: ArgumentContext<'de>>(name: &'static str) -> Arg<'de, T> {
    arg(name)
}
