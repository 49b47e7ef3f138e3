//! Quotes generated code.

use proc_macro2::TokenStream;

/// Quotes generated code with hygienic local names, which never collide with the user's.
macro_rules! generated {
    ($($tokens:tt)*) => {
        ::quote::quote_spanned!(::proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}
pub(crate) use generated;

/// Wraps `impls` so that the runtime's module for generated code has a short name. The `allowed` lints are those that the
/// user allows for the same tokens.
pub(crate) fn inside(
    codegen: &TokenStream,
    allowed: &[TokenStream],
    impls: TokenStream,
) -> TokenStream {
    generated! {
        #(#allowed)*
        const _: () = {
            use #codegen as __rpc;
            #impls
        };
    }
}
